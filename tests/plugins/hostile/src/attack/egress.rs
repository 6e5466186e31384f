//! Attacks on what may leave the host.

use super::{Visit, each_denied, ended};
use crate::bindings::exeunt::connector::http::{self, HttpError, Method, Request};
use crate::bindings::exeunt::connector::types::Failure;
use crate::target::{self, get, request};

type Attacked = Result<(), Failure>;

const RESERVED: [&str; 22] = [
    "Host",
    "authorization",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Cookie",
    "Connection",
    "Keep-Alive",
    "Transfer-Encoding",
    "Content-Length",
    "Content-Encoding",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "Accept-Encoding",
    "Range",
    "User-Agent",
    "X-Forwarded-Host",
    "X-HTTP-Method-Override",
    "X-Original-URL",
    ":authority",
    "",
];

/// Under a template that takes any one segment, so that the reach alone stops few of them.
const ESCAPES: [&str; 48] = [
    "",
    "hostile/x",
    "/",
    "/hostile",
    "/hostile/",
    "//hostile/x",
    "//evil.example/x",
    "///evil.example",
    "/hostile//x",
    "/hostile/.",
    "/hostile/..",
    "/hostile/../users",
    "/hostile/x/../../users",
    "/hostile/%2e%2e",
    "/hostile/%2E.",
    "/hostile/%2e%2e%2fusers",
    "/hostile/..%2fusers",
    "/hostile/..%5cusers",
    "/hostile/%252e%252e",
    "/hostile/%252fusers",
    "/hostile/..;x",
    "/hostile/..;/users",
    "/hostile/x%2fy",
    "/hostile/x%5Cy",
    "/hostile\\x",
    "/hostile/..\\users",
    "\\\\evil.example\\x",
    "/hostile/%00",
    "/hostile/x%0d%0aHost:%20evil.example",
    "/hostile/x\r\nHost: evil.example",
    "/hostile/x y",
    "/hostile/x\t",
    "/hostile/x?admin=true",
    "/hostile/x#fragment",
    "/hostile/%zz",
    "/hostile/%2",
    "/hostile/%c0%ae%c0%ae",
    "/hostile/\u{ff0e}\u{ff0e}",
    "/hostile/%EF%BC%8E%EF%BC%8E",
    "/hostile/x%EF%BC%8Fy",
    "/hostile/x%E2%84%80y",
    "/hostile/%EF%BC%85%32%65",
    "/hostile/%EF%B9%AA2fusers",
    "http://evil.example/hostile/x",
    "https://evil.example",
    "user:password@evil.example/x",
    "/@evil.example/hostile",
    "*",
];

pub(super) fn big_request(visit: &Visit<'_>) -> Attacked {
    let amount = visit.settings.amount;
    let mut big = match visit.id {
        Some(id) => request(Method::Delete, "api", &format!("/users/{id}")),
        None => get("/hostile/ok"),
    };
    match visit.settings.kind.as_str() {
        "head" => big
            .headers
            .push(("accept".to_owned(), "x".repeat(amount - "accept".len()))),
        "fields" => big.query = vec![(String::new(), String::new()); amount],
        "path" => big.path = format!("/hostile/{}", "x".repeat(amount - "/hostile/".len())),
        _ => {
            big = request(Method::Post, "api", "/close");
            // Blanks before a body change nothing of what it says.
            let body = format!(r#"{{"id":"{}"}}"#, visit.id.unwrap_or_default());
            big.body = Some((" ".repeat(amount - body.len()) + &body).into_bytes());
        }
    }
    tell(&big, visit)
}

pub(super) fn inject_header(visit: &Visit<'_>) -> Attacked {
    let evil = ["a\r\nHost: evil.example", "a\nb", "a\rb", "a\0b", "\u{7f}"];
    let fields = evil.into_iter().flat_map(|evil| {
        [
            ("accept".to_owned(), evil.to_owned()),
            (format!("accept{evil}"), "x".to_owned()),
        ]
    });
    each_denied(fields.map(with_header), visit.token)
}

pub(super) fn reserved_header(visit: &Visit<'_>) -> Attacked {
    let fields = RESERVED
        .into_iter()
        .map(str::to_owned)
        .chain(["x".repeat(10_000)])
        .map(|name| (name, "evil.example".to_owned()));
    each_denied(fields.map(with_header), visit.token)
}

fn with_header(field: (String, String)) -> Request {
    let mut request = get("/hostile/ok");
    request.headers.push(field);
    request
}

pub(super) fn escape_path(visit: &Visit<'_>) -> Attacked {
    each_denied(ESCAPES.into_iter().map(get), visit.token)
}

pub(super) fn write_while_reading(visit: &Visit<'_>) -> Attacked {
    let methods = [Method::Post, Method::Put, Method::Patch, Method::Delete];
    let mut requests: Vec<Request> = ["/hostile/ok", "/users/leaver", "/close"]
        .into_iter()
        .flat_map(|path| methods.map(|method| request(method, "api", path)))
        .collect();
    for method in [Method::Get, Method::Head] {
        let mut with_body = request(method, "api", "/hostile/ok");
        with_body.body = Some(Vec::new());
        requests.push(with_body);
    }
    for name in [
        "_method",
        "$Method",
        "X-HTTP-Method-Override",
        "x_http_method",
        "x-method-override",
        "methodOverride",
    ] {
        let mut overridden = get("/hostile/ok");
        overridden.query.push((name.to_owned(), "DELETE".to_owned()));
        requests.push(overridden);
    }
    each_denied(requests, visit.token)
}

pub(super) fn unknown_endpoint(visit: &Visit<'_>) -> Attacked {
    let long = "\u{1b}".repeat(1024 * 1024);
    let names = [
        "nowhere",
        "",
        "API",
        "api ",
        "api\n",
        "../api",
        "https://evil.example",
        "127.0.0.1",
        &long,
    ];
    each_denied(names.map(|name| request(Method::Get, name, "/hostile/ok")), visit.token)
}

pub(super) fn undeclared_path(visit: &Visit<'_>) -> Attacked {
    let path = match visit.settings.kind.as_str() {
        "withheld" => "/withheld",
        _ => "/admin",
    };
    each_denied([get(path)], visit.token)
}

/// Gets one of the target's nastier pages, as often as asked.
pub(super) fn fetch(visit: &Visit<'_>, page: &str) -> Attacked {
    let request = get(&format!("/hostile/{page}"));
    for _ in 1..visit.settings.amount {
        http::send(&request, None).ok();
    }
    tell(&request, visit)
}

/// Sends a request and tells what came of it.
pub(super) fn tell(request: &Request, visit: &Visit<'_>) -> Attacked {
    match http::send(request, visit.token) {
        Ok(response) => ended(&target::seen(&response)),
        Err(HttpError::TooLarge(text)) => Err(Failure::Unavailable(format!("too large: {text}"))),
        Err(error) => Err(target::failure(error)),
    }
}
