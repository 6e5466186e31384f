//! A host that serves, for what only shows when files are looked at again and again.

use std::sync::Arc;
use std::time::Duration;

use exeunt::clock::SystemClock;
use exeunt::dispatch::{Connector, Connectors, LiveTenants, Lookup, Runtime};
use exeunt::journal::{Journal, Options};
use exeunt::sandbox::{Plugin, PluginCache, Sandbox};
use exeunt::tenant::HostConfig;

use crate::house::{House, limits, settings};

/// A host that serves the house's tenants, as `exeunt serve` does.
pub(crate) struct Served {
    pub(crate) house: House,
    pub(crate) tenants: LiveTenants,
    pub(crate) journal: Journal,
}

impl Served {
    pub(crate) async fn new() -> Self {
        let house = House::new().await;
        let (tenants, journal) = open(&house).await;
        Self {
            house,
            tenants,
            journal,
        }
    }

    /// The same after the process has ended and begun again.
    pub(crate) async fn restarted(self) -> Self {
        let (tenants, journal) = open(&self.house).await;
        Self {
            tenants,
            journal,
            ..self
        }
    }

    /// Writes a tenant's file with further lines, and looks at the files.
    pub(crate) async fn write(&self, tenant: &str, lines: &str) {
        self.house.write(tenant, &settings(), lines);
        look(&self.tenants).await;
    }

    /// The same with another plugin than the house's file.
    pub(crate) async fn write_plugin(&self, tenant: &str, plugin: &str) {
        let file = self.house.write(tenant, &settings(), "");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, text.replace("hostile.wasm", plugin)).unwrap();
        look(&self.tenants).await;
    }

    /// Looks at the files although none has changed, as after the time that a failure is left alone.
    pub(crate) async fn look_again(&self) {
        let file = self.house.path("tenants/hostile.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, text + "\n").unwrap();
        look(&self.tenants).await;
    }

    /// The same with lines at the top of the tenant's file.
    pub(crate) async fn write_below(&self, tenant: &str, top: &str) {
        let file = self.house.write(tenant, &settings(), "");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{top}\n{text}")).unwrap();
        look(&self.tenants).await;
    }

    /// Writes lines at the top of the host's file, and one into what is granted to the hostile tenant.
    pub(crate) async fn configure(&self, top: &str, granted: &str) {
        self.house.configure(top, granted);
        look(&self.tenants).await;
    }

    pub(crate) async fn install(&self, component: &[u8]) {
        self.house.install(component);
        look(&self.tenants).await;
    }

    /// How many components were compiled, as the cache has it.
    pub(crate) fn compiled(&self) -> usize {
        let entries = std::fs::read_dir(self.house.path("cache")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".compiled")).count()
    }

    pub(crate) fn runs(&self, tenant: &str) -> Result<Arc<Connector>, String> {
        match self.tenants.connector(tenant, "target") {
            Lookup::Ready(connector) => Ok(connector),
            Lookup::Unready(reason) | Lookup::Absent(reason) => Err(reason),
        }
    }

    #[track_caller]
    pub(crate) fn runs_this(&self, tenant: &str, component: &[u8]) {
        let connector = self.runs(tenant).unwrap();
        assert_eq!(connector.plugin.digest, Plugin::digest_of(component));
    }

    /// The only thing that does not run as its file says.
    #[track_caller]
    pub(crate) fn problem(&self) -> String {
        let mut problems = self.tenants.problems();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems.remove(0).2
    }

    #[track_caller]
    pub(crate) fn is_well(&self) {
        let problems = self.tenants.problems();
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

async fn open(house: &House) -> (LiveTenants, Journal) {
    let cache = PluginCache::open(&house.path("cache")).unwrap();
    let sandbox = Sandbox::new(limits()).unwrap().with_cache(cache);
    let runtime = Arc::new(Runtime::new(sandbox, Arc::new(SystemClock)));
    let host = HostConfig::load(&house.path("exeunt.toml")).unwrap();
    let address = format!("sqlite:{}", house.path("journal.db").display());
    let journal = Journal::open(&address, Options::default()).await.unwrap();
    let tenants = LiveTenants::new(runtime, host, journal.clone());
    look(&tenants).await;
    (tenants, journal)
}

/// Looks at the files until nothing is on its way: what takes long to compile is not waited for.
async fn look(tenants: &LiveTenants) {
    tenants.refresh().await.unwrap();
    while is_loading(tenants) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        tenants.refresh().await.unwrap();
    }
}

fn is_loading(tenants: &LiveTenants) -> bool {
    let mut problems = tenants.problems().into_iter();
    problems.any(|(_, _, problem)| problem.contains("still being loaded"))
}
