//! eSignature's error codes and statuses, row by row, through the simplest call that can meet them.

use plugin_docusign::description::Verb;
use plugin_docusign::{Account, Failure, HttpError, Limit, LimitKind, Response, read};
use serde_json::Value;

use crate::script::*;

fn reading(answer: impl Into<Scripted>) -> Result<Option<Account>, Failure> {
    let host = Script::during(Verb::Read).then(&one(LEAVER), answer);
    let result = read(&host, LEAVER, &TOKEN);
    host.ends();
    result
}

fn limit(answer: impl Into<Scripted>) -> Limit {
    match reading(answer).unwrap_err() {
        Failure::RateLimited(limit) => limit,
        other => panic!("{other:?}"),
    }
}

fn with_header(status: u16, body: &Value, name: &str, value: &str) -> Response {
    let mut response = response(status, body.to_string().as_bytes());
    response.headers.retain(|(field, _)| field != name);
    response.headers.push((name.into(), value.into()));
    response
}

#[test]
fn an_hourly_limit_waits_for_the_reset_at_400_and_429_and_in_any_case() {
    let message = "The maximum number of hourly API invocations has been exceeded. The hourly limit is 3000.";
    for status in [400, 429] {
        for code in [
            "HOURLY_APIINVOCATION_LIMIT_EXCEEDED",
            "Hourly_APIInvocation_Limit_Exceeded",
        ] {
            let limit = limit((status, error(code, message)));
            assert_eq!((limit.kind, limit.until), (LimitKind::Quota, Some(NOW + 300)));
            assert!(
                limit.message.contains(message) && limit.message.contains(TRACE),
                "{}",
                limit.message
            );
        }
    }
}

#[test]
fn a_reset_that_is_past_or_no_number_is_left_to_the_host() {
    let body = error("HOURLY_APIINVOCATION_LIMIT_EXCEEDED", "");
    for reset in [
        NOW.to_string(),
        "0".into(),
        "soon".into(),
        "-1".into(),
        "99999999999999999999".into(),
    ] {
        assert_eq!(
            limit(with_header(400, &body, "x-ratelimit-reset", &reset)).until,
            None,
            "{reset}"
        );
    }
}

#[test]
fn a_burst_limit_does_not_wait_for_the_hour() {
    for status in [400, 429] {
        let limit = limit((status, error("BURST_APIINVOCATION_LIMIT_EXCEEDED", "slow down")));
        assert_eq!((limit.kind, limit.until), (LimitKind::Burst, None));
        assert!(limit.message.contains(TRACE));
    }
}

#[test]
fn a_429_without_a_known_code_is_a_burst_unless_the_hour_is_used_up() {
    assert_eq!(limit((429, "")).kind, LimitKind::Burst);
    let spent = limit(with_header(429, &error("OTHER", ""), "x-ratelimit-remaining", "0"));
    assert_eq!((spent.kind, spent.until), (LimitKind::Quota, Some(NOW + 300)));
}

#[test]
fn a_token_that_is_not_accepted_is_unauthorized() {
    let message = "The access token provided is expired, revoked or malformed.";
    assert_told(
        reading((401, error("AUTHORIZATION_INVALID_TOKEN", message))),
        "unauthorized",
        &[message, TRACE],
    );
    assert_told(reading((401, "")), "unauthorized", &["HTTP 401", TRACE]);
    assert_told(
        reading((401, error("UNHEARD_OF", ""))),
        "unauthorized",
        &["UNHEARD_OF", TRACE],
    );
}

#[test]
fn a_token_on_the_wrong_host_names_the_bound_one_and_base_uri() {
    let rows = [
        (
            "USER_AUTHENTICATION_FAILED",
            "One or both of Username and Password are invalid. Invalid access token",
        ),
        (
            "PARTNER_AUTHENTICATION_FAILED",
            "The specified Integrator Key was not found or is disabled.",
        ),
    ];
    for (code, message) in rows {
        let parts = ["https://demo.docusign.net", "base_uri", "`esign`", code, message, TRACE];
        assert_told(reading((401, error(code, message))), "misconfigured", &parts);
    }
}

#[test]
fn a_missing_permission_is_named_whatever_the_status() {
    for code in [
        "USER_LACKS_PERMISSIONS",
        "ACCOUNT_LACKS_PERMISSIONS",
        "USER_NOT_ACCOUNT_ADMIN",
    ] {
        for status in [400, 401, 403] {
            let parts = [
                "account administrator",
                "\"Users and Groups and Administrators\"",
                code,
                TRACE,
            ];
            assert_told(reading((status, error(code, "no"))), "misconfigured", &parts);
        }
    }
    assert_told(
        reading((403, "<html>Forbidden</html>")),
        "misconfigured",
        &["account administrator", TRACE],
    );
}

#[test]
fn an_outage_is_unavailable() {
    for status in [408, 444, 500, 502, 503, 504, 599] {
        let parts = [format!("HTTP {status}")];
        assert_told(
            reading((status, "<html>Service\r\nUnavailable</html>")),
            "unavailable",
            &[&parts[0], TRACE],
        );
    }
    assert_told(
        reading(HttpError::NotSent("connection refused".into())),
        "unavailable",
        &["connection refused"],
    );
    assert_told(reading(HttpError::NoAnswer("reset".into())), "unavailable", &["reset"]);
}

#[test]
fn any_other_code_is_a_refusal_in_docusigns_words() {
    let answer = (
        400,
        error(
            "INVALID_REQUEST_PARAMETER",
            "The request contained at least one invalid parameter.",
        ),
    );
    let parts = [
        "[INVALID_REQUEST_PARAMETER]",
        "at least one invalid parameter",
        "HTTP 400",
        TRACE,
    ];
    assert_told(reading(answer), "refused", &parts);
    assert_told(
        reading((404, error("ENDPOINT_GONE", ""))),
        "refused",
        &["[ENDPOINT_GONE]", TRACE],
    );
    assert_told(
        reading((415, error("UNSUPPORTED_MEDIA_TYPE", ""))),
        "refused",
        &["[UNSUPPORTED_MEDIA_TYPE]", TRACE],
    );
}

#[test]
fn an_error_without_a_code_is_unexpected() {
    for status in [400, 404, 415] {
        for body in [
            "",
            "<html>Bad Request</html>",
            "{\"errorCode\":\"USER_LACKS_MEM",
            "[]",
            "{\"errorCode\":7}",
        ] {
            assert_told(
                reading((status, body)),
                "unexpected",
                &[&format!("HTTP {status}"), TRACE],
            );
        }
    }
    assert_told(reading((100, "")), "unexpected", &["HTTP 100", TRACE]);
}

#[test]
fn a_redirect_is_not_an_answer() {
    let mut answer = response(302, b"");
    answer
        .headers
        .push(("location".into(), "https://evil.example/\u{1b}[2J".into()));
    assert_told(
        reading(answer),
        "unexpected",
        &["redirect to `https://evil.example/ [2J`", TRACE],
    );
}

#[test]
fn a_success_that_cannot_be_read_is_unexpected() {
    for body in [
        "",
        "   ",
        "<html>ok</html>",
        "{\"userId\":\"6b67a1ee",
        "{}",
        "[]",
        "null",
        "7",
    ] {
        assert_told(reading((200, body)), "unexpected", &["HTTP 200", TRACE]);
    }
    assert_told(reading((204, "")), "unexpected", &["empty body", TRACE]);
}

#[test]
fn a_host_that_says_no_is_passed_on() {
    assert_eq!(
        told(reading(HttpError::Denied("write reach".into()))),
        ("denied", "write reach".to_owned())
    );
    assert_told(
        reading(HttpError::TooLarge("over 8 MiB".into())),
        "unexpected",
        &["over 8 MiB"],
    );
}

#[test]
fn what_a_target_writes_is_cut_to_a_line() {
    let long = "x".repeat(10_000);
    let (_, text) = told(reading((400, error("A_CODE", &format!("first\nsecond\u{7}{long}")))));
    assert!(text.contains("first second x") && text.chars().count() < 500, "{text}");
    let at_limit = "y".repeat(300);
    assert!(
        told(reading((400, error("A_CODE", &at_limit))))
            .1
            .contains(&format!("{at_limit} ("))
    );
    assert!(
        told(reading((400, error("A_CODE", &format!("{at_limit}y")))))
            .1
            .contains(&format!("{at_limit}… ("))
    );
}

#[test]
fn settings_that_are_wrong_are_told_before_anything_is_sent() {
    let rows = [
        (
            "user_id",
            "connector@acme.example",
            "settings.user_id is an e-mail address; write the User ID",
        ),
        ("user_id", "not-a-guid", "settings.user_id is not a GUID"),
        (
            "account_id",
            "1234567",
            "settings.account_id is not a GUID; write the API Account ID",
        ),
        (
            "integration_key",
            "",
            "settings.integration_key is not a GUID; write the Integration Key",
        ),
        ("wire", "fax", "settings.wire is neither"),
        (
            "redirect_uri",
            "javascript:alert(1)",
            "settings.redirect_uri is not a URL",
        ),
    ];
    for (name, value, text) in rows {
        let host = Script::during(Verb::Read).setting(name, value.into());
        assert_told(read(&host, LEAVER, &TOKEN), "misconfigured", &[text]);
    }
}
