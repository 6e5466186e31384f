//! What a plugin says of itself, when it lies.

use std::time::Duration;

use exeunt::capability::CallLimits;
use exeunt::sandbox::{AdmissionError, Plugin, Sandbox, SandboxLimits};
use serde_json::json;

use crate::attacks::Lie;
use crate::house::{House, limits};
use crate::plugin::{hostile, telling};

async fn admit(bytes: Vec<u8>, limits: SandboxLimits) -> Result<Plugin, AdmissionError> {
    Sandbox::new(limits).unwrap().admit(bytes).await
}

/// What is wrong with the descriptor, in the words for its author. The way in is the tenant's, and the neighbour, who
/// comes after, is none the wiser.
async fn refused(lie: Lie) -> String {
    let quick = SandboxLimits {
        cpu: Duration::from_millis(300),
        ..limits()
    };
    let house = House::with(quick, CallLimits::default()).await;
    house.install(&telling(lie));
    let error = house
        .load("hostile", &json!({}), "")
        .await
        .expect_err("the lie was believed")
        .to_string();
    house.neighbour_is_unharmed().await;
    assert!(error.contains("hostile.wasm is not admitted"), "{error}");
    error
}

async fn refused_with(lie: Lie, words: &[&str]) {
    let error = refused(lie).await;
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

#[tokio::test]
pub(crate) async fn reading_verbs_cannot_declare_unsafe_methods() {
    refused_with(
        Lie::UnsafeFind,
        &["`find DELETE api /users/{any}`: only `close` may use an unsafe method"],
    )
    .await;
}

#[tokio::test]
pub(crate) async fn reach_and_keys_name_declared_endpoints() {
    refused_with(
        Lie::NoSuchEndpoint,
        &[
            "`nowhere` is no endpoint",
            "`elsewhere`, which is no endpoint",
            "`faraway`, which is no endpoint",
        ],
    )
    .await;
}

#[tokio::test]
pub(crate) async fn names_are_names() {
    let words = [
        "name `Hostile",
        "version `latest`",
        "name `a/b`",
        "`api` is there twice",
        "trace-header",
        "endpoint api: purpose has control characters",
        "key static: purpose has control characters",
    ];
    refused_with(Lie::BadNames, &words).await;
    assert!(!refused(Lie::BadNames).await.contains('\u{1b}'));
}

#[tokio::test]
pub(crate) async fn the_schema_is_json() {
    refused_with(Lie::SchemaNotJson, &["settings-schema is not JSON"]).await;
}

#[tokio::test]
pub(crate) async fn a_schema_that_unfolds_without_end_is_refused() {
    refused_with(Lie::SchemaBomb, &["references are written out"]).await;
}

#[tokio::test]
pub(crate) async fn what_a_schema_says_of_mistakes_has_a_limit() {
    let house = House::new().await;
    house.install(&telling(Lie::Complaining));
    let settings = json!({"issuer": "i", "subject": "s"});
    let error = house.load("hostile", &settings, "").await.unwrap_err().to_string();
    assert!(error.contains("is not of type"), "{error}");
    let long = "long ".repeat(10);
    assert_eq!(error.matches("is not of type").count(), 20);
    assert!(error.contains(&long) && !error.contains(&long.repeat(10)), "{error}");
    assert!(!error.contains(['\u{1b}', '\r']), "{error:?}");
    house.neighbour_is_unharmed().await;
}

#[tokio::test]
pub(crate) async fn lists_have_limits() {
    let error = refused(Lie::ManyEntries).await;
    for said in ["endpoints has 10002 entries, at most 64", "usable-at has 10000 entries"] {
        assert!(error.contains(said), "{error}");
    }
    assert!(
        error.len() < 10_000,
        "what is said about them has a limit: {}",
        error.len()
    );
}

#[tokio::test]
pub(crate) async fn a_pattern_that_compiles_to_gigabytes_is_refused() {
    refused_with(Lie::PatternBomb, &["settings-schema", "too large or looks around"]).await;
}

#[tokio::test]
pub(crate) async fn an_unsafe_line_names_the_account() {
    let nameless = "an unsafe line names `{account}` in its path or its body";
    refused_with(
        Lie::LooseClose,
        &[
            &format!("`close POST api /nameless`: {nameless}"),
            &format!("`close POST api /in-query?{{account}}`: {nameless}"),
            &format!("`close POST api /elsewhere {{\"id\":\"bystander\"}}`: {nameless}"),
            &format!("`close POST api /inside {{\"id\":\"not {{account}}\"}}`: {nameless}"),
            "/users/{any} {\"id\":\"{account}\"}`: an unsafe line cannot have `{any}` in its path",
            "the body template is not JSON",
            "neither `{account}` nor `{settings:/…}`",
            "the body template has 4098 bytes, at most 4096",
            "the path template has 2049 bytes, at most 2048",
            "`close GET api /reads/{account}?id`: `query` and `body` are for unsafe methods only",
        ],
    )
    .await;
}

/// The operator's token must not go where the plugin's author wants it by leaving a line out.
#[tokio::test]
pub(crate) async fn a_default_base_url_never_takes_a_secret() {
    let house = House::new().await;
    house.install(&telling(Lie::SecretDefault));
    let settings = json!({"issuer": "i", "subject": "s"});
    let other = "endpoints = { other = \"https://other.example\" }";
    let error = house.load("hostile", &settings, other).await.unwrap_err().to_string();
    let said = "endpoint `api` (where the suite listens), where key `static` goes, is not bound; add api = \"";
    assert!(error.contains(said), "{error}");
    let api = "endpoints = { api = \"https://api.example\" }";
    let connector = house.load("hostile", &settings, api).await.unwrap();
    assert_eq!(
        connector.grant.endpoint("other"),
        Some("https://evil.example"),
        "no secret goes there"
    );
    house.neighbour_is_unharmed().await;
}

#[tokio::test]
pub(crate) async fn find_has_no_account_yet() {
    refused_with(Lie::AccountInFind, &["exists in `read` and `close` only"]).await;
}

#[tokio::test]
pub(crate) async fn a_default_base_url_names_a_host() {
    let endpoints: Vec<String> = (0..5).map(|number| format!("endpoint default-{number}: ")).collect();
    let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    refused_with(Lie::PrivateDefault, &endpoints).await;
}

#[tokio::test]
pub(crate) async fn a_key_cannot_ride_in_a_reserved_header() {
    let words = [
        "key static: header `Host` cannot carry a key",
        "key client: header `transfer-encoding` cannot",
    ];
    refused_with(Lie::KeyInHost, &words).await;
}

#[tokio::test]
pub(crate) async fn no_import_works_while_it_is_asked_for() {
    refused_with(Lie::CallImports, &["no import works while `describe` runs"]).await;
}

#[tokio::test]
pub(crate) async fn describing_has_a_cpu_limit() {
    let error = refused(Lie::Endless).await;
    assert!(
        error.contains("cpu-milliseconds") || error.contains("did not come to an end"),
        "{error}"
    );
}

#[tokio::test]
pub(crate) async fn it_is_taken_once() {
    let house = House::new().await;
    house.install(&telling(Lie::Changing));
    let first = house
        .load("hostile", &json!({"issuer": "i", "subject": "s"}), "")
        .await
        .unwrap();
    let second = house
        .load("neighbour", &json!({"issuer": "i", "subject": "s"}), "")
        .await
        .unwrap();
    assert_eq!(first.plugin.descriptor.version, "1.0.0");
    assert!(
        std::sync::Arc::ptr_eq(&first.plugin, &second.plugin),
        "asked once for both tenants"
    );
    let again = admit(telling(Lie::Changing), limits()).await.unwrap();
    assert_eq!(again.descriptor, first.plugin.descriptor);
}

#[tokio::test]
async fn the_truth_is_admitted() {
    let plugin = admit(hostile(), limits()).await.unwrap();
    assert_eq!((plugin.descriptor.name.as_str(), plugin.imports.len()), ("hostile", 6));
}
