//! The files of the demonstration: the same that an operator writes.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use super::simulator::Addresses;

/// SailPoint's native-change payload, in the official shape.
const EVENT: &str =
    include_str!("../../../testdata/sailpoint/constructed-leaver-native-change-userStatus-inactive.json");

/// Writes `exeunt.toml`, `tenants/acme.toml` and the key; returns the tenant file's path.
pub(super) fn write(folder: &Path, plugins: &Path, addresses: &Addresses) -> anyhow::Result<PathBuf> {
    let secrets = folder.join("tenants/acme");
    std::fs::create_dir_all(&secrets).context("cannot make the demonstration's folder")?;
    let key = secrets.join("docusign.pem");
    std::fs::copy(&addresses.private_key, &key).context("cannot copy the private key")?;
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .context("cannot protect the private key")?;
    std::fs::write(folder.join("exeunt.toml"), host_file(plugins, addresses)).context("cannot write exeunt.toml")?;
    let tenant = folder.join("tenants/acme.toml");
    std::fs::write(&tenant, tenant_file(addresses)).context("cannot write the tenant file")?;
    Ok(tenant)
}

fn host_file(plugins: &Path, addresses: &Addresses) -> String {
    let Addresses {
        account_addr,
        esign_addr,
        ca,
        ..
    } = addresses;
    let ca = ca.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "plugins = {plugins:?}\n\n\
         [tenants.acme]\n\
         ca = \"file:{ca}\"\n\
         connect_to = {{ \"account-d.docusign.com\" = \"{account_addr}\", \"demo.docusign.net\" = \"{esign_addr}\" }}\n"
    )
}

fn tenant_file(addresses: &Addresses) -> String {
    let Addresses {
        account_id,
        integration_key,
        user_id,
        ..
    } = addresses;
    format!(
        "[sources.hr]\n\
         kind   = \"sailpoint\"\n\
         leaver = {{ attribute = \"userStatus\", becomes = [\"inactive\"] }}\n\n\
         [connectors.docusign]\n\
         plugin    = \"docusign.wasm\"\n\
         mode      = \"enforce\"\n\
         settings  = {{ account_id = \"{account_id}\", integration_key = \"{integration_key}\", user_id = \"{user_id}\" }}\n\
         keys      = {{ signing = \"file:docusign.pem\" }}\n\
         endpoints = {{ account = \"https://account-d.docusign.com\", esign = \"https://demo.docusign.net\" }}\n\n\
         [policy]\n\
         protected = [\"ceo@*\"]\n"
    )
}

/// The payload for one person, with ids that no sample has.
pub(super) fn event(email: &str, name: &str) -> anyhow::Result<Vec<u8>> {
    let mut event: Value = serde_json::from_str(EVENT)?;
    let fresh = || uuid::Uuid::new_v4().simple().to_string();
    event["identity"]["id"] = fresh().into();
    event["identity"]["name"] = name.into();
    event["identity"]["alias"] = name.replace(' ', ".").into();
    event["identity"]["email"] = email.into();
    event["account"]["id"] = fresh().into();
    event["account"]["name"] = name.replace(' ', ".").into();
    event["source"]["id"] = fresh().into();
    Ok(serde_json::to_vec_pretty(&event)?)
}
