use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::IntakeLimits;
use super::testing::{
    House, NEW, OLD, Reply, SIGN_NEW, SIGN_OLD, events, native_change, open_source, request, seconds_from_now, send,
    send_signed, signed,
};
use crate::intake::MAX_EVENT_BYTES;
use crate::journal::{Decision, JobFilter, JobState, Page};

async fn states(house: &House, reply: &Reply) -> Vec<(String, JobState)> {
    let event = house.recorded(reply).await.summary.id;
    let filter = JobFilter {
        event: Some(event),
        ..JobFilter::default()
    };
    let jobs = house.journal.jobs(&filter, Page::default()).await.unwrap().items;
    let mut jobs: Vec<_> = jobs
        .into_iter()
        .map(|job| (job.lane.connector().to_owned(), job.state))
        .collect();
    jobs.sort_by(|one, other| one.0.cmp(&other.0));
    jobs
}

fn held(why: &str) -> JobState {
    JobState::Held { why: why.to_owned() }
}

#[tokio::test]
async fn a_leaver_from_sailpoint_is_on_disk_with_its_jobs_when_200_comes() {
    let house = House::open().await;
    let event = native_change("ann");
    let reply = house.event("hr", &event).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let answer = reply.json();
    assert_eq!(
        (&answer["decision"], &answer["duplicate"]),
        (&json!("leaver"), &json!(false))
    );
    assert_eq!(answer["reason"], "userStatus became \"inactive\" (was \"active\")");
    assert_eq!(answer.as_object().unwrap().len(), 4, "{answer}");

    let record = house.recorded(&reply).await;
    assert_eq!(record.body, event.to_string().into_bytes());
    assert_eq!(
        (record.summary.tenant.as_str(), record.summary.source.as_str()),
        ("acme", "hr")
    );
    let person: Value = serde_json::from_str(record.summary.person.as_deref().unwrap()).unwrap();
    assert_eq!(
        person,
        json!({"id": "identity-ann", "email": "ann@acme.example", "name": "ann"})
    );
    let queued = |name: &str| (name.to_owned(), JobState::Queued);
    assert_eq!(states(&house, &reply).await, [queued("docusign"), queued("second")]);
    let by_person = JobFilter {
        person: Some("Ann@acme.example".to_owned()),
        ..JobFilter::default()
    };
    assert_eq!(
        house
            .journal
            .jobs(&by_person, Page::default())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
}

#[tokio::test]
async fn a_source_feeds_the_connectors_that_it_names() {
    let house = House::open().await;
    let pair = STANDARD.encode(format!("isc:{NEW}"));
    let headers = [("authorization", format!("Basic {pair}"))];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reply = house
        .post(&events("basic"), &headers, native_change("ann").to_string())
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        states(&house, &reply).await,
        [("docusign".to_owned(), JobState::Queued)]
    );
}

#[tokio::test]
async fn what_is_no_leaver_is_recorded_without_jobs() {
    let house = House::open().await;
    let mut event = native_change("ann");
    event["singleValueAttributeChanges"][0]["newValue"] = json!("on leave");
    let reply = house.event("hr", &event).await;
    assert_eq!((reply.status, &reply.json()["decision"]), (200, &json!("not_a_leaver")));
    let record = house.recorded(&reply).await;
    assert_eq!((record.summary.decision, record.jobs.len()), (Decision::NotALeaver, 0));

    let mut event = native_change("ann");
    event["account"]["correlated"] = json!(false);
    let reply = house.event("hr", &event).await;
    assert_eq!((reply.status, &reply.json()["decision"]), (200, &json!("refused")));
    assert!(house.recorded(&reply).await.summary.reason.contains("not correlated"));

    let bearer = format!("Bearer {NEW}");
    let reply = house
        .post(&events("hr"), &[("authorization", &bearer)], "no JSON")
        .await;
    assert_eq!((reply.status, &reply.json()["decision"]), (200, &json!("refused")));
    assert_eq!(house.recorded(&reply).await.body, b"no JSON");
}

#[tokio::test]
async fn from_outside_nothing_tells_a_wrong_secret_from_a_source_or_tenant_that_is_not_there() {
    let house = House::open().await;
    let body = native_change("ann").to_string();
    let paths = [
        events("hr"),
        events("hook"),
        events("basic"),
        events("nowhere"),
        "/v1/tenants/nobody/sources/hr/events".to_owned(),
        "/v1/tenants/%ff/sources/hr/events".to_owned(),
    ];
    let now = seconds_from_now(0);
    let forged = signed(&format!("whsec_{}", STANDARD.encode([9; 24])), "msg_1", now, &body);
    let bearer = [("authorization", "Bearer wrong".to_owned())];
    let basic = [("authorization", format!("Basic {}", STANDARD.encode("isc:wrong")))];
    let none: [(&str, String); 0] = [];
    let mut answers = Vec::new();
    for path in &paths {
        for headers in [&forged[..], &bearer, &basic, &none] {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            answers.push(house.post(path, &headers, &body).await);
        }
    }
    answers[0].problem(401);
    assert!(answers[0].header("www-authenticate").is_some());
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    assert_eq!(house.count().await, 0);
}

#[tokio::test]
async fn while_a_secret_is_changed_the_old_and_the_new_one_hold() {
    let house = House::open().await;
    for secret in [OLD, NEW] {
        let bearer = format!("Bearer {secret}");
        let reply = house
            .post(
                &events("hr"),
                &[("authorization", &bearer)],
                native_change("ann").to_string(),
            )
            .await;
        assert_eq!(reply.status, 200);
    }
    let leaver = json!({"type": "left", "email": "ann@acme.example"});
    for (id, secret) in [("msg_1", SIGN_OLD), ("msg_2", SIGN_NEW)] {
        assert_eq!(
            send_signed(&house, secret, id, seconds_from_now(0), &leaver)
                .await
                .status,
            202
        );
    }
}

#[tokio::test]
async fn a_signed_message_that_comes_again_is_the_first_one_for_ever() {
    let house = House::open().await;
    let leaver = json!({"type": "left", "email": "ann@acme.example"});
    let first = send_signed(&house, SIGN_NEW, "msg_1", seconds_from_now(0), &leaver).await;
    assert_eq!((first.status, &first.json()["duplicate"]), (202, &json!(false)));
    // A sender signs each of its tries anew.
    house.clock.advance(std::time::Duration::from_secs(86_400));
    let again = send_signed(&house, SIGN_NEW, "msg_1", seconds_from_now(86_400), &leaver).await;
    assert_eq!((again.status, &again.json()["duplicate"]), (202, &json!(true)));
    assert_eq!(again.json()["event"], first.json()["event"]);
    assert_eq!(house.count().await, 1);
    let other = send_signed(&house, SIGN_NEW, "msg_2", seconds_from_now(86_400), &leaver).await;
    assert_eq!(other.json()["duplicate"], false);
}

#[tokio::test]
async fn a_signed_message_of_another_time_is_not_taken() {
    let house = House::open().await;
    let leaver = json!({"type": "left", "email": "ann@acme.example"});
    for (seconds, status) in [(-301, 401), (301, 401), (-300, 202), (300, 202)] {
        let reply = send_signed(&house, SIGN_NEW, "msg_1", seconds_from_now(seconds), &leaver).await;
        assert_eq!(reply.status, status, "{seconds}");
    }
}

#[tokio::test]
async fn the_same_content_is_a_duplicate_however_it_is_written() {
    let house = House::open().await;
    let bearer = format!("Bearer {NEW}");
    let first = house.event("hr", &native_change("ann")).await.json();
    let spaced = serde_json::to_string_pretty(&native_change("ann")).unwrap();
    let turned = r#"{"account":{"type":"ACCOUNT","name":"ann","id":"account-ann","correlated":true},"eventType":
        "ACCOUNT_UPDATED","singleValueAttributeChanges":[{"newValue":"inactive","oldValue":"on leave","name":"userStatus"}],
        "source":{"id":"source-7"},"identity":{"id":"identity-ann","email":"Ann@acme.example"}}"#;
    for body in [spaced.as_str(), turned] {
        let again = house
            .post(&events("hr"), &[("authorization", &bearer)], body)
            .await
            .json();
        assert_eq!(
            (&again["duplicate"], &again["event"]),
            (&json!(true), &first["event"]),
            "{body}"
        );
        assert_eq!(
            (&again["decision"], &again["reason"]),
            (&first["decision"], &first["reason"])
        );
    }
    type Change<'a> = &'a dyn Fn(&mut Value);
    let others: [(&str, Change<'_>); 6] = [
        ("source", &|event| event["source"]["id"] = json!("source-8")),
        ("account", &|event| event["account"]["id"] = json!("account-2")),
        ("identity", &|event| event["identity"]["id"] = json!("identity-2")),
        ("address", &|event| {
            event["identity"]["email"] = json!("ann.english@acme.example")
        }),
        ("value", &|event| {
            event["singleValueAttributeChanges"][0]["newValue"] = json!("INACTIVE")
        }),
        ("type", &|event| event["eventType"] = json!("ACCOUNT_CREATED")),
    ];
    for (what, change) in others {
        let mut event = native_change("ann");
        change(&mut event);
        let other = house.event("hr", &event).await.json();
        assert_eq!(
            (&other["duplicate"], &other["decision"]),
            (&json!(false), &json!("leaver")),
            "another {what}"
        );
    }
    let pair = format!("Basic {}", STANDARD.encode(format!("isc:{NEW}")));
    let elsewhere = house
        .post(
            &events("basic"),
            &[("authorization", &pair)],
            native_change("ann").to_string(),
        )
        .await;
    assert_eq!(elsewhere.json()["duplicate"], false, "another source");
}

#[tokio::test]
async fn a_mapped_id_tells_repetitions_and_one_that_is_missing_leaves_it_to_the_content() {
    let house = House::open().await;
    let at = super::testing::NOW;
    let first = house
        .event(
            "shop",
            &json!({"type": "left", "email": "a@b.example", "id": 17, "at": at}),
        )
        .await;
    assert_eq!(first.status, 202);
    assert_eq!(house.recorded(&first).await.summary.source_id.as_deref(), Some("17"));
    let again = house
        .event(
            "shop",
            &json!({"type": "left", "email": "A@b.example", "id": "17", "at": at, "more": 1}),
        )
        .await;
    let other = json!({"type": "left", "email": "other@b.example", "id": "17", "at": at});
    let other = house.event("shop", &other).await.json();
    assert_eq!(other["duplicate"], false, "one id for two people: {other}");
    assert_eq!(
        (&again.json()["duplicate"], &again.json()["event"]),
        (&json!(true), &first.json()["event"])
    );

    let without = json!({"type": "left", "email": "a@b.example", "at": at});
    let first = house.event("shop", &without).await.json();
    assert_eq!(first["duplicate"], false);
    assert!(
        first["reason"]
            .as_str()
            .unwrap()
            .contains("the mapping id = \"$.id\" leads to nothing"),
        "{first}"
    );
    assert_eq!(house.event("shop", &without).await.json()["event"], first["event"]);
    // As one leaver for all events without an id, the second person would stay.
    for (number, empty) in ["", " "].iter().enumerate() {
        let of =
            |who: &str| json!({"type": "left", "email": format!("{who}{number}@b.example"), "id": empty, "at": at});
        let (ann, bob) = (
            house.event("shop", &of("ann")).await,
            house.event("shop", &of("bob")).await,
        );
        assert_eq!(
            (&ann.json()["duplicate"], &bob.json()["duplicate"]),
            (&json!(false), &json!(false))
        );
        let reason = bob.json()["reason"].as_str().unwrap().to_owned();
        assert!(
            reason.contains("the mapping id = \"$.id\" leads to an empty text"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn an_event_that_made_no_job_is_judged_again() {
    let house = House::open().await;
    let now = seconds_from_now(0);
    let refused = send_signed(&house, SIGN_NEW, "msg_1", now, &json!({"type": "left"})).await;
    assert_eq!(refused.json()["decision"], "refused");
    let repaired = json!({"type": "left", "email": "ann@acme.example"});
    let corrected = send_signed(&house, SIGN_NEW, "msg_1", now, &repaired).await;
    assert_eq!(
        (&corrected.json()["decision"], &corrected.json()["duplicate"]),
        (&json!("leaver"), &json!(false))
    );
}

#[tokio::test]
async fn a_documented_sample_waits_for_somebody() {
    let house = House::open().await;
    let mut event = native_change("ann");
    event["account"]["id"] = json!("2c91808378eb9fa30178fb9481a30afa");
    let reply = house.event("hr", &event).await;
    assert_eq!((reply.status, &reply.json()["decision"]), (200, &json!("leaver")));
    assert_eq!(states(&house, &reply).await[0].1, held("sample-event"));
}

#[tokio::test]
async fn an_event_that_is_too_old_or_of_unknown_age_waits_for_somebody() {
    let house = House::open().await;
    let two_days = 2 * 86_400;
    let cases = [
        (json!(seconds_from_now(-two_days)), JobState::Queued),
        (json!(seconds_from_now(-two_days - 1)), held("old-event")),
        (
            json!((seconds_from_now(-two_days) * 1000).to_string()),
            JobState::Queued,
        ),
        (json!(seconds_from_now(-two_days) * 1000 - 1), held("old-event")),
        (json!("2026-11-21T14:00:00+02:00"), JobState::Queued),
        (json!("2026-11-21T13:59:59+02:00"), held("old-event")),
        (json!(seconds_from_now(86_400)), JobState::Queued),
        (json!(seconds_from_now(86_401)), held("unknown-age")),
        (json!("yesterday"), held("unknown-age")),
        (json!("1e999"), held("unknown-age")),
        (Value::Null, held("unknown-age")),
    ];
    for (number, (at, expected)) in cases.into_iter().enumerate() {
        let event = json!({"type": "left", "email": "a@b.example", "id": number, "at": at});
        let reply = house.event("shop", &event).await;
        assert_eq!(reply.status, 202);
        assert_eq!(states(&house, &reply).await[0].1, expected, "{event}");
    }
}

#[tokio::test]
async fn a_body_may_have_its_limit_and_not_a_byte_more() {
    let house = House::open().await;
    let bearer = format!("Bearer {NEW}");
    let sized = |bytes: usize| {
        let mut event = native_change("ann");
        event["padding"] = json!("");
        let short = event.to_string().len();
        event["padding"] = json!("x".repeat(bytes - short));
        event.to_string()
    };
    let reply = house
        .post(&events("hr"), &[("authorization", &bearer)], sized(MAX_EVENT_BYTES))
        .await;
    assert_eq!((reply.status, &reply.json()["decision"]), (200, &json!("leaver")));
    let reply = house
        .post(&events("hr"), &[("authorization", &bearer)], sized(MAX_EVENT_BYTES + 1))
        .await;
    assert!(reply.problem(413).contains("1048576 bytes"));
    assert_eq!(
        reply.header("connection"),
        Some("close"),
        "the next event must take another"
    );

    let chunked = |bytes: usize| {
        let head = [("authorization", bearer.as_str()), ("transfer-encoding", "chunked")];
        let body = sized(bytes);
        let chunks = [
            format!("{:x}\r\n", body.len()).as_bytes(),
            body.as_bytes(),
            b"\r\n0\r\n\r\n",
        ]
        .concat();
        request(&events("hr"), &head, &chunks)
    };
    assert_eq!(send(house.address, &chunked(MAX_EVENT_BYTES)).await.status, 200);
    send(house.address, &chunked(MAX_EVENT_BYTES + 1)).await.problem(413);
}

#[tokio::test]
async fn a_body_must_be_plain_json_by_its_headers() {
    let house = House::open().await;
    let bearer = format!("Bearer {NEW}");
    for (name, value, status) in [
        ("content-type", "application/json; charset=utf-8", 200),
        ("content-type", "application/vnd.sailpoint+json", 200),
        ("content-encoding", "identity", 200),
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
        ("content-encoding", "gzip", 415),
    ] {
        let headers = [("authorization", bearer.as_str()), (name, value)];
        let reply = house
            .post(&events("hr"), &headers, native_change("ann").to_string())
            .await;
        assert_eq!(reply.status, status, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let limits = IntakeLimits {
        body_time: std::time::Duration::from_millis(50),
        ..IntakeLimits::default()
    };
    let house = House::with(limits).await;
    let bearer = format!("Bearer {NEW}");
    let headers = [("authorization", bearer.as_str()), ("content-length", "100")];
    send(house.address, &request(&events("hr"), &headers, b"{\"a\":"))
        .await
        .problem(408);
    assert_eq!(house.count().await, 0);
}

#[tokio::test]
async fn a_stranger_is_not_read_and_uses_up_nothing_of_a_tenants() {
    let limits = IntakeLimits {
        events_per_second: 1,
        ..IntakeLimits::default()
    };
    let house = House::with(limits).await;
    for _ in 0..5 {
        let headers = [("authorization", "Bearer wrong"), ("content-length", "100")];
        send(house.address, &request(&events("hr"), &headers, b"{"))
            .await
            .problem(401);
    }
    // One a second comes back, so on a slow machine more than two may pass before the first that does not.
    for number in 1..50 {
        let reply = house.event("hr", &native_change("ann")).await;
        if reply.status == 429 {
            assert!(
                number > 2 && reply.problem(429).contains("too many events of this tenant"),
                "{number}"
            );
            assert_eq!(reply.header("retry-after"), Some("1"));
            return;
        }
        assert_eq!(reply.status, 200);
    }
    panic!("the tenant is never limited");
}

#[tokio::test]
async fn all_together_are_counted_before_anything_else() {
    let limits = IntakeLimits {
        requests_per_second: 1,
        ..IntakeLimits::default()
    };
    let house = House::with(limits).await;
    house.post(&events("hr"), &[], "{}").await.problem(401);
    for _ in 1..50 {
        let reply = house.event("hr", &native_change("ann")).await;
        if reply.status == 429 {
            assert!(reply.problem(429).contains("too many requests"));
            return;
        }
    }
    panic!("nobody is ever limited");
}

#[tokio::test]
async fn without_a_journal_the_answer_is_503_and_never_200() {
    let house = House::open().await;
    house.journal.close().await;
    let reply = house.event("hr", &native_change("ann")).await;
    assert!(reply.problem(503).contains("send it again"));
    assert!(reply.header("retry-after").is_some());
}

#[tokio::test]
async fn only_post_is_taken() {
    let house = House::open().await;
    let text = format!("GET {} HTTP/1.1\r\nhost: exeunt\r\n\r\n", events("hr"));
    let reply = send(house.address, text.as_bytes()).await;
    assert!(reply.problem(405).contains("POST"));
    assert_eq!(reply.header("allow"), Some("POST"));
}

#[test]
fn a_source_without_auth_is_not_opened() {
    let lines = "kind = 'sailpoint'\nfilter = '$.a'\n";
    let error = open_source(lines).unwrap_err().to_string();
    assert!(
        error.contains("acme.toml:1: sources.s: has no `auth`") && error.contains("write auth = "),
        "{error}"
    );
    assert!(open_source(&format!("{lines}auth = {{ bearer = 'file:new' }}")).is_ok());
}

#[test]
fn what_is_wrong_with_a_source_is_said_at_once_and_no_secret_with_it() {
    let error = open_source(
        "kind = 'sailpoint'\nfilter = '$..['\nid = '$.a['\ntime = 'x'\nauth = { webhook = ['file:new', 'file:gone'] }",
    )
    .unwrap_err()
    .to_string();
    for expected in [
        ":3: sources.s.filter: ",
        ":4: sources.s.id: ",
        ":5: sources.s.time: ",
        "webhook.0: is not a signing",
        "webhook.1: ",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert!(!error.contains(NEW), "{error}");
    let shown = format!(
        "{:?}",
        open_source("kind = 'sailpoint'\nfilter = '$.a'\nauth = { bearer = 'file:new' }").unwrap()
    );
    assert!(!shown.contains(NEW), "{shown}");
}

/// Lower-cased by Unicode, the Kelvin sign is a `k`.
#[tokio::test]
async fn somebody_whose_address_only_looks_alike_is_somebody_else() {
    let house = House::open().await;
    let send = async |email: &str| {
        let leaver = json!({"type": "left", "email": email, "id": "message-1"});
        let reply = send_signed(&house, SIGN_NEW, "msg_1", seconds_from_now(0), &leaver).await;
        reply.json()["duplicate"].clone()
    };
    assert_eq!(send("\u{212a}atja@acme.example").await, json!(false));
    assert_eq!(send("katja@acme.example").await, json!(false));
    assert_eq!(send("Katja@ACME.example").await, json!(true));
}

#[tokio::test]
async fn a_reason_is_cut_where_it_would_be_as_long_as_what_the_rule_lists() {
    let values: Vec<String> = (0..100).map(|number| format!("{number:0>1000}")).collect();
    let lines = format!(
        "kind = 'sailpoint'\nauth = {{ bearer = 'file:new' }}\nleaver = {{ attribute = 'userStatus', becomes = {values:?} }}"
    );
    let mut house = House::open().await;
    house
        .reopen(&format!(
            "[sources.hr]\n{lines}\n[connectors.docusign]\nplugin = 'p.wasm'"
        ))
        .await;
    let reply = house.event("hr", &native_change("ann")).await;
    let answer = reply.json();
    assert_eq!(answer["decision"], "not_a_leaver");
    assert_eq!(
        answer["reason"].as_str().unwrap().chars().count(),
        2001,
        "with a mark that it goes on"
    );
}
