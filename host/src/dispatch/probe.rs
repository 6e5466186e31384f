//! Everything short of closing: what `exeunt check` asks of a connector.

use super::live::Connector;
use super::stop::Stop;
use super::verbs::Verbs;
use crate::evidence::CallTranscript;

/// What a probe learned.
#[derive(Debug)]
pub struct Probe {
    /// Accounts on the first page, or why there is none.
    pub first_page: Result<usize, Stop>,
    /// What was said on the wire.
    pub transcript: Vec<CallTranscript>,
}

/// Mints a token and reads the first page of the target's accounts. Sends nothing that could change anything.
pub async fn probe(connector: &Connector) -> Probe {
    let mut verbs = Verbs::new(connector);
    let first_page = verbs.page(None).await.map(|page| page.items.len());
    Probe {
        first_page,
        transcript: verbs.transcript,
    }
}
