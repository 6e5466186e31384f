//! Plugins that nobody vouches for, or the wrong one.

use exeunt::sandbox::Plugin;
use exeunt::tenant::{PrivateKey, Signatures};
use kit::noted;

use crate::plugin::hostile;
use crate::served::Served;

/// Puts signatures of a component beside the tenants' plugin.
fn sign(served: &Served, component: &[u8], keys: &[&PrivateKey]) {
    let mut signatures = Signatures::default();
    for key in keys {
        signatures.sign(key, &Plugin::digest_of(component));
    }
    std::fs::write(served.house.path("plugins/hostile.wasm.sig"), signatures.to_string()).unwrap();
}

async fn look(served: &Served) {
    served.tenants.refresh().await.unwrap();
}

/// The lines that demand a signature of one of these.
fn demand(keys: &[&PrivateKey]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{}\"", key.public())).collect();
    format!("require_signature = true\nsigners = [{}]\n", keys.join(", "))
}

#[track_caller]
fn is_refused(served: &Served, tenant: &str, said: &[&str]) {
    let refused = served.runs(tenant).unwrap_err();
    for said in [&["connectors.target.plugin", "is not signed"], said].concat() {
        assert!(refused.contains(said), "no {said} in: {refused}");
    }
}

#[tokio::test]
pub(crate) async fn a_plugin_that_nobody_signed_is_refused_before_it_is_compiled() {
    let served = Served::new().await;
    let key = PrivateKey::generate().unwrap();
    served.configure(&demand(&[&key]), "").await;
    served.write("hostile", "").await;
    is_refused(&served, "hostile", &["exeunt.toml", "hostile.wasm.sig cannot be read"]);
    sign(&served, &hostile(), &[&PrivateKey::generate().unwrap()]);
    look(&served).await;
    is_refused(&served, "hostile", &["does not count here"]);
    std::fs::write(served.house.path("plugins/hostile.wasm.sig"), "trust me\n").unwrap();
    look(&served).await;
    is_refused(&served, "hostile", &["not a file of signatures"]);
    assert_eq!(served.compiled(), 0, "nothing of it was compiled");
    sign(&served, &hostile(), &[&PrivateKey::generate().unwrap(), &key]);
    look(&served).await;
    served.runs_this("hostile", &hostile());
    // A signature that is taken away counts no more, and what runs goes on.
    std::fs::remove_file(served.house.path("plugins/hostile.wasm.sig")).unwrap();
    look(&served).await;
    served.runs_this("hostile", &hostile());
    assert!(served.problem().contains("is not signed"));
}

#[tokio::test]
pub(crate) async fn a_tenants_key_counts_for_that_tenant_alone() {
    let served = Served::new().await;
    let (hosts, tenants, granted) = (
        PrivateKey::generate().unwrap(),
        PrivateKey::generate().unwrap(),
        PrivateKey::generate().unwrap(),
    );
    // A tenant's own demand is met by its own keys, and by the host's only where it names none.
    served
        .configure(&format!("signers = [\"{}\"]", hosts.public()), "")
        .await;
    served.write_below("hostile", &demand(&[&tenants])).await;
    sign(&served, &hostile(), &[&hosts]);
    look(&served).await;
    is_refused(&served, "hostile", &["the tenant file", "does not count here"]);
    served.write_below("neighbour", "require_signature = true").await;
    served.runs_this("neighbour", &hostile());
    sign(&served, &hostile(), &[&tenants]);
    look(&served).await;
    served.runs_this("hostile", &hostile());
    assert!(served.problem().contains("neighbour"), "it is not the neighbour's");
    // What the host demands is not for a tenant to meet.
    let served = Served::new().await;
    let trusts = format!("signers = [\"{}\"]", granted.public());
    served.configure(&demand(&[&hosts]), &trusts).await;
    sign(&served, &hostile(), &[&tenants]);
    served.write_below("hostile", &demand(&[&tenants])).await;
    is_refused(&served, "hostile", &["exeunt.toml", "does not count here"]);
    // Nor is a key that is granted to one the other's.
    sign(&served, &hostile(), &[&tenants, &granted]);
    served.write("neighbour", "").await;
    served.runs_this("hostile", &hostile());
    is_refused(&served, "neighbour", &["exeunt.toml", "does not count here"]);
    // A tenant cannot call off what the host demands.
    served.write_below("neighbour", "require_signature = false").await;
    is_refused(&served, "neighbour", &["exeunt.toml"]);
}

#[tokio::test]
pub(crate) async fn a_signature_of_another_file_does_not_count() {
    let served = Served::new().await;
    let key = PrivateKey::generate().unwrap();
    served.configure(&demand(&[&key]), "").await;
    sign(&served, &hostile(), &[&key]);
    served.write("hostile", "").await;
    served.runs_this("hostile", &hostile());
    served.install(&noted(&hostile())).await;
    served.runs_this("hostile", &hostile());
    assert!(served.problem().contains(&Plugin::digest_of(&noted(&hostile()))));
    // What ran is kept with its signatures, so that it can be gone back to.
    let pin = format!("digest = \"{}\"\n", Plugin::digest_of(&hostile()));
    served.write("hostile", &pin).await;
    served.is_well();
    let served = served.restarted().await;
    served.runs_this("hostile", &hostile());
}
