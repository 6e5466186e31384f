//! The record of a job: what an auditor will ask for.
//!
//! It says what the target said, not what we believe: statuses are the target's own words, before and after. A record
//! of our conclusions alone lost, since it could not be checked.

mod answer;
mod record;

pub use crate::journal::Outcome;
pub use answer::{AccountAnswer, Answer, Answers, FailureAnswer, Question};
pub(crate) use record::small;
pub use record::{AccountChange, CallLine, CallTranscript, JobReport, JobState, PluginIdentity};
