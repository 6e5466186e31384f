//! What intake and dispatch ask of the live tenants, and what they are told of those that are not there.

use std::sync::Arc;
use std::time::Duration;

use super::tenant::Lookup;
use super::tenants::LiveTenants;
use crate::dispatch::Connectors;
use crate::intake::http::{Directory, OpenSource};
use crate::tenant::{DEFAULT_MAX_AGE, HostConfig};

impl Directory for LiveTenants {
    fn source(&self, tenant: &str, source: &str) -> Option<Arc<OpenSource>> {
        self.tenant(tenant)?.sources.get(source).cloned()
    }

    fn connectors(&self, tenant: &str) -> Option<Arc<[String]>> {
        self.tenant(tenant)
            .map(|live| live.tenant.connectors.keys().cloned().collect())
    }
}

impl Connectors for LiveTenants {
    fn connector(&self, tenant: &str, connector: &str) -> Lookup {
        let live = self.live.load();
        let Some(known) = live.tenants.get(tenant) else {
            return match live.problems.get(tenant) {
                Some(problem) => Lookup::Unready(format!("the tenant `{tenant}` cannot be loaded: {problem}")),
                None if live.loading.contains(tenant) => Lookup::Absent(still_loading(&live.host, tenant)),
                None => Lookup::Absent(format!(
                    "there is no tenant `{tenant}`; put {} back, or cancel its jobs: {}",
                    live.host.server.tenant_file(tenant).display(),
                    cancelling(tenant, None)
                )),
            };
        };
        known.connectors.get(connector).cloned().unwrap_or_else(|| {
            Lookup::Absent(if live.loading.contains(tenant) {
                still_loading(&live.host, tenant)
            } else {
                format!(
                    "{} has no [connectors.{connector}]; add it, or cancel its jobs: {}",
                    live.host.server.tenant_file(tenant).display(),
                    cancelling(tenant, Some(connector))
                )
            })
        })
    }

    fn max_age(&self, tenant: &str, source: &str) -> Duration {
        let live = self.live.load();
        let config = live
            .tenants
            .get(tenant)
            .and_then(|live| live.tenant.sources.get(source));
        config.map_or(DEFAULT_MAX_AGE, |source| source.max_age)
    }
}

pub(super) fn still_loading(host: &HostConfig, tenant: &str) -> String {
    format!(
        "{} is still being loaded: its registry does not answer, or its plugin takes long to compile",
        host.server.tenant_file(tenant).display()
    )
}

/// The command that ends the jobs of a tenant, or of one of its connectors, that wait.
pub(super) fn cancelling(tenant: &str, connector: Option<&str>) -> String {
    let connector = connector.map_or_else(String::new, |connector| format!(" --connector {connector}"));
    format!("exeunt jobs cancel --waiting --tenant {tenant}{connector} --reason …")
}
