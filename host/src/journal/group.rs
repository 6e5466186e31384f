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
        let answers = write(&database, (turn, writer), body, commands, &mut suspects).await;
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

/// Writes a batch. Where the database refuses it for what one of them holds, each is written alone; where somebody keeps
/// the lane of one locked, all others are written without it, and so are later batches while it is.
async fn write<C: Command>(
    database: &Arc<Database>,
    (turn, writer): (Turn, Writer),
    body: Body<[C], Answers<C>>,
    commands: Vec<C>,
    suspects: &mut Suspects,
) -> Answers<C> {
    let commands = Arc::new(commands);
    let is_suspect = |known: &HashSet<String>| commands.iter().flat_map(C::lanes).any(|lane| known.contains(&lane));
    if let Some((_, error)) = suspects.take_if(|(known, _)| is_suspect(known)) {
        drop(turn);
        return write_free(database, writer, body, &commands, (error, suspects)).await;
    }
    match write_some(database, (turn, writer), body, &commands, 0..commands.len()).await {
        Ok(answers) => answers,
        Err(error) if commands.len() > 1 && error.is_about_content() => {
            write_each(database, writer, body, &commands).await
        }
        Err(error) if error.is_locked() => write_free(database, writer, body, &commands, (error, suspects)).await,
        Err(error) => commands.iter().map(|_| Err(error.clone())).collect(),
    }
}

/// Writes a batch of whose lanes none is locked any more. Where one of them still waits in vain, it is for a row.
async fn write_again<C: Command>(
    database: &Arc<Database>,
    writer: Writer,
    body: Body<[C], Answers<C>>,
    commands: &Arc<Vec<C>>,
) -> Answers<C> {
    let turn = database.turn(writer).await;
    match write_some(database, (turn, writer), body, commands, 0..commands.len()).await {
        Ok(answers) => answers,
        Err(error) if commands.len() > 1 && (error.is_locked() || error.is_about_content()) => {
            write_each(database, writer, body, commands).await
        }
        Err(error) => commands.iter().map(|_| Err(error.clone())).collect(),
    }
}

async fn write_each<C: Command>(
    database: &Arc<Database>,
    writer: Writer,
    body: Body<[C], Answers<C>>,
    commands: &Arc<Vec<C>>,
) -> Answers<C> {
    let mut answers = Vec::with_capacity(commands.len());
    for index in 0..commands.len() {
        let turn = database.turn(writer).await;
        let alone = write_some(database, (turn, writer), body, commands, index..index + 1).await;
        answers.push(alone.and_then(|mut answers| answers.pop().unwrap_or_else(|| Err(ended()))));
    }
    answers
}

/// Writes those whose lanes nobody keeps locked, in the runs in which they stand, and refuses the others.
async fn write_free<C: Command>(
    database: &Arc<Database>,
    writer: Writer,
    body: Body<[C], Answers<C>>,
    commands: &Arc<Vec<C>>,
    (error, suspects): (JournalError, &mut Suspects),
) -> Answers<C> {
    let lanes: Vec<String> = commands.iter().flat_map(C::lanes).collect();
    let locked = match still_locked(database, writer, lanes).await {
        Ok(locked) if locked.is_empty() => return write_again(database, writer, body, commands).await,
        Ok(locked) => locked,
        Err(error) => return commands.iter().map(|_| Err(error.clone())).collect(),
    };
    let is_free = |command: &C| !command.lanes().any(|lane| locked.contains(&lane));
    let is_free: Vec<bool> = commands.iter().map(is_free).collect();
    let mut answers = Vec::with_capacity(commands.len());
    for run in is_free.chunk_by(|one, next| one == next) {
        let range = answers.len()..answers.len() + run.len();
        if !run[0] {
            answers.extend(range.map(|_| Err(error.clone())));
            continue;
        }
        let turn = database.turn(writer).await;
        match write_some(database, (turn, writer), body, commands, range.clone()).await {
            Ok(written) => answers.extend(written),
            Err(error) => answers.extend(range.map(|_| Err(error.clone()))),
        }
    }
    *suspects = Some((locked, error));
    answers
}

/// How long apart locks are looked at: a tenth of a second. Who commits has let go by then.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Those of these lanes that are locked now and a moment later: not by other hosts' commits, which never last.
async fn still_locked(
    database: &Arc<Database>,
    writer: Writer,
    lanes: Vec<String>,
) -> Result<HashSet<String>, JournalError> {
    let look = async |lanes: Vec<String>| {
        let database = Arc::clone(database);
        spawned(async move { database.write(writer, &lanes, locked).await }).await
    };
    let first = look(lanes).await?;
    if first.is_empty() {
        return Ok(first);
    }
    tokio::time::sleep(LOOK_AGAIN).await;
    look(first.into_iter().collect()).await
}

#[expect(clippy::ptr_arg, reason = "a transaction's body borrows what the transaction owns")]
fn locked<'c>(tx: &'c mut AnyConnection, context: &'c Context, lanes: &'c Vec<String>) -> Step<'c, HashSet<String>> {
    Box::pin(Unit::locked(tx, context, lanes))
}

/// In a task of its own, so that a panic over one command does not end the writer for all.
async fn write_some<C: Command>(
    database: &Arc<Database>,
    (turn, writer): (Turn, Writer),
    body: Body<[C], Answers<C>>,
    commands: &Arc<Vec<C>>,
    range: Range<usize>,
) -> Result<Answers<C>, JournalError> {
    let (database, commands) = (Arc::clone(database), Arc::clone(commands));
    spawned(async move { database.write_in(turn, writer, &commands[range], body).await }).await
}
