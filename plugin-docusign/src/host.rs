//! What the connector asks of whoever runs it.

use crate::{Grant, GrantError, HttpError, Level, Request, Response};

/// The capabilities that the contract's world imports, as one trait.
///
/// The shim implements it over the generated imports; a native host implements it over its own capabilities, tests
/// over a script. Every function means what the interface of the same name in `wit/` says.
pub trait Host {
    /// A token that the host keeps. The connector only passes it on.
    type Token;

    /// Sends one request and waits for the whole answer.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    fn send(&self, request: &Request, token: Option<&Self::Token>) -> Result<Response, HttpError>;

    /// Signs an assertion, exchanges it, keeps the token.
    ///
    /// # Errors
    ///
    /// Why there is no token.
    fn jwt_bearer(&self, grant: &Grant) -> Result<Self::Token, GrantError>;

    /// The connector's settings, a JSON object.
    fn settings(&self) -> String;

    /// The base URL that the operator bound an endpoint to, without a slash at its end.
    fn endpoint(&self, name: &str) -> Option<String>;

    /// Seconds since 1970-01-01 UTC.
    fn now(&self) -> u64;

    /// Writes one line for the operator.
    fn log(&self, level: Level, message: &str, fields: &[(String, String)]);
}
