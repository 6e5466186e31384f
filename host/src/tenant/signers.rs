//! `signers` and `require_signature`, in `exeunt.toml` and in a tenant file.
//!
//! Two demands that are met each for itself: what the host asks for is met by keys in `exeunt.toml` alone, so that a
//! tenant cannot vouch for what it runs where the host's operator wants to; and what a tenant asks for is met by the keys
//! that it names, so that a key that the host trusts for others says nothing to it.

use super::reader::{Item, Table};
use super::signature::{MAX_SIGNERS, PublicKey};

/// Somebody wants plugins to be signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignatureDemand {
    /// The file that says so.
    pub by: &'static str,
    /// Whose signature meets it, at least one.
    pub signers: Vec<PublicKey>,
}

/// What one file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct SignatureLines {
    pub(super) signers: Vec<PublicKey>,
    /// Whether any are written, well or not.
    pub(super) named: bool,
    pub(super) required: bool,
}

impl SignatureLines {
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        let item = table.get("signers");
        let keys = item.as_ref().map(Item::strings).unwrap_or_default();
        let named = !keys.is_empty();
        let signers = item.map(|item| parse(&item, keys));
        let required = table.get("require_signature").and_then(|item| item.boolean());
        Self {
            named,
            signers: signers.unwrap_or_default(),
            required: required.unwrap_or(false),
        }
    }
}

/// A list of public keys.
pub(super) fn read_signers(item: &Item<'_>) -> Vec<PublicKey> {
    parse(item, item.strings())
}

fn parse<'a>(item: &Item<'a>, keys: Vec<(&'a str, Item<'a>)>) -> Vec<PublicKey> {
    if keys.len() > MAX_SIGNERS {
        let count = keys.len();
        item.note(format!("has {count} keys, at most {MAX_SIGNERS} are allowed"));
    }
    let keys = keys.into_iter();
    keys.filter_map(|(text, item)| item.accept(PublicKey::parse(text)))
        .collect()
}
