//! A host that follows a script: requests that are expected in this order, and what each is answered.

use std::cell::RefCell;
use std::collections::VecDeque;

use plugin_docusign::description::{Method as Declared, Reach, Verb};
use plugin_docusign::{
    Failure, Grant, GrantError, Host, HttpError, Level, Limit, Method, Person, Refusal, Request, Response, describe,
};
use serde_json::{Value, json};

pub(crate) const ACCOUNT_ID: &str = "3f0c5b1e-7a52-4c7b-9a57-0d6a1c2b3e4f";
pub(crate) const INTEGRATION_KEY: &str = "b1d4f2a6-0c3e-4f5a-8b7c-6d5e4f3a2b1c";
/// Whom the connector acts as.
pub(crate) const CALLER: &str = "c0ffee00-1111-4222-8333-444455556666";
/// The leaver's user.
pub(crate) const LEAVER: &str = "6b67a1ee-2222-4333-8444-385763624163";
pub(crate) const OTHER: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
pub(crate) const EMAIL: &str = "tania.morales@acme.example";
pub(crate) const TRACE: &str = "0d2b3c4d-aaaa-4bbb-8ccc-1234567890ab";
/// 2026-11-23, a little before the top of an hour.
pub(crate) const NOW: u64 = 1_795_474_500;

/// Proof that a token came from this host.
#[derive(Debug)]
pub(crate) struct Token(());

/// The token that verbs are called with.
pub(crate) const TOKEN: Token = Token(());

type Answer = Result<Response, HttpError>;

/// A host that follows a script.
pub(crate) struct Script {
    verb: Verb,
    settings: Value,
    esign: String,
    grant: RefCell<Option<Result<(), GrantError>>>,
    granted: RefCell<Option<Grant>>,
    exchanges: RefCell<VecDeque<(String, Answer)>>,
    log: RefCell<Vec<String>>,
}

impl Script {
    pub(crate) fn during(verb: Verb) -> Self {
        Self {
            verb,
            settings: settings(),
            esign: "https://demo.docusign.net".into(),
            grant: RefCell::default(),
            granted: RefCell::default(),
            exchanges: RefCell::default(),
            log: RefCell::default(),
        }
    }

    /// Adds or replaces one setting.
    pub(crate) fn setting(mut self, name: &str, value: Value) -> Self {
        self.settings[name] = value;
        self
    }

    pub(crate) fn esign(mut self, base: &str) -> Self {
        self.esign = base.into();
        self
    }

    pub(crate) fn grants(self) -> Self {
        self.grant.replace(Some(Ok(())));
        self
    }

    pub(crate) fn refuses_grant(self, error: GrantError) -> Self {
        self.grant.replace(Some(Err(error)));
        self
    }

    /// Expects `METHOD endpoint path?query body` next, and answers it.
    pub(crate) fn then(self, request: &str, answer: impl Into<Scripted>) -> Self {
        self.exchanges
            .borrow_mut()
            .push_back((request.to_owned(), answer.into().0));
        self
    }

    /// Expects the caller's own user to be read next.
    pub(crate) fn then_caller(self, answer: impl Into<Scripted>) -> Self {
        self.then(&one(CALLER), answer)
    }

    pub(crate) fn granted(&self) -> Grant {
        self.granted.borrow().clone().expect("no grant was asked for")
    }

    /// Lines that were logged, with their fields.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// Makes sure that the whole script was played.
    pub(crate) fn ends(&self) {
        let left = self.exchanges.borrow();
        assert!(left.is_empty(), "these requests were not sent: {left:?}");
    }

    fn is_declared(&self, request: &Request) -> bool {
        let setting = |name: &str| self.settings[name].as_str().unwrap_or_default().to_owned();
        describe().reach.iter().any(|reach: &Reach| {
            let template = reach.path.replace("{settings:/account_id}", &setting("account_id"));
            let template = template.replace("{settings:/user_id}", &setting("user_id"));
            let mut segments = template.split('/').zip(request.path.split('/'));
            reach.verb == self.verb
                && reach.endpoint == request.endpoint
                && matches!(
                    (reach.method, request.method),
                    (Declared::Get, Method::Get) | (Declared::Delete, Method::Delete)
                )
                && template.split('/').count() == request.path.split('/').count()
                && segments.all(|(wanted, sent)| wanted == sent || matches!(wanted, "{any}" | "{account}"))
        })
    }
}

impl Host for Script {
    type Token = Token;

    fn send(&self, request: &Request, token: Option<&Token>) -> Answer {
        assert!(token.is_some(), "a request without token");
        assert!(
            self.is_declared(request),
            "not in the descriptor's reach: {}",
            line(request)
        );
        let (expected, answer) = self.exchanges.borrow_mut().pop_front().unwrap_or_else(|| {
            panic!("one request more than expected: {}", line(request));
        });
        assert_eq!(line(request), expected);
        answer
    }

    fn jwt_bearer(&self, grant: &Grant) -> Result<Token, GrantError> {
        self.granted.replace(Some(grant.clone()));
        self.grant
            .take()
            .expect("a grant more than expected")
            .map(|()| Token(()))
    }

    fn settings(&self) -> String {
        self.settings.to_string()
    }

    fn endpoint(&self, name: &str) -> Option<String> {
        match name {
            "account" => Some("https://account-d.docusign.com".into()),
            "esign" => Some(self.esign.clone()),
            _ => None,
        }
    }

    fn now(&self) -> u64 {
        NOW
    }

    fn log(&self, level: Level, message: &str, fields: &[(String, String)]) {
        let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.log.borrow_mut().push(format!("{level} {message}{fields}"));
    }
}

/// An answer as a test writes it: `(status, JSON)`, `(status, "text")`, a response, or why there is none.
pub(crate) struct Scripted(Answer);

impl From<(u16, Value)> for Scripted {
    fn from((status, body): (u16, Value)) -> Self {
        Self(Ok(response(status, body.to_string().as_bytes())))
    }
}

impl From<(u16, &str)> for Scripted {
    fn from((status, body): (u16, &str)) -> Self {
        Self(Ok(response(status, body.as_bytes())))
    }
}

impl From<Response> for Scripted {
    fn from(response: Response) -> Self {
        Self(Ok(response))
    }
}

impl From<HttpError> for Scripted {
    fn from(error: HttpError) -> Self {
        Self(Err(error))
    }
}

/// A response with a trace token and the rate headers that come with every answer of eSignature.
pub(crate) fn response(status: u16, body: &[u8]) -> Response {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Response {
        status,
        headers: vec![
            header("content-type", "application/json"),
            header("x-docusign-tracetoken", TRACE),
            header("x-ratelimit-reset", &(NOW + 300).to_string()),
        ],
        body: body.to_vec(),
    }
}

pub(crate) fn settings() -> Value {
    json!({ "account_id": ACCOUNT_ID, "integration_key": INTEGRATION_KEY, "user_id": CALLER })
}

/// The line for reading one user.
pub(crate) fn one(id: &str) -> String {
    format!("GET esign /restapi/v2.1/accounts/{ACCOUNT_ID}/users/{id}")
}

/// The line for one page of the users with an address.
pub(crate) fn by_email(email: &str, start: u64) -> String {
    format!("GET esign /restapi/v2.1/accounts/{ACCOUNT_ID}/users?email={email}&count=100&start_position={start}")
}

/// The line for one page of all users.
pub(crate) fn all(start: u64) -> String {
    format!("GET esign /restapi/v2.1/accounts/{ACCOUNT_ID}/users?count=100&start_position={start}")
}

/// A user as eSignature writes it.
pub(crate) fn user(id: &str, email: &str, status: &str) -> Value {
    json!({
        "userId": id, "userName": "Tania Morales", "email": email, "userStatus": status, "userType": "CompanyUser",
        "isAdmin": "False", "uri": format!("/users/{id}"), "createdDateTime": "2019-04-01T22:11:56.4570000Z",
        "permissionProfileName": "DocuSign Sender", "isMembershipManagedByScim": "False",
    })
}

/// A page of users as eSignature writes it: numbers are strings.
pub(crate) fn listing(users: &[Value], start: usize, total: usize) -> Value {
    json!({
        "users": users, "resultSetSize": users.len().to_string(), "totalSetSize": total.to_string(),
        "startPosition": start.to_string(), "endPosition": (start + users.len()).saturating_sub(1).to_string(),
    })
}

/// An error as eSignature writes it.
pub(crate) fn error(code: &str, message: &str) -> Value {
    json!({ "errorCode": code, "message": message })
}

pub(crate) fn person(target_id: Option<&str>, email: Option<&str>) -> Person {
    Person {
        id: None,
        target_id: target_id.map(str::to_owned),
        email: email.map(str::to_owned),
        name: None,
        attributes: Vec::new(),
    }
}

/// The failure's case and its text, for comparing in one line.
pub(crate) fn told<T: std::fmt::Debug>(result: Result<T, Failure>) -> (&'static str, String) {
    match result.expect_err("a failure was expected") {
        Failure::Misconfigured(text) => ("misconfigured", text),
        Failure::ConsentRequired(text) => ("consent-required", text),
        Failure::Unauthorized(text) => ("unauthorized", text),
        Failure::RateLimited(Limit { message, .. }) => ("rate-limited", message),
        Failure::Unavailable(text) => ("unavailable", text),
        Failure::Refused(Refusal { code, message }) => ("refused", format!("[{code}] {message}")),
        Failure::Unexpected(text) => ("unexpected", text),
        Failure::Denied(text) => ("denied", text),
    }
}

/// Asserts the case of a failure, and that its text holds all of `parts`.
#[track_caller]
pub(crate) fn assert_told<T: std::fmt::Debug>(result: Result<T, Failure>, case: &str, parts: &[&str]) {
    let (actual, text) = told(result);
    assert_eq!(actual, case, "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!text.contains(['\r', '\n']), "more than a line: {text}");
}

fn line(request: &Request) -> String {
    let method = match request.method {
        Method::Get => "GET",
        Method::Delete => "DELETE",
        other => panic!("{other:?} is never sent"),
    };
    let query: Vec<String> = request
        .query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut line = format!("{method} {} {}", request.endpoint, request.path);
    if !query.is_empty() {
        line = format!("{line}?{}", query.join("&"));
    }
    if let Some(body) = &request.body {
        assert!(
            request
                .headers
                .contains(&("content-type".into(), "application/json".into())),
            "a body without type"
        );
        line = format!("{line} {}", String::from_utf8_lossy(body));
    }
    line
}
