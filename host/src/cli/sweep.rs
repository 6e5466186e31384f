//! Deletes what is past its retention, each hour.

use std::time::Duration;

use tokio::sync::watch;

use super::serve::stop;
use crate::clock::ticker;
use crate::journal::{EventId, Journal, JournalError};
use crate::tenant::Retention;

/// How often what is past its retention is deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Sweeps until the service stops. It goes in small steps that end by themselves; a stop does not wait for the last one.
pub(super) async fn sweep(journal: Journal, retention: Retention, mut stopped: watch::Receiver<bool>) {
    let mut ticks = ticker(SWEEP_EVERY);
    // What was walked before is not walked again, until the next start.
    let mut walked = None;
    loop {
        tokio::select! {
            () = stop(&mut stopped) => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop(&mut stopped) => return,
            () = sweep_once(&journal, retention, &mut walked) => {}
        }
    }
}

async fn sweep_once(journal: &Journal, retention: Retention, walked: &mut Option<EventId>) {
    report("transcripts", journal.expire_transcripts(retention.transcripts).await);
    report("events", journal.expire_events(retention.events, walked).await);
}

fn report(what: &str, expired: Result<u64, JournalError>) {
    match expired {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "{what} past their retention were deleted"),
        Err(error) => tracing::error!("{what} were not swept: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock as _, ManualClock};
    use crate::journal::testing::leaver;
    use crate::journal::{NewEvent, Options};

    #[tokio::test]
    async fn what_has_become_too_old_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("j.db").display());
        let clock = Arc::new(ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap()));
        let options = Options {
            clock: clock.clone(),
            ..Options::default()
        };
        let journal = Journal::open(&url, options).await.unwrap();
        let accept = async || {
            let nothing = NewEvent {
                jobs: Vec::new(),
                ..leaver("acme", "docusign", clock.now())
            };
            journal.accept(nothing).await.unwrap().event
        };
        let is_there = async |id| journal.event(id).await.unwrap().is_some();
        let old = accept().await;
        let retention = Retention::default();
        clock.advance(retention.events);
        let young = accept().await;

        let mut walked = None;
        sweep_once(&journal, retention, &mut walked).await;
        assert!(is_there(old).await, "it is as old as events may be");
        clock.advance(Duration::from_millis(1));
        sweep_once(&journal, retention, &mut walked).await;
        assert!(!is_there(old).await && is_there(young).await);
        clock.advance(retention.events);
        sweep_once(&journal, retention, &mut walked).await;
        assert!(!is_there(young).await);
    }
}
