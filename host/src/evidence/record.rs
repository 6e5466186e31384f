//! What is kept of a job: how it ended, what stood before and after, and what was said on the wire.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{Answer, Question};
use crate::capability::{Exchange, LogLine, Verb};
use crate::journal::Outcome;

/// Where a job stands. In JSON the word is the variant's in lower case: `"state": "ended"`, `"held"` or `"parked"`; only
/// a job that has ended has an `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// `ended`: it has its outcome, and nothing more is done. Records of earlier releases say `done`.
    #[serde(alias = "done")]
    Ended,
    /// `held`: it waits for a person to decide; `reason` says what about.
    Held,
    /// `parked`: it waits for a time (`until`), or, where there is none, for its connector to be mended.
    Parked,
}

/// One account, before and after, in the target's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChange {
    /// The target's id.
    pub id: String,
    /// The address that the target holds.
    pub email: Option<String>,
    /// Status when it was found.
    pub before: String,
    /// Status at the last independent read; absent where nothing was done.
    pub after: Option<String>,
    /// A closure was sent, and no read has been answered since: the account may be closed. Absent where false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
    /// An identity provider owns it and may open it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub externally_managed: bool,
}

/// Which code did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginIdentity {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// `sha256:…` of the component.
    pub digest: String,
}

/// What one verb call did. What was kept since there are replays is absent in older ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallTranscript {
    /// Which verb.
    pub verb: Verb,
    /// `sha256:…` of the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// What it was called with; absent above the limit for a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Question>,
    /// What it answered; absent above the limit for a body, and where it was a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answer>,
    /// The settings; absent above the limit for a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// The endpoints' base URLs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, String>,
    /// The guest's clock: how many exchanges there had been, and the seconds that it was told from then on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clock: Vec<(usize, u64)>,
    /// The first request or token that the host denied it, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// When the token that it was lent expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires: Option<Timestamp>,
    /// Its exchanges with the target.
    pub exchanges: Vec<Exchange>,
    /// Its log lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
}

/// Bytes of a question, an answer or the settings that a transcript keeps: as of a body, since they come from one.
const MAX_KEPT: usize = 64 * 1024;

/// What is small enough to be kept; its bytes are added to `said`.
pub(crate) fn small<T: Serialize>(value: T, said: &mut usize) -> Option<T> {
    let mut room = Room(MAX_KEPT);
    serde_json::to_writer(&mut room, &value).ok()?;
    *said += MAX_KEPT - room.0;
    Some(value)
}

/// Takes so many bytes, keeps none, and fails beyond.
struct Room(usize);

impl std::io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(std::io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The record of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReport {
    /// Connector name.
    pub connector: String,
    /// Where it stands.
    pub state: JobState,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
    /// Why, in one sentence.
    pub reason: String,
    /// Until when it is parked, where that is known.
    pub until: Option<Timestamp>,
    /// Accounts found.
    pub accounts: Vec<AccountChange>,
    /// The plugin.
    pub plugin: PluginIdentity,
    /// Everything said on the wire.
    pub transcript: Vec<CallTranscript>,
    /// Wall clock, in milliseconds.
    pub elapsed_ms: u64,
}

/// One exchange in a record, without what was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallLine<'a> {
    /// Which verb made it.
    pub verb: Verb,
    /// Endpoint name.
    pub endpoint: Cow<'a, str>,
    /// Method.
    pub method: Cow<'a, str>,
    /// Path below the endpoint's base URL.
    pub path: Cow<'a, str>,
    /// Status, if a whole answer came.
    pub status: Option<u16>,
    /// When it began; absent in records of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// The target's own name for the request.
    pub trace_token: Option<Cow<'a, str>>,
    /// Why there is no whole answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
}

/// The JSON form leaves bodies to the transcript.
impl Serialize for JobReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut record = serializer.serialize_struct("JobReport", 9)?;
        record.serialize_field("connector", &self.connector)?;
        record.serialize_field("state", &self.state)?;
        record.serialize_field("outcome", &self.outcome)?;
        record.serialize_field("reason", &self.reason)?;
        record.serialize_field("until", &self.until)?;
        record.serialize_field("accounts", &self.accounts)?;
        record.serialize_field("plugin", &self.plugin)?;
        record.serialize_field("calls", &self.calls())?;
        record.serialize_field("elapsed_ms", &self.elapsed_ms)?;
        record.end()
    }
}

impl JobReport {
    /// All exchanges in order.
    #[must_use]
    pub fn calls(&self) -> Vec<CallLine<'_>> {
        let calls = self.transcript.iter();
        let exchanges = calls.flat_map(|call| call.exchanges.iter().map(|exchange| (call.verb, exchange)));
        exchanges
            .map(|(verb, exchange)| CallLine {
                verb,
                endpoint: Cow::from(&exchange.endpoint),
                method: Cow::from(&exchange.method),
                path: Cow::from(&exchange.path),
                status: exchange.status,
                at: Some(exchange.at),
                ms: exchange.ms,
                trace_token: exchange.trace_token.as_ref().map(Cow::from),
                error: exchange.error.as_ref().map(Cow::from),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_large_as_a_body_may_be_is_kept_and_what_is_larger_is_not() {
        // Two quotation marks are written around a text.
        let at = "x".repeat(MAX_KEPT - 2);
        let mut said = 1;
        assert_eq!(small(at.clone(), &mut said), Some(at.clone()));
        assert_eq!(said, 1 + MAX_KEPT);
        assert_eq!((small(at + "x", &mut said), said), (None, 1 + MAX_KEPT));
    }

    #[test]
    fn a_call_from_before_there_were_replays_can_be_read() {
        let call: CallTranscript = serde_json::from_str(r#"{"verb":"find","exchanges":[]}"#).unwrap();
        assert_eq!((call.verb, &call.asked, &call.plugin), (Verb::Find, &None, &None));
    }
}
