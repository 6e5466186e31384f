//! Who asks, and what they may see.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::problem::Problem;
use super::router::Shared;
use crate::tenant::{Role, Token, Tokens};

/// The holder of a valid token.
#[derive(Debug, Clone)]
pub(super) struct Caller(Token);

impl Caller {
    /// The token's name, written down with all that is done with it.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// Refuses a token without this role, before anything is looked up: the answer must not depend on what exists.
    pub(super) fn require(&self, role: Role) -> Result<(), Problem> {
        if self.has(role) {
            return Ok(());
        }
        // One of the host would do it too, and reach all tenants.
        let of_tenant = self
            .tenant()
            .map_or_else(String::new, |tenant| format!(" --tenant {tenant}"));
        Err(Problem::forbidden(format!(
            "the token `{}` has not the role `{role}`; make one with: exeunt token new NAME --role {role}{of_tenant}",
            self.0.name
        )))
    }

    /// Whether the token has a role.
    pub(super) fn has(&self, role: Role) -> bool {
        self.0.roles.contains(&role)
    }

    /// The tenant that the token belongs to; none for one of the host.
    pub(super) fn tenant(&self) -> Option<&str> {
        self.0.tenant.as_deref()
    }

    /// Whether what belongs to this tenant exists for the caller.
    pub(super) fn sees(&self, tenant: &str) -> bool {
        self.0.reaches(Some(tenant))
    }

    /// The tenant that a list is about: a tenant's token means its own where none is asked for. `None` is all of them;
    /// an error is a tenant that does not exist for the caller.
    pub(super) fn narrow(&self, asked: Option<String>) -> Result<Option<String>, NotHere> {
        match (&self.0.tenant, asked) {
            (None, asked) => Ok(asked),
            (Some(own), None) => Ok(Some(own.clone())),
            (Some(own), Some(asked)) if *own == asked => Ok(Some(asked)),
            (Some(_), Some(_)) => Err(NotHere),
        }
    }

    /// Refuses a token of a tenant where the host as a whole is asked for.
    pub(super) fn require_host(&self) -> Result<(), Problem> {
        match &self.0.tenant {
            None => Ok(()),
            Some(tenant) => Err(Problem::forbidden(format!(
                "the token `{}` belongs to the tenant `{tenant}`; this needs one of the host",
                self.0.name
            ))),
        }
    }
}

/// The tenant is another one's, so it does not exist for the caller.
#[derive(Debug)]
pub(super) struct NotHere;

impl From<NotHere> for Problem {
    fn from(NotHere: NotHere) -> Self {
        Self::not_found("tenant")
    }
}

/// Who asks, where nobody has to say so.
pub(super) fn identify(parts: &Parts, tokens: &Tokens) -> Option<Caller> {
    let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    // RFC 9110 §11.1: the scheme's case does not count.
    let token = scheme.eq_ignore_ascii_case("bearer").then_some(token)?;
    tokens.authenticate(token.trim_start_matches(' ')).cloned().map(Caller)
}

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Problem;

    /// Whom [`in_turn`](super::turns::in_turn) has let in.
    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(Problem::unauthorized)
    }
}

/// A caller who may be nobody.
#[derive(Debug, Clone)]
pub(super) struct Anyone(pub(super) Option<Caller>);

impl FromRequestParts<Arc<Shared>> for Anyone {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Self::Rejection> {
        Ok(Self(identify(parts, &shared.console.tokens.load())))
    }
}
