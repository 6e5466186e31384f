//! Sources as the server needs them: compiled, and with their secrets.

use std::fmt::Debug;
use std::sync::Arc;

use super::auth::Auth;
use crate::intake::Source;
use crate::tenant::{ConfigError, SourceConfig, SourceKind};

/// What is live at the moment. Asked anew for each request, so that a reload counts at once; must not wait.
pub trait Directory: Debug + Send + Sync {
    /// A source of a tenant.
    fn source(&self, tenant: &str, source: &str) -> Option<Arc<OpenSource>>;

    /// The names of all of a tenant's connectors, sorted; none for a tenant that is not there.
    fn connectors(&self, tenant: &str) -> Option<Arc<[String]>>;
}

/// A source that events can be sent to.
#[derive(Debug)]
pub struct OpenSource {
    source: Source,
    kind: SourceKind,
    auth: Auth,
}

impl OpenSource {
    /// Compiles a source's rule and resolves its secrets. Open it again when one of them has changed.
    ///
    /// # Errors
    /// What [`Source::new`] says, a secret that cannot be read or used, a source without `auth`: whoever finds the
    /// address could have people's accounts closed; and one that feeds no connector.
    pub fn open(config: &SourceConfig) -> Result<Self, ConfigError> {
        const WRITE: &str = "has no `auth`, so anybody could report leavers; write auth = { bearer = \"file:NAME\" }, \
                             basic = { user = \"…\", password = \"file:NAME\" } or webhook = \"file:NAME\" in its place";
        const FEEDS_NONE: &str = "feeds no connector, so nothing would ever be closed and its events would be answered \
                                  all the same; write a [connectors.NAME]";
        if config.connectors.is_empty() {
            return Err(config.at("").error(FEEDS_NONE));
        }
        let source = Source::new(config);
        let auth = match &config.auth {
            Some(auth) => Auth::resolve(auth),
            None => Err(config.at("").error(WRITE)),
        };
        ConfigError::collect(
            [source.as_ref().err(), auth.as_ref().err()]
                .into_iter()
                .flatten()
                .cloned(),
        )?;
        Ok(Self {
            source: source?,
            kind: config.kind,
            auth: auth?,
        })
    }

    /// Its rule and mapping.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What sends its events.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }
}
