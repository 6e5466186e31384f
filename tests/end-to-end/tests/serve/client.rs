//! A host's HTTP, as SailPoint and operators use it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::house::{House, SOURCE_TOKEN};
use crate::process::Host;

/// An answer, or nothing where none came.
pub(crate) type Answer = Result<(u16, Value), ()>;

/// A client of one host at a time.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    token: Arc<str>,
}

impl Client {
    pub(crate) fn new(house: &House, host: &Host) -> Self {
        Self {
            http: http(),
            address: host.address(),
            token: house.token.as_str().into(),
        }
    }

    /// A request with the host's token, for those that need more than a path.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        self.http.request(method, url).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// What a GET must answer.
    pub(crate) async fn see(&self, path: &str) -> Value {
        match self.get(path).await {
            Ok((200, value)) => value,
            other => panic!("{path}: {other:?}"),
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/json");
        answer(request.body(body.to_string())).await
    }

    /// Sends an event to a tenant's source, as SailPoint does.
    pub(crate) async fn event(&self, tenant: &str, body: &[u8]) -> Answer {
        self.event_with(tenant, body, SOURCE_TOKEN).await
    }

    /// The same with another token.
    pub(crate) async fn event_with(&self, tenant: &str, body: &[u8], token: &str) -> Answer {
        let url = format!("http://{}/v1/tenants/{tenant}/sources/hr/events", self.address);
        let request = self.http.post(url).bearer_auth(token);
        answer(request.header("content-type", "application/json").body(body.to_vec())).await
    }

    /// Sends an event that must be taken, and returns its id.
    pub(crate) async fn accepted(&self, tenant: &str, body: &[u8]) -> String {
        match self.event(tenant, body).await {
            Ok((200, answer)) => answer["event"].as_str().expect("an id").to_owned(),
            other => panic!("{other:?}"),
        }
    }

    /// All jobs that fit a query.
    pub(crate) async fn jobs(&self, query: &str) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.see(&format!("/v1/jobs?limit=500&{query}{cursor}")).await;
            all.extend(page["jobs"].as_array().expect("a list").iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// The only job of an event.
    pub(crate) async fn job(&self, event: &str) -> Value {
        let mut jobs = self.jobs(&format!("event={event}")).await;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.remove(0)
    }

    /// The only job of an event, once it stands in this state or has this outcome.
    pub(crate) async fn job_is(&self, event: &str, word: &str) -> Value {
        crate::until(&format!("{event} is {word}"), async || {
            let job = self.job(event).await;
            assert!(
                job["state"] != "ended" || job["outcome"] == word,
                "it ended otherwise: {job:#}"
            );
            job["outcome"] == word || job["state"] == word
        })
        .await;
        self.job(event).await
    }

    /// Waits until no job is queued or running; parked and resting lanes count as queued.
    pub(crate) async fn idle(&self) {
        crate::until("all jobs are done", async || {
            let Ok((200, seen)) = self.get("/v1/lanes").await else {
                return false;
            };
            let lanes = seen["lanes"].as_array().expect("a list");
            lanes
                .iter()
                .all(|lane| lane["queued"] == json!(0) && lane["running"] == json!(0))
        })
        .await;
    }

    /// A tenant's lane.
    pub(crate) async fn lane(&self, tenant: &str) -> Value {
        let seen = self.see(&format!("/v1/lanes?tenant={tenant}")).await;
        seen["lanes"][0].clone()
    }
}

/// Sends a request; what is no JSON comes back as text.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.map_err(drop)?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await.map_err(drop)?;
    let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text())))
}

pub(crate) fn http() -> reqwest::Client {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60));
    builder.build().expect("a client")
}
