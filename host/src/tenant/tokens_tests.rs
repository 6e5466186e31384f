use std::fs;

use jiff::civil::date;
use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::*;

fn new_token(name: &str, tenant: Option<&str>, roles: &[Role]) -> NewToken {
    NewToken {
        name: name.to_owned(),
        tenant: tenant.map(str::to_owned),
        roles: roles.iter().copied().collect(),
        created: date(2026, 1, 31),
    }
}

/// A folder with tokens, their file, and their texts in order.
fn file_with(tokens: &[NewToken]) -> (tempfile::TempDir, std::path::PathBuf, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let texts = (1..).zip(tokens).map(|(number, token)| {
        Tokens::add(&file, token.clone(), [number; 32])
            .unwrap()
            .expose_secret()
            .to_owned()
    });
    let texts = texts.collect();
    (folder, file, texts)
}

fn refusal(text: &str) -> String {
    Tokens::parse(text, Path::new("tokens.toml"))
        .expect_err(text)
        .to_string()
}

fn hash(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

#[test]
fn a_token_of_the_host_reaches_all_tenants_and_one_of_a_tenant_only_its_own() {
    let (_folder, file, texts) = file_with(&[
        new_token("ops", None, &[Role::Operate]),
        new_token("acme", Some("acme"), &[Role::Operate, Role::Approve]),
    ]);
    let tokens = Tokens::load(&file).unwrap();
    let may = |token: usize, tenant: Option<&str>, role: Role| tokens.authorize(&texts[token], tenant, role);
    assert_eq!(may(0, None, Role::Operate).as_deref(), Some("ops"));
    assert_eq!(may(0, Some("acme"), Role::Operate).as_deref(), Some("ops"));
    assert_eq!(may(0, Some("acme"), Role::Approve), None);
    assert_eq!(may(1, Some("acme"), Role::Approve).as_deref(), Some("acme"));
    assert_eq!(may(1, Some("acme"), Role::Audit), None);
    assert_eq!(may(1, Some("acme-eu"), Role::Operate), None);
    assert_eq!(may(1, Some(""), Role::Operate), None);
    assert_eq!(may(1, None, Role::Operate), None, "the host as a whole");
}

#[test]
fn only_the_token_itself_is_accepted() {
    let (_folder, file, texts) = file_with(&[new_token("ops", None, &[Role::Operate])]);
    let tokens = Tokens::load(&file).unwrap();
    let token = &texts[0];
    assert!(token.starts_with("exeunt_") && token.len() == TOKEN_BYTES);
    assert!(tokens.authenticate(token).is_some());
    let hash = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("hash = "))
        .unwrap()
        .to_owned();
    let other = token.replacen('A', "B", 1);
    for wrong in [
        "",
        "exeunt_",
        &token[..TOKEN_BYTES - 1],
        &format!("{token}A"),
        &token.to_uppercase(),
        &other,
        hash.trim_matches('"'),
    ] {
        assert!(wrong == token || tokens.authenticate(wrong).is_none(), "{wrong}");
    }
    assert!(Tokens::default().authenticate(token).is_none());
}

#[test]
fn the_file_holds_hashes_only_and_belongs_to_its_owner() {
    let (_folder, file, texts) = file_with(&[new_token("ops", Some("acme"), Role::ALL)]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&texts[0]) && !text.contains(texts[0].strip_prefix(TOKEN_PREFIX).unwrap()));
    assert!(
        text.contains("roles = [\"operate\", \"approve\", \"audit\"]\ncreated = \"2026-01-31\""),
        "{text}"
    );
    let debug = format!("{:?}", Tokens::load(&file).unwrap());
    assert!(!debug.contains(&texts[0]));
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o644, "hashes may be read");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    Tokens::revoke(&file, "ops", date(2026, 2, 1)).unwrap();
    assert_eq!(
        file.metadata().unwrap().mode() & 0o777,
        0o600,
        "an operator's choice stays"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o660)).unwrap();
    let error = Tokens::load(&file).unwrap_err().to_string();
    assert!(
        error.contains("can be written by others") && error.contains("chmod 600"),
        "{error}"
    );
}

#[test]
fn a_revoked_token_lets_nobody_in_and_the_others_stay() {
    let tokens = [
        new_token("one", None, &[Role::Audit]),
        new_token("two", None, &[Role::Audit]),
    ];
    let (_folder, file, texts) = file_with(&tokens);
    let revoke = |name: &str| Tokens::revoke(&file, name, date(2026, 2, 1)).map_err(|error| error.to_string());
    let error = revoke("on").unwrap_err();
    assert!(error.contains("did you mean `one`?"), "{error}");
    let hash = TokenHash::of(&texts[0]).to_string();
    assert!(fs::read_to_string(&file).unwrap().contains(&hash));
    revoke("one").unwrap();
    assert!(!fs::read_to_string(&file).unwrap().contains(&hash));
    let left = Tokens::load(&file).unwrap();
    assert!(left.authenticate(&texts[0]).is_none());
    assert_eq!(left.authenticate(&texts[1]).unwrap().name, "two");
    let listed: Vec<_> = left
        .list()
        .iter()
        .map(|token| (token.name.clone(), token.revoked()))
        .collect();
    assert_eq!(
        listed,
        [("one".to_owned(), Some(date(2026, 2, 1))), ("two".to_owned(), None)]
    );
    let error = revoke("one").unwrap_err();
    assert!(error.contains("the token \"one\" was revoked on 2026-02-01"), "{error}");
    let error = revoke("onr").unwrap_err();
    assert!(!error.contains("`one`"), "{error}");
    revoke("two").unwrap();
    let left = Tokens::load(&file).unwrap();
    assert!(left.authenticate(&texts[1]).is_none() && left.is_empty());
}

/// By hand, in the line under its hash.
#[test]
fn a_token_that_is_written_to_be_revoked_lets_nobody_in() {
    let (_folder, file, texts) = file_with(&[new_token("ops", None, &[Role::Operate])]);
    let text = fs::read_to_string(&file).unwrap();
    let revoked = text.replace("roles =", "revoked = \"2026-02-01\"\nroles =");
    let tokens = Tokens::parse(&revoked, &file).unwrap();
    assert_eq!((tokens.authenticate(&texts[0]), tokens.list().len()), (None, 1));
    let error = refusal(&text.replace("roles =", "revoked = true\nroles ="));
    assert!(error.contains("ops.revoked: must be a string"), "{error}");
}

#[test]
fn without_a_file_nobody_gets_in() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Tokens::load(&folder.path().join("tokens.toml")).unwrap().is_empty());
}

#[test]
fn a_new_token_needs_a_free_name_and_a_role() {
    let tokens = [
        new_token("ops", None, &[Role::Operate]),
        new_token("gone", None, &[Role::Operate]),
    ];
    let (_folder, file, _) = file_with(&tokens);
    Tokens::revoke(&file, "gone", date(2026, 2, 1)).unwrap();
    let before = fs::read_to_string(&file).unwrap();
    for (new, expected) in [
        (new_token("ops", None, &[Role::Audit]), "there is a token `ops` already"),
        (
            new_token("gone", None, &[Role::Operate]),
            "the token `gone` was revoked on 2026-02-01",
        ),
        (new_token("Ops", None, &[Role::Audit]), "is not a name for a token"),
        (
            new_token("x", Some("../acme"), &[Role::Audit]),
            "is not a tenant's name",
        ),
        (new_token("x", None, &[]), "without a role"),
    ] {
        let error = Tokens::add(&file, new, [9; 32]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert!(
        "operat"
            .parse::<Role>()
            .unwrap_err()
            .contains("did you mean `operate`?")
    );
}

#[test]
fn a_file_with_a_mistake_is_neither_loaded_nor_written_over() {
    let (_folder, file, _) = file_with(&[new_token("ops", None, &[Role::Operate])]);
    let broken = fs::read_to_string(&file).unwrap() + "[x]\nhash = 1\n";
    fs::write(&file, &broken).unwrap();
    assert!(Tokens::load(&file).is_err());
    assert!(Tokens::revoke(&file, "ops", date(2026, 2, 1)).is_err());
    assert!(Tokens::add(&file, new_token("y", None, &[Role::Audit]), [9; 32]).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), broken);
}

#[test]
fn mistakes_name_their_line_and_what_to_write() {
    let good = format!("hash = '{}'\nroles = ['audit']\ncreated = '2026-01-31'\n", hash("a"));
    for (text, expected) in [
        (
            format!("[ops]\n{good}rols = []"),
            "tokens.toml:5: ops.rols: unknown key; did you mean `roles`?",
        ),
        (format!("[Ops]\n{good}"), "tokens.toml:1: Ops: is not a name"),
        (
            format!("[a]\n{good}tenant = 'A'"),
            "tokens.toml:5: a.tenant: is not a tenant's name",
        ),
        (
            format!("[a]\n{good}tenant = 1"),
            "tokens.toml:5: a.tenant: must be a string",
        ),
        (
            format!("[a]\n{good}[b]\n{good}"),
            "tokens.toml:5: b: has the hash of `a`",
        ),
        ("a = 1".to_owned(), "tokens.toml:1: a: must be a table"),
        ("[a]\n".to_owned(), "`hash` is missing"),
        (good.replace("['audit']", "[]"), "must be a table"),
        (
            format!("[a]\n{}", good.replace("['audit']", "[]")),
            "tokens.toml:3: a.roles: is empty",
        ),
        (
            format!("[a]\n{}", good.replace("audit", "adit")),
            "tokens.toml:3: a.roles.0: \"adit\" is not a role; did you mean `audit`?",
        ),
        (
            format!("[a]\n{}", good.replace("2026-01-31", "today")),
            "\"today\" is not a day",
        ),
        (
            format!("[a]\n{}", good.replace("sha256:", "")),
            "is not the hash of a token",
        ),
        (
            format!("[a]\n{}", good.replace("aaaa'", "aaag'")),
            "is not the hash of a token",
        ),
        (
            format!("[a]\n{}", good.replace("aaaa'", "aaa'")),
            "is not the hash of a token",
        ),
        ("[a".to_owned(), "tokens.toml:1: not valid TOML"),
    ] {
        let error = refusal(&text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_token_pasted_for_its_hash_is_not_repeated() {
    let token = format!("{TOKEN_PREFIX}{}", "Q".repeat(43));
    let error = refusal(&format!(
        "[a]\nhash = '{token}'\nroles = ['audit']\ncreated = '2026-01-31'\n"
    ));
    assert!(!error.contains(&token), "{error}");
}

proptest! {
    #[test]
    fn no_presented_text_panics_or_gets_in(presented in "\\PC{0,60}|exeunt_[A-Za-z0-9_-]{43}") {
        let text = format!("[a]\nhash = '{}'\nroles = ['audit']\ncreated = '2026-01-31'\n", hash("a"));
        let tokens = Tokens::parse(&text, Path::new("tokens.toml")).unwrap();
        prop_assert!(tokens.authenticate(&presented).is_none());
    }

    #[test]
    fn what_is_written_is_read_again(random: [u8; 32], roles in proptest::sample::subsequence(Role::ALL.to_vec(), 1..=3), tenant in proptest::option::of("[a-z][a-z0-9-]{0,20}")) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.toml");
        let new = new_token("ops", tenant.as_deref(), &roles);
        let token = Tokens::add(&file, new.clone(), random).unwrap();
        let tokens = Tokens::load(&file).unwrap();
        let read = tokens.authenticate(token.expose_secret()).unwrap();
        prop_assert_eq!((&read.name, &read.tenant, &read.roles, read.created), (&new.name, &new.tenant, &new.roles, new.created));
    }
}
