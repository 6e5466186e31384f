//! A console on a real listener, over a journal in a temporary folder, for the tests of this room and of the command
//! line.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::civil::date;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use url::Url;

use super::router::{Shared, routes};
use super::{Console, Health, HealthReport, Phase};
use crate::clock::{Clock as _, ManualClock};
use crate::journal::testing::leaver;
use crate::journal::{
    Accepted, ClaimedJob, ClosureLimit, Finish, Finished, JobId, Journal, NewEvent, NewJob, NewState, Options, Outcome,
    Reservation,
};
use crate::tenant::{NewToken, Role, Tokens};

/// Name, tenant and roles of each token.
const TOKENS: &[(&str, Option<&str>, &[Role])] = &[
    ("ops", None, &[Role::Operate]),
    ("boss", None, &[Role::Approve]),
    ("auditor", None, &[Role::Audit]),
    ("acme-all", Some("acme"), Role::ALL),
    ("other-all", Some("other"), Role::ALL),
];

/// A running console.
pub(crate) struct Stand {
    pub(crate) journal: Journal,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) health: Arc<FixedHealth>,
    pub(crate) tokens: Arc<ArcSwap<Tokens>>,
    pub(crate) url: Url,
    pub(super) shared: Arc<Shared>,
    pub(crate) folder: TempDir,
    secrets: HashMap<&'static str, SecretString>,
    http: reqwest::Client,
}

/// A host that says what a test sets.
#[derive(Debug)]
pub(crate) struct FixedHealth {
    pub(crate) phase: Mutex<Phase>,
    pub(crate) report: Mutex<HealthReport>,
}

impl Health for FixedHealth {
    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> HealthReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn knows(&self, tenant: &str, connector: Option<&str>) -> bool {
        matches!(
            (tenant, connector),
            ("acme" | "other", None | Some("docusign" | "zoom"))
        )
    }

    fn absent(&self, tenant: &str, connector: &str) -> Option<String> {
        (!self.knows(tenant, Some(connector))).then(|| format!("there is no tenant `{tenant}`"))
    }
}

impl Stand {
    pub(crate) async fn new() -> Self {
        Self::with_metrics_token(false).await
    }

    pub(crate) async fn with_metrics_token(metrics_token: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).unwrap()));
        let options = Options {
            clock: clock.clone(),
            ..Options::default()
        };
        let journal = Journal::open(&format!("sqlite:{}", folder.path().join("j.db").display()), options)
            .await
            .unwrap();
        let (secrets, tokens) = make_tokens(&folder);
        let report = HealthReport {
            tenants: 2,
            problems: Vec::new(),
        };
        let health = Arc::new(FixedHealth {
            phase: Mutex::new(Phase::Serving),
            report: Mutex::new(report),
        });
        let console = Console {
            journal: journal.clone(),
            tokens: Arc::clone(&tokens),
            health: health.clone(),
            metrics: super::metrics::builder().unwrap().build_recorder().handle(),
            metrics_token,
            clock: clock.clone(),
        };
        let shared = Arc::new(Shared::new(console));
        let app = routes(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            journal,
            clock,
            health,
            tokens,
            url,
            shared,
            folder,
            secrets,
            http,
        }
    }

    /// The text of a token.
    pub(crate) fn secret(&self, token: &str) -> &SecretString {
        &self.secrets[token]
    }

    /// Status, content type and text of an answer; an empty token sends none.
    pub(crate) async fn text(&self, method: Method, path: &str, token: &str, body: &str) -> (u16, String, String) {
        let mut request = self
            .http
            .request(method, self.url.join(path).unwrap())
            .body(body.to_owned());
        if !token.is_empty() {
            let secret = self.secrets.get(token).map_or(token, |secret| secret.expose_secret());
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        let response = request.send().await.unwrap();
        let kind = response
            .headers()
            .get("content-type")
            .map(|kind| kind.to_str().unwrap().to_owned());
        (
            response.status().as_u16(),
            kind.unwrap_or_default(),
            response.text().await.unwrap(),
        )
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let (status, _, text) = self.text(Method::GET, path, token, "").await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let (status, _, text) = self.text(Method::POST, path, token, &body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Accepts a leaver with one job.
    pub(crate) async fn leaver(&self, tenant: &str, email: &str, state: NewState) -> JobId {
        self.leaver_of(tenant, "docusign", email, state).await.jobs[0]
    }

    pub(crate) async fn leaver_of(&self, tenant: &str, connector: &str, email: &str, state: NewState) -> Accepted {
        let now = crate::clock::Clock::now(&*self.clock);
        let jobs = vec![NewJob {
            connector: connector.to_owned(),
            state,
        }];
        let event = NewEvent {
            body: format!("{{\"who\": \"{email}\"}}").into_bytes(),
            reason: "userStatus became inactive".to_owned(),
            person: Some(serde_json::json!({ "email": email }).to_string()),
            person_key: Some(email.to_owned()),
            jobs,
            ..leaver(tenant, connector, now)
        };
        self.journal.accept(event).await.unwrap()
    }

    /// Fails the oldest job until it is given up.
    pub(crate) async fn give_up(&self) -> JobId {
        loop {
            let job = self.claim().await;
            let retry = Finish::Retry {
                at: self.clock.now(),
                reason: "the target is away".to_owned(),
            };
            let finished = self.journal.finish(&job.fence, retry, None).await.unwrap();
            // Its lane waits longer and longer for a target that is away.
            self.clock.advance(Duration::from_secs(60));
            if matches!(finished, Finished::Dead) {
                return job.id();
            }
        }
    }

    /// Claims the next job, and puts it down for its next try, of which it returns the time.
    pub(crate) async fn put_off(&self) -> Timestamp {
        let job = self.claim().await;
        let at = self.journal.after(Duration::from_secs(60));
        let reason = "the target is away".to_owned();
        let retry = Finish::Retry { at, reason };
        self.journal.finish(&job.fence, retry, None).await.unwrap();
        at
    }

    /// Claims the next job.
    pub(crate) async fn claim(&self) -> ClaimedJob {
        let mut claimed = self.journal.claim("host-1", Duration::from_secs(30), 1).await.unwrap();
        claimed.remove(0)
    }

    /// Takes the next job to its end, with an intent and a transcript.
    pub(crate) async fn close(&self) -> JobId {
        let job = self.claim().await;
        let limit = ClosureLimit {
            closures: 1000,
            per: Duration::from_secs(3600),
        };
        let reserved = self
            .journal
            .intend(&job.fence, "account-1", 0, limit, None)
            .await
            .unwrap();
        assert_eq!(reserved, Reservation::Reserved);
        let end = Finish::End {
            outcome: Outcome::Closed,
            reason: "closed and verified".to_owned(),
            detail: Some("{\"accounts\":[]}".to_owned()),
        };
        let transcript = br#"[{"verb":"find"}]"#.to_vec();
        self.journal.finish(&job.fence, end, Some(transcript)).await.unwrap();
        job.id()
    }

    /// Lets the next job run into a breaker of no closures at all.
    pub(crate) async fn trip(&self) -> JobId {
        let job = self.claim().await;
        let limit = ClosureLimit {
            closures: 0,
            per: Duration::from_secs(3600),
        };
        let tripped = self.journal.intend(&job.fence, "a", 0, limit, None).await.unwrap();
        assert!(matches!(tripped, Reservation::Tripped { .. }), "{tripped:?}");
        let hold = Finish::Hold {
            why: crate::journal::BREAKER_HOLD.to_owned(),
            reason: "one too many".to_owned(),
            detail: None,
        };
        self.journal.finish(&job.fence, hold, None).await.unwrap();
        job.id()
    }
}

fn make_tokens(folder: &TempDir) -> (HashMap<&'static str, SecretString>, Arc<ArcSwap<Tokens>>) {
    let file = folder.path().join("tokens.toml");
    let mut secrets = HashMap::new();
    for (number, (name, tenant, roles)) in (0..).zip(TOKENS) {
        let new = NewToken {
            name: (*name).to_owned(),
            tenant: tenant.map(str::to_owned),
            roles: roles.iter().copied().collect(),
            created: date(2026, 1, 31),
        };
        secrets.insert(*name, Tokens::add(&file, new, [number; 32]).unwrap());
    }
    (secrets, Arc::new(ArcSwap::from_pointee(Tokens::load(&file).unwrap())))
}
