//! Reading one user: what its fields mean.

use plugin_docusign::description::Verb;
use plugin_docusign::{Account, Failure, Standing, read};
use serde_json::{Value, json};

use crate::script::*;

fn reading(body: Value) -> Result<Option<Account>, Failure> {
    read(
        &Script::during(Verb::Read).then(&one(LEAVER), (200, body)),
        LEAVER,
        &TOKEN,
    )
}

#[test]
fn a_user_is_read_with_what_an_auditor_wants() {
    let account = reading(user(LEAVER, EMAIL, "Active")).unwrap().unwrap();
    assert_eq!(account.id, LEAVER);
    assert_eq!(account.email.as_deref(), Some(EMAIL));
    assert_eq!(account.name.as_deref(), Some("Tania Morales"));
    assert_eq!(
        (account.standing, account.native_status.as_str()),
        (Standing::Active, "Active")
    );
    assert_eq!((account.admin, account.externally_managed), (false, false));
    let facts = [
        ("userType", "CompanyUser"),
        ("permissionProfileName", "DocuSign Sender"),
        ("createdDateTime", "2019-04-01T22:11:56.4570000Z"),
    ];
    assert_eq!(
        account.attributes,
        facts.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn statuses_are_read_without_case_and_an_unknown_one_is_open() {
    let rows = [
        ("Active", Standing::Active),
        ("ActivationSent", Standing::Pending),
        ("ActivationRequired", Standing::Pending),
        ("activationsent", Standing::Pending),
        ("Disabled", Standing::Disabled),
        ("Closed", Standing::Closed),
        ("closed", Standing::Closed),
        ("Suspended", Standing::Active),
    ];
    for (status, standing) in rows {
        let account = reading(user(LEAVER, EMAIL, status)).unwrap().unwrap();
        assert_eq!((account.standing, account.native_status.as_str()), (standing, status));
    }
}

#[test]
fn truth_is_written_as_text_or_as_json_and_a_missing_is_admin_counts_as_true() {
    let rows = [
        (json!("True"), true),
        (json!("true"), true),
        (json!(true), true),
        (json!("False"), false),
        (json!(false), false),
        (Value::Null, true),
        (json!("maybe"), true),
    ];
    for (value, admin) in rows {
        let mut body = user(LEAVER, EMAIL, "Active");
        body["isAdmin"] = value;
        assert_eq!(reading(body).unwrap().unwrap().admin, admin);
    }
}

#[test]
fn a_membership_that_an_identity_provider_owns_is_told() {
    let mut body = user(LEAVER, EMAIL, "Active");
    body["isMembershipManagedByScim"] = json!("True");
    assert!(reading(body).unwrap().unwrap().externally_managed);
}

#[test]
fn a_user_without_status_or_with_another_id_makes_no_sense() {
    let mut body = user(LEAVER, EMAIL, "Active");
    body.as_object_mut().unwrap().remove("userStatus");
    assert_told(reading(body), "unexpected", &["userStatus", TRACE]);
    assert_told(
        reading(user(OTHER, EMAIL, "Closed")),
        "unexpected",
        &[OTHER, LEAVER, TRACE],
    );
    assert_told(
        reading(user("../../users", EMAIL, "Closed")),
        "unexpected",
        &["GUID", TRACE],
    );
}

#[test]
fn an_id_in_another_case_is_the_same_user() {
    assert!(
        reading(user(&LEAVER.to_uppercase(), EMAIL, "Active"))
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_user_that_is_not_known_is_none_once_the_caller_is_known() {
    for code in [
        "USER_LACKS_MEMBERSHIP",
        "USER_NOT_FOUND",
        "user_does_not_exist_in_system",
        "INVALID_USERID",
    ] {
        for status in [400, 404] {
            let host = Script::during(Verb::Read)
                .then(&one(LEAVER), (status, error(code, "not here")))
                .then_caller((200, user(CALLER, "connector@acme.example", "Active")));
            assert_eq!(read(&host, LEAVER, &TOKEN), Ok(None));
            host.ends();
        }
    }
}

#[test]
fn a_server_error_is_no_answer_about_membership() {
    let host = Script::during(Verb::Read).then(&one(LEAVER), (500, error("USER_LACKS_MEMBERSHIP", "")));
    assert_told(
        read(&host, LEAVER, &TOKEN),
        "unavailable",
        &["USER_LACKS_MEMBERSHIP", TRACE],
    );
}

#[test]
fn an_id_that_is_no_guid_is_never_sent() {
    let host = Script::during(Verb::Read);
    for id in [
        "",
        "x",
        "../users",
        "6b67a1ee-2222-4333-8444-38576362416",
        "6b67a1ee-2222-4333-8444-385763624163/x",
    ] {
        assert_told(read(&host, id, &TOKEN), "refused", &["[INVALID_USER_ID]"]);
    }
}
