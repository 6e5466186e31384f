//! A user as eSignature writes it, read as an account of the contract.

use serde_json::Value;

use crate::settings::is_guid;
use crate::{Account, Standing};

/// Facts that an auditor may want, under DocuSign's own names.
const FACTS: [&str; 9] = [
    "userType",
    "permissionProfileName",
    "createdDateTime",
    "userAddedToAccountDateTime",
    "lastLogin",
    "licenseType",
    "licenseStatus",
    "isAlternateAdmin",
    "isManagedByScim",
];

/// Reads a user (eSignature `userInformation`).
///
/// Returns what is wrong with it where it cannot be worked with: no GUID, or no status.
pub(crate) fn account(user: &Value) -> Result<Account, String> {
    let id = text(user, "userId")
        .filter(|id| is_guid(id))
        .ok_or("has a user without a userId that is a GUID")?;
    let native_status = text(user, "userStatus").ok_or_else(|| format!("has no userStatus for user {id}"))?;
    let fact = |name: &str| Some((name.to_owned(), crate::reply::quote(text(user, name)?)));
    Ok(Account {
        id: id.to_owned(),
        email: text(user, "email").map(str::to_owned),
        name: text(user, "userName").map(str::to_owned),
        standing: standing(native_status),
        native_status: crate::reply::quote(native_status),
        // DocuSign sends it with every user. Where it is missing a person should decide, so it counts as true.
        admin: flag(user, "isAdmin").unwrap_or(true),
        externally_managed: flag(user, "isMembershipManagedByScim").unwrap_or(false),
        attributes: FACTS.iter().filter_map(|name| fact(name)).collect(),
    })
}

/// Statuses of a membership. GET writes `Closed`, DELETE writes `closed`, so they are compared without case. A status
/// that is not known is open: the worst that follows is a closure that was not needed.
fn standing(status: &str) -> Standing {
    match status.to_ascii_lowercase().as_str() {
        "closed" => Standing::Closed,
        "disabled" => Standing::Disabled,
        "activationsent" | "activationrequired" => Standing::Pending,
        _ => Standing::Active,
    }
}

/// A member that is text and not empty.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// A number, which eSignature writes as a string.
pub(crate) fn number(value: &Value, name: &str) -> Option<u64> {
    match value.get(name)? {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    }
}

/// A truth value: JSON's, or `"True"` and `"False"` in any case.
fn flag(value: &Value, name: &str) -> Option<bool> {
    match value.get(name)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Whether two addresses are the same but for case.
///
/// A letter outside ASCII never equals one inside: Unicode lower-cases the Kelvin sign to `k`, which would let one
/// person's address name another's account.
pub(crate) fn same_address(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.chars(), other.chars());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a.eq_ignore_ascii_case(&b) => {}
            (Some(a), Some(b)) if !a.is_ascii() && !b.is_ascii() && a.to_lowercase().eq(b.to_lowercase()) => {}
            _ => return false,
        }
    }
}
