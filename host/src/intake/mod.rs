//! How events come in: one file a kind of source.
//!
//! A [`Source`] turns the bytes of one event into a [`Decision`]: who left, why this is not a leaver, or why it is
//! refused. It is compiled when its tenant is loaded, so that a wrong rule is an error of the configuration and not of
//! the first event. What is not understood is refused, never skipped: an event that is quietly ignored is an account
//! that stays open.
//!
//! Filters are RFC 9535 JSONPath, although SailPoint's own are Jayway's. Where the two differ, a filter is refused with
//! the text to write instead. Rewriting it silently lost: the same characters would mean one thing in SailPoint's
//! dialogue and another here, and nobody would see which.

mod age;
mod content;
mod decision;
pub mod http;
mod jayway;
mod json;
mod jsonpath;
mod lexer;
mod person;
mod regexp;
mod rephrase;
mod rule;
mod sailpoint;

pub use age::{AGE_HOLD, MAX_AHEAD, OLD_HOLD, Occurred, too_old};
pub use decision::{Decision, Mark, Reading, Source, sources};
pub(crate) use json::PLACEHOLDER;
pub use json::{MAX_EVENT_BYTES, MAX_EVENT_DEPTH, MAX_EVENT_MEMBERS, MAX_EVENT_VALUES};
pub use jsonpath::{MAX_PATH_BYTES, MAX_PATH_NESTING};
pub(crate) use person::folded_address;
pub use person::{MAX_PERSON_FIELD_BYTES, Person};
pub use sailpoint::{SAMPLE_HOLD, is_documented_sample};
pub(crate) use sailpoint::{is_sample_person, sample_objection};
