//! Group commit: many callers, one transaction.
//!
//! One task takes what has gathered until the connection is free, so a lone caller waits for one `fsync` and a crowd
//! shares it. There is no delay to wait for company: the disk sets the pace.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use sqlx::AnyConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::database::{Body, Context, Database, Step, Turn, Writer};
use super::error::JournalError;
use super::open::spawned;
use super::unit::Unit;

/// Most commands of one transaction. More do not make the disk faster, and the first of them waits longer.
const MAX_BATCH: usize = 256;

/// Most bytes of one transaction, unless a single command has more: 256 events of SailPoint's usual 4 KiB fit many
/// times, 256 of the largest events do not.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// Something that is written together with others.
pub(super) trait Command: Send + Sync + 'static {
    /// What the caller learns.
    type Answer: Send + 'static;

    /// Its size in memory, about.
    fn weight(&self) -> usize;

    /// Whether an answer says that something has changed which others wait for.
    fn is_change(answer: &Self::Answer) -> bool;

    /// The lanes that it locks.
    fn lanes(&self) -> impl Iterator<Item = String>;
}

/// Something that a caller wants dropped when its command is written.
type Place = Box<dyn Send>;

type Reply<C> = oneshot::Sender<Result<<C as Command>::Answer, JournalError>>;

/// Answers in the order of the commands. An error here is one command's own; the others are committed.
pub(super) type Answers<C> = Vec<Result<<C as Command>::Answer, JournalError>>;

struct Waiting<C: Command> {
    command: C,
    reply: Reply<C>,
    /// Its place in the queue, and where it was before, until it is written.
    room: (OwnedSemaphorePermit, Option<Place>),
}

/// A queue of commands and the task that writes them.
#[derive(Debug)]
pub(super) struct Group<C: Command> {
    sender: mpsc::Sender<Waiting<C>>,
    room: Arc<Semaphore>,
    capacity: usize,
}

impl<C: Command> Group<C> {
    /// Starts the task. It ends when the group is dropped and everything in the queue is written.
    pub(super) fn start(
        database: Arc<Database>,
        writer: Writer,
        body: Body<[C], Answers<C>>,
        written: impl Fn() + Send + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(database.context.options.queue.max(1));
        let capacity = database
            .context
            .options
            .queue_bytes
            .clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        tokio::spawn(run(database, writer, body, receiver, written));
        Self {
            sender,
            room: Arc::new(Semaphore::new(capacity)),
            capacity,
        }
    }

    /// Hands over a command, or refuses at once where there is no room.
    pub(super) async fn offer(&self, command: C, place: Place) -> Result<C::Answer, JournalError> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.permits(&command));
        let room = room.map_err(|_| JournalError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            command,
            reply,
            room: (room, Some(place)),
        };
        self.sender.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => JournalError::Busy,
            mpsc::error::TrySendError::Closed(_) => ended(),
        })?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Hands over a command, waiting for room.
    pub(super) async fn submit(&self, command: C) -> Result<C::Answer, JournalError> {
        let room = Arc::clone(&self.room).acquire_many_owned(self.permits(&command)).await;
        let room = room.map_err(|_| ended())?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            command,
            reply,
            room: (room, None),
        };
        self.sender.send(waiting).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// One command always fits into an empty queue.
    fn permits(&self, command: &C) -> u32 {
        u32::try_from(command.weight().clamp(1, self.capacity)).unwrap_or(u32::MAX)
    }
}

/// Only when the runtime ends, or the task panicked, is there no answer.
fn ended() -> JournalError {
    JournalError::unavailable("the journal's writer has ended")
}

async fn run<C: Command>(
    database: Arc<Database>,
    writer: Writer,
    body: Body<[C], Answers<C>>,
    mut receiver: mpsc::Receiver<Waiting<C>>,
    written: impl Fn() + Send + 'static,
) {
    let (mut next, mut suspects) = (receiver.recv().await, None);
    while let Some(first) = next.take() {
        // Before the batch is made up: what comes in while another kind of work has the connection goes along.
        let turn = database.turn(writer).await;
        let mut bytes = first.command.weight();
        let (mut commands, mut replies) = (vec![first.command], vec![(first.reply, first.room)]);
        while commands.len() < MAX_BATCH {
            let Ok(waiting) = receiver.try_recv() else { break };
            bytes += waiting.command.weight();
            if bytes > MAX_BATCH_BYTES {
                next = Some(waiting);
                break;
            }
            commands.push(waiting.command);
            replies.push((waiting.reply, waiting.room));
        }
        let batch = Batch {
            database: Arc::clone(&database),
            writer,
            body,
            commands: Arc::new(commands),
        };
        let answers = batch.write(turn, &mut suspects).await;
        if answers.iter().flatten().any(C::is_change) {
            written();
        }
        for ((reply, room), answer) in replies.into_iter().zip(answers) {
            // Before the answer: whoever has it may count on the room.
            drop(room);
            // A caller that went away does not want to know.
            let _ = reply.send(answer);
        }
        if next.is_none() {
            next = receiver.recv().await;
        }
    }
}

/// Lanes that somebody kept locked for longer than is waited for, and the error that said so.
type Suspects = Option<(HashSet<String>, JournalError)>;

/// Commands that are written together, as far as that goes.
struct Batch<C: Command> {
    database: Arc<Database>,
    writer: Writer,
    body: Body<[C], Answers<C>>,
    commands: Arc<Vec<C>>,
}

impl<C: Command> Batch<C> {
    /// Writes all. Where somebody keeps the lane of one locked, all others are written without it, and so are later batches
    /// while it is.
    async fn write(&self, turn: Turn, suspects: &mut Suspects) -> Answers<C> {
        let is_suspect = |known: &HashSet<String>| self.lanes().any(|lane| known.contains(&lane));
        if let Some((_, error)) = suspects.take_if(|(known, _)| is_suspect(known)) {
            drop(turn);
            return self.write_free(error, suspects).await;
        }
        match self.write_all(turn).await {
            Ok(answers) => answers,
            Err(error) if error.is_locked() => self.write_free(error, suspects).await,
            Err(error) => refuse::<C>(self.commands.len(), &error),
        }
    }

    /// Writes all in one transaction, or each alone where the database refuses it for what one of them holds.
    async fn write_all(&self, turn: Turn) -> Result<Answers<C>, JournalError> {
        match self.write_some(turn, 0..self.commands.len()).await {
            Err(error) if self.commands.len() > 1 && error.is_about_content() => Ok(self.write_each().await),
            answers => answers,
        }
    }

    async fn write_each(&self) -> Answers<C> {
        let mut answers = Vec::with_capacity(self.commands.len());
        for index in 0..self.commands.len() {
            let turn = self.database.turn(self.writer).await;
            let alone = self.write_some(turn, index..index + 1).await;
            answers.push(alone.and_then(|mut answers| answers.pop().unwrap_or_else(|| Err(ended()))));
        }
        answers
    }

    /// Writes those whose lanes nobody keeps locked, in the runs in which they stand, and refuses the others.
    async fn write_free(&self, error: JournalError, suspects: &mut Suspects) -> Answers<C> {
        let locked = match self.still_locked().await {
            Ok(locked) if locked.is_empty() => return self.write_again().await,
            Ok(locked) => locked,
            Err(error) => return refuse::<C>(self.commands.len(), &error),
        };
        let is_free = |command: &C| !command.lanes().any(|lane| locked.contains(&lane));
        let is_free: Vec<bool> = self.commands.iter().map(is_free).collect();
        let mut answers = Vec::with_capacity(self.commands.len());
        for run in is_free.chunk_by(|one, next| one == next) {
            let written = match run[0] {
                true => {
                    let turn = self.database.turn(self.writer).await;
                    self.write_some(turn, answers.len()..answers.len() + run.len()).await
                }
                false => Err(error.clone()),
            };
            answers.extend(written.unwrap_or_else(|error| refuse::<C>(run.len(), &error)));
        }
        *suspects = Some((locked, error));
        answers
    }

    /// Writes all once more, of whose lanes none is locked. Where one of them still waits in vain, it is for a row.
    async fn write_again(&self) -> Answers<C> {
        let turn = self.database.turn(self.writer).await;
        match self.write_all(turn).await {
            Ok(answers) => answers,
            Err(error) if self.commands.len() > 1 && error.is_locked() => self.write_each().await,
            Err(error) => refuse::<C>(self.commands.len(), &error),
        }
    }

    fn lanes(&self) -> impl Iterator<Item = String> {
        self.commands.iter().flat_map(C::lanes)
    }

    /// Those of its lanes that are locked now and a moment later: not by other hosts' commits, which never last.
    async fn still_locked(&self) -> Result<HashSet<String>, JournalError> {
        let look = async |lanes: Vec<String>| {
            let (database, writer) = (Arc::clone(&self.database), self.writer);
            spawned(async move { database.write(writer, &lanes, locked).await }).await
        };
        let first = look(self.lanes().collect()).await?;
        if first.is_empty() {
            return Ok(first);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        look(first.into_iter().collect()).await
    }

    /// In a task of its own, so that a panic over one command does not end the writer for all.
    async fn write_some(&self, turn: Turn, range: Range<usize>) -> Result<Answers<C>, JournalError> {
        let (database, commands) = (Arc::clone(&self.database), Arc::clone(&self.commands));
        let (writer, body) = (self.writer, self.body);
        spawned(async move { database.write_in(turn, writer, &commands[range], body).await }).await
    }
}

fn refuse<C: Command>(count: usize, error: &JournalError) -> Answers<C> {
    (0..count).map(|_| Err(error.clone())).collect()
}

/// How long apart locks are looked at: a tenth of a second. Who commits has let go by then.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[expect(clippy::ptr_arg, reason = "a transaction's body borrows what the transaction owns")]
fn locked<'c>(tx: &'c mut AnyConnection, context: &'c Context, lanes: &'c Vec<String>) -> Step<'c, HashSet<String>> {
    Box::pin(Unit::locked(tx, context, lanes))
}
