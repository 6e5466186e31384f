//! A client that knows nothing but the certificate authority and two addresses, and holds every eSignature exchange
//! against DocuSign's specification.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use docusign_sim::{Options, Simulator, User, openapi};
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Method, Response};
use serde_json::{Value, json};
use url::form_urlencoded;

pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A moment that tests start at: 2026-11-23T10:20:00Z, not at the top of an hour.
pub(crate) const NOW: i64 = 1_795_429_200;

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("headers are text"))
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.header(name).expect(name).parse().expect("a number")
    }

    /// Status and error code of an eSignature error.
    pub(crate) fn error(&self) -> (u16, String) {
        (
            self.status,
            self.json()["errorCode"].as_str().expect("an errorCode").to_owned(),
        )
    }
}

/// A simulator and a client for it.
pub(crate) struct Rig {
    pub(crate) sim: Simulator,
    pub(crate) http: reqwest::Client,
}

impl Rig {
    /// A simulator whose clock stands at [`NOW`].
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let options = Options {
            clock: docusign_sim::Clock::at(NOW),
            record_exchanges: true,
            ..options
        };
        let sim = Simulator::start(options).await.expect("the simulator starts");
        let http = client(&sim);
        Self { sim, http }
    }

    /// The claims of a good assertion.
    pub(crate) fn claims(&self) -> Value {
        json!({
            "iss": self.sim.integration_key(),
            "sub": self.sim.user_id(),
            "aud": "account-d.docusign.com",
            "iat": NOW,
            "exp": NOW + 3600,
            "scope": "signature impersonation",
        })
    }

    /// The claims of a good assertion with some replaced; null takes one away.
    pub(crate) fn claims_with(&self, change: &Value) -> Value {
        let mut claims = self.claims();
        for (name, value) in change.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let claims = claims.as_object().expect("an object");
        claims
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    pub(crate) async fn mint(&self, assertion: &str) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", JWT_BEARER)
            .append_pair("assertion", assertion)
            .finish();
        self.post_token("application/x-www-form-urlencoded", form).await
    }

    pub(crate) async fn mint_claims(&self, change: &Value) -> Answer {
        self.mint(&sign(self.sim.private_key_pem(), &self.claims_with(change)))
            .await
    }

    pub(crate) async fn post_token(&self, content_type: &str, body: String) -> Answer {
        let url = "https://account-d.docusign.com/oauth/token";
        let request = self.http.post(url).header("content-type", content_type).body(body);
        answer(request.send().await.expect("an answer")).await
    }

    pub(crate) async fn token(&self) -> String {
        let answer = self.mint_claims(&json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["access_token"].as_str().expect("a token").to_owned()
    }

    pub(crate) async fn userinfo(&self, token: &str) -> Answer {
        let request = self
            .http
            .get("https://account-d.docusign.com/oauth/userinfo")
            .bearer_auth(token);
        answer(request.send().await.expect("an answer")).await
    }

    /// A request at eSignature, below the account. Every exchange is held against the specification.
    pub(crate) async fn esign(&self, token: &str, method: Method, below: &str, body: Option<Value>) -> Answer {
        let answer = self.odd_esign(token, method, below, body).await;
        for exchange in self.sim.exchanges() {
            if let Err(problems) = openapi::check(&exchange) {
                panic!("{exchange:?} does not fit DocuSign's specification: {problems:?}");
            }
        }
        answer
    }

    /// The same for requests that the specification does not know, or whose answers are damaged on purpose.
    pub(crate) async fn odd_esign(&self, token: &str, method: Method, below: &str, body: Option<Value>) -> Answer {
        answer(self.send(token, method, below, body).await.expect("an answer")).await
    }

    pub(crate) async fn send(
        &self,
        token: &str,
        method: Method,
        below: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Response> {
        let url = format!("https://demo.docusign.net{}{below}", self.account_path());
        let mut request = self.http.request(method, url).bearer_auth(token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        request.send().await
    }

    pub(crate) fn account_path(&self) -> String {
        format!("/restapi/v2.1/accounts/{}", self.sim.account_id())
    }

    pub(crate) async fn get(&self, token: &str, below: &str) -> Answer {
        self.esign(token, Method::GET, below, None).await
    }

    /// Closes users, with the query that is given.
    pub(crate) async fn close(&self, token: &str, ids: &[&str], query: &str) -> Answer {
        self.esign(token, Method::DELETE, &format!("/users{query}"), Some(user_list(ids)))
            .await
    }

    pub(crate) fn add(&self, email: &str) -> String {
        self.sim.add_user(User::new(email))
    }

    pub(crate) async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let url = format!("http://{}/_sim/{path}", self.sim.control_addr());
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        answer(request.send().await.expect("an answer")).await
    }
}

pub(crate) fn user_list(ids: &[&str]) -> Value {
    json!({ "users": ids.iter().map(|id| json!({ "userId": id })).collect::<Vec<_>>() })
}

pub(crate) fn client(sim: &Simulator) -> reqwest::Client {
    // Another test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = Certificate::from_pem(sim.ca_pem().as_bytes()).expect("a certificate");
    reqwest::Client::builder()
        .tls_certs_only([authority])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        // Not a measure, a way out: a fault that hangs must not hang the suite.
        .timeout(Duration::from_secs(60))
        .resolve("account-d.docusign.com", sim.account_addr())
        .resolve("demo.docusign.net", sim.esign_addr())
        .resolve("na2.docusign.net", sim.esign_addr())
        .build()
        .expect("a client")
}

pub(crate) async fn answer(response: Response) -> Answer {
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.expect("a body"),
    }
}

pub(crate) fn key_pair(pem: &str) -> RsaKeyPair {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    RsaKeyPair::from_pkcs8(&STANDARD.decode(body).expect("base64")).expect("an RSA key")
}

/// Signs claims with RS256, without `kid`, as DocuSign's SDKs do.
pub(crate) fn sign(pem: &str, claims: &Value) -> String {
    sign_as(pem, &json!({ "alg": "RS256", "typ": "JWT" }), claims)
}

pub(crate) fn sign_as(pem: &str, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let pair = key_pair(pem);
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
