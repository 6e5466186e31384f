//! Signals that commands listen to which run until they are told to end.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the process is told from outside. Listened to from its first moment: a start may take long, and until then a
/// reload would end it, and a container's first process would not hear that it shall end.
pub(super) struct Signals {
    /// Asks for a look at the files.
    pub(super) hangup: Signal,
    pub(super) end: End,
}

/// The two signals that ask for the end.
pub(super) struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: of(SignalKind::terminate())?,
            interrupt: of(SignalKind::interrupt())?,
        })
    }

    /// Waits for either.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            hangup: of(SignalKind::hangup())?,
            end: End::listen()?,
        })
    }
}

fn of(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot listen for signals")
}
