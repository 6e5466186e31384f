//! What the model knows, and the rules by which a lane rests and opens.

use std::collections::{BTreeMap, BTreeSet};

use exeunt::journal::{ClaimedJob, JobId, Outcome};

use super::LANES;

/// What a claim adds to a fence.
pub(super) const CLAIM: u32 = 1000;

/// Which claim a fence is of.
pub(super) fn nth_claim(fence: u32) -> u32 {
    fence / CLAIM
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Queued,
    Running,
    Held,
    Ended(Outcome),
}

#[derive(Debug, Clone)]
pub(super) struct ModelJob {
    pub(super) lane: usize,
    pub(super) phase: Phase,
    /// Why it is held, or was when it was cancelled.
    pub(super) hold: Option<&'static str>,
    pub(super) released: BTreeSet<&'static str>,
    pub(super) due: i64,
    pub(super) attempts: u32,
    pub(super) lapses: u32,
    /// Claims so far, each a [`CLAIM`], and one more where the last one was lost.
    pub(super) fence: u32,
    /// Accounts that it set out to close, and in which claim it last did.
    pub(super) intents: BTreeMap<usize, u32>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct ModelLane {
    pub(super) cap: Option<u32>,
    pub(super) not_before: i64,
    pub(super) failures: u32,
    pub(super) parked: bool,
    pub(super) paused: bool,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) jobs: BTreeMap<JobId, ModelJob>,
    pub(super) lanes: [ModelLane; LANES],
    /// Every claim so far, the spent ones too.
    pub(super) claims: Vec<ClaimedJob>,
    /// The fence of each claim.
    pub(super) fences: Vec<u32>,
}

impl ModelLane {
    /// The target was unavailable: five times in a row make a pause.
    pub(super) fn fail(&mut self, now: i64) {
        if self.not_before > now {
            return;
        }
        self.failures += 1;
        self.not_before = self.not_before.max(self.least_rest(now));
    }

    pub(super) fn limit(&mut self, until: i64, now: i64) {
        if self.not_before <= now {
            self.failures += 1;
        }
        self.not_before = self.not_before.max(until).max(self.least_rest(now));
    }

    /// Until when it rests at least after this many tries that came to nothing.
    pub(super) fn least_rest(&self, now: i64) -> i64 {
        match self.failures.checked_sub(5) {
            Some(more) => now + 1000 * 2_i64.pow(more).min(60),
            None => 0,
        }
    }
}

impl Model {
    pub(super) fn running(&self, lane: usize) -> usize {
        self.jobs
            .values()
            .filter(|job| job.lane == lane && job.phase == Phase::Running)
            .count()
    }

    pub(super) fn is_open(&self, lane: usize, now: i64) -> bool {
        let row = &self.lanes[lane];
        let cap = row.cap.unwrap_or(8).min(if row.failures < 5 { 8 } else { 1 });
        !row.parked && !row.paused && row.not_before <= now && self.running(lane) < cap as usize
    }

    /// Jobs that a claim may take now.
    pub(super) fn ready(&self, now: i64) -> usize {
        self.jobs
            .values()
            .filter(|job| job.phase == Phase::Queued && job.due <= now && self.is_open(job.lane, now))
            .count()
    }

    /// Intents of others for an account of a job's lane: how many claims they add up to, and whether one may be closing it.
    pub(super) fn others(&self, id: JobId, account: usize) -> (u32, bool) {
        let lane = self.jobs[&id].lane;
        let others = self
            .jobs
            .iter()
            .filter(|(other, job)| **other != id && job.lane == lane);
        let closers = others.filter_map(|(_, job)| Some((job, *job.intents.get(&account)?)));
        closers.fold((0, false), |(claims, is_busy), (job, claim)| {
            let is_closing = job.phase == Phase::Running && job.fence == claim;
            (claims + nth_claim(claim), is_busy || is_closing)
        })
    }

    /// The last claim of a job that still holds it.
    pub(super) fn holds(&self, index: usize) -> bool {
        let claim = &self.claims[index];
        let later = self.claims[index + 1..].iter().any(|other| other.id() == claim.id());
        !later && self.jobs[&claim.id()].phase == Phase::Running
    }
}
