//! A start that takes long, since the database does not answer; and an end that leaves a balancer its time.

use std::process::Stdio;
use std::time::Duration;

use end_to_end::binary;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::house::House;

async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let kill = Command::new("kill").args([name, &id]).status().await;
    assert!(kill.expect("kill runs").success());
}

#[tokio::test]
async fn signals_count_from_the_first_moment() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let house = House::with(&format!("postgres://nobody@{address}/journal"), House::options()).await;
    for end in ["-TERM", "-INT"] {
        let mut child = Command::new(binary("exeunt"))
            .arg("serve")
            .current_dir(house.world.root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("exeunt starts");
        // From here on it waits for its database.
        let _connection = silent.accept().await.expect("a connection");
        signal(&child, "-HUP").await;
        let lives = tokio::time::timeout(Duration::from_millis(300), child.wait()).await;
        assert!(lives.is_err(), "a reload ended it: {lives:?}");
        signal(&child, end).await;
        let ended = tokio::time::timeout(Duration::from_secs(20), child.wait()).await;
        assert!(ended.expect("it ends").expect("a status").success(), "{end}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_drains_says_so_and_goes_on_until_it_is_asked_again() {
    let house = House::sqlite().await;
    let user = house.world.user("ann@acme.example");
    house.configure("limits = { drain = \"60s\" }");
    let host = house.start().await;
    let client = Client::new(&house, &host);
    assert_eq!(client.get("/readyz").await.expect("an answer").0, 200);
    host.ask_to_end().await;
    crate::until(
        "the balancer is told",
        async || matches!(client.get("/readyz").await, Ok((503, ready)) if ready["phase"] == "stopping"),
    )
    .await;
    let event = client.accepted("acme", &end_to_end::event("ann@acme.example")).await;
    client.job_is(&event, "closed").await;
    assert_eq!(house.world.status(&user), docusign_sim::Status::Closed);
    // Long before the minute is over.
    host.stop().await;
}
