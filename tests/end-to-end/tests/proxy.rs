//! Through an egress proxy: names and certificates stay the target's own, whoever refuses says so, nothing goes around
//! it.

use std::collections::HashMap;

use docusign_sim::Status;
use end_to_end::{World, event, plugins, says};
use kit::{Proxy, Proxying};

const ANN: &str = "ann.english@acme.example";

/// A world in which nothing leads to the target but the proxy.
async fn behind(proxy: impl FnOnce(&World) -> Proxying) -> (World, Proxy, String) {
    let world = World::new().await;
    let ann = world.user(ANN);
    let proxy = Proxy::start(proxy(&world));
    let host = format!(
        "plugins = {:?}\n[tenants.acme]\nca = \"file:ca.pem\"\nproxy = \"http://{}\"\n",
        plugins(),
        proxy.address
    );
    world.write("exeunt.toml", &host);
    (world, proxy, ann)
}

fn table(world: &World) -> HashMap<String, std::net::SocketAddr> {
    HashMap::from([
        ("account-d.docusign.com:443".to_owned(), world.simulator.account_addr()),
        ("demo.docusign.net:443".to_owned(), world.simulator.esign_addr()),
    ])
}

#[tokio::test]
async fn an_account_is_closed_through_it_and_it_sees_names_only() {
    let (world, proxy, ann) = behind(|world| Proxying::Tunnels(table(world))).await;
    world.run(&event(ANN)).await.ended("closed", 0);
    assert_eq!(world.status(&ann), Status::Closed);
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    for head in &asked {
        let first = head.lines().next().unwrap_or_default();
        let known = [
            "CONNECT account-d.docusign.com:443 HTTP/1.1",
            "CONNECT demo.docusign.net:443 HTTP/1.1",
        ];
        assert!(known.contains(&first), "{head}");
        assert!(!head.to_lowercase().contains("authorization"), "{head}");
    }
}

/// A proxy that leads to another server is found out: the certificate must be the target's.
#[tokio::test]
async fn certificates_are_checked_against_the_targets_name() {
    let (world, _proxy, ann) = behind(|world| {
        let mut table = table(world);
        table.insert("account-d.docusign.com:443".to_owned(), world.simulator.esign_addr());
        Proxying::Tunnels(table)
    })
    .await;
    let ran = world.run(&event(ANN)).await;
    let job = ran.ended("failed", 4);
    says(job["reason"].as_str().unwrap_or_default(), &["certificate"]);
    assert_eq!(world.status(&ann), Status::Active);
    world.was_not_asked();
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_and_nothing_goes_around_it() {
    for (status, word) in [
        (407, "proxy authorization required"),
        (403, "unsuccessful"),
        (502, "unsuccessful"),
    ] {
        let (world, proxy, ann) = behind(|_| Proxying::Refuses(status)).await;
        let ran = world.run(&event(ANN)).await;
        let job = ran.ended("failed", 4);
        let through = format!("through the proxy {}", proxy.address);
        says(job["reason"].as_str().unwrap_or_default(), &[&through, word]);
        assert_eq!(world.status(&ann), Status::Active);
        world.was_not_asked();
    }
}

/// An environment of the process bends nothing.
#[tokio::test]
async fn a_proxy_in_the_environment_counts_for_nothing() {
    let world = World::new().await;
    let ann = world.user(ANN);
    let proxy = Proxy::start(Proxying::Refuses(403));
    let url = format!("http://{}", proxy.address);
    let variables = [
        ("HTTPS_PROXY", url.as_str()),
        ("ALL_PROXY", url.as_str()),
        ("https_proxy", url.as_str()),
    ];
    world.run_among(&event(ANN), &variables).await.ended("closed", 0);
    assert_eq!(world.status(&ann), Status::Closed);
    assert!(proxy.asked().is_empty());
}
