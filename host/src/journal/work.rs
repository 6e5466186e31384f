//! What dispatch writes while it works: finishes, intents and heartbeats, many in one transaction.

use std::time::Duration;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::breaker::{self, Asked, Reservation, Window};
use super::database::{Context, Step};
use super::error::JournalError;
use super::finish::{self, Finish, Finished};
use super::group::{Answers, Command};
use super::open::Journal;
use super::types::{Fence, State, milliseconds};
use super::unit::Unit;
use crate::step;

/// Something that a worker wants written.
#[derive(Debug)]
pub(super) enum WorkCommand {
    Finish {
        fence: Fence,
        finish: Finish,
        transcript: Option<Vec<u8>>,
    },
    Intend {
        asked: Asked,
        transcript: Option<Vec<u8>>,
    },
    Heartbeat {
        fences: Vec<Fence>,
        lease: i64,
    },
}

/// What the worker learns, in the order of the commands' kinds.
#[derive(Debug)]
pub(super) enum Answer {
    Finished(Finished),
    Reservation(Reservation),
    Lost(Vec<Fence>),
}

/// An answer of another kind than the command: a bug of ours.
pub(super) fn mixed_up() -> JournalError {
    JournalError::Database {
        message: "the journal's writer mixed up its answers".to_owned(),
        code: None,
    }
}

impl WorkCommand {
    fn fences(&self) -> &[Fence] {
        match self {
            Self::Finish { fence, .. } => std::slice::from_ref(fence),
            Self::Intend { asked, .. } => std::slice::from_ref(&asked.fence),
            Self::Heartbeat { fences, .. } => fences,
        }
    }

    /// The intent that this asks for.
    fn asked(&self) -> Option<&Asked> {
        match self {
            Self::Intend { asked, .. } => Some(asked),
            _ => None,
        }
    }

    /// The job that this may give up.
    fn last_try(&self, unit: &Unit, context: &Context) -> Option<Uuid> {
        let Self::Finish {
            fence,
            finish: Finish::Retry { .. },
            ..
        } = self
        else {
            return None;
        };
        let job = unit.job(fence.job.0)?;
        finish::is_last(job, context).then_some(job.id)
    }
}

impl Command for WorkCommand {
    type Answer = Answer;

    /// An intent or a heartbeat makes no room and ends nothing.
    fn is_change(answer: &Answer) -> bool {
        matches!(answer, Answer::Finished(_))
    }

    fn weight(&self) -> usize {
        // What a row and its indexes cost beside the text, roughly.
        const OVERHEAD: usize = 512;
        let content = match self {
            Self::Finish {
                transcript,
                finish: Finish::End { detail, .. },
                ..
            } => transcript.as_ref().map_or(0, Vec::len) + detail.as_ref().map_or(0, String::len),
            Self::Finish { transcript, .. } | Self::Intend { transcript, .. } => {
                transcript.as_ref().map_or(0, Vec::len)
            }
            Self::Heartbeat { fences, .. } => fences.len() * OVERHEAD,
        };
        content + OVERHEAD
    }
}

impl Journal {
    /// Extends the leases of jobs that are still being worked on, and returns those that are lost: stop working on
    /// them. A claim may be lost whose job this host has in a later one. One that was put down meanwhile is not lost.
    ///
    /// Send it at a third of the lease, so that one may get lost.
    ///
    /// # Errors
    /// None of its own.
    pub async fn heartbeat(&self, fences: &[Fence], lease: Duration) -> Result<Vec<Fence>, JournalError> {
        if fences.is_empty() {
            return Ok(Vec::new());
        }
        let command = WorkCommand::Heartbeat {
            fences: fences.to_vec(),
            lease: milliseconds(lease),
        };
        match self.work.submit(command).await? {
            Answer::Lost(lost) => Ok(lost),
            _ => Err(mixed_up()),
        }
    }
}

/// Writes a batch.
pub(super) fn write<'c>(
    tx: &'c mut AnyConnection,
    context: &'c Context,
    commands: &'c [WorkCommand],
) -> Step<'c, Answers<WorkCommand>> {
    Box::pin(async move {
        let fences = || commands.iter().flat_map(WorkCommand::fences);
        let mut unit = Unit::lock(tx, context, fences().map(|fence| fence.lane.key())).await?;
        step::passed("locked");
        unit.load(tx, fences().map(|fence| fence.job.0)).await?;
        let last = commands.iter().filter_map(|command| command.last_try(&unit, context));
        unit.load_intents(tx, &last.collect::<Vec<_>>()).await?;
        let asked: Vec<_> = commands.iter().filter_map(WorkCommand::asked).collect();
        let mut window = Window::load(tx, context, &unit, &asked).await?;
        let has_heartbeat = commands
            .iter()
            .any(|command| matches!(command, WorkCommand::Heartbeat { .. }));
        let lease_time = match has_heartbeat {
            true => context.dialect.lease_time(tx, &*context.options.clock).await?,
            false => 0,
        };
        let answers = commands
            .iter()
            .map(|command| apply(&mut unit, &mut window, context, command, lease_time))
            .collect();
        unit.store(tx).await?;
        Ok(answers)
    })
}

fn apply(
    unit: &mut Unit,
    window: &mut Window,
    context: &Context,
    command: &WorkCommand,
    lease_time: i64,
) -> Result<Answer, JournalError> {
    match command {
        WorkCommand::Finish {
            fence,
            finish,
            transcript,
        } => finish::apply(unit, context, fence, finish, transcript.as_deref()).map(Answer::Finished),
        WorkCommand::Intend { asked, transcript } => {
            breaker::apply(unit, window, context, asked, transcript.as_deref()).map(Answer::Reservation)
        }
        WorkCommand::Heartbeat { fences, lease } => {
            Ok(Answer::Lost(extend(unit, fences, lease_time.saturating_add(*lease))))
        }
    }
}

fn extend(unit: &mut Unit, fences: &[Fence], until: i64) -> Vec<Fence> {
    let mut lost = Vec::new();
    for fence in fences {
        match unit.job(fence.job.0) {
            Some(job) if job.fence == fence.token => {
                if job.state == State::Running {
                    unit.change(fence.job.0, |job| job.lease_until = Some(until));
                }
            }
            _ => lost.push(fence.clone()),
        }
    }
    lost
}
