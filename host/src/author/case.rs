//! `cases.toml`: what a plugin is asked, what the target is asked for it, and what should come of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use toml::de::DeValue;

use super::expect::Expected;
use super::target::{Body, Step, json_or_text};
use crate::capability::{HttpError, Method, Response, Unanswered, Verb};
use crate::evidence::Question;
use crate::intake::Person;
use crate::tenant::{ConfigError, Item, Location, Table, did_you_mean, json, read, read_text};

/// Most cases of a script: 1,000. Each is a call, so that this many take some seconds even for an interpreter.
const MAX_CASES: usize = 1000;
/// Most exchanges of a case: one more than a call may send.
const MAX_EXCHANGES: usize = 65;
/// The time where a script says none: 2027-01-15 08:00 UTC. Any would do, and it is the same every time.
const NOW: u64 = 1_800_000_000;

/// A script.
#[derive(Debug)]
pub struct Script {
    /// Base URLs by endpoint name.
    pub endpoints: BTreeMap<String, String>,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// One verb call.
#[derive(Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where it begins.
    pub place: Location,
    /// What the plugin is asked.
    pub question: Question,
    /// Settings: the script's, with the case's own over them.
    pub settings: Value,
    /// The reach lines that are granted; all that are not optional where absent.
    pub reach: Option<Vec<String>>,
    /// What the target is asked.
    pub steps: Vec<Step>,
    /// What should come of it.
    pub expected: Expected,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    ///
    /// All mistakes in it, each with its line.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read_text(file)?, file)
    }

    /// As [`Script::load`], with the text in hand.
    ///
    /// # Errors
    ///
    /// As [`Script::load`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        read(file, text, &|_| None, |mut table| {
            let settings = table.get("settings").and_then(|item| object(&item)).unwrap_or_default();
            let endpoints = table.get("endpoints").map(|item| strings(&item)).unwrap_or_default();
            let now = table.get("now").and_then(|item| number(&item)).unwrap_or(NOW);
            let cases = table.require("case", "[[case]] with name, verb and expect");
            let cases = cases.and_then(|item| item.list()).unwrap_or_default();
            if cases.is_empty() || cases.len() > MAX_CASES {
                table.note(format!("must have from 1 to {MAX_CASES} [[case]]"));
            }
            let cases = cases.iter().filter_map(|item| read_case(item, &settings)).collect();
            table.finish();
            Self {
                endpoints: endpoints.into_iter().collect(),
                now,
                cases,
            }
        })
    }
}

fn read_case(item: &Item<'_>, settings: &Map<String, Value>) -> Option<Case> {
    let mut table = item.table()?;
    let name = table
        .require("name", "name = \"what it shows\"")
        .and_then(|item| item.string());
    let question = read_question(&mut table);
    let mut settings = settings.clone();
    settings.extend(table.get("settings").and_then(|item| object(&item)).unwrap_or_default());
    let reach = table.get("reach").map(|item| item.strings());
    let steps = table.get("exchange").and_then(|item| item.list()).unwrap_or_default();
    if steps.len() > MAX_EXCHANGES {
        table.note(format!("has more than {MAX_EXCHANGES} exchanges"));
    }
    let steps = steps.iter().filter_map(read_step).collect();
    let expected = table.require("expect", "expect = { failure = \"unauthorized\" }");
    let expected = expected.and_then(|item| Expected::read(&item));
    table.finish();
    Some(Case {
        name: name?.to_owned(),
        place: item.location(),
        question: question?,
        settings: Value::Object(settings),
        reach: reach.map(|lines| lines.into_iter().map(|(line, _)| line.to_owned()).collect()),
        steps,
        expected: expected?,
    })
}

fn read_question(table: &mut Table<'_>) -> Option<Question> {
    let verb = table.require("verb", "verb = \"find\"");
    let person = table.get("person");
    let account = table.get("account");
    let cursor = table.get("cursor");
    let text = |item: Option<Item<'_>>| item.and_then(|item| item.string().map(str::to_owned));
    let verb = verb?;
    let word = verb.string()?;
    let misplaced = |item: &Option<Item<'_>>, of: &str| {
        if let Some(item) = item {
            item.note(format!("belongs to {of}, and the verb here is `{word}`"));
        }
    };
    if word != "find" {
        misplaced(&person, "`find`");
    }
    if !["read", "close"].contains(&word) {
        misplaced(&account, "`read` and `close`");
    }
    if word != "page" {
        misplaced(&cursor, "`page`");
    }
    match word {
        "mint" => Some(Question::Mint),
        "find" => {
            let person = person.or_else(|| {
                table.note("`person` is missing; write person = { email = \"…\" }");
                None
            });
            read_person(&person?).map(Question::Find)
        }
        "read" | "close" => {
            if account.is_none() {
                table.note("`account` is missing; write account = \"the account's id\"");
            }
            let id = text(account)?;
            Some(if word == "read" {
                Question::Read(id)
            } else {
                Question::Close(id)
            })
        }
        "page" => Some(Question::Page(text(cursor))),
        other => {
            verb.note(format!(
                "is not a verb; {}",
                did_you_mean(other, Verb::ALL.map(Verb::as_str))
            ));
            None
        }
    }
}

fn read_person(item: &Item<'_>) -> Option<Person> {
    let mut table = item.table()?;
    let mut field = |key| {
        let item = table.get(key)?;
        item.string().map(str::to_owned)
    };
    let person = Person {
        id: field("id"),
        target_id: field("target_id"),
        email: field("email"),
        name: field("name"),
        attributes: table
            .get("attributes")
            .map(|item| strings(&item))
            .unwrap_or_default()
            .into_iter()
            .collect(),
    };
    if person.target_id.is_none() && person.email.is_none() {
        table.note("has neither `target_id` nor `email`; the host never asks so");
    }
    table.finish();
    Some(person)
}

fn read_step(item: &Item<'_>) -> Option<Step> {
    let mut table = item.table()?;
    let request = table.require("request", "request = \"GET endpoint /path\"");
    let request = request.and_then(|item| item.accept(parse_request(item.string()?)));
    let query = table.get("query").map(|item| strings(&item)).unwrap_or_default();
    let headers = table.get("headers").map(|item| strings(&item)).unwrap_or_default();
    let body = table.get("body").and_then(|item| body(&item));
    let answer = read_answer(&mut table);
    table.finish();
    let (method, endpoint, path) = request?;
    Some(Step {
        place: place(&item.location()),
        endpoint,
        method,
        path,
        query,
        headers,
        more_headers: true,
        body: Body::Json(body.map(|body| json_or_text(&body))),
        answer: answer?,
    })
}

fn read_answer(table: &mut Table<'_>) -> Option<Result<Response, HttpError>> {
    let status = table.get("status");
    let error = table.get("error");
    let headers = table.get("answer_headers").map(|item| strings(&item));
    let content = table.get("answer").and_then(|item| {
        let is_text = item.is_string();
        Some((body(&item)?, is_text))
    });
    match (status, error) {
        (Some(status), None) => {
            let code = status.count().and_then(|code| u16::try_from(code).ok());
            let code = code.filter(|code| (100..600).contains(code));
            if code.is_none() {
                status.note("must be an HTTP status, from 100 to 599");
            }
            let mut headers: Vec<(String, String)> = headers.unwrap_or_default();
            for (name, _) in &mut headers {
                *name = name.to_ascii_lowercase();
            }
            let is_json = content.as_ref().is_some_and(|(_, is_text)| !is_text);
            if is_json && !headers.iter().any(|(name, _)| name == "content-type") {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            Some(Ok(Response {
                status: code?,
                headers,
                body: content.map(|(body, _)| body).unwrap_or_default(),
            }))
        }
        (None, Some(error)) => {
            if headers.is_some() || content.is_some() {
                table.note("has `error`, so there is no answer; leave out `answer` and `answer_headers`");
            }
            error.accept(parse_error(error.string()?)).map(Err)
        }
        _ => {
            table.note("write either status = 200 or error = \"no-answer\"");
            None
        }
    }
}

fn parse_error(word: &str) -> Result<HttpError, String> {
    let kinds = [
        ("denied", Unanswered::Denied),
        ("not-sent", Unanswered::NotSent),
        ("no-answer", Unanswered::NoAnswer),
        ("too-large", Unanswered::TooLarge),
    ];
    let found = kinds.iter().find(|(name, _)| *name == word);
    let names = || kinds.iter().map(|(name, _)| *name);
    found
        .map(|(name, kind)| kind.with(format!("scripted: {name}")))
        .ok_or_else(|| format!("is not a transport error; {}", did_you_mean(word, names())))
}

/// `GET esign /restapi/v2.1/…`, as in a line of reach without its verb.
fn parse_request(text: &str) -> Result<(Method, String, String), String> {
    const WRITE: &str = "write request = \"GET endpoint /path\"";
    let words: Vec<&str> = text.split_whitespace().collect();
    let [method, endpoint, path] = words.as_slice() else {
        return Err(format!("is not a request; {WRITE}"));
    };
    if path.contains('?') {
        return Err("has a query in its path; write query = { name = \"value\" }".to_owned());
    }
    let method = parse_method(method).ok_or_else(|| format!("has no HTTP method that a connector has; {WRITE}"))?;
    Ok((method, (*endpoint).to_owned(), (*path).to_owned()))
}

/// A method by its name.
pub(super) fn parse_method(name: &str) -> Option<Method> {
    let all = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Patch,
        Method::Delete,
    ];
    all.into_iter().find(|method| method.to_string() == name)
}

/// `cases.toml:12`
pub(super) fn place(location: &Location) -> String {
    match location.line() {
        Some(line) => format!("{}:{line}", location.file().display()),
        None => location.file().display().to_string(),
    }
}

/// Text as it is, or a table or list as JSON.
fn body(item: &Item<'_>) -> Option<Vec<u8>> {
    if item.is_string() {
        return item.string().map(|text| text.as_bytes().to_vec());
    }
    match item.value() {
        DeValue::Table(_) | DeValue::Array(_) => json(item).map(|body| body.to_string().into_bytes()),
        other => item.wrong("a table or list, which is sent as JSON, or text in quotes", other),
    }
}

fn object(item: &Item<'_>) -> Option<Map<String, Value>> {
    item.table()?;
    match json(item)? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn strings(item: &Item<'_>) -> Vec<(String, String)> {
    let table = item.table();
    let entries = table.iter().flat_map(|table| {
        let entries = table
            .entries()
            .filter_map(|(name, item)| Some((name.to_owned(), item.string()?.to_owned())));
        entries.collect::<Vec<_>>()
    });
    entries.collect()
}

/// A whole number from 0 up.
pub(super) fn number(item: &Item<'_>) -> Option<u64> {
    match item.value() {
        DeValue::Integer(number) => item.accept(
            u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| "must be a whole number".to_owned()),
        ),
        other => item.wrong("a whole number", other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, String> {
        Script::parse(text, Path::new("cases.toml")).map_err(|error| error.to_string())
    }

    const CASE: &str = "[[case]]\nname = \"n\"\nverb = \"mint\"\nexpect = { token = true }\n";
    const EXCHANGE: &str = "[[case.exchange]]\nrequest = \"GET api /x\"\nstatus = 200\n";

    #[test]
    fn what_would_never_be_compared_is_an_error_at_its_line() {
        let expecting = |expect: &str| parse(&CASE.replace("token = true", expect));
        for (expect, key, beside) in [
            ("closed = true, code = \"X\"", "code", "failure"),
            ("accounts = [], until = 1", "until", "failure"),
            ("token = true, limit = \"X\"", "limit", "failure"),
            ("fault = \"x\", text = \"y\"", "text", "failure"),
            ("token = true, next = \"2\"", "next", "accounts"),
            ("failure = \"unexpected\", next = \"2\"", "next", "accounts"),
        ] {
            let error = expecting(expect).unwrap_err();
            let wanted = format!("cases.toml:4: case.0.expect.{key}: belongs to {beside} = ");
            assert!(error.contains(&wanted), "{error}");
        }
        let fine = "failure = \"unexpected\", text = \"x\", code = \"X\", until = 1, limit = \"X\"";
        for expect in [fine, "accounts = [], next = \"2\"", "fault = \"x\""] {
            assert!(expecting(expect).is_ok(), "{expect}");
        }
    }

    #[test]
    fn cases_and_exchanges_have_a_limit_each() {
        assert_eq!(parse(&CASE.repeat(MAX_CASES)).unwrap().cases.len(), MAX_CASES);
        assert!(
            parse(&CASE.repeat(MAX_CASES + 1))
                .unwrap_err()
                .contains("from 1 to 1000")
        );
        let with = |exchanges| parse(&format!("{CASE}{}", EXCHANGE.repeat(exchanges)));
        assert_eq!(with(MAX_EXCHANGES).unwrap().cases[0].steps.len(), MAX_EXCHANGES);
        assert!(with(MAX_EXCHANGES + 1).unwrap_err().contains("more than 65 exchanges"));
    }
}
