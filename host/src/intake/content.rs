//! What an event says, as a digest: two messages with the same content are one event for a while.
//!
//! SailPoint's events have no id, no time and no tenant, so nothing but their content tells a repetition. What is put
//! into the digest errs towards too much: a repetition that passes for new finds the account closed already, while a
//! new leaver that passes for a repetition would keep the account.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::person::{Person, folded_address};
use super::sailpoint::Event;

/// The content of a SailPoint event.
///
/// SHA-256 of the canonical JSON of `["sailpoint/1", type, source.id, account.id, identity.id, person, changes]`. `type`
/// is the event's own word for what it is; `person` is `[id, target_id, email]` as mapped, the address as it is compared;
/// `changes` are `[attribute, [new values]]`, sorted. Missing ids are null. Old values, names, owners and entitlements
/// are left out: they say nothing about who leaves which account.
pub(super) fn of_sailpoint(event: &Event<'_>, whole: &Value, person: &Person) -> [u8; 32] {
    let at = |pointer: &str| whole.pointer(pointer).cloned().unwrap_or_default();
    let mut changes: Vec<Vec<u8>> = event
        .changes
        .iter()
        .map(|change| canonical(&json!([change.attribute, change.now])))
        .collect();
    changes.sort();
    let email = person.email.as_deref().map(folded_address);
    let who = json!([
        "sailpoint/1",
        event.kind(whole),
        at("/source/id"),
        at("/account/id"),
        event.identity.id,
        [&person.id, &person.target_id, &email],
    ]);
    let mut digest = Sha256::new_with_prefix(canonical(&who));
    for change in changes {
        digest.update(change);
    }
    digest.finalize().into()
}

/// The content of any other event: SHA-256 of the canonical JSON of `["webhook/1", event]`. A time or counter in it makes
/// each message an event of its own; its source should say where its id is.
pub(super) fn of_any(whole: &Value) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(b"[\"webhook/1\",");
    digest.update(canonical(whole));
    digest.update(b"]");
    digest.finalize().into()
}

/// JSON without white space, the members of objects in the order of their names' bytes, strings as `serde_json` escapes
/// them, numbers as they were read.
fn canonical(value: &Value) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    write(value, &mut text);
    text
}

// The depth of an event is limited, so this may call itself.
fn write(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Array(list) => {
            text.push(b'[');
            for (index, item) in list.iter().enumerate() {
                separate(index, text);
                write(item, text);
            }
            text.push(b']');
        }
        Value::Object(members) => {
            // Whether a map is sorted is up to a feature that any crate in the tree may switch.
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push(b'{');
            for (index, (name, item)) in members.into_iter().enumerate() {
                separate(index, text);
                string(name, text);
                text.push(b':');
                write(item, text);
            }
            text.push(b'}');
        }
        Value::String(value) => string(value, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => text.extend_from_slice(value.to_string().as_bytes()),
    }
}

fn separate(index: usize, text: &mut Vec<u8>) {
    if index > 0 {
        text.push(b',');
    }
}

fn string(value: &str, text: &mut Vec<u8>) {
    text.extend_from_slice(Value::from(value).to_string().as_bytes());
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
