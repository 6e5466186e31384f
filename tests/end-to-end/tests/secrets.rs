//! No secret in anything that the process writes: standard output, standard error at its most talkative, the report,
//! the transcript. Also when the target sends them back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use docusign_sim::{ErrorDetails, Fault, FaultKind, Options, Simulator};
use end_to_end::{Ran, World, event, pem};

const ANN: &str = "ann.english@acme.example";

/// Shortest text that counts as a leak: shorter ones are found by chance in base64 and hexadecimal.
const SHORTEST: usize = 24;

async fn world() -> World {
    let world = World::with(Options {
        record_secrets: true,
        ..Options::default()
    })
    .await;
    let _ = world.user(ANN);
    world
}

/// One piece of a secret in one writing.
struct Needle {
    what: &'static str,
    text: String,
}

/// Everything that must not be seen, in lower case. Panics where the simulator has met no assertion and no token:
/// then the test would look for nothing.
fn needles(world: &World, tokens: usize) -> Vec<Needle> {
    let secrets = world.simulator.secrets();
    let (jwts, opaque): (Vec<&String>, Vec<&String>) = secrets.iter().partition(|secret| is_assertion(secret));
    assert!(
        !jwts.is_empty() && opaque.len() >= tokens,
        "{} assertions, {} tokens",
        jwts.len(),
        opaque.len()
    );
    let mut needles = Vec::new();
    for assertion in jwts {
        let signature = assertion.rsplit('.').next().unwrap_or_default();
        needles.extend(writings("assertion", assertion));
        needles.extend(writings("signature of an assertion", signature));
    }
    for token in opaque {
        needles.extend(writings("access token", token));
    }
    needles.extend(private_key(world.simulator.private_key_pem()));
    needles
}

/// Our own assertions are issued for the account host; the simulator's tokens are not.
fn is_assertion(secret: &str) -> bool {
    let claims = secret
        .split('.')
        .nth(1)
        .and_then(|claims| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok());
    claims.is_some_and(|claims| String::from_utf8_lossy(&claims).contains("account-d.docusign.com"))
}

fn private_key(pkcs8: &str) -> Vec<Needle> {
    let needle = |text: String| Needle {
        what: "private key",
        text: text.to_lowercase(),
    };
    let lines = |text: String| {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('-') && line.len() >= SHORTEST);
        lines.map(|line| needle(line.to_owned())).collect::<Vec<_>>()
    };
    let der = pem::der(pkcs8);
    // The first bytes are the same in every key of this size; what follows is the modulus, which is public, and comes
    // in the public key as well. From the middle on, all is secret.
    let secret = &der[der.len() / 2..];
    let mut needles = lines(pem::pem("PRIVATE KEY", secret));
    needles.extend(lines(pem::pem("PRIVATE KEY", &secret[1..])));
    needles.extend(lines(pem::pem("PRIVATE KEY", &secret[2..])));
    needles.extend(secret.chunks_exact(SHORTEST).map(|bytes| needle(hexadecimal(bytes))));
    needles.extend(
        secret
            .chunks_exact(SHORTEST)
            .map(|bytes| needle(format!("{bytes:?}").replace(['[', ']'], ""))),
    );
    let halfway = pkcs8.len() / 2;
    needles.extend(lines(
        pkcs8[halfway..]
            .split_once('\n')
            .map(|(_, rest)| rest.to_owned())
            .unwrap_or_default(),
    ));
    needles
}

/// A secret as it is, percent-encoded, in hexadecimal, and in base64 at each of three places in a larger text.
fn writings(what: &'static str, secret: &str) -> Vec<Needle> {
    let encoded = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
    let percent: String = secret
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let mut texts = vec![secret.to_owned(), encoded, percent, hexadecimal(secret.as_bytes())];
    // What is cut off an echo still lets somebody guess the rest: halves count too.
    texts.extend([
        secret[..secret.len() / 2].to_owned(),
        secret[secret.len() / 2..].to_owned(),
    ]);
    for skipped in 0..3 {
        let whole = &secret.as_bytes()[skipped..];
        texts.push(STANDARD_NO_PAD.encode(&whole[..whole.len() / 3 * 3]));
    }
    texts.retain(|text| text.len() >= SHORTEST);
    texts
        .into_iter()
        .map(|text| Needle {
            what,
            text: text.to_lowercase(),
        })
        .collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which secret a text holds, if it holds one.
fn leak<'n>(text: &str, needles: &'n [Needle]) -> Option<&'n Needle> {
    let text = text.to_lowercase();
    needles.iter().find(|needle| text.contains(&needle.text))
}

/// Runs the leaver's event in every form, and collects everything that was written.
async fn everything_written(world: &World) -> String {
    let run = [
        "run",
        "--tenant",
        "tenants/acme.toml",
        "--source",
        "hr",
        "--event",
        "-",
        "--transcript",
        "t.jsonl",
    ];
    let transcript = world.root().join("t.jsonl");
    let json: Vec<&str> = run.iter().copied().chain(["--json"]).collect();
    let mut written = String::new();
    for arguments in [&run[..], &json[..]] {
        let Ran { stdout, stderr, .. } = world.exeunt(arguments, &event(ANN)).await;
        written += &stdout;
        written += &stderr;
        written += &std::fs::read_to_string(&transcript).expect("a transcript");
        std::fs::remove_file(&transcript).expect("the transcript goes");
    }
    let Ran { stdout, stderr, .. } = world.exeunt(&["check", "--tenant", "tenants/acme.toml"], b"").await;
    written + &stdout + &stderr
}

#[track_caller]
fn holds_no_secret(what: &str, written: &str, needles: &[Needle]) {
    if let Some(Needle { what: secret, text }) = leak(written, needles) {
        let at = written.to_lowercase().find(text.as_str()).unwrap_or_default();
        let around = &written[at.saturating_sub(300)..at];
        panic!("{what}: the {secret} leaks after: {around}");
    }
}

#[tokio::test]
async fn the_search_finds_each_secret_in_each_writing() {
    let world = world().await;
    world.run(&event(ANN)).await.ended("closed", 0);
    let needles = needles(&world, 1);
    assert!(leak("nothing of the kind", &needles).is_none());
    for secret in world.simulator.secrets() {
        let bearer = format!("Bearer {secret}");
        let echoes = [
            bearer.clone(),
            secret.to_uppercase(),
            STANDARD_NO_PAD.encode(&bearer),
            STANDARD_NO_PAD.encode(format!("x{secret}")),
            base64::engine::general_purpose::URL_SAFE.encode(&secret),
            hexadecimal(secret.as_bytes()),
            serde_json::json!({ "token": secret }).to_string(),
        ];
        for echo in echoes {
            assert!(leak(&format!("before {echo} after"), &needles).is_some(), "{echo}");
        }
    }
    let key = world.simulator.private_key_pem();
    for written in [
        key.to_owned(),
        pem::pkcs1(key),
        hexadecimal(&pem::der(key)),
        format!("{:?}", pem::der(key)),
    ] {
        assert!(leak(&written, &needles).is_some(), "{written}");
    }
    assert!(
        leak(&pem::public_key(key), &needles).is_none(),
        "the public half is none"
    );
}

#[tokio::test]
async fn a_usual_run_writes_no_secret() {
    let world = world().await;
    let written = everything_written(&world).await;
    end_to_end::says(&written, &["TRACE", "/oauth/token", "DELETE", "closed"]);
    holds_no_secret("a usual run", &written, &needles(&world, 2));
}

#[tokio::test]
async fn runs_that_fail_write_no_secret() {
    for failure in [
        "no consent",
        "an outage",
        "a refusal",
        "another key",
        "a limit",
        "a broken token answer",
    ] {
        let world = world().await;
        let tokens = match failure {
            "no consent" => {
                world.simulator.set_consent("");
                0
            }
            "an outage" => {
                world
                    .simulator
                    .fault(Fault::new(FaultKind::Drop).path("*/users").forever());
                1
            }
            "a refusal" => {
                let error = ErrorDetails::new("USER_LACKS_PERMISSIONS", "No.");
                world
                    .simulator
                    .switch(|switches| drop(switches.refuse_close.insert("*".to_owned(), error)));
                1
            }
            "another key" => {
                let other = Simulator::start(Options::default()).await.expect("another simulator");
                let public = pem::public_key(other.private_key_pem());
                let key = world.simulator.integration_key().to_owned();
                world
                    .simulator
                    .state()
                    .add_public_key("3f2504e0-4f89-41d3-9a0c-0305e82c3301", &public)
                    .expect("a key");
                world.edit(&key, "3f2504e0-4f89-41d3-9a0c-0305e82c3301");
                0
            }
            "a limit" => {
                let limit = FaultKind::RateLimit {
                    which: docusign_sim::LimitKind::Burst,
                };
                world.simulator.fault(Fault::new(limit).path("*/users").forever());
                1
            }
            _ => {
                world
                    .simulator
                    .fault(Fault::new(FaultKind::CutJson).path("/oauth/token").forever());
                1
            }
        };
        let written = everything_written(&world).await;
        holds_no_secret(failure, &written, &needles(&world, tokens));
    }
}

#[tokio::test]
async fn what_a_target_sends_back_is_blanked() {
    let places = [
        ("POST", "/oauth/token", 200),
        ("POST", "/oauth/token", 400),
        ("POST", "/oauth/token", 500),
        ("GET", "/oauth/userinfo", 200),
        ("GET", "/oauth/userinfo", 401),
        ("GET", "*/users", 200),
        ("GET", "*/users", 400),
        ("GET", "*/users/*", 200),
        ("DELETE", "*/users", 200),
        ("DELETE", "*/users", 400),
        ("DELETE", "*/users", 500),
    ];
    for (method, path, status) in places {
        let world = world().await;
        let echo = FaultKind::Echo {
            status,
            encodings: Vec::new(),
        };
        let echo = Fault::new(echo).method(method).path(path).forever().after_effect();
        // A read that makes no sense is made again for half a minute, in each of three attempts; two are enough here.
        let is_read_again = path == "*/users/*";
        world.simulator.fault(if is_read_again { echo.times(2) } else { echo });
        let written = everything_written(&world).await;
        let what = format!("{method} {path} {status}");
        let met = world
            .simulator
            .requests()
            .iter()
            .any(|record| record.faults == ["echo"]);
        assert!(met, "{what}: the echo did not come");
        // A token answer that holds no token that we can read is withheld whole: nobody knows what to blank in it.
        let is_withheld = (path, status) == ("/oauth/token", 200);
        assert_eq!(written.contains("[secret]"), !is_withheld, "{what}");
        holds_no_secret(&what, &written, &needles(&world, 1));
    }
}

#[tokio::test]
async fn a_key_in_the_wrong_place_is_not_shown() {
    let world = world().await;
    let key = world.simulator.private_key_pem().to_owned();
    let needles = private_key(&key);
    let quoted = key.replace('\n', "\\n");
    for (from, to) in [
        ("file:docusign.pem", quoted.as_str()),
        (world.simulator.integration_key(), &quoted),
        ("https://demo.docusign.net", &quoted),
        ("enforce", &quoted),
    ] {
        world.write("tenants/acme.toml", &world.tenant_file());
        world.edit(from, to);
        let ran = world.run(&event(ANN)).await;
        assert_eq!(ran.code, 2);
        holds_no_secret(from, &(ran.stdout + &ran.stderr), &needles);
    }
    world.write_secret("tenants/acme/docusign.pem", &key[..key.len() - 40]);
    world.write("tenants/acme.toml", &world.tenant_file());
    let ran = world.run(&event(ANN)).await;
    assert_eq!(ran.code, 2);
    holds_no_secret("a key that is cut off", &(ran.stdout + &ran.stderr), &needles);
}
