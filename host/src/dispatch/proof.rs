//! Proof: what came of a closure, by reading the account until the target says closed.
//!
//! What the host saw of the request decides whether it may have happened, and not what the plugin calls it.

use std::time::Duration;

use tokio::time::Instant;

use super::problem::Problem;
use super::procedure::Procedure;
use super::stop::Stop;
use super::verbs::Closure;
use crate::capability::Effect;
use crate::evidence::AccountChange;
use crate::sandbox::{Account, Failure, Standing};
use crate::step;

/// How long an independent read may take to say closed. DocuSign answers at once; others settle within seconds.
const VERIFY_WITHIN: Duration = Duration::from_secs(30);
/// Pause after the first read that does not say closed yet; doubled up to [`VERIFY_PAUSE_MOST`].
const VERIFY_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two reads.
const VERIFY_PAUSE_MOST: Duration = Duration::from_secs(5);

impl Procedure<'_, '_> {
    /// What came of a closure, proved by a read.
    pub(super) async fn settle(&mut self, id: &str, closure: Closure) -> Result<(), Stop> {
        let Closure { answer, effect, status } = closure;
        if effect != Effect::None {
            self.note(id, |change| change.unverified = true);
        }
        let Err(problem) = answer else {
            return self.verify(id, "the target accepted the closure").await;
        };
        if effect == Effect::None {
            return Err(problem.into_stop(self.connector));
        }
        if !may_have_happened(&problem, effect, status) {
            return self.settle_refusal(id, problem).await;
        }
        let sent = Instant::now();
        match self.verify(id, &problem.to_string()).await {
            // The request may still be on its way: who reads now, and sees the account open, must not send another.
            Err(stop @ (Stop::Limited { .. } | Stop::Misconfigured(_))) if effect == Effect::Unknown => {
                tokio::time::sleep_until(sent + VERIFY_WITHIN).await;
                Err(stop)
            }
            // It is still open. Where the plugin has a reason of its own, another attempt would end there again.
            Err(Stop::Failed(_)) if effect == Effect::Answered && problem.is_of_its_own() => {
                Err(problem.into_stop(self.connector))
            }
            // The lost request did nothing, so the job may try again.
            Err(Stop::Failed(reason)) => Err(Stop::Unavailable(reason)),
            settled => settled,
        }
    }

    /// After a clear no. Somebody else may have been quicker, and targets refuse to close what is closed: one look
    /// tells.
    async fn settle_refusal(&mut self, id: &str, problem: Problem) -> Result<(), Stop> {
        let look = self.look(id).await;
        match (look, problem.into_stop(self.connector)) {
            (Ok((true, _)), _) => Ok(()),
            // Why the target refused: the connector itself is in no state to close anything.
            (Err(stop @ (Stop::Misconfigured(_) | Stop::Limited { .. })), Stop::Failed(_)) => Err(stop),
            (_, stop) => Err(stop),
        }
    }

    /// Reads until the target says closed. An answer that cannot be understood is one that is not there yet.
    pub(super) async fn verify(&mut self, id: &str, told: &str) -> Result<(), Stop> {
        step::passed("verifying");
        let began = Instant::now();
        let mut pause = VERIFY_PAUSE;
        loop {
            let (said, is_read) = match self.look(id).await {
                Ok((true, _)) => return Ok(()),
                Ok((false, status)) => (format!("account {id} is {status}"), true),
                Err(Stop::Unavailable(reason) | Stop::Failed(reason)) => {
                    (format!("account {id} cannot be read: {reason}"), false)
                }
                // Neither is over within half a minute.
                Err(Stop::Misconfigured(reason)) => {
                    return Err(Stop::Misconfigured(format!("{told}, not verified: {reason}")));
                }
                Err(Stop::Limited { until, reason }) => {
                    let reason = format!("{told}, not verified: {reason}");
                    return Err(Stop::Limited { until, reason });
                }
                Err(stop) => return Err(stop),
            };
            if began.elapsed() + pause > VERIFY_WITHIN {
                let reason = format!("{told}, but after {:.0} s {said}", began.elapsed().as_secs_f64());
                // Of what nobody could read, nobody knows: another attempt reads it first.
                return Err(match is_read {
                    true => Stop::Failed(reason),
                    false => Stop::Unavailable(reason),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(VERIFY_PAUSE_MOST);
        }
    }

    /// Reads once: whether the target says closed, and its own word for the account's status.
    async fn look(&mut self, id: &str) -> Result<(bool, String), Stop> {
        let account = self.read(id).await?;
        Ok((is_closed(account.as_ref(), id), status(account.as_ref()).to_owned()))
    }

    /// Reads once, before this attempt has sent anything for the account: where it cannot be read, the job begins again.
    pub(super) async fn read_first(&mut self, id: &str) -> Result<Option<Account>, Stop> {
        self.read(id).await.map_err(|stop| match stop {
            Stop::Failed(reason) => Stop::Unavailable(format!("account {id} cannot be read: {reason}")),
            stop => stop,
        })
    }

    /// Reads once, and keeps what the target says.
    async fn read(&mut self, id: &str) -> Result<Option<Account>, Stop> {
        let account = self.verbs.read(id).await?;
        let after = status(account.as_ref());
        let is_closed = is_closed(account.as_ref(), id);
        if is_closed && self.gate.was_intended(id) && !self.closed.iter().any(|known| known == id) {
            self.closed.push(id.to_owned());
        }
        self.note(id, |change| {
            change.after = Some(after.to_owned());
            change.unverified = false;
        });
        Ok(account)
    }

    fn note(&mut self, id: &str, change: impl FnOnce(&mut AccountChange)) {
        if let Some(noted) = self.accounts.iter_mut().find(|change| change.id == id) {
            change(noted);
        }
    }
}

/// Whether a read of this account says that it is closed.
fn is_closed(account: Option<&Account>, id: &str) -> bool {
    account.is_some_and(|account| account.standing == Standing::Closed && account.id.eq_ignore_ascii_case(id))
}

/// The target's own word for an account's status.
fn status(account: Option<&Account>) -> &str {
    account.map_or("unknown to the target", |account| account.native_status.as_str())
}

/// Whether a closure that did not succeed may have been done all the same.
fn may_have_happened(problem: &Problem, effect: Effect, status: Option<u16>) -> bool {
    match (effect, problem) {
        (Effect::None, _) => false,
        (Effect::Unknown, _) => true,
        // Whatever the plugin calls it, a 5xx is no clear no.
        (Effect::Answered, _) if status.is_some_and(|status| status >= 500) => true,
        // An answer came. A clear no is a no; a 5xx or a guest that died over the answer leaves it open.
        (_, Problem::Fault(_) | Problem::Failure(Failure::Unavailable(_) | Failure::Unexpected(_))) => true,
        (_, Problem::Failure(Failure::Refused(_))) => false,
        // The plugin stopped for a reason of its own, so the target's answer counts.
        (Effect::Answered, Problem::Failure(_)) => status.is_some_and(|status| (200..300).contains(&status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Fault, Refusal};

    #[test]
    fn only_a_clear_no_to_a_closure_leaves_nothing_open() {
        let refused = || {
            let (code, message) = ("NO".to_owned(), "no".to_owned());
            Problem::Failure(Failure::Refused(Refusal { code, message }))
        };
        let misconfigured = || Problem::Failure(Failure::Misconfigured("its setting".to_owned()));
        let trapped = || Problem::Fault(Fault::Trap("unreachable".to_owned()));
        let cases = [
            (refused(), Effect::None, None, false),
            (trapped(), Effect::None, None, false),
            (refused(), Effect::Unknown, None, true),
            (refused(), Effect::Answered, Some(400), false),
            (refused(), Effect::Answered, Some(499), false),
            (refused(), Effect::Answered, Some(500), true),
            (refused(), Effect::Answered, Some(200), false),
            (misconfigured(), Effect::Answered, Some(500), true),
            (misconfigured(), Effect::Answered, Some(200), true),
            (misconfigured(), Effect::Answered, Some(300), false),
            (misconfigured(), Effect::Answered, Some(400), false),
            (trapped(), Effect::Answered, Some(400), true),
        ];
        for (problem, effect, status, open) in cases {
            assert_eq!(
                may_have_happened(&problem, effect, status),
                open,
                "{problem:?}, {effect:?}, {status:?}"
            );
        }
    }
}
