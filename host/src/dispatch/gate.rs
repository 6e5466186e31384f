//! Gate: whether a closure may happen now, and the memory that it was tried.
//!
//! The intent is on disk before the first byte of a closure leaves. An account that is found closed later was closed by
//! us if an intent for it exists, and by somebody else if not.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use super::stop::Stop;
use crate::evidence::CallTranscript;
use crate::journal::{BREAKER_HOLD, ClaimedJob, ClosureLimit, Journal, JournalError, Reservation, approval};
use crate::sandbox::Account;

/// Whether a closure may happen now.
#[derive(Debug)]
pub struct Gate<'a> {
    journal: Option<(&'a Journal, &'a ClaimedJob, ClosureLimit)>,
    closing: Option<&'a AtomicBool>,
    /// By the id in small letters, as the journal tells accounts apart, the id as the target writes it. The keys of
    /// `others` are in small letters, too.
    intended: BTreeMap<String, String>,
    /// What other jobs had done to an account when it was last read, as the journal counts it.
    others: HashMap<String, i64>,
    /// Verb calls whose transcript the journal has already.
    kept: usize,
}

impl<'a> Gate<'a> {
    /// For one event in one process: nothing else counts closures, and nothing survives.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            journal: None,
            closing: None,
            intended: BTreeMap::new(),
            others: HashMap::new(),
            kept: 0,
        }
    }

    /// For a job of the journal: pauses and the breaker are asked, the intent is kept. `closing` is set when it is.
    #[must_use]
    pub fn journaled(journal: &'a Journal, job: &'a ClaimedJob, limit: ClosureLimit, closing: &'a AtomicBool) -> Self {
        Self {
            journal: Some((journal, job, limit)),
            closing: Some(closing),
            intended: job
                .intents
                .iter()
                .map(|account| (account.to_ascii_lowercase(), account.clone()))
                .collect(),
            others: HashMap::new(),
            kept: 0,
        }
    }

    /// Whether an operator has released the job from being held for this, and was shown all of these accounts.
    pub(super) fn is_released(&self, why: &str, accounts: &[&Account]) -> bool {
        let Some((_, job, _)) = self.journal else { return false };
        let has = |entry: &str| job.released.iter().any(|released| released == entry);
        has(why) && accounts.iter().all(|account| has(&approval(&account.id)))
    }

    /// Whether a closure of this account was tried, by this attempt or an earlier one.
    pub(super) fn was_intended(&self, account: &str) -> bool {
        self.intended.contains_key(&account.to_ascii_lowercase())
    }

    /// Accounts whose closure was tried, by this attempt or an earlier one, in order.
    pub(super) fn intended(&self) -> Vec<String> {
        self.intended.values().cloned().collect()
    }

    /// Verb calls whose transcript is kept already.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Asks for this closure, and remembers it. False where another job was at this account too: read it again, and ask
    /// again if it is open still.
    ///
    /// One at a time: a pause or an open breaker stops the next one, also of a job that has closed some already.
    /// Reserving all accounts of a job at once lost, since a pause would then not be seen between them, and an account
    /// that was never tried would count as intended.
    ///
    /// # Errors
    ///
    /// Why it may not happen now.
    pub(super) async fn pass(&mut self, account: &str, transcript: &[CallTranscript]) -> Result<bool, Stop> {
        let key = account.to_ascii_lowercase();
        if let Some((journal, job, limit)) = self.journal {
            let said = serde_json::to_vec(transcript.get(self.kept..).unwrap_or_default()).ok();
            let others = self.others.get(&key).copied().unwrap_or(0);
            match journal.intend(&job.fence, account, others, limit, said).await {
                Ok(Reservation::Reserved) => self.kept = transcript.len(),
                Ok(Reservation::Stale { others }) => {
                    self.others.insert(key, others);
                    return Ok(false);
                }
                Ok(Reservation::Tripped { reason }) => {
                    return Err(Stop::Held {
                        why: BREAKER_HOLD,
                        reason,
                    });
                }
                Ok(Reservation::Paused { reason }) => return Err(Stop::Paused(reason)),
                Ok(Reservation::Busy { reason }) => return Err(Stop::Busy(reason)),
                Err(JournalError::LeaseLost(_)) => return Err(Stop::LeaseLost),
                Err(error) => {
                    let reason = format!("the intent cannot be kept: {error}");
                    let is_away = matches!(error, JournalError::Unavailable(_) | JournalError::Busy);
                    return Err(match is_away || error.is_contention() {
                        true => Stop::JournalAway(reason),
                        false => Stop::Unavailable(reason),
                    });
                }
            }
        }
        if let Some(closing) = self.closing {
            closing.store(true, Ordering::SeqCst);
        }
        self.intended.entry(key).or_insert_with(|| account.to_owned());
        Ok(true)
    }
}
