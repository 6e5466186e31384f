//! What holds whatever DocuSign answers.

use std::cell::RefCell;

use plugin_docusign::{
    Failure, Grant, GrantError, Host, HttpError, Level, Request, Response, Standing, close, find, mint, page, read,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::script::{self, EMAIL, LEAVER, NOW, OTHER, TOKEN, Token, person};

/// A host that gives the same answers in turn for ever.
struct Parrot {
    answers: Vec<Response>,
    sent: RefCell<usize>,
    grant: Option<Response>,
}

impl Parrot {
    fn new(answers: Vec<Response>) -> Self {
        Self {
            answers,
            sent: RefCell::new(0),
            grant: None,
        }
    }
}

impl Host for Parrot {
    type Token = Token;

    fn send(&self, _: &Request, _: Option<&Token>) -> Result<Response, HttpError> {
        let mut sent = self.sent.borrow_mut();
        *sent += 1;
        assert!(*sent <= 20, "no end of requests");
        Ok(self.answers[(*sent - 1) % self.answers.len()].clone())
    }

    fn jwt_bearer(&self, _: &Grant) -> Result<Token, GrantError> {
        match &self.grant {
            None => Ok(TOKEN),
            Some(response) => Err(GrantError::Rejected(response.clone())),
        }
    }

    fn settings(&self) -> String {
        script::settings().to_string()
    }

    fn endpoint(&self, _: &str) -> Option<String> {
        Some("https://demo.docusign.net".into())
    }

    fn now(&self) -> u64 {
        NOW
    }

    fn log(&self, _: Level, _: &str, _: &[(String, String)]) {}
}

/// JSON that looks a little like DocuSign's, with every field of any type.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!("True")),
        Just(json!("100")),
        Just(json!(LEAVER)),
        Just(json!(OTHER)),
        Just(json!(EMAIL)),
        Just(json!("Tania.Morales@acme.example")),
        Just(json!("ceo@acme.example")),
        Just(json!("Active")),
        Just(json!("closed")),
        Just(json!("USER_LACKS_MEMBERSHIP")),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let name = prop_oneof![
            Just("users"),
            Just("userId"),
            Just("userStatus"),
            Just("email"),
            Just("isAdmin"),
            Just("totalSetSize"),
            Just("resultSetSize"),
            Just("nextUri"),
            Just("errorDetails"),
            Just("errorCode"),
            Just("message"),
            Just("error"),
            Just("accounts"),
            Just("account_id"),
            Just("base_uri"),
            Just("sub"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name.prop_map(str::to_owned), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        value().prop_map(|value| value.to_string().into_bytes()),
        // Cut off anywhere, also inside a character.
        (value(), any::<prop::sample::Index>()).prop_map(|(value, at)| {
            let text = value.to_string();
            text.as_bytes()[..at.index(text.len())].to_vec()
        }),
    ]
}

fn status() -> impl Strategy<Value = u16> {
    prop_oneof![
        Just(200),
        Just(200),
        Just(400),
        Just(401),
        Just(404),
        Just(429),
        any::<u16>()
    ]
}

fn answer() -> impl Strategy<Value = Response> {
    (status(), body(), ".{0,12}").prop_map(|(status, body, header)| {
        let mut response = script::response(status, &body);
        response.headers.push(("x-ratelimit-remaining".into(), header.clone()));
        response.headers.push(("location".into(), header));
        response
    })
}

/// A list of users whose fields are likely but not consistent.
fn users() -> impl Strategy<Value = Response> {
    let email = prop_oneof![
        Just(EMAIL.to_owned()),
        Just(EMAIL.to_uppercase()),
        Just("ceo@acme.example".to_owned()),
        Just(format!("{EMAIL}.org")),
        "[tT\u{212a}]ania\\.morales@acme\\.example",
        ".{0,12}",
    ];
    let one = (
        prop_oneof![Just(LEAVER), Just(OTHER)],
        email,
        prop_oneof![Just("Active"), Just("Closed")],
    );
    let user = one.prop_map(|(id, email, status)| script::user(id, &email, status));
    (prop::collection::vec(user, 0..5), 0_usize..8).prop_map(|(users, total)| {
        let list = script::listing(&users, 0, total);
        script::response(200, list.to_string().as_bytes())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_answer_makes_it_panic_or_ask_for_ever(answers in prop::collection::vec(answer(), 1..4), email in ".{0,20}") {
        for person in [person(None, Some(EMAIL)), person(Some(LEAVER), Some(EMAIL)), person(None, Some(&email))] {
            let _ = find(&Parrot::new(answers.clone()), &person, &TOKEN);
        }
        let _ = read(&Parrot::new(answers.clone()), LEAVER, &TOKEN);
        let _ = close(&Parrot::new(answers.clone()), LEAVER, &TOKEN);
        let _ = page(&Parrot::new(answers.clone()), Some("7"), &TOKEN);
        let _ = mint(&Parrot::new(answers.clone()));
        let _ = mint(&Parrot { grant: answers.first().cloned(), ..Parrot::new(answers) });
    }

    #[test]
    fn nobody_is_found_but_the_person(answers in prop::collection::vec(prop_oneof![users(), answer()], 1..4)) {
        let holds = |email: &Option<String>| email.as_ref().is_some_and(|email| email.eq_ignore_ascii_case(EMAIL));
        if let Ok(accounts) = find(&Parrot::new(answers.clone()), &person(None, Some(EMAIL)), &TOKEN) {
            prop_assert!(accounts.iter().all(|account| holds(&account.email)));
        }
        if let Ok(accounts) = find(&Parrot::new(answers), &person(Some(LEAVER), Some(EMAIL)), &TOKEN) {
            prop_assert!(accounts.iter().all(|account| account.id == LEAVER && holds(&account.email)));
        }
    }

    #[test]
    fn no_error_makes_an_account_vanish(status in 300_u16..600, body in body()) {
        // Whatever else goes wrong, "no account" needs a list that is empty, or a caller that is known.
        let answer = script::response(status, &body);
        prop_assert!(find(&Parrot::new(vec![answer]), &person(None, Some(EMAIL)), &TOKEN).is_err());
    }

    #[test]
    fn nothing_is_closed_unless_the_answer_says_so(answer in answer()) {
        let said = String::from_utf8_lossy(&answer.body).to_lowercase();
        let result = close(&Parrot::new(vec![answer.clone()]), LEAVER, &TOKEN);
        if result.is_ok() {
            prop_assert!((200..300).contains(&answer.status) && said.contains(LEAVER) && said.contains("closed"));
        }
    }

    #[test]
    fn a_limit_never_lies_in_the_past(answer in answer(), reset in any::<u64>()) {
        let mut answer = answer;
        answer.headers.retain(|(name, _)| name != "x-ratelimit-reset");
        answer.headers.push(("x-ratelimit-reset".into(), reset.to_string()));
        if let Err(Failure::RateLimited(limit)) = read(&Parrot::new(vec![answer]), LEAVER, &TOKEN) {
            prop_assert!(limit.until.is_none_or(|until| until > NOW));
        }
    }

    #[test]
    fn a_status_decides_between_open_and_closed(status in "[a-zA-Z]{1,12}") {
        let answer = script::response(200, script::user(LEAVER, EMAIL, &status).to_string().as_bytes());
        let account = read(&Parrot::new(vec![answer]), LEAVER, &TOKEN).unwrap().unwrap();
        prop_assert_eq!(account.standing == Standing::Closed, status.eq_ignore_ascii_case("closed"));
    }
}
