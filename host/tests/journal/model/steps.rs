//! What may happen to a journal, at random.

use exeunt::journal::Outcome;
use proptest::prelude::*;

use super::{ACCOUNTS, LANES};

#[derive(Debug, Clone)]
pub(super) enum Step {
    Accept {
        lane: usize,
        held: bool,
    },
    Claim {
        max: usize,
    },
    Finish {
        which: usize,
        how: How,
    },
    /// A claim sets out to close an account; it may not have heard of the others that did.
    Intend {
        which: usize,
        account: usize,
        is_behind: bool,
    },
    /// All leases run out.
    Lose,
    Advance {
        seconds: u64,
    },
    Cancel {
        which: usize,
    },
    Retry {
        which: usize,
    },
    Release {
        which: usize,
    },
    SetCap {
        lane: usize,
        cap: u32,
    },
    Pause {
        lane: usize,
        on: bool,
    },
    Unpark {
        lane: usize,
    },
    Heartbeat,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    End(Outcome),
    Hold,
    Retry { seconds: u64 },
    GiveBack { seconds: u64 },
    Defer { seconds: u64 },
    Park,
    Release,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = || 0..LANES;
    let which = || 0..64_usize;
    let how = prop_oneof![
        3 => prop::sample::select(Outcome::ALL).prop_map(How::End),
        1 => Just(How::Hold),
        3 => (0..100_u64).prop_map(|seconds| How::Retry { seconds }),
        1 => (0..100_u64).prop_map(|seconds| How::GiveBack { seconds }),
        1 => (0..100_u64).prop_map(|seconds| How::Defer { seconds }),
        1 => Just(How::Park),
        1 => Just(How::Release),
    ];
    let step = prop_oneof![
        6 => (lane(), prop::bool::weighted(0.2)).prop_map(|(lane, held)| Step::Accept { lane, held }),
        6 => (1..12_usize).prop_map(|max| Step::Claim { max }),
        10 => (which(), how).prop_map(|(which, how)| Step::Finish { which, how }),
        4 => (which(), 0..ACCOUNTS, prop::bool::weighted(0.2))
            .prop_map(|(which, account, is_behind)| Step::Intend { which, account, is_behind }),
        1 => Just(Step::Lose),
        2 => (1..60_u64).prop_map(|seconds| Step::Advance { seconds }),
        1 => which().prop_map(|which| Step::Cancel { which }),
        2 => which().prop_map(|which| Step::Retry { which }),
        2 => which().prop_map(|which| Step::Release { which }),
        1 => (lane(), 0..5_u32).prop_map(|(lane, cap)| Step::SetCap { lane, cap }),
        1 => (lane(), any::<bool>()).prop_map(|(lane, on)| Step::Pause { lane, on }),
        1 => lane().prop_map(|lane| Step::Unpark { lane }),
        1 => Just(Step::Heartbeat),
    ];
    prop::collection::vec(step, 1..80)
}
