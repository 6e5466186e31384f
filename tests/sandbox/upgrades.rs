//! Plugins that are replaced: what a host lets run in the old one's place.

use exeunt::sandbox::{Plugin, Sandbox};
use kit::noted;

use crate::house::limits;
use crate::plugin::{hostile, with_replaced};
use crate::served::Served;

/// The hostile plugin in a version that wants to go elsewhere.
fn grown() -> Vec<u8> {
    with_replaced("/hostile/{any}", "/admins1/{any}")
}

#[tokio::test]
pub(crate) async fn another_file_than_the_pinned_one_is_refused() {
    let served = Served::new().await;
    let (pinned, swapped) = (Plugin::digest_of(&hostile()), Plugin::digest_of(&noted(&hostile())));
    served.install(&noted(&hostile())).await;
    served.write("hostile", &format!("digest = \"{pinned}\"\n")).await;
    let refused = served.runs("hostile").unwrap_err();
    for said in ["hostile.toml:", "connectors.target.digest", &pinned, &swapped] {
        assert!(refused.contains(said), "no {said} in: {refused}");
    }
    assert_eq!(served.compiled(), 0, "it is refused before it is compiled");
    served.install(&hostile()).await;
    served.runs_this("hostile", &hostile());
    // Once it has run, the file may change: what is pinned is what runs, also after a restart.
    served.install(&noted(&hostile())).await;
    served.runs_this("hostile", &hostile());
    served.is_well();
    let served = served.restarted().await;
    served.runs_this("hostile", &hostile());
    served.house.neighbour_is_unharmed().await;
}

#[tokio::test]
pub(crate) async fn a_plugin_that_needs_more_is_refused_until_that_is_accepted() {
    let served = Served::new().await;
    served.write("hostile", "").await;
    served.write("neighbour", "").await;
    served.runs_this("hostile", &hostile());
    // The same needs: nothing to ask about.
    served.install(&noted(&hostile())).await;
    served.runs_this("hostile", &noted(&hostile()));
    served.install(&grown()).await;
    for tenant in ["hostile", "neighbour"] {
        served.runs_this(tenant, &noted(&hostile()));
    }
    assert_eq!(served.tenants.problems().len(), 2, "each tenant is told");
    let (_, _, problem) = served.tenants.problems().remove(0);
    for said in [
        ".toml:",
        "connectors.target",
        "`find GET api /admins1/{any}`",
        "accepts = \"sha256:",
    ] {
        assert!(problem.contains(said), "no {said} in: {problem}");
    }
    assert!(
        !problem.contains("`find GET api /users`"),
        "only what is new: {problem}"
    );
    // A restart is no way around it.
    let served = served.restarted().await;
    assert!(served.runs("hostile").unwrap_err().contains("/admins1/"));
    let line = problem.split("write ").nth(1).unwrap();
    let line = line.split(';').next().unwrap();
    served.write("hostile", &format!("{line}\n")).await;
    served.runs_this("hostile", &grown());
    assert!(
        served.problem().contains("neighbour.toml"),
        "one tenant accepts for itself alone"
    );
}

#[tokio::test]
pub(crate) async fn what_is_accepted_is_exactly_that_on_a_host_that_remembers_nothing() {
    let served = Served::new().await;
    let none = format!("accepts = \"sha256:{}\"\n", "0".repeat(64));
    served.write("hostile", &none).await;
    let refused = served.runs("hostile").unwrap_err();
    for said in ["connectors.target.accepts", "`endpoint api`", "accepts = \"sha256:"] {
        assert!(refused.contains(said), "no {said} in: {refused}");
    }
    let accepted = Sandbox::new(limits()).unwrap().admit(hostile()).await.unwrap();
    let line = format!("accepts = \"{}\"\n", accepted.needs.digest());
    served.write("hostile", &line).await;
    served.runs_this("hostile", &hostile());
    served.install(&grown()).await;
    served.runs_this("hostile", &hostile());
    let problem = served.problem();
    assert!(problem.contains("`find GET api /admins1/{any}`"), "{problem}");
    assert!(problem.contains("no more `close GET api /hostile/{any}`"), "{problem}");
}

#[tokio::test]
pub(crate) async fn a_kept_plugin_is_for_those_who_ran_it() {
    let served = Served::new().await;
    let private = noted(&hostile());
    served.install(&private).await;
    served.write("neighbour", "").await;
    served.runs_this("neighbour", &private);
    served.install(&hostile()).await;
    let pin = format!("digest = \"{}\"\n", Plugin::digest_of(&private));
    served.write("hostile", &pin).await;
    let refused = served.runs("hostile").unwrap_err();
    assert!(refused.contains("connectors.target.digest"), "{refused}");
    served.write("neighbour", &pin).await;
    served.runs_this("neighbour", &private);
}

#[tokio::test]
pub(crate) async fn a_kept_plugin_that_was_changed_is_not_run() {
    let served = Served::new().await;
    served.write("hostile", "").await;
    let digest = Plugin::digest_of(&hostile());
    served.install(&noted(&hostile())).await;
    let kept = digest.replace("sha256:", "cache/") + ".wasm";
    std::fs::write(served.house.path(&kept), grown()).unwrap();
    let served = served.restarted().await;
    served.write("hostile", &format!("digest = \"{digest}\"\n")).await;
    served.runs_this("hostile", &noted(&hostile()));
    assert!(served.problem().contains("connectors.target.digest"));
}
