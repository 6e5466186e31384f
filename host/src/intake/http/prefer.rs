//! `Prefer: wait=SECONDS` (RFC 7240 §4.3).

use std::time::Duration;

use axum::http::HeaderMap;

use super::limits::MAX_WAIT;

/// For how long the caller would wait for an outcome, at most [`MAX_WAIT`]; none where it says nothing that we know.
///
/// Of several `wait`s the first counts, as the RFC has it; one that is no number is as if it were not there.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    let first = lines
        .flat_map(preferences)
        .find(|(name, _)| name.eq_ignore_ascii_case("wait"));
    let seconds = first?.1?.parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

/// The preferences of a line, as (name, value), without their parameters.
fn preferences(line: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    split(line, ',').map(|preference| {
        let preference = split(preference, ';').next().unwrap_or_default();
        match preference.split_once('=') {
            None => (preference.trim(), None),
            Some((name, value)) => (name.trim(), Some(unquoted(value.trim()))),
        }
    })
}

/// Splits at a mark outside of quotes.
fn split(text: &str, mark: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let ends = c == mark && !quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        ends
    })
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn seconds(lines: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("prefer", HeaderValue::from_str(line).unwrap());
        }
        wait(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_found_among_other_preferences() {
        for (lines, expected) in [
            (&["wait=10"][..], Some(10)),
            (&["respond-async, WAIT=10"], Some(10)),
            (&["wait = 10 ; foo=\"a,b;c\""], Some(10)),
            (&["wait=\"10\""], Some(10)),
            (&["handling=\"x, wait=1\", wait=2"], Some(2)),
            (&["handling=\"x\\\", wait=1\", wait=2"], Some(2)),
            (&["return=minimal", "wait=3, wait=4"], Some(3)),
            (&["wait=0"], Some(0)),
            (&["wait=80"], Some(80)),
            (&["wait=81"], Some(80)),
            (&["wait=99999999999"], Some(80)),
            (&["wait"], None),
            (&["wait="], None),
            (&["wait=-1"], None),
            (&["wait=1.5"], None),
            (&["wait=99999999999999999999999"], None),
            (&["await=1"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(seconds(lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_harm(line in "[ -~]{0,60}") {
            let most = MAX_WAIT.as_secs();
            prop_assert!(seconds(&[&line]).is_none_or(|seconds| seconds <= most));
        }

        #[test]
        fn what_stands_in_quotes_is_no_preference(text in "[a-z=, ;]{0,20}", number in 0_u64..80) {
            let line = format!("other=\"{text}\", wait={number}");
            prop_assert_eq!(seconds(&[&line]), Some(number));
        }
    }
}
