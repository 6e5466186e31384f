//! Group commit: many callers, one transaction.
//!
//! One task takes what has gathered while the last transaction ran, so a lone caller waits for one `fsync` and a crowd
//! shares it. There is no delay to wait for company: the disk sets the pace.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::database::{Body, Database, Writer};
use super::error::JournalError;

/// Most commands of one transaction. More do not make the disk faster, and the first of them waits longer.
pub const MAX_BATCH: usize = 256;

/// Most bytes of one transaction, unless a single command has more: 256 events of SailPoint's usual 4 KiB fit many
/// times, 256 of the largest events do not.
pub const MAX_BATCH_BYTES: usize = 8 << 20;

/// Something that is written together with others.
pub(super) trait Command: Send + Sync + 'static {
    /// What the caller learns.
    type Answer: Send;

    /// Its size in memory, about.
    fn weight(&self) -> usize;
}

type Reply<C> = oneshot::Sender<Result<<C as Command>::Answer, JournalError>>;

/// Answers in the order of the commands. An error here is one command's own; the others are committed.
pub(super) type Answers<C> = Vec<Result<<C as Command>::Answer, JournalError>>;

struct Waiting<C: Command> {
    command: C,
    reply: Reply<C>,
    _room: OwnedSemaphorePermit,
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
        body: Body<Vec<C>, Answers<C>>,
        written: impl Fn() + Send + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(database.context.options.queue.max(1));
        let capacity = database.context.options.queue_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        tokio::spawn(run(database, writer, body, receiver, written));
        Self { sender, room: Arc::new(Semaphore::new(capacity)), capacity }
    }

    /// Hands over a command, or refuses at once where there is no room.
    pub(super) async fn offer(&self, command: C) -> Result<C::Answer, JournalError> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.permits(&command));
        let room = room.map_err(|_| JournalError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { command, reply, _room: room };
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
        self.sender.send(Waiting { command, reply, _room: room }).await.map_err(|_| ended())?;
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
    body: Body<Vec<C>, Answers<C>>,
    mut receiver: mpsc::Receiver<Waiting<C>>,
    written: impl Fn() + Send + 'static,
) {
    let mut next = receiver.recv().await;
    while let Some(first) = next.take() {
        let mut bytes = first.command.weight();
        let (mut commands, mut replies) = (vec![first.command], vec![(first.reply, first._room)]);
        while commands.len() < MAX_BATCH {
            let Ok(waiting) = receiver.try_recv() else { break };
            bytes += waiting.command.weight();
            if bytes > MAX_BATCH_BYTES {
                next = Some(waiting);
                break;
            }
            commands.push(waiting.command);
            replies.push((waiting.reply, waiting._room));
        }
        let answers = write(&database, writer, body, commands).await;
        written();
        for ((reply, _room), answer) in replies.into_iter().zip(answers) {
            // A caller that went away does not want to know.
            let _ = reply.send(answer);
        }
        if next.is_none() {
            next = receiver.recv().await;
        }
    }
}

/// Writes a batch. Where the database refuses it for what one of them holds, each is written alone.
async fn write<C: Command>(
    database: &Database,
    writer: Writer,
    body: Body<Vec<C>, Answers<C>>,
    commands: Vec<C>,
) -> Answers<C> {
    let count = commands.len();
    match database.write(writer, &commands, body).await {
        Ok(answers) => answers,
        Err(error) if count > 1 && error.is_about_content() => {
            let mut answers = Vec::with_capacity(count);
            for command in commands {
                let alone = database.write(writer, &vec![command], body).await;
                answers.push(alone.and_then(|mut answers| answers.pop().unwrap_or_else(|| Err(ended()))));
            }
            answers
        }
        Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
    }
}
