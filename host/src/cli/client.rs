//! The server's API, as commands use it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::tenant::read_secret_file;
use crate::text::printable;

/// How long an answer may take, what was asked to wait for not counted: 30 seconds, the longest page of jobs from a
/// busy database.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The variable that holds the token where no file is named.
pub(super) const TOKEN_VARIABLE: &str = "EXEUNT_TOKEN";

/// Where the server is and who asks.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Address of the server.
    #[arg(
        long,
        env = "EXEUNT_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
    /// File with the API token. Default: the variable EXEUNT_TOKEN. A token is never an argument: everybody on the
    /// machine could read it there.
    #[arg(long, env = "EXEUNT_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the authorities for the server's certificate. Default: the machine's.
    #[arg(long, env = "EXEUNT_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send the token over plain HTTP to another machine too.
    #[arg(long)]
    plain_http: bool,
}

impl ServerArgs {
    /// The server's API.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let server = parse_server(&self.server, self.plain_http)?;
        let token = match &self.token_file {
            Some(file) => read_secret_file(file).map_err(anyhow::Error::msg)?,
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(token) if !token.is_empty() => SecretString::from(token),
                _ => bail!(
                    "no API token: set {TOKEN_VARIABLE}, or name a file with --token-file; on the server's machine, \
                     `exeunt token new NAME --role ROLE` makes one (operate, approve or audit)"
                ),
            },
        };
        let ca = self.ca.as_deref().map(read_authorities).transpose()?;
        Client::new(server, &token, ca)
    }
}

fn read_authorities(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let shown = file.display();
    let pem = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    let found = Certificate::from_pem_bundle(&pem).with_context(|| format!("{shown} is not a PEM file"))?;
    if found.is_empty() {
        bail!("{shown} holds no certificate; --ca names a PEM file with `-----BEGIN CERTIFICATE-----`");
    }
    Ok(found)
}

fn parse_server(text: &str, plain_http: bool) -> anyhow::Result<Url> {
    const WRITE: &str = "write --server http://127.0.0.1:8080 or https://exeunt.example";
    let server = Url::parse(text).with_context(|| format!("{text:?} is not the address of a server; {WRITE}"))?;
    let local = match server.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match server.scheme() {
        "https" => {}
        "http" if local || plain_http => {}
        "http" => bail!(
            "{server} is another machine, and plain HTTP shows the token to everybody on the way; use https, or \
             --plain-http if the network between is yours alone"
        ),
        _ => bail!("{text:?} is not the address of a server; {WRITE}"),
    }
    if !matches!(server.path(), "" | "/") || server.query().is_some() || !server.username().is_empty() {
        bail!("{text:?} is more than the address of a server; {WRITE}");
    }
    Ok(server)
}

/// The server's API with one token.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    server: Url,
}

impl Client {
    pub(super) fn new(server: Url, token: &SecretString, ca: Option<Vec<Certificate>>) -> anyhow::Result<Self> {
        // reqwest takes the process's provider; a second call changes nothing.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret().trim()))
            .map_err(|_| anyhow::anyhow!("the API token holds characters that no token has"))?;
        bearer.set_sensitive(true);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("exeunt/", env!("CARGO_PKG_VERSION")))
            // A redirect would take the token along.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]));
        if let Some(roots) = ca {
            builder = builder.tls_certs_only(roots);
        }
        let http = builder.build().context("cannot prepare the connection")?;
        Ok(Self { http, server })
    }

    /// The answer to a GET.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let (status, body) = self.send(Method::GET, url, None, &[], Duration::ZERO).await?;
        self.accept(status, body)
    }

    /// The status of a GET and its answer, whatever it is.
    pub(super) async fn get_raw(&self, path: &[&str]) -> anyhow::Result<(StatusCode, Value)> {
        self.send(Method::GET, self.url(path)?, None, &[], Duration::ZERO).await
    }

    /// The answer to a POST.
    pub(super) async fn post(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        let (status, body) = self
            .send(Method::POST, self.url(path)?, Some(body), &[], Duration::ZERO)
            .await?;
        self.accept(status, body)
    }

    /// The status of a POST and its answer, whatever it is. `wait` is how much longer it may take.
    pub(super) async fn post_raw(
        &self,
        path: &[&str],
        body: &Value,
        headers: &[(HeaderName, String)],
        wait: Duration,
    ) -> anyhow::Result<(StatusCode, Value)> {
        self.send(Method::POST, self.url(path)?, Some(body), headers, wait)
            .await
    }

    /// An answer that is none of an error.
    pub(super) fn accept(&self, status: StatusCode, body: Value) -> anyhow::Result<Value> {
        if status.is_success() {
            return Ok(body);
        }
        let detail = body
            .get("detail")
            .and_then(Value::as_str)
            .unwrap_or("no reason was given");
        let mut said = format!("{} answered {status}: {}", self.server, printable(detail));
        if status == StatusCode::UNAUTHORIZED {
            let _ = write!(said, "; it came from --token-file, or else from {TOKEN_VARIABLE}");
        }
        if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
            return Err(Refused(said).into());
        }
        Err(Unfinished(said).into())
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
        headers: &[(HeaderName, String)],
        wait: Duration,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = self.http.request(method, url).timeout(ANSWER_WITHIN + wait);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let no_answer = |error| no_answer(error, &self.server);
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(no_answer)?;
        let body = match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            Err(_) if bytes.is_empty() || !status.is_success() => Value::Null,
            Err(_) => bail!("{} did not answer in JSON; is it an Exeunt?", self.server),
        };
        Ok((status, body))
    }

    fn url(&self, path: &[&str]) -> anyhow::Result<Url> {
        // These would name another path.
        if let Some(dots) = path.iter().find(|segment| matches!(**segment, "" | "." | "..")) {
            return Err(Refused(format!("\"{dots}\" is no id")).into());
        }
        let mut url = self.server.clone();
        // Segment by segment, so that an argument with a slash stays one.
        match url.path_segments_mut() {
            Ok(mut segments) => segments.clear().extend(path),
            Err(()) => bail!("{} is not the address of a server", self.server),
        };
        Ok(url)
    }
}

/// What a request without an answer ran into, and what to write instead.
fn no_answer(error: reqwest::Error, server: &Url) -> anyhow::Error {
    let advice = match tls_error(&error) {
        Some(error @ rustls::Error::InvalidCertificate(_)) if error.to_string().contains("CaUsedAsEndEntity") => {
            format!(
                "the certificate of {server} is an authority's, and no server's; make it one (with openssl, \
                 -addext basicConstraints=critical,CA:FALSE)"
            )
        }
        Some(rustls::Error::InvalidCertificate(_)) => format!(
            "the certificate of {server} is not accepted; write the name that it is made out for, and name its \
             authority's PEM file with --ca where this machine does not know it"
        ),
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("{server} does not speak TLS; write http:// where `exeunt serve` has no certificate")
        }
        Some(_) => format!("no secure connection to {server}"),
        None if server.scheme() == "http" && is_no_http(&error) => {
            format!("{server} does not answer in HTTP; write https:// where `exeunt serve` has a certificate")
        }
        None => {
            let advice = format!("no answer from {server}; is `exeunt serve` running there?");
            return anyhow::Error::new(error).context(Unfinished(advice));
        }
    };
    anyhow::Error::new(error).context(advice)
}

/// Whether what answered does not speak HTTP. A connection that broke says nothing of that.
fn is_no_http(error: &reqwest::Error) -> bool {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.any(|cause| cause.downcast_ref().is_some_and(hyper::Error::is_parse))
}

/// A request that was not carried out, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

/// A request, or some of several, that may go well later as it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfinished(pub(super) String);

/// Whether nothing was done after this error: the server said no, or was never reached. After an answer that got lost,
/// cannot be read, or says that the server failed, it may have been.
pub(super) fn was_refused(error: &anyhow::Error) -> bool {
    error.is::<Refused>() || error.downcast_ref().is_some_and(reqwest::Error::is_connect)
}

/// What TLS said. It travels inside errors of input and output, which do not name it as their source.
fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let carried = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
        .and_then(|inner| tls_error(inner));
    let said = error.downcast_ref().or(carried);
    said.or_else(|| tls_error(error.source()?))
}

/// An answer as what it should be.
pub(super) fn read<T: DeserializeOwned>(answer: Value) -> anyhow::Result<T> {
    serde_json::from_value(answer).context("the server's answer has another form than this release expects")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Exit;

    #[test]
    fn a_token_does_not_leave_the_machine_in_clear_by_accident() {
        let parse = |text: &str, plain: bool| parse_server(text, plain).is_ok();
        for fine in [
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:1",
            "https://exeunt.example/",
        ] {
            assert!(parse(fine, false), "{fine}");
        }
        assert!(!parse("http://exeunt.example", false));
        assert!(!parse("http://127.0.0.1.example", false));
        assert!(parse("http://exeunt.example", true));
        for wrong in [
            "exeunt.example",
            "ftp://h",
            "https://h/v1",
            "https://u:p@h",
            "https://h/?x",
            "",
        ] {
            assert!(!parse(wrong, true), "{wrong}");
        }
    }

    #[test]
    fn the_token_is_not_part_of_what_debug_shows() {
        let token = SecretString::from("exeunt_geheim");
        let client = Client::new("http://127.0.0.1:1".parse().unwrap(), &token, None).unwrap();
        assert!(!format!("{client:?}").contains("geheim"));
    }

    #[test]
    fn only_a_refusal_says_that_nothing_was_done() {
        let token = SecretString::from("exeunt_x");
        let client = Client::new("http://127.0.0.1:1".parse().unwrap(), &token, None).unwrap();
        let exit = |status| Exit::of(&client.accept(status, Value::Null).unwrap_err());
        assert_eq!(exit(StatusCode::CONFLICT), Exit::Usage);
        for later in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
            assert_eq!(exit(later), Exit::Problem);
        }
        let refused = |status| was_refused(&client.accept(status, Value::Null).unwrap_err());
        assert!(refused(StatusCode::FORBIDDEN) && refused(StatusCode::CONFLICT));
        assert!(!refused(StatusCode::INTERNAL_SERVER_ERROR) && !refused(StatusCode::GATEWAY_TIMEOUT));
        assert!(was_refused(&client.url(&[".."]).unwrap_err()), "nothing was sent");
        let unreadable = read::<Vec<u8>>(Value::Null).unwrap_err();
        assert!(!was_refused(&unreadable), "it was answered, with whatever");
    }

    #[test]
    fn an_argument_stays_one_segment() {
        let token = SecretString::from("exeunt_x");
        let client = Client::new("http://127.0.0.1:1".parse().unwrap(), &token, None).unwrap();
        let url = client.url(&["v1", "jobs", "../../x?y#z"]).unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:1/v1/jobs/..%2F..%2Fx%3Fy%23z");
        for other in ["", ".", ".."] {
            assert!(
                client.url(&["v1", "jobs", other, "release"]).is_err(),
                "{other:?} is another path"
            );
        }
    }
}
