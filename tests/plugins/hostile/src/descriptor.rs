//! What it says of itself: the truth, or a lie that the suite wrote into its data.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::attacks::{LIE_BYTES, LIE_MARK, Lie};
use crate::bindings::exeunt::connector::{clock, settings};
use crate::bindings::exports::exeunt::connector::descriptor::{
    ClientSecret, Descriptor, Endpoint, Exchange, Key, KeyKind, Method, Placement, Reach, SigningKey, Verb,
};

const MARK: usize = LIE_MARK.len();

/// The mark and the name of a lie, as they stand in the component's data.
static TOLD: [u8; MARK + LIE_BYTES] = {
    let mut told = [b' '; MARK + LIE_BYTES];
    let mut at = 0;
    while at < MARK {
        told[at] = LIE_MARK.as_bytes()[at];
        at += 1;
    }
    told
};

/// Times that anything was called in this instance.
pub(crate) static VISITS: AtomicU32 = AtomicU32::new(0);

fn lie() -> Option<Lie> {
    // Without the black box the compiler reads the blanks at build time.
    let told = std::hint::black_box(&TOLD);
    let name = std::str::from_utf8(&told[MARK..]).expect("the name is text").trim_end();
    let found = Lie::ALL.iter().find(|(known, _)| *known == name);
    assert!(found.is_some() || name.is_empty(), "the lie is in the list");
    found.map(|(_, lie)| *lie)
}

pub(crate) fn describe() -> Descriptor {
    let visits = VISITS.fetch_add(1, Ordering::Relaxed);
    let mut said = truth();
    match lie() {
        None => {}
        Some(Lie::UnsafeFind) => said
            .reach
            .push(reach(Verb::Find, "api", Method::Delete, "/users/{any}")),
        Some(Lie::NoSuchEndpoint) => {
            said.reach.push(reach(Verb::Find, "nowhere", Method::Get, "/users"));
            said.keys[0].usable_at.push("elsewhere".to_owned());
            said.keys[1].kind = KeyKind::SigningKey(signing_key("faraway"));
        }
        Some(Lie::BadNames) => {
            said.name = "Hostile\u{1b}[2J".to_owned();
            said.version = "latest".to_owned();
            said.endpoints.push(endpoint("a/b"));
            said.endpoints[0].purpose.push_str("\u{1b}]0;all is well\u{7}");
            said.keys[0].purpose.push_str("\r\nerror: none");
            said.endpoints.push(endpoint("api"));
            said.trace_header = Some("x trace\r\n".to_owned());
        }
        Some(Lie::SchemaNotJson) => said.settings_schema = "{".to_owned(),
        Some(Lie::SchemaBomb) => said.settings_schema = schema_bomb(),
        Some(Lie::Complaining) => said.settings_schema = complaining(),
        Some(Lie::ManyEntries) => {
            let more = (0..10_000).map(|number| endpoint(&format!("Endpoint{number}")));
            said.endpoints.extend(more);
            said.keys[0].usable_at = vec!["api".to_owned(); 10_000];
        }
        Some(Lie::LooseClose) => {
            let close = |path| reach(Verb::Close, "api", Method::Post, path);
            let mut in_query = close("/in-query");
            in_query.query.push("{account}".to_owned());
            let mut reads = reach(Verb::Close, "api", Method::Get, "/reads/{account}");
            reads.query.push("id".to_owned());
            said.reach.extend([
                close("/nameless"),
                in_query,
                with_body(close("/elsewhere"), r#"{"id":"bystander"}"#),
                with_body(close("/inside"), r#"{"id":"not {account}"}"#),
                with_body(close("/users/{any}"), r#"{"id":"{account}"}"#),
                with_body(close("/unreadable/{account}"), "id={account}"),
                with_body(close("/unknown/{account}"), r#"["{acount}"]"#),
                with_body(close("/long/{account}"), &format!("\"{}\"", "x".repeat(4096))),
                close(&format!("/{{account}}/{}", "x".repeat(2048 - "/{account}/".len()))),
                close(&format!("/{{account}}/{}", "x".repeat(2049 - "/{account}/".len()))),
                reads,
            ]);
        }
        Some(Lie::SecretDefault) => {
            for endpoint in &mut said.endpoints {
                endpoint.default_base_url = Some("https://evil.example".to_owned());
            }
        }
        Some(Lie::PatternBomb) => {
            said.settings_schema = r#"{"patternProperties":{"^(\\p{L}{100}){100}$":true}}"#.to_owned();
        }
        Some(Lie::AccountInFind) => said
            .reach
            .push(reach(Verb::Find, "api", Method::Get, "/users/{account}")),
        Some(Lie::PrivateDefault) => {
            let urls = [
                "https://169.254.169.254",
                "https://0x7f.1",
                "http://target.example",
                "https://me@target.example",
                "https://target.example/?a=b",
            ];
            for (number, url) in urls.into_iter().enumerate() {
                let mut added = endpoint(&format!("default-{number}"));
                added.default_base_url = Some(url.to_owned());
                said.endpoints.push(added);
            }
        }
        Some(Lie::KeyInHost) => {
            said.keys[0].kind = KeyKind::ApiKey(Placement::Header("Host".to_owned()));
            said.keys[2].kind = KeyKind::ApiKey(Placement::Header("transfer-encoding".to_owned()));
        }
        Some(Lie::CallImports) => {
            said.name = format!("at-{}", clock::now());
            said.settings_schema = settings::get();
        }
        Some(Lie::Endless) => loop {
            std::hint::black_box(&said);
        },
        Some(Lie::Changing) => said.version = format!("1.0.{visits}"),
    }
    said
}

fn truth() -> Descriptor {
    let every = [Verb::Mint, Verb::Find, Verb::Read, Verb::Close, Verb::Page];
    let mut lines: Vec<Reach> = every
        .into_iter()
        .map(|verb| reach(verb, "api", Method::Get, "/hostile/{any}"))
        .collect();
    lines.extend([
        reach(Verb::Find, "api", Method::Get, "/users"),
        reach(Verb::Find, "other", Method::Get, "/users"),
        reach(Verb::Read, "api", Method::Get, "/users/{account}"),
        reach(Verb::Close, "api", Method::Delete, "/users/{account}"),
        Reach {
            query: vec!["notify".to_owned()],
            ..with_body(
                reach(Verb::Close, "api", Method::Post, "/close"),
                r#"{"id":"{account}"}"#,
            )
        },
        reach(Verb::Page, "api", Method::Get, "/users"),
    ]);
    let mut withheld = reach(Verb::Find, "api", Method::Get, "/withheld");
    withheld.optional = true;
    lines.push(withheld);
    Descriptor {
        name: "hostile".to_owned(),
        version: "1.0.0".to_owned(),
        settings_schema: r#"{"type":"object"}"#.to_owned(),
        endpoints: vec![endpoint("api"), endpoint("other")],
        keys: vec![
            key("static", KeyKind::ApiKey(Placement::Bearer)),
            key("signing", KeyKind::SigningKey(signing_key("api"))),
            key(
                "client",
                KeyKind::ClientSecret(ClientSecret {
                    exchange: exchange("api"),
                    client_id: "/issuer".to_owned(),
                }),
            ),
        ],
        reach: lines,
        trace_header: Some("x-trace".to_owned()),
    }
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        purpose: "where the suite listens".to_owned(),
        default_base_url: None,
    }
}

fn reach(verb: Verb, endpoint: &str, method: Method, path: &str) -> Reach {
    Reach {
        verb,
        endpoint: endpoint.to_owned(),
        method,
        path: path.to_owned(),
        query: Vec::new(),
        body: None,
        optional: false,
    }
}

fn with_body(mut line: Reach, body: &str) -> Reach {
    line.body = Some(body.to_owned());
    line
}

fn key(name: &str, kind: KeyKind) -> Key {
    Key {
        name: name.to_owned(),
        purpose: "to be stolen".to_owned(),
        kind,
        usable_at: vec!["api".to_owned()],
    }
}

fn exchange(endpoint: &str) -> Exchange {
    Exchange {
        endpoint: endpoint.to_owned(),
        path: "/token".to_owned(),
    }
}

fn signing_key(endpoint: &str) -> SigningKey {
    SigningKey {
        exchange: exchange(endpoint),
        issuer: "/issuer".to_owned(),
        subject: "/subject".to_owned(),
    }
}

/// Finds four thousand mistakes in one setting, and has thirty thousand characters to say about it.
fn complaining() -> String {
    let list = |one: &str, times| vec![one; times].join(",");
    let (some, many) = (
        list(r#"{"type":"integer"}"#, 20),
        list(r##"{"$ref":"#/$defs/some"}"##, 200),
    );
    let said = "\\u001b[2K\\rerror: ".to_owned() + &"long ".repeat(6_000);
    format!(
        r#"{{"$defs":{{"some":{{"allOf":[{some}]}}}},"properties":{{"issuer":{{"description":"{said}","allOf":[{many}]}}}}}}"#
    )
}

/// Thirty definitions, each of which checks the next one twice: a billion checks.
fn schema_bomb() -> String {
    let links = (0..30).map(|link| {
        let next = link + 1;
        format!(r##""d{link}":{{"allOf":[{{"$ref":"#/$defs/d{next}"}},{{"$ref":"#/$defs/d{next}"}}]}},"##)
    });
    let links: String = links.collect();
    format!(r##"{{"$defs":{{{links}"d30":{{"type":"object"}}}},"$ref":"#/$defs/d0"}}"##)
}
