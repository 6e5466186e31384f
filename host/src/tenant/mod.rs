//! What a tenant configured: files, secrets, policy.
//!
//! A tenant is one file, `tenants/NAME.toml`, and the folder `tenants/NAME/` for its secrets. The host's own file,
//! `exeunt.toml`, grants to a tenant what bends the network, so that nobody can widen their own reach.
//!
//! Files are read into plain values here, by hand over the parsed TOML. The alternative, `serde` with
//! `deny_unknown_fields`, is shorter, but it stops at the first mistake, loses the line inside inline tables, and
//! cannot say which key was meant. Here one pass reports every mistake, and each value remembers its line
//! ([`Location`]), so that a later check (a setting against the plugin's schema, a missing key) still points at it.

mod connector;
mod digest;
mod endpoint;
mod error;
mod file;
mod grants;
mod host;
mod keys;
mod names;
mod places;
mod plugin_source;
mod policy;
mod reader;
mod replace;
mod retention;
mod secrets;
mod server;
mod signature;
mod signers;
mod source;
mod source_auth;
mod token_file;
mod tokens;

pub(crate) use connector::json;
pub use connector::{ConnectorConfig, Mode};
pub(crate) use digest::{digest_text, parse_digest};
pub use endpoint::{BaseUrl, MAX_URL_BYTES};
pub use error::{ConfigError, Location, Problem};
pub use file::{MAX_CONNECTORS, Tenant};
pub use grants::{Ca, ConnectTo, MAX_CA_BYTES, NetworkGrants};
pub use host::HostConfig;
pub use keys::{MAX_KEY_BITS, MIN_KEY_BITS, SignError, SigningKey};
pub use names::{MAX_NAME_BYTES, did_you_mean, nearest};
pub(crate) use names::{is_name, quoted};
pub use plugin_source::{PluginRegistry, PluginSource, RegistryPlugin};
pub use policy::{
    Breaker, MAX_BREAKER_CLOSURES, MAX_DURATION, MAX_PATTERN_BYTES, MAX_PATTERN_STARS, MAX_PATTERNS, Policy, Protected,
};
pub use reader::MAX_CONFIG_BYTES;
pub(crate) use reader::{Item, Table, read, read_text};
pub use replace::replace;
pub use retention::{DEFAULT_EVENT_RETENTION, DEFAULT_TRANSCRIPT_RETENTION, MIN_EVENT_RETENTION, Retention};
pub(crate) use secrets::read_secret_file;
pub use secrets::{MAX_KEY_SECRETS, MAX_SECRET_BYTES, SecretRef};
pub(crate) use server::is_postgres;
pub use server::{
    DEFAULT_LISTEN, HostSecret, JournalAddress, MAX_DRAIN, MAX_LEASE, MIN_LEASE, ServerConfig, ServerLimits, TlsConfig,
};
pub use signature::{MAX_SIGNATURES_BYTES, MAX_SIGNERS, PrivateKey, PublicKey, Refused, Signatures, signature_file};
pub use signers::SignatureDemand;
pub use source::{Becomes, DEFAULT_MAX_AGE, LeaverRule, PersonMapping, SourceConfig, SourceKind};
pub use source_auth::{MAX_SOURCE_SECRETS, SourceAuth};
pub use tokens::{NewToken, Role, TOKEN_BYTES, TOKEN_PREFIX, Token, Tokens};
