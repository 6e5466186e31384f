//! Addresses that no connector may reach. The ranges themselves are tried one by one in `capability::address`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use exeunt::capability::{CallLimits, Effect, Names, Verb};
use exeunt::sandbox::Failure;
use futures_util::future::BoxFuture;
use kit::{Proxy, Proxying};
use serde_json::json;

use crate::attacks::Attack;
use crate::house::{House, limits};

/// What a name leads to: each answer once, the last one for ever.
#[derive(Debug)]
struct Answers(Mutex<Vec<Vec<IpAddr>>>);

impl Answers {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answer = |addresses: &&[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(answers.iter().rev().map(answer).collect())))
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Names for Answers {
    fn lookup(&self, _: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let mut answers = self.0.lock().unwrap();
        let last = answers.len() == 1;
        let answer = if last {
            answers[0].clone()
        } else {
            answers.pop().unwrap()
        };
        Box::pin(std::future::ready(Ok(answer)))
    }
}

fn at(port: u16) -> String {
    format!("endpoints = {{ api = \"https://target.example:{port}\", other = \"https://other.example\" }}")
}

/// Denied and not unavailable: only an operator can mend it, so nobody tries again.
#[tokio::test]
pub(crate) async fn a_name_that_leads_inside_is_refused_in_every_form_of_address() {
    let inside = [
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "::1",
        "fe80::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ];
    // One good address among them does not help.
    let answers: Vec<[&str; 2]> = inside
        .iter()
        .flat_map(|bad| [["8.8.8.8", bad], [bad, "8.8.8.8"]])
        .collect();
    let answers: Vec<&[&str]> = answers.iter().map(<[&str; 2]>::as_slice).collect();
    let house = House::where_names_lead(Answers::new(&answers), CallLimits::default()).await;
    for address in inside {
        let report = house.attack(Attack::FollowRedirect).lines(&at(443)).run().await;
        let said = format!("resolves to {}, which is not", address.parse::<IpAddr>().unwrap());
        assert!(report.denied().contains(&said), "{address}: {report:?}");
        let closing = house
            .attack(Attack::CloseDoubled)
            .during(Verb::Close)
            .lines(&at(443))
            .run()
            .await;
        assert!(closing.denied().contains(&said), "{address}: {closing:?}");
        assert_eq!(closing.record.effect, Effect::None, "nothing left");
    }
}

/// The first answer is an address that this tenant may reach; whoever looks again is sent to one that it may not.
#[tokio::test]
pub(crate) async fn a_name_that_changes_its_answer_gains_nothing() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let granted = listener.local_addr().unwrap();
    let elsewhere = std::net::TcpListener::bind(("127.0.0.2", granted.port())).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let answers = Answers::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let names = Arc::clone(&answers) as Arc<dyn Names>;
    let house = House::where_names_lead(names, CallLimits::default()).await;
    house.grants(&format!("private = [\"{granted}\"]"));
    let accepted = tokio::spawn(async move { listener.accept().await.unwrap() });
    let first = house
        .attack(Attack::FollowRedirect)
        .lines(&at(granted.port()))
        .run()
        .await;
    accepted.await.unwrap();
    assert_eq!(answers.left(), 1, "one look-up for one connection");
    assert!(!first.told().is_empty(), "connected, and found no TLS there");
    let second = house
        .attack(Attack::FollowRedirect)
        .lines(&at(granted.port()))
        .run()
        .await;
    assert!(second.denied().contains("resolves to 127.0.0.2"), "{second:?}");
    assert_eq!(
        elsewhere.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "nobody connected"
    );
}

/// Never answers for one name, and leads inside for all others.
#[derive(Debug)]
struct Silent;

impl Names for Silent {
    fn lookup(&self, name: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        if name == "target.example" {
            Box::pin(std::future::pending())
        } else {
            Box::pin(std::future::ready(Ok(vec![Ipv4Addr::LOCALHOST.into()])))
        }
    }
}

/// Calls end with the time to connect, what they have looked for is looked for on: more of it than the host looks for at a
/// time.
#[tokio::test]
pub(crate) async fn names_that_are_never_answered_hold_nobody_else_up() {
    let calls = CallLimits {
        connect: Duration::from_millis(500),
        ..CallLimits::default()
    };
    let house = House::where_names_lead(Arc::new(Silent), calls).await;
    let ended = house.attack(Attack::FollowRedirect).lines(&at(443)).together(150).await;
    for end in ended {
        let Ok(Err(Failure::Unavailable(text))) = end else {
            panic!("{end:?}");
        };
        assert!(text.contains("timed out"), "{text}");
    }
    let elsewhere = "endpoints = { api = \"https://elsewhere.example\", other = \"https://other.example\" }";
    let report = house
        .attack(Attack::FollowRedirect)
        .lines(elsewhere)
        .by("neighbour")
        .run()
        .await;
    assert!(report.denied().contains("resolves to 127.0.0.1"), "{report:?}");
}

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

/// Whatever the proxy does, the call ends within the time to connect or before, and nothing has been sent. What is a
/// good proxy is tried end to end.
#[tokio::test]
pub(crate) async fn a_proxy_cannot_hold_a_call_or_fill_the_memory() {
    let calls = CallLimits {
        connect: Duration::from_millis(500),
        ..CallLimits::default()
    };
    for (does, said) in [
        (Proxying::Hangs, "timed out"),
        (Proxying::NeverEnds, "too long"),
        (Proxying::Refuses(407), "authorization required"),
        (Proxying::Refuses(403), "unsuccessful"),
    ] {
        let house = House::with(limits(), calls.clone()).await;
        let proxy = Proxy::start(does.clone());
        house.grants(&format!("proxy = \"http://{}\"", proxy.address));
        let report = house.attack(Attack::FollowRedirect).lines(&at(443)).run().await;
        let through = format!("through the proxy {}", proxy.address);
        assert!(report.told().contains(&through), "{report:?}");
        assert!(report.told().contains(said), "{does:?}: {report:?}");
        assert_eq!(proxy.asked().len(), 1, "{does:?}");
    }
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
        report.denied().contains("loopback") && report.denied().contains("`private`"),
        "{report:?}"
    );
    assert_eq!(
        elsewhere.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "nobody connected"
    );
}
