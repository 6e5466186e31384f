//! What should come of a case, and how what came differs.

use serde_json::{Map, Value, json};

use super::case::{number, place};
use super::target::Difference;
use crate::evidence::{AccountAnswer, Answer, FailureAnswer};
use crate::tenant::{Item, Location, Table, did_you_mean, json as to_json};

/// The fields of an account, as a script writes them.
const FIELDS: [&str; 8] = [
    "id",
    "email",
    "name",
    "standing",
    "native_status",
    "admin",
    "externally_managed",
    "attributes",
];

/// What should come of a case.
#[derive(Debug)]
pub struct Expected {
    place: Location,
    end: End,
}

#[derive(Debug)]
enum End {
    Token,
    Closed,
    /// Accounts with the fields that count, and the next page's cursor.
    Accounts(Vec<Map<String, Value>>, Option<String>),
    Failure {
        kind: String,
        text: Option<String>,
        code: Option<String>,
        until: Option<u64>,
        limit: Option<String>,
    },
    Fault(String),
}

impl Expected {
    /// Reads `expect`.
    pub(super) fn read(item: &Item<'_>) -> Option<Self> {
        let mut table = item.table()?;
        let token = table.get("token").and_then(|item| item.boolean());
        let closed = table.get("closed").and_then(|item| item.boolean());
        let accounts = table.get("accounts").and_then(|item| item.list());
        let mut text = |key| {
            let item = table.get(key)?;
            item.string().map(str::to_owned)
        };
        let (next, part, code) = (text("next"), text("text"), text("code"));
        let (limit, fault) = (text("limit"), text("fault"));
        let until = table.get("until").and_then(|item| number(&item));
        let kind = table.get("failure");
        let ends = [
            token.is_some(),
            closed.is_some(),
            accounts.is_some(),
            kind.is_some(),
            fault.is_some(),
        ];
        if ends.iter().filter(|is_there| **is_there).count() != 1 {
            table.note("must have one of: token = true, closed = true, accounts = […], failure = \"…\", fault = \"…\"");
        }
        if token == Some(false) || closed == Some(false) {
            table.note("cannot be false; write failure = \"…\" instead");
        }
        if kind.is_none() {
            misplaced(&mut table, &["text", "code", "until", "limit"], "failure = \"…\"");
        }
        if accounts.is_none() {
            misplaced(&mut table, &["next"], "accounts = […]");
        }
        table.finish();
        let end = match (kind, accounts, fault) {
            (Some(kind), ..) => End::Failure {
                kind: kind.accept(failure_kind(kind.string()?))?,
                text: part,
                code,
                until,
                limit,
            },
            (None, Some(accounts), _) => End::Accounts(accounts.iter().filter_map(account).collect(), next),
            (None, None, Some(fault)) => End::Fault(fault),
            (None, None, None) if token.is_some() => End::Token,
            (None, None, None) => End::Closed,
        };
        let place = item.location();
        Some(Self { place, end })
    }

    /// How what came differs; nothing where it is as it should be.
    #[must_use]
    pub fn compare(&self, came: &Answer) -> Vec<Difference> {
        match (&self.end, came) {
            (End::Token, Answer::Token) | (End::Closed, Answer::Closed) => Vec::new(),
            (End::Accounts(wanted, next), Answer::Accounts(accounts)) => {
                self.compare_accounts(wanted, accounts, next.as_deref(), None)
            }
            (End::Accounts(wanted, next), Answer::Page(accounts, after)) => {
                self.compare_accounts(wanted, accounts, next.as_deref(), Some(after))
            }
            (
                End::Failure {
                    kind,
                    text,
                    code,
                    until,
                    limit,
                },
                Answer::Failure(failure),
            ) if *kind == failure.kind => {
                let mut differences = Vec::new();
                if let Some(part) = text.as_ref().filter(|part| !failure.text.contains(*part)) {
                    differences.push(self.difference("text", format!("…{part}…"), failure.text.clone()));
                }
                let exact = [
                    ("code", code.clone(), failure.code.clone()),
                    (
                        "until",
                        until.map(|until| until.to_string()),
                        failure.until.map(|until| until.to_string()),
                    ),
                    ("limit", limit.clone(), failure.limit.clone()),
                ];
                for (what, wanted, came) in exact {
                    if let Some(wanted) = wanted.filter(|wanted| came.as_ref() != Some(wanted)) {
                        differences.push(self.difference(what, wanted, came.unwrap_or_else(|| "none".to_owned())));
                    }
                }
                differences
            }
            (End::Fault(part), Answer::Fault(text)) if text.contains(part) => Vec::new(),
            _ => vec![self.difference("result", self.to_string(), describe(came))],
        }
    }

    fn compare_accounts(
        &self,
        wanted: &[Map<String, Value>],
        came: &[AccountAnswer],
        next: Option<&str>,
        after: Option<&str>,
    ) -> Vec<Difference> {
        let mut differences = Vec::new();
        if wanted.len() != came.len() {
            let ids: Vec<&str> = came.iter().map(|account| account.id.as_str()).collect();
            let expected = format!("{} accounts", wanted.len());
            differences.push(self.difference("accounts", expected, format!("{}: {}", came.len(), ids.join(", "))));
        }
        for (number, (wanted, came)) in wanted.iter().zip(came).enumerate() {
            let came = fields(came);
            for (field, wanted) in wanted {
                if &came[field] != wanted {
                    let what = format!("accounts.{number}.{field}");
                    differences.push(self.difference(&what, wanted.to_string(), came[field].to_string()));
                }
            }
        }
        if next != after {
            let text = |cursor: Option<&str>| cursor.unwrap_or("none").to_owned();
            differences.push(self.difference("next", text(next), text(after)));
        }
        differences
    }

    fn difference(&self, what: &str, expected: String, came: String) -> Difference {
        Difference {
            place: place(&self.place),
            what: what.to_owned(),
            expected,
            came,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.end {
            End::Token => f.write_str("a token"),
            End::Closed => f.write_str("closed"),
            End::Accounts(accounts, _) => write!(f, "{} accounts", accounts.len()),
            End::Failure { kind, .. } => write!(f, "failure `{kind}`"),
            End::Fault(part) => write!(f, "a fault: …{part}…"),
        }
    }
}

/// An answer in one line.
#[must_use]
pub fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Token => "a token".to_owned(),
        Answer::Closed => "closed".to_owned(),
        Answer::Accounts(accounts) => format!("{} accounts", accounts.len()),
        Answer::Page(accounts, next) => format!("{} accounts, and more at `{next}`", accounts.len()),
        Answer::Failure(failure) => format!("failure `{}`: {}", failure.kind, failure.text),
        Answer::Fault(text) => format!("a fault: {text}"),
    }
}

fn fields(account: &AccountAnswer) -> Value {
    let mut fields = json!(account);
    fields["attributes"] = account
        .attributes
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    fields
}

fn account(item: &Item<'_>) -> Option<Map<String, Value>> {
    let mut table = item.table()?;
    let mut fields = Map::new();
    for field in FIELDS {
        if let Some(value) = table.get(field).and_then(|item| to_json(&item)) {
            fields.insert(field.to_owned(), value);
        }
    }
    table.finish();
    Some(fields)
}

/// Notes what would never be compared, so that a case does not seem to show more than it does.
fn misplaced(table: &mut Table<'_>, keys: &[&'static str], beside: &str) {
    for key in keys {
        if let Some(item) = table.get(key) {
            item.note(format!(
                "belongs to {beside}, which is not there; leave it out, it would never be compared"
            ));
        }
    }
}

fn failure_kind(word: &str) -> Result<String, String> {
    if FailureAnswer::KINDS.contains(&word) {
        return Ok(word.to_owned());
    }
    Err(format!(
        "is not a failure; {}",
        did_you_mean(word, FailureAnswer::KINDS)
    ))
}
