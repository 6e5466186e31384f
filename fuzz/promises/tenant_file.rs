//! A tenant file: it is read, or every mistake is named with its line. Nothing that is read reaches further than the
//! host's file grants, which is nothing here.

use std::path::Path;
use std::sync::LazyLock;

use exeunt::tenant::{ConfigError, HostConfig, PluginSource, Tenant};

static HOST: LazyLock<HostConfig> = LazyLock::new(|| HostConfig::default_for(Path::new("/nowhere")));

pub(crate) fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let tenant = match Tenant::parse(text, Path::new("/nowhere/tenants/acme.toml"), &HOST) {
        Ok(tenant) => tenant,
        Err(error) => return check(&error, text),
    };
    for connector in tenant.connectors.values() {
        let PluginSource::File(plugin) = &connector.plugin else {
            panic!("no registry is granted: {:?}", connector.plugin);
        };
        assert!(plugin.starts_with("/nowhere/plugins"), "{plugin:?}");
        for base in connector.endpoints.values() {
            assert!(base.is_https() && base.address().is_none(), "{base:?}");
        }
    }
    if let Err(error) = exeunt::intake::sources(&tenant) {
        check(&error, text);
    }
}

fn check(error: &ConfigError, text: &str) {
    let lines = text.split('\n').count();
    for problem in error.problems() {
        let line = problem.location.line();
        assert!(line.is_none_or(|line| (1..=lines).contains(&line)), "{problem}");
        assert!(!problem.message.contains(['\n', '\r', '\u{1b}']), "{problem:?}");
    }
}
