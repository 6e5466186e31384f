//! What a plugin says of itself, checked.
//!
//! Grants hang on it, so a descriptor that contradicts itself is refused as a whole instead of being read kindly.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::body::BodyTemplate;
use super::path::PathTemplate;

/// The functions of a connector that reach out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Asks for a token.
    Mint,
    /// Finds a person's accounts.
    Find,
    /// Reads one account.
    Read,
    /// Closes one account.
    Close,
    /// Lists accounts.
    Page,
}

impl Verb {
    /// All of them, in the contract's order.
    pub const ALL: [Self; 5] = [Self::Mint, Self::Find, Self::Read, Self::Close, Self::Page];

    /// Its name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mint => "mint",
            Self::Find => "find",
            Self::Read => "read",
            Self::Close => "close",
            Self::Page => "page",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    Get,
    /// Reads the head.
    Head,
    /// Unsafe.
    Post,
    /// Unsafe.
    Put,
    /// Unsafe.
    Patch,
    /// Unsafe.
    Delete,
}

impl Method {
    /// Whether the method only reads (RFC 9110 section 9.2.1).
    #[must_use]
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        })
    }
}

/// A base URL that the operator binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointDeclaration {
    /// Its name in requests and in the tenant file.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Used where the operator binds nothing.
    pub default_base_url: Option<String>,
}

/// One kind of request of one verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// During which verb.
    pub verb: Verb,
    /// To which endpoint.
    pub endpoint: String,
    /// With which method.
    pub method: Method,
    /// On which paths.
    pub path: PathTemplate,
    /// Unsafe lines: query parameters that the request may have.
    pub query: Vec<String>,
    /// Unsafe lines: the body that the request must have.
    pub body: Option<BodyTemplate>,
    /// Not granted unless the operator lists it.
    pub optional: bool,
}

impl Reach {
    /// The exchange of a key. It is granted and shown like any other request, though the host alone can send it.
    fn exchange(exchange: &Exchange) -> Option<Self> {
        Some(Self {
            verb: Verb::Mint,
            endpoint: exchange.endpoint.clone(),
            method: Method::Post,
            path: PathTemplate::parse(&exchange.path).ok()?,
            query: Vec::new(),
            body: None,
            optional: false,
        })
    }
}

/// The line as it stands in a tenant file: `close POST api /users/close?notify {"id":"{account}"}`.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.verb, self.method, self.endpoint, self.path)?;
        if !self.query.is_empty() {
            write!(f, "?{}", self.query.join("&"))?;
        }
        match &self.body {
            Some(body) => write!(f, " {body}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Reach {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.optional {
            serializer.collect_str(&format_args!("{self} (optional)"))
        } else {
            serializer.collect_str(self)
        }
    }
}

/// Where a static key goes in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
    /// The named header field.
    Header(String),
}

/// Where a secret is exchanged for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// Endpoint name.
    pub endpoint: String,
    /// Literal path.
    pub path: String,
}

/// What kind of secret a key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum KeyKind {
    /// An RSA key that signs assertions.
    SigningKey {
        /// Where the assertion is posted.
        exchange: Exchange,
        /// JSON pointer into the settings: `iss`.
        issuer: String,
        /// JSON pointer into the settings: `sub`.
        subject: String,
    },
    /// A client secret (RFC 6749 section 4.4).
    ClientSecret {
        /// Where it is exchanged.
        exchange: Exchange,
        /// JSON pointer into the settings: the client id.
        client_id: String,
    },
    /// A static key.
    ApiKey {
        /// Where it goes.
        placement: Placement,
    },
}

/// A secret that the operator provides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyDeclaration {
    /// Its name in grants and in the tenant file.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: KeyKind,
    /// Endpoints to which its token may be sent.
    pub usable_at: Vec<String>,
}

impl KeyDeclaration {
    /// Where it is exchanged for a token, if it is.
    #[must_use]
    pub fn exchange(&self) -> Option<&Exchange> {
        match &self.kind {
            KeyKind::SigningKey { exchange, .. } | KeyKind::ClientSecret { exchange, .. } => Some(exchange),
            KeyKind::ApiKey { .. } => None,
        }
    }

    /// Whether the secret or its token is sent to this endpoint.
    #[must_use]
    pub fn goes_to(&self, endpoint: &str) -> bool {
        self.usable_at.iter().any(|name| name == endpoint)
            || self.exchange().is_some_and(|exchange| exchange.endpoint == endpoint)
    }
}

/// A connector's description of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Descriptor {
    /// Name.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// JSON Schema of the settings.
    pub settings_schema: serde_json::Value,
    /// Endpoints.
    pub endpoints: Vec<EndpointDeclaration>,
    /// Keys.
    pub keys: Vec<KeyDeclaration>,
    /// Requests; exchanges of keys first.
    pub reach: Vec<Reach>,
    /// Response header that names a request in the target's logs.
    pub trace_header: Option<String>,
}

impl Descriptor {
    /// Reads the settings schema: JSON Schema 2020-12, of a bounded size with its references written out.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse_schema(text: &str) -> Result<serde_json::Value, String> {
        super::schema::parse(text)
    }

    /// What checks settings against the schema.
    ///
    /// # Errors
    ///
    /// What is wrong with the schema.
    pub fn settings_validator(&self) -> Result<jsonschema::Validator, String> {
        super::schema::validator(&self.settings_schema)
    }

    /// Puts the exchanges of its keys among its requests. Done once it is known to be sound.
    pub fn declare_exchanges(&mut self) {
        let mut exchanges: Vec<Reach> = Vec::new();
        for key in &self.keys {
            if let Some(line) = key.exchange().and_then(Reach::exchange)
                && !exchanges.contains(&line)
            {
                exchanges.push(line);
            }
        }
        self.reach.splice(0..0, exchanges);
    }
}
