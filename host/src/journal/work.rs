//! What dispatch writes while it works: finishes and intents, many in one transaction.

use sqlx::AnyConnection;
use uuid::Uuid;

use super::breaker::{self, Asked, Reservation, Window};
use super::database::{Context, Step};
use super::error::JournalError;
use super::finish::{self, Finish, Finished};
use super::group::{Answers, Command};
use super::types::Fence;
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
}

/// What the worker learns, in the order of the commands' kinds.
#[derive(Debug)]
pub(super) enum Answer {
    Finished(Finished),
    Reservation(Reservation),
}

/// An answer of another kind than the command: a bug of ours.
pub(super) fn mixed_up() -> JournalError {
    JournalError::Database {
        message: "the journal's writer mixed up its answers".to_owned(),
        code: None,
    }
}

impl WorkCommand {
    fn fence(&self) -> &Fence {
        match self {
            Self::Finish { fence, .. } => fence,
            Self::Intend { asked, .. } => &asked.fence,
        }
    }

    /// The intent that this asks for.
    fn asked(&self) -> Option<&Asked> {
        match self {
            Self::Intend { asked, .. } => Some(asked),
            Self::Finish { .. } => None,
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

    fn lanes(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.fence().lane.key())
    }

    /// An intent makes no room and ends nothing.
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
        };
        content + OVERHEAD
    }
}

/// Writes a batch.
pub(super) fn write<'c>(
    tx: &'c mut AnyConnection,
    context: &'c Context,
    commands: &'c [WorkCommand],
) -> Step<'c, Answers<WorkCommand>> {
    Box::pin(async move {
        let fences = || commands.iter().map(WorkCommand::fence);
        let mut unit = Unit::lock(tx, context, fences().map(|fence| fence.lane.key())).await?;
        step::passed("locked");
        unit.load(tx, fences().map(|fence| fence.job.0)).await?;
        let last = commands.iter().filter_map(|command| command.last_try(&unit, context));
        unit.load_intents(tx, &last.collect::<Vec<_>>()).await?;
        let asked: Vec<_> = commands.iter().filter_map(WorkCommand::asked).collect();
        let mut window = Window::load(tx, context, &unit, &asked).await?;
        let answers = commands
            .iter()
            .map(|command| apply(&mut unit, &mut window, context, command))
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
    }
}
