//! The other baseline: the connector's own code, compiled natively, over the very same capabilities.

use std::cell::RefCell;

use exeunt::capability::{self, Call};
use plugin_docusign::{Grant, GrantError, Host, HttpError, Level, Method, Request, Response};
use tokio::runtime::Handle;

/// The capabilities of one call, as the connector's trait. Used from a thread that is not the runtime's own, since the
/// connector's code waits where it stands.
pub(crate) struct Native {
    call: RefCell<Call>,
    runtime: Handle,
}

impl Native {
    pub(crate) fn new(call: Call, runtime: &Handle) -> Self {
        Self {
            call: RefCell::new(call),
            runtime: runtime.clone(),
        }
    }
}

impl Host for Native {
    type Token = capability::Token;

    fn send(&self, request: &Request, token: Option<&Self::Token>) -> Result<Response, HttpError> {
        let request = capability::Request {
            endpoint: request.endpoint.clone(),
            method: match request.method {
                Method::Get => capability::Method::Get,
                Method::Head => capability::Method::Head,
                Method::Post => capability::Method::Post,
                Method::Put => capability::Method::Put,
                Method::Patch => capability::Method::Patch,
                Method::Delete => capability::Method::Delete,
            },
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
        };
        match self.runtime.block_on(self.call.borrow_mut().send(request, token)) {
            Ok(Ok(response)) => Ok(Response {
                status: response.status,
                headers: response.headers,
                body: response.body,
            }),
            other => Err(HttpError::NotSent(format!("{other:?}"))),
        }
    }

    fn jwt_bearer(&self, _: &Grant) -> Result<Self::Token, GrantError> {
        Err(GrantError::Denied("the benchmark mints in the sandbox".to_owned()))
    }

    fn settings(&self) -> String {
        self.call.borrow().settings().to_owned()
    }

    fn endpoint(&self, name: &str) -> Option<String> {
        self.call.borrow().endpoint(name).map(str::to_owned)
    }

    fn now(&self) -> u64 {
        self.call.borrow().now()
    }

    fn log(&self, _: Level, _: &str, _: &[(String, String)]) {}
}
