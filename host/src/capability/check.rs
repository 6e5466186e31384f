//! What a request has to pass before it leaves: verb, path, headers, reach, body, token.
//!
//! Nothing here waits or sends, so what was checked is exactly what [`Checked`] holds.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::call::Call;
use super::descriptor::{Method, Placement, Reach, Verb};
use super::headers;
use super::http::Request;
use super::path::RequestPath;
use super::token::Token;
use crate::text::quoted;

/// A request that passed every check.
pub(super) struct Checked {
    pub(super) endpoint: String,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) url: Url,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
    /// Whether the transcript keeps bodies: not those of token exchanges, nor those of pages.
    pub(super) keep_bodies: bool,
}

impl Call {
    /// Checks a guest's request, all but its token.
    ///
    /// # Errors
    ///
    /// What is denied, in words for the author and the operator.
    pub(super) fn check(&mut self, request: Request) -> Result<Checked, String> {
        let Request {
            endpoint,
            method,
            path,
            query,
            headers,
            body,
        } = request;
        let grant = Arc::clone(&self.grant);
        let Some(base) = grant.endpoints.get(&endpoint) else {
            let endpoint = quoted(&endpoint);
            return Err(format!(
                "the descriptor has no endpoint `{endpoint}`; author: declare it in `endpoints`, then the operator binds \
                 it under {}",
                grant.operator()
            ));
        };
        if method.is_safe() && body.is_some() {
            return Err(format!("{method} cannot have a body"));
        }
        if !method.is_safe() && self.verb != Verb::Close {
            return Err(format!(
                "`{}` cannot send {method}: reading verbs cannot write; author: do it in `close`, by a line \
                 `close {method} {endpoint} …` of `reach`",
                self.verb
            ));
        }
        if let Some((name, _)) = query.iter().find(|(name, _)| names_another_method(name)) {
            return Err(format!(
                "query parameter `{}` makes another request of this one at some targets",
                quoted(name)
            ));
        }
        let path = RequestPath::parse(&path)?;
        self.check_size(&query, &headers, body.as_deref())?;
        let mut headers = headers::from_guest(&headers)?;
        let lines = self.check_reach(&endpoint, method, &path)?;
        let path_text = path.encoded();
        let url = join(base.url(), &path_text, &query)?;
        let body = if method.is_safe() {
            None
        } else {
            self.declared_body(&lines, &query, body.as_deref())?.map(Zeroizing::new)
        };
        if body.is_some() {
            headers::declare_json(&mut headers)?;
        }
        let keep_bodies = self.verb != Verb::Page;
        Ok(Checked {
            endpoint,
            method,
            path: path_text,
            url,
            query,
            headers,
            body,
            keep_bodies,
        })
    }

    fn check_size(
        &self,
        query: &[(String, String)],
        headers: &[(String, String)],
        body: Option<&[u8]>,
    ) -> Result<(), String> {
        let limits = &self.grant.limits;
        let head: usize = query
            .iter()
            .chain(headers)
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if head > limits.request_head {
            return Err(format!(
                "query and headers have {head} bytes, at most {} are allowed",
                limits.request_head
            ));
        }
        let fields = query.len() + headers.len();
        if fields > limits.request_fields {
            return Err(format!(
                "query and headers have {fields} fields, at most {} are allowed",
                limits.request_fields
            ));
        }
        let body = body.map_or(0, <[u8]>::len);
        if body > limits.request_body {
            return Err(format!(
                "the body has {body} bytes, at most {} are allowed",
                limits.request_body
            ));
        }
        Ok(())
    }

    /// The granted lines that the request fits. The denial names both lines: the author's in the descriptor and the
    /// operator's in the tenant file.
    pub(super) fn check_reach(
        &self,
        endpoint: &str,
        method: Method,
        path: &RequestPath,
    ) -> Result<Vec<&Reach>, String> {
        let grant = &self.grant;
        let account = self.account.as_deref();
        let fits = |reach: &&Reach| reach.verb == self.verb && reach.endpoint == endpoint && reach.method == method;
        let granted = grant.reach.iter().filter(fits);
        let granted: Vec<&Reach> = granted.filter(|reach| reach.path.matches(path, account)).collect();
        if !granted.is_empty() {
            return Ok(granted);
        }
        let asked = format!("{} {method} {endpoint} {}", self.verb, path.encoded());
        let withheld = grant.withheld.iter().filter(fits).find(|reach| {
            let template = reach.path.with_settings(&grant.settings);
            template.is_ok_and(|template| template.matches(path, account))
        });
        Err(match withheld {
            Some(reach) => format!(
                "`{asked}` is not granted; operator: write reach = {} under {}",
                grant.reach_with(reach),
                grant.operator()
            ),
            None => format!(
                "`{asked}` is not in the descriptor's reach; author: declare `{} {method} {endpoint} …` in `reach`, \
                 then the operator of {} can grant it",
                self.verb,
                grant.operator()
            ),
        })
    }

    /// What an unsafe request carries: what one of the granted lines declares for this account, in the host's own
    /// spelling, and none where it declares none.
    fn declared_body(
        &self,
        lines: &[&Reach],
        query: &[(String, String)],
        body: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, String> {
        if self.account().is_empty() {
            return Err("there is no account to close".to_owned());
        }
        if self.used.unsafe_requests >= self.grant.limits.unsafe_requests {
            return Err(format!(
                "`close` may send {} unsafe request",
                self.grant.limits.unsafe_requests
            ));
        }
        let mut refused = Err("nothing is granted".to_owned());
        for line in lines {
            refused = self.carried(line, query, body);
            if refused.is_ok() {
                break;
            }
        }
        refused
    }

    fn carried(
        &self,
        line: &Reach,
        query: &[(String, String)],
        body: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, String> {
        if let Some((name, _)) = query.iter().find(|(name, _)| !line.query.contains(name)) {
            return Err(format!(
                "`{line}` has no query parameter `{}`; author: list it in that line's `query`",
                quoted(name)
            ));
        }
        let Some(template) = &line.body else {
            return match body {
                None => Ok(None),
                Some(_) => Err(format!(
                    "`{line}` has no body; author: declare it in that line's `body`"
                )),
            };
        };
        let declared = template.filled(&self.grant.settings, self.account());
        let sent: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
        if sent.as_ref() != Some(&declared) {
            return Err(format!(
                "the body is not the one that `{line}` declares for this account; author: send that, or declare another"
            ));
        }
        Ok(Some(declared.to_string().into_bytes()))
    }
}

/// Adds the token in the way that its key says, if it may go to this endpoint.
pub(super) fn place(token: &Token, checked: &mut Checked) -> Result<(), String> {
    if !token.usable_at().contains(&checked.endpoint) {
        return Err(format!(
            "the token may not be sent to endpoint `{}`; author: list it in the key's `usable-at`, then the operator binds \
             it in `endpoints`",
            checked.endpoint
        ));
    }
    let (name, value) = match token.placement() {
        Placement::Bearer => (AUTHORIZATION, Zeroizing::new(format!("Bearer {}", token.secret()))),
        Placement::Basic => {
            let pair = Zeroizing::new(STANDARD.encode(token.secret()));
            (AUTHORIZATION, Zeroizing::new(format!("Basic {}", *pair)))
        }
        Placement::Header(name) => {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| "the key's header name is malformed".to_owned())?;
            (name, Zeroizing::new(token.secret().to_owned()))
        }
    };
    let mut value =
        HeaderValue::from_str(&value).map_err(|_| "the token has a character that no header can carry".to_owned())?;
    value.set_sensitive(true);
    checked.headers.insert(name, value);
    Ok(())
}

/// The operator's base URL with the checked path below it.
pub(super) fn join(base: &Url, path: &str, query: &[(String, String)]) -> Result<Url, String> {
    let mut url = base.clone();
    let whole = format!("{}{path}", base.path().trim_end_matches('/'));
    url.set_path(&whole);
    // The url crate would fold dot segments; the path was checked for them, so any change is a bug to stop at.
    if url.path() != whole {
        return Err(format!("the path `{path}` does not survive being written as a URL"));
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

/// Whether frameworks take a query parameter of this name for the request's method (Rails, Laravel, Symfony `_method`,
/// Express `method-override`, OData `X-HTTP-Method`). `method` alone is an ordinary name at many.
fn names_another_method(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match letters.to_ascii_lowercase().as_str() {
        "method" => name.starts_with(['_', '$']),
        plain => plain.starts_with("xhttpmethod") || plain.ends_with("methodoverride"),
    }
}
