//! The five imports: each hands over to its capability. Conversions, no rules.

use wasmtime::component::Resource;

use super::bindings::exeunt::connector::{clock, credentials, http, log, settings, types};
use super::engine::State;
use crate::capability::{
    Call, Encoding, GrantError, HttpError, JwtGrant, Level, LimitReached, Method, Request, Response, Token,
};

impl State {
    /// The call's capabilities.
    ///
    /// # Errors
    ///
    /// There are none while a plugin describes itself: a descriptor is static.
    fn call(&mut self) -> wasmtime::Result<&mut Call> {
        self.call
            .as_mut()
            .ok_or_else(|| wasmtime::Error::msg("no import works while `describe` runs"))
    }

    /// The call's capabilities, one host call counted.
    fn counted(&mut self) -> wasmtime::Result<&mut Call> {
        let call = self.call()?;
        call.count()?;
        Ok(call)
    }

    fn push(&mut self, token: Token) -> wasmtime::Result<Resource<Token>> {
        let allowed = self.handles as u64;
        let limit = "handles";
        // The table fails to take an entry for one reason only: it is full.
        Ok(self.table.push(token).map_err(|_| LimitReached { limit, allowed })?)
    }
}

impl types::Host for State {}

impl http::Host for State {
    async fn send(
        &mut self,
        request: http::Request,
        token: Option<Resource<Token>>,
    ) -> wasmtime::Result<Result<types::Response, http::HttpError>> {
        let token = token.map(|token| self.table.get(&token).cloned()).transpose()?;
        let answer = self.call()?.send(request.into(), token.as_ref()).await?;
        Ok(answer.map(types::Response::from).map_err(http::HttpError::from))
    }
}

impl credentials::HostAccessToken for State {
    fn expires_at(&mut self, token: Resource<Token>) -> wasmtime::Result<Option<u64>> {
        self.counted()?;
        let expires = self.table.get(&token)?.expires();
        Ok(expires.and_then(|expires| u64::try_from(expires.as_second()).ok()))
    }

    fn drop(&mut self, token: Resource<Token>) -> wasmtime::Result<()> {
        self.table.delete(token)?;
        Ok(())
    }
}

impl credentials::Host for State {
    async fn jwt_bearer(
        &mut self,
        grant: credentials::Grant,
    ) -> wasmtime::Result<Result<Resource<Token>, credentials::GrantError>> {
        let encoding = match grant.encoding {
            credentials::Encoding::Form => Encoding::Form,
            credentials::Encoding::Json => Encoding::Json,
        };
        let grant = JwtGrant {
            key: grant.key,
            scope: grant.scope,
            encoding,
            lifetime: grant.lifetime,
        };
        let minted = self.call()?.jwt_bearer(grant).await?;
        self.hand_over(minted)
    }

    async fn client_credentials(
        &mut self,
        key: String,
        scope: String,
    ) -> wasmtime::Result<Result<Resource<Token>, credentials::GrantError>> {
        let minted = self.call()?.client_credentials(&key, &scope).await?;
        self.hand_over(minted)
    }

    fn api_key(&mut self, key: String) -> wasmtime::Result<Result<Resource<Token>, credentials::GrantError>> {
        let minted = self.call()?.api_key(&key)?;
        self.hand_over(minted)
    }
}

impl State {
    fn hand_over(
        &mut self,
        minted: Result<Token, GrantError>,
    ) -> wasmtime::Result<Result<Resource<Token>, credentials::GrantError>> {
        match minted {
            Ok(token) => Ok(Ok(self.push(token)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl settings::Host for State {
    fn get(&mut self) -> wasmtime::Result<String> {
        Ok(self.counted()?.settings().to_owned())
    }

    fn endpoint(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.counted()?.endpoint(&name).map(str::to_owned))
    }
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.counted()?.now())
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.counted()?.log(level, message, fields);
        Ok(())
    }
}

impl From<http::Request> for Request {
    fn from(request: http::Request) -> Self {
        let method = match request.method {
            http::Method::Get => Method::Get,
            http::Method::Head => Method::Head,
            http::Method::Post => Method::Post,
            http::Method::Put => Method::Put,
            http::Method::Patch => Method::Patch,
            http::Method::Delete => Method::Delete,
        };
        let http::Request {
            endpoint,
            path,
            query,
            headers,
            body,
            ..
        } = request;
        Self {
            endpoint,
            method,
            path,
            query,
            headers,
            body,
        }
    }
}

impl From<Response> for types::Response {
    fn from(response: Response) -> Self {
        let Response { status, headers, body } = response;
        Self { status, headers, body }
    }
}

impl From<HttpError> for http::HttpError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(text) => Self::Denied(text),
            HttpError::NotSent(text) => Self::NotSent(text),
            HttpError::NoAnswer(text) => Self::NoAnswer(text),
            HttpError::TooLarge(text) => Self::TooLarge(text),
        }
    }
}

impl From<GrantError> for credentials::GrantError {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Denied(text) => Self::Denied(text),
            GrantError::Unreachable(text) => Self::Unreachable(text),
            GrantError::Rejected(response) => Self::Rejected(response.into()),
        }
    }
}
