//! The baseline: the same component in an embedding of wasmtime that does nothing else.
//!
//! Pooled instances, a fresh store for each call, epochs on; no limits, no checks, no records, no scrubbing.

use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::stub;
use bindings::exeunt::connector::{clock, credentials, http, log, settings, types};

mod bindings {
    #![allow(
        unsafe_code,
        missing_docs,
        unreachable_pub,
        missing_debug_implementations,
        clippy::all,
        reason = "generated code"
    )]
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "connector",
        with: { "exeunt:connector/credentials.access-token": super::Token },
        imports: {
            "exeunt:connector/http.send": async | trappable,
            "exeunt:connector/credentials.jwt-bearer": async | trappable,
            "exeunt:connector/credentials.client-credentials": async | trappable,
            default: trappable,
        },
        exports: { default: async },
    });
}

/// Stands for a token.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub struct Token;

struct State {
    table: ResourceTable,
    settings: String,
}

/// A bare embedding.
pub(crate) struct Bare {
    engine: Engine,
    pre: bindings::ConnectorPre<State>,
    settings: String,
}

impl Bare {
    pub(crate) fn new(component: &[u8], settings: String) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let mut pool = PoolingAllocationConfig::default();
        pool.linear_memory_keep_resident(1024 * 1024);
        pool.table_keep_resident(64 * 1024);
        pool.pagemap_scan(wasmtime::Enabled::Auto);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        bindings::Connector::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)?;
        let pre = bindings::ConnectorPre::new(linker.instantiate_pre(&Component::new(&engine, component)?)?)?;
        Ok(Self { engine, pre, settings })
    }

    /// One `read` in a fresh store.
    pub(crate) async fn read(&self, id: &str) -> wasmtime::Result<bool> {
        let state = State {
            table: ResourceTable::new(),
            settings: self.settings.clone(),
        };
        let mut store = Store::new(&self.engine, state);
        store.set_epoch_deadline(u64::MAX / 2);
        let connector = self.pre.instantiate_async(&mut store).await?;
        let token = store.data_mut().table.push(Token)?;
        let lent = Resource::new_borrow(token.rep());
        let read = connector
            .exeunt_connector_user_closure()
            .call_read(&mut store, id, lent)
            .await?;
        Ok(matches!(read, Ok(Some(_))))
    }
}

impl types::Host for State {}

impl http::Host for State {
    async fn send(
        &mut self,
        request: http::Request,
        _: Option<Resource<Token>>,
    ) -> wasmtime::Result<Result<types::Response, http::HttpError>> {
        let answer = stub::answer(false, &request.path);
        Ok(Ok(types::Response {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
        }))
    }
}

impl credentials::HostAccessToken for State {
    fn expires_at(&mut self, _: Resource<Token>) -> wasmtime::Result<Option<u64>> {
        Ok(None)
    }

    fn drop(&mut self, token: Resource<Token>) -> wasmtime::Result<()> {
        self.table.delete(token)?;
        Ok(())
    }
}

impl credentials::Host for State {
    async fn jwt_bearer(
        &mut self,
        _: credentials::Grant,
    ) -> wasmtime::Result<Result<Resource<Token>, credentials::GrantError>> {
        Ok(Ok(self.table.push(Token)?))
    }

    async fn client_credentials(
        &mut self,
        _: String,
        _: String,
    ) -> wasmtime::Result<Result<Resource<Token>, credentials::GrantError>> {
        Ok(Ok(self.table.push(Token)?))
    }

    fn api_key(&mut self, _: String) -> wasmtime::Result<Result<Resource<Token>, credentials::GrantError>> {
        Ok(Ok(self.table.push(Token)?))
    }
}

impl settings::Host for State {
    fn get(&mut self) -> wasmtime::Result<String> {
        Ok(self.settings.clone())
    }

    fn endpoint(&mut self, _: String) -> wasmtime::Result<Option<String>> {
        Ok(Some("https://demo.docusign.net".to_owned()))
    }
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(1_800_000_000)
    }
}

impl log::Host for State {
    fn write(&mut self, _: log::Level, _: String, _: Vec<(String, String)>) -> wasmtime::Result<()> {
        Ok(())
    }
}
