//! The other baseline: the connector's own code, compiled natively, over the very same capabilities.

use std::cell::RefCell;

use exeunt::capability::{self, Call};
use futures_util::FutureExt;
use plugin_docusign::{Grant, GrantError, Host, HttpError, Level, Method, Request, Response};

/// The capabilities of one call, as the connector's trait.
pub(crate) struct Native {
    call: RefCell<Call>,
}

impl Native {
    pub(crate) fn new(call: Call) -> Self {
        Self {
            call: RefCell::new(call),
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
        // The stub answers at once, so the future is ready the first time it is asked.
        let answer = self.call.borrow_mut().send(request, token).now_or_never();
        match answer {
            Some(Ok(Ok(response))) => Ok(Response {
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
