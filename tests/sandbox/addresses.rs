//! Addresses that no connector may reach. The ranges themselves are tried one by one in `capability::address`.

use serde_json::json;

use crate::attacks::Attack;
use crate::house::House;

async fn refused(house: &House, api: &str) -> String {
    let lines = format!("endpoints = {{ api = \"{api}\", other = \"https://other.example\" }}");
    let settings = json!({"issuer": "i", "subject": "s"});
    match house.load("hostile", &settings, &lines).await {
        Ok(_) => panic!("{api} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
pub(crate) async fn an_address_for_a_host_is_refused_when_the_tenant_is_read() {
    let house = House::new().await;
    let hosts = [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "0.0.0.0",
        "8.8.8.8",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "１２７.0.0.1",
    ];
    for host in hosts {
        let error = refused(&house, &format!("https://{host}")).await;
        assert!(error.contains("has an address for a host"), "{host}: {error}");
    }
    house.neighbour_is_unharmed().await;
}

#[tokio::test]
pub(crate) async fn plain_http_needs_a_grant_for_that_very_address() {
    let house = House::new().await;
    let granted = house.api.address;
    for host in [
        "target.example",
        "localhost",
        "127.0.0.1:9",
        &format!("127.0.0.2:{}", granted.port()),
        "[::1]",
    ] {
        let error = refused(&house, &format!("http://{host}")).await;
        assert!(error.contains("is not https"), "{host}: {error}");
    }
    house.neighbour_is_unharmed().await;
}

/// The name is fine when the file is read; what it leads to is seen at each connection only.
#[tokio::test]
pub(crate) async fn a_name_that_leads_inside_is_refused_before_connecting() {
    let house = House::new().await;
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    let lines = format!("endpoints = {{ api = \"https://localhost:{port}\", other = \"https://other.example\" }}");
    let report = house.attack(Attack::FollowRedirect).lines(&lines).run().await;
    assert!(
        report.told().contains("loopback") && report.told().contains("`private`"),
        "{report:?}"
    );
    assert_eq!(
        elsewhere.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "nobody connected"
    );
}
