//! The JSON forms of jobs and events, for the server that writes them and the command line that reads them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::lane_view::PauseView;
use crate::journal::{
    Action, Attempt, EventRecord, EventSummary, IntentRecord, JobRecord, JobState, JobSummary, Transcript, Transcripts,
};

/// A job in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: Uuid,
    /// Its event.
    pub event: Uuid,
    /// Its tenant.
    pub tenant: String,
    /// Its connector.
    pub connector: String,
    /// The source of its event.
    pub source: String,
    /// When its event came.
    pub received_at: Timestamp,
    /// Who left: `id`, `target_id`, `email`, `name`, `attributes`.
    pub person: Option<Value>,
    /// `queued`, `parked`, `running`, `held` or `ended`.
    pub state: String,
    /// Why it is parked (in words) or held (a word).
    pub why: Option<String>,
    /// Until when it is parked, where that is known; until when its lease runs.
    pub until: Option<Timestamp>,
    /// The host that works on it.
    pub owner: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Whether it is a dead letter: given up after too many tries.
    pub dead: bool,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Tries that counted.
    pub attempts: u32,
    /// Leases that ran out: hosts that died with it.
    pub lapses: u32,
    /// The last thing that happened to it, in words.
    pub reason: Option<String>,
    /// Holds that operators released.
    pub released: Vec<String>,
}

/// A page of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobPage {
    /// The jobs. May be fewer than asked for although there are more.
    pub jobs: Vec<JobView>,
    /// What to give as `cursor` for the next page; absent on the last one.
    pub next: Option<String>,
}

/// A job with its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobDetail {
    /// What a list says.
    #[serde(flatten)]
    pub job: JobView,
    /// The pause that keeps it where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseView>,
    /// Evidence of its outcome, or of why it is held.
    pub detail: Option<Value>,
    /// Tries that are over, in order.
    pub history: Vec<Attempt>,
    /// Accounts that it set out to close.
    pub intents: Vec<IntentRecord>,
    /// What people did to it, in order.
    pub actions: Vec<Action>,
    /// Host calls, in order, of the latest tries; absent without the role `audit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcripts: Option<Vec<TranscriptView>>,
    /// Older transcripts that are kept and not shown: an answer has 16 MiB of them. Absent where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcripts_left_out: Option<usize>,
}

/// Host calls of one try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TranscriptView {
    /// Which claim of the job it was.
    pub claim: u32,
    /// When it was written.
    pub at: Timestamp,
    /// The calls, as `exeunt run --transcript` writes them.
    pub calls: Value,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// Its id.
    pub id: Uuid,
    /// Its tenant.
    pub tenant: String,
    /// Its source.
    pub source: String,
    /// The source's own id for it.
    pub source_id: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// When it happened, where it said so.
    pub occurred_at: Option<Timestamp>,
    /// `leaver`, `not_a_leaver`, `refused` or `replayed`.
    pub decision: String,
    /// Why, in words.
    pub reason: String,
    /// Who left.
    pub person: Option<Value>,
    /// The event that was made of it when it was replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed_as: Option<Uuid>,
    /// Its jobs.
    pub jobs: Vec<Uuid>,
    /// The text as received; absent without the role `audit`, and where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Base64 of what was received, where that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// What was received is past its retention. Absent while it is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub body_expired: bool,
}

/// A page of events, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventPage {
    /// The events, without their bodies and jobs.
    pub events: Vec<EventView>,
    /// What to give as `cursor` for the next page; absent on the last one.
    pub next: Option<String>,
}

/// JSON that the journal keeps as text.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

impl From<&JobSummary> for JobView {
    fn from(job: &JobSummary) -> Self {
        let view = Self {
            id: job.id.as_uuid(),
            event: job.event.as_uuid(),
            tenant: job.lane.tenant().to_owned(),
            connector: job.lane.connector().to_owned(),
            source: job.source.clone(),
            received_at: job.received_at,
            person: job.person.as_deref().map(json),
            state: String::new(),
            why: None,
            until: None,
            owner: None,
            outcome: None,
            dead: false,
            ended_at: None,
            attempts: job.attempts,
            lapses: job.lapses,
            reason: job.reason.clone(),
            released: job.released.clone(),
        };
        view.in_state(&job.state)
    }
}

/// The word for a state, parked ones told apart.
pub(super) fn state_word(state: &JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Parked { .. } => "parked",
        JobState::Running { .. } => "running",
        JobState::Held { .. } => "held",
        JobState::Ended { .. } => "ended",
    }
}

impl JobView {
    fn in_state(mut self, state: &JobState) -> Self {
        state_word(state).clone_into(&mut self.state);
        match state {
            JobState::Queued => {}
            JobState::Parked { until, why } => (self.until, self.why) = (*until, Some(why.clone())),
            JobState::Running { owner, lease_until, .. } => {
                (self.owner, self.until) = (Some(owner.clone()), Some(*lease_until));
            }
            JobState::Held { why } => self.why = Some(why.clone()),
            JobState::Ended { outcome, dead, at } => {
                (self.outcome, self.dead, self.ended_at) = (Some(outcome.to_string()), *dead, Some(*at));
            }
        }
        self
    }
}

impl JobDetail {
    pub(super) fn new(record: JobRecord, transcripts: Option<Transcripts>) -> Self {
        Self {
            job: JobView::from(&record.summary),
            paused: None,
            detail: record.detail.as_deref().map(json),
            history: record.attempts,
            intents: record.intents,
            actions: record.actions,
            transcripts_left_out: transcripts.as_ref().map(|some| some.left_out).filter(|left| *left > 0),
            transcripts: transcripts.map(|some| some.latest.iter().map(TranscriptView::from).collect()),
        }
    }
}

impl From<&Transcript> for TranscriptView {
    fn from(transcript: &Transcript) -> Self {
        let text = String::from_utf8_lossy(&transcript.data);
        Self {
            claim: transcript.claim,
            at: transcript.at,
            calls: json(&text),
        }
    }
}

impl EventView {
    pub(super) fn new(record: &EventRecord, with_body: bool) -> Self {
        use base64::Engine as _;
        let EventRecord { summary, body, jobs } = record;
        let text = std::str::from_utf8(body).ok();
        // An event that was taken for a leaver has said so in its body.
        let body_expired = body.is_empty() && !jobs.is_empty();
        let base64 = || base64::engine::general_purpose::STANDARD.encode(body);
        Self {
            jobs: jobs.iter().map(|job| job.as_uuid()).collect(),
            body: text.filter(|_| with_body && !body_expired).map(str::to_owned),
            body_base64: (with_body && text.is_none()).then(base64),
            body_expired,
            ..Self::from(summary)
        }
    }
}

impl From<&EventSummary> for EventView {
    fn from(summary: &EventSummary) -> Self {
        Self {
            id: summary.id.as_uuid(),
            tenant: summary.tenant.clone(),
            source: summary.source.clone(),
            source_id: summary.source_id.clone(),
            received_at: summary.received_at,
            occurred_at: summary.occurred_at,
            decision: summary.decision.to_string(),
            reason: summary.reason.clone(),
            person: summary.person.as_deref().map(json),
            replayed_as: summary.replayed_as.map(|id| id.as_uuid()),
            jobs: Vec::new(),
            body: None,
            body_base64: None,
            body_expired: false,
        }
    }
}
