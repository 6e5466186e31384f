//! Somebody at a terminal keeps rows of PostgreSQL locked.

use std::time::Duration;

use exeunt::journal::{ClaimedJob, Fence, Finished, JournalError, Lane, Outcome};
use sqlx::Executor as _;

use crate::rig::{HOUR, Rig, block_on, end, lane, leaver};

/// Begins a transaction, and locks what this finds.
async fn lock(connection: &mut sqlx::AnyConnection, rows: &'static str) {
    connection.execute("BEGIN").await.expect("a transaction");
    connection.execute(rows).await.expect("the rows");
}

/// Two jobs of a host that is gone by now.
async fn claim_and_die(rig: &Rig) -> Vec<ClaimedJob> {
    let dead = rig.journal.claim("dead", Duration::from_millis(1), 2).await;
    let dead = dead.expect("a claim");
    assert_eq!(dead.len(), 2);
    dead
}

fn fence_of<'a>(jobs: &'a [ClaimedJob], lane: &Lane) -> &'a Fence {
    let found = jobs.iter().find(|job| job.fence.lane() == lane);
    &found.expect("one of each").fence
}

/// Somebody looks at a lane in a transaction, and goes for lunch.
#[test]
fn a_lane_that_somebody_keeps_locked_holds_up_no_other() {
    block_on(async {
        let rig = Rig::postgres().await;
        let (locked, free) = (lane("acme", "docusign"), lane("globex", "docusign"));
        for lane in [&locked, &free] {
            for _ in 0..3 {
                rig.queue(lane).await;
            }
        }
        let claimed = rig.claim(2).await;
        let (kept, done) = (fence_of(&claimed, &locked), fence_of(&claimed, &free));
        // A host that is gone by now had one of each, too.
        claim_and_die(&rig).await;
        let mut other = rig.connection().await;
        lock(&mut other, "SELECT id FROM lane WHERE id = 'acme/docusign' FOR UPDATE").await;

        let new = |lane: &Lane| rig.journal.accept(leaver(lane, rig.now()));
        // The first goes alone; the others are one batch.
        let (first, theirs, ours, also_ours) = tokio::join!(new(&locked), new(&locked), new(&free), new(&free));
        for refused in [first, theirs] {
            assert!(matches!(refused, Err(JournalError::Unavailable(_))), "{refused:?}");
        }
        assert_eq!((ours.is_ok(), also_ours.is_ok()), (true, true), "{ours:?}");

        let finish = |fence| rig.journal.finish(fence, end(Outcome::Closed), None);
        let (alone, theirs, ours) = tokio::join!(finish(kept), finish(kept), finish(done));
        for refused in [alone, theirs] {
            assert!(matches!(refused, Err(JournalError::Unavailable(_))), "{refused:?}");
        }
        assert_eq!(ours, Ok(Finished::Ended));

        let back = rig.journal.reclaim().await.expect("a reclaim");
        assert_eq!(back.iter().map(|back| &back.lane).collect::<Vec<_>>(), [&free]);
        let mine = rig.claim(10).await;
        assert!(
            !mine.is_empty() && mine.iter().all(|job| *job.fence.lane() == free),
            "{mine:?}"
        );

        other.execute("COMMIT").await.expect("a commit");
        rig.finish(kept, end(Outcome::Closed)).await;
        assert_eq!(rig.journal.reclaim().await.expect("a reclaim").len(), 1);
        assert_eq!(rig.journal.reconcile().await.expect("a check"), []);
    });
}

/// The same with jobs, and with more lanes than a claim looks at.
#[test]
fn jobs_and_lanes_that_somebody_keeps_locked_hold_up_no_other() {
    block_on(async {
        let rig = Rig::postgres().await;
        let (locked, free) = (lane("acme", "docusign"), lane("globex", "docusign"));
        for lane in [&locked, &free] {
            rig.queue(lane).await;
            rig.queue(lane).await;
        }
        let dead = claim_and_die(&rig).await;
        let mut other = rig.connection().await;
        lock(&mut other, "SELECT id FROM job WHERE tenant = 'acme' FOR UPDATE").await;
        let back = rig.journal.reclaim().await.expect("a reclaim");
        assert_eq!(back.iter().map(|back| &back.lane).collect::<Vec<_>>(), [&free]);
        rig.clock.advance(HOUR);
        let mine = rig.claim(10).await;
        assert!(
            mine.len() == 2 && mine.iter().all(|job| *job.fence.lane() == free),
            "{mine:?}"
        );
        // Of these one is another's by now: the rest of the batch is written.
        let gone = fence_of(&dead, &locked);
        let finish = |fence| rig.journal.finish(fence, end(Outcome::Closed), None);
        let (alone, theirs, ours) = tokio::join!(finish(&mine[1].fence), finish(gone), finish(&mine[0].fence));
        assert!(matches!(theirs, Err(JournalError::Unavailable(_))), "{theirs:?}");
        assert_eq!((alone, ours), (Ok(Finished::Ended), Ok(Finished::Ended)));
        other.execute("COMMIT").await.expect("a commit");

        for number in 0..40 {
            rig.queue(&lane("acme", &format!("c{number:02}"))).await;
        }
        rig.queue(&lane("zeta", "docusign")).await;
        lock(&mut other, "SELECT id FROM lane WHERE tenant = 'acme' FOR UPDATE").await;
        let mine = rig.claim(10).await;
        assert_eq!(
            mine.iter().map(|job| job.fence.lane().tenant()).collect::<Vec<_>>(),
            ["zeta"]
        );
        other.execute("COMMIT").await.expect("a commit");
    });
}
