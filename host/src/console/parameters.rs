//! The query of a list: each parameter once, known by name, and short.
//!
//! Read by hand and not by serde, whose errors name neither what was meant instead nor which of two was one too many.

use std::str::FromStr;

use axum::extract::RawQuery;
use axum::http::StatusCode;

use super::problem::Problem;
use crate::journal::{MAX_PAGE, Page};
use crate::tenant::did_you_mean;

/// Longest query value: 512 bytes. The longest of them, an e-mail address, has 320.
const MAX_VALUE_BYTES: usize = 512;

/// The values of these parameters, in the order of their names; none where one is not given.
pub(super) fn parameters<const N: usize>(
    RawQuery(query): RawQuery,
    names: [&str; N],
) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let Some(place) = names.iter().position(|name| *name == key) else {
            let hint = did_you_mean(&key, names);
            return Err(Problem::invalid(format!("unknown parameter; {hint}")));
        };
        if value.len() > MAX_VALUE_BYTES {
            return Err(Problem::invalid(format!(
                "`{key}` is over {MAX_VALUE_BYTES} bytes, the limit"
            )));
        }
        if values[place].replace(value.into_owned()).is_some() {
            return Err(Problem::invalid(format!("`{key}` is given twice")));
        }
    }
    Ok(values)
}

/// Which page is asked for.
pub(super) fn page<Id: FromStr>(cursor: Option<&str>, limit: Option<&str>) -> Result<Page<Id>, Problem> {
    let wrong = |_| Problem::invalid("`cursor` is not the `next` of an earlier page");
    Ok(Page {
        before: cursor.map(|text| text.parse().map_err(wrong)).transpose()?,
        limit: limit.map_or(Ok(Page::<Id>::default().limit), parse_limit)?,
    })
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
