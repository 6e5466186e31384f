use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    token: Token,
}

fn parse(words: &[&str]) -> Result<Token, clap::Error> {
    Line::try_parse_from([&["token"], words].concat()).map(|line| line.token)
}

#[tokio::test]
async fn a_token_is_made_listed_and_revoked_in_the_file_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("exeunt.toml");
    std::fs::write(&config, "tokens = 'api.toml'").unwrap();
    let (config, file) = (config.to_str().unwrap(), folder.path().join("api.toml"));
    let new = [
        "new", "ops", "--role", "operate", "--role", "approve", "--tenant", "acme", "--config", config,
    ];
    let Token::New(new) = parse(&new).unwrap() else {
        panic!("not `new`")
    };
    let text = new.make().unwrap();
    let tokens = Tokens::load(&file).unwrap();
    assert_eq!(
        tokens
            .authorize(text.trim_end(), Some("acme"), Role::Approve)
            .as_deref(),
        Some("ops")
    );
    let list = |json: bool, tokens: &Tokens| {
        let words = ["list", "--config", config, "--json"];
        let Token::List(list) = parse(&words[..if json { 4 } else { 3 }]).unwrap() else {
            panic!("not `list`")
        };
        list.text(tokens).unwrap()
    };
    let listed = list(false, &tokens);
    assert!(listed.contains("ops   acme    operate, approve  20"), "{listed}");
    assert!(listed.trim_end().ends_with('-'), "{listed}");
    let revoke = parse(&["revoke", "ops", "--config", config]).unwrap();
    assert_eq!(revoke.run().await.unwrap(), Exit::Success);
    let tokens = Tokens::load(&file).unwrap();
    assert_eq!(tokens.authenticate(text.trim_end()), None);
    let (day, listed) = (today().to_string(), list(false, &tokens));
    assert!(listed.trim_end().ends_with(&format!("{day}  {day}")), "{listed}");
    let listed: serde_json::Value = serde_json::from_str(&list(true, &tokens)).unwrap();
    let roles = ["operate", "approve"];
    let ops = json!({"name": "ops", "tenant": "acme", "roles": roles, "created": day, "revoked": day});
    assert_eq!(listed, json!([ops]));
}

#[test]
fn two_tokens_are_never_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("exeunt.toml");
    std::fs::write(&config, "").unwrap();
    let make = |name: &str| match parse(&["new", name, "--role", "audit", "--config", config.to_str().unwrap()]) {
        Ok(Token::New(new)) => new.make().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_ne!(make("one"), make("two"));
}

#[test]
fn a_role_that_is_none_is_a_usage_error_with_a_hint() {
    let error = parse(&["new", "x", "--role", "operat"]).unwrap_err().to_string();
    assert!(error.contains("did you mean `operate`?"), "{error}");
    assert!(parse(&["new", "x"]).is_err(), "a role is needed");
}
