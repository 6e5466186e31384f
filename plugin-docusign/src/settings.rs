//! The operator's settings.
//!
//! The host has already held them against [`SCHEMA`]. They are checked again here, because a schema can only say that
//! a pattern does not match, and because the logic also runs where no schema was applied.

use serde_json::Value;

use crate::{Failure, Host};

/// JSON Schema (draft 2020-12) of the settings.
pub const SCHEMA: &str = include_str!("settings.schema.json");

/// DocuSign's own site: every integration key may register it, and what arrives there is thrown away.
const DEFAULT_REDIRECT_URI: &str = "https://www.docusign.com";

/// What `delete=` takes (eSignature, `Users: delete`).
const REMOVABLE: [&str; 3] = ["Groups", "PermissionSet", "SigningGroupsEmail"];

/// Which shapes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// What DocuSign documents.
    Current,
    /// The literal requests of the article that the project starts from.
    Article,
}

/// The settings of one connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The account whose members are closed, a GUID.
    pub account_id: String,
    /// The app that signs in, a GUID: claim `iss`.
    pub integration_key: String,
    /// The user that the connector acts as, a GUID: claim `sub`.
    pub user_id: String,
    /// What is removed together with a membership.
    pub also_remove: Vec<String>,
    /// Where the consent page sends the browser afterwards.
    pub redirect_uri: String,
    /// Which shapes are sent.
    pub wire: Wire,
}

impl Settings {
    /// Reads the settings that the host holds.
    pub(crate) fn of<H: Host>(host: &H) -> Result<Self, Failure> {
        Self::parse(&host.settings()).map_err(Failure::Misconfigured)
    }

    /// Reads settings from JSON text.
    ///
    /// # Errors
    ///
    /// What is wrong and what to write instead. Values are not repeated: a secret may have been pasted into one.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Not where it goes wrong: the host has parsed the text before, and the parser's messages make the plugin larger.
        let value: Value = serde_json::from_slice(text.as_bytes()).map_err(|_| "the settings are not JSON")?;
        let settings = Self {
            account_id: guid(
                &value,
                "account_id",
                "the API Account ID under Apps and Keys, not the short account number",
            )?,
            integration_key: guid(
                &value,
                "integration_key",
                "the Integration Key of the app under Apps and Keys",
            )?,
            user_id: guid(
                &value,
                "user_id",
                "the User ID, under Apps and Keys, of the administrator to act as",
            )?,
            also_remove: also_remove(&value)?,
            redirect_uri: redirect_uri(&value)?,
            wire: wire(&value)?,
        };
        if settings.wire == Wire::Article && !settings.also_remove.is_empty() {
            return Err(
                "settings.also_remove needs the documented request; write wire = \"current\", or leave it out".into(),
            );
        }
        Ok(settings)
    }
}

fn guid(value: &Value, name: &str, what: &str) -> Result<String, String> {
    let wrong = |problem: &str| Err(format!("settings.{name} {problem}; write {what} (a GUID)"));
    match value.get(name).and_then(Value::as_str) {
        Some(text) if is_guid(text) => Ok(text.to_owned()),
        Some(text) if text.contains('@') => wrong("is an e-mail address"),
        Some(_) => wrong("is not a GUID"),
        None => wrong("is missing or not a string"),
    }
}

fn also_remove(value: &Value) -> Result<Vec<String>, String> {
    let Some(list) = value.get("also_remove") else {
        return Ok(Vec::new());
    };
    let names: Option<Vec<&str>> = list
        .as_array()
        .and_then(|items| items.iter().map(Value::as_str).collect());
    match names {
        Some(names) if names.iter().all(|name| REMOVABLE.contains(name)) => {
            Ok(names.into_iter().map(str::to_owned).collect())
        }
        _ => Err(format!(
            "settings.also_remove is not a list of these: {}",
            REMOVABLE.join(", ")
        )),
    }
}

fn redirect_uri(value: &Value) -> Result<String, String> {
    match value.get("redirect_uri").map(Value::as_str) {
        None => Ok(DEFAULT_REDIRECT_URI.to_owned()),
        Some(Some(uri))
            if (uri.starts_with("https://") || uri.starts_with("http://"))
                && uri.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(uri.to_owned())
        }
        Some(_) => {
            Err("settings.redirect_uri is not a URL; write one that is registered under the integration key".into())
        }
    }
}

fn wire(value: &Value) -> Result<Wire, String> {
    match value.get("wire").map(Value::as_str) {
        None | Some(Some("current")) => Ok(Wire::Current),
        Some(Some("article")) => Ok(Wire::Article),
        Some(_) => Err("settings.wire is neither \"current\" nor \"article\"".into()),
    }
}

/// Whether `text` has the form 8-4-4-4-12 of hexadecimal digits, in either case.
pub(crate) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
