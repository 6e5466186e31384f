//! The query of a list: each parameter once, known by name, and short.
//!
//! Read by hand and not by serde, whose errors name neither what was meant instead nor which of two was one too many.

use std::collections::HashMap;
use std::str::FromStr;

use axum::extract::RawQuery;
use axum::http::StatusCode;

use super::problem::Problem;
use crate::journal::{MAX_PAGE, Page};
use crate::tenant::did_you_mean;

/// Longest query value: 512 bytes. The longest of them, an e-mail address, has 320.
const MAX_VALUE_BYTES: usize = 512;

/// The parameters of a query that are known there.
#[derive(Debug)]
pub(super) struct Parameters {
    names: &'static [&'static str],
    values: HashMap<&'static str, String>,
}

impl Parameters {
    /// Reads a query.
    ///
    /// # Errors
    /// One that is not among the names, is given twice or is too long.
    pub(super) fn read(RawQuery(query): RawQuery, names: &'static [&'static str]) -> Result<Self, Problem> {
        let mut values = HashMap::new();
        for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(name) = names.iter().find(|name| **name == key) else {
                let hint = did_you_mean(&key, names.iter().copied());
                return Err(Problem::invalid(format!("unknown parameter; {hint}")));
            };
            if value.len() > MAX_VALUE_BYTES {
                return Err(Problem::invalid(format!(
                    "`{key}` is over {MAX_VALUE_BYTES} bytes, the limit"
                )));
            }
            if values.insert(*name, value.into_owned()).is_some() {
                return Err(Problem::invalid(format!("`{key}` is given twice")));
            }
        }
        Ok(Self { names, values })
    }

    /// The value of a parameter, where it is given.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        debug_assert!(self.names.contains(&name), "{name} is not read");
        self.values.remove(name)
    }

    /// The value of a parameter as `parse` makes it.
    pub(super) fn take_as<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Result<Option<T>, Problem> {
        self.take(name).map(|value| parse(&value)).transpose()
    }

    /// Which page is asked for.
    pub(super) fn page<Id: FromStr>(&mut self) -> Result<Page<Id>, Problem> {
        let wrong = |_| Problem::invalid("`cursor` is not the `next` of an earlier page");
        Ok(Page {
            before: self.take_as("cursor", |text| text.parse().map_err(wrong))?,
            limit: self
                .take_as("limit", parse_limit)?
                .unwrap_or(Page::<Id>::default().limit),
        })
    }
}

fn parse_limit(text: &str) -> Result<u32, Problem> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
    limit.ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("`limit` is a number from 1 to {MAX_PAGE}"),
        )
    })
}
