//! A start that takes long: the database does not answer.

use std::process::Stdio;
use std::time::Duration;

use end_to_end::binary;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

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
