//! Verb calls of one attempt: a token for each, minted once more if the target does not accept it.

use std::time::Duration;

use tokio::time::Instant;

use super::ask;
use super::live::Connector;
use super::problem::Problem;
use super::stop::Stop;
use crate::capability::{CallRecord, Effect, Token, Verb};
use crate::evidence::{Answer, Answers, CallTranscript, Question, small};
use crate::intake;
use crate::sandbox::{Account, Accounts, Ended, Failure};

/// For how long one attempt begins anything new: 10 minutes, ten times what a slow target and an account that turns
/// closed late take. What it has begun is brought to its end, proof included, so that it never ends in doubt; that is one
/// account's worth of calls, each within the sandbox's wall clock.
const ATTEMPT: Duration = Duration::from_secs(600);

/// Bytes of exchanges and log lines, as JSON, after which an attempt begins nothing new: 8 MiB. A closure with its proof
/// takes some 4 KiB. The call that goes beyond, and what proves what was begun, keep what was asked and with which
/// status, and none of the texts: a proof may take ten reads, each may say as much as a call's own limits allow, and a
/// control character is six bytes of JSON. So a transcript stays well below what an import takes as one line.
const TRANSCRIPT: usize = 8 * 1024 * 1024;

/// The verb calls of one attempt.
#[derive(Debug)]
pub(super) struct Verbs<'a> {
    connector: &'a Connector,
    /// A refused token is discarded once an attempt; a second refusal is not the token's fault.
    reminted: bool,
    started: Instant,
    /// Bytes of the transcript.
    said: usize,
    pub(super) transcript: Vec<CallTranscript>,
}

/// What came of asking for a closure.
#[derive(Debug)]
pub(super) struct Closure {
    /// What the plugin says.
    pub(super) answer: Result<(), Problem>,
    /// What the host saw of its effect.
    pub(super) effect: Effect,
    /// The target's answer to the request that could close, where a whole one came.
    pub(super) status: Option<u16>,
}

impl<'a> Verbs<'a> {
    pub(super) fn new(connector: &'a Connector) -> Self {
        Self {
            connector,
            reminted: false,
            started: Instant::now(),
            said: 0,
            transcript: Vec::new(),
        }
    }

    /// Whether the attempt may begin something new. Reads that prove what was begun do not ask.
    ///
    /// # Errors
    ///
    /// It took too long, which another attempt may not; or it said too much, which every attempt would.
    pub(super) fn may_go_on(&self) -> Result<(), Stop> {
        if self.started.elapsed() >= ATTEMPT {
            let minutes = ATTEMPT.as_secs() / 60;
            return Err(Stop::Unavailable(format!(
                "the target is so slow that one attempt takes more than {minutes} minutes"
            )));
        }
        if self.said > TRANSCRIPT {
            return Err(Stop::Failed(format!(
                "the connector's exchanges and log lines are over {TRANSCRIPT} bytes in one attempt"
            )));
        }
        Ok(())
    }

    fn keep<T: Answers>(&mut self, asked: &Question, ended: &mut Ended<T>) {
        self.said += size(&ended.record);
        if self.said > TRANSCRIPT {
            thin_out(&mut ended.record);
        }
        self.transcript.push(kept(self.connector, asked, ended, &mut self.said));
    }

    /// The person's accounts.
    pub(super) async fn find(&mut self, person: &intake::Person) -> Result<Vec<Account>, Stop> {
        let asked = Question::Find(person.clone());
        let person = ask::person(person);
        loop {
            self.may_go_on()?;
            let token = self.token().await?;
            let started = Instant::now();
            let call = self.connector.call(Verb::Find, None);
            let ended = self.connector.plugin.find(call, &person, &token).await;
            if let Some(answer) = self.settle(&asked, &token, ended, started, true).await {
                return answer.map_err(|problem| problem.into_stop(self.connector));
            }
        }
    }

    /// The account as it stands now.
    pub(super) async fn read(&mut self, id: &str) -> Result<Option<Account>, Stop> {
        let asked = Question::Read(id.to_owned());
        loop {
            let token = self.token().await?;
            let started = Instant::now();
            let call = self.connector.call(Verb::Read, Some(id));
            let ended = self.connector.plugin.read(call, &token).await;
            if let Some(answer) = self.settle(&asked, &token, ended, started, true).await {
                return answer.map_err(|problem| problem.into_stop(self.connector));
            }
        }
    }

    /// Asks for the closure. None where the token was not accepted: what let this closure pass is asked before another.
    ///
    /// # Errors
    ///
    /// There is no token, so nothing was asked.
    pub(super) async fn close(&mut self, id: &str) -> Result<Option<Closure>, Stop> {
        let asked = Question::Close(id.to_owned());
        self.may_go_on()?;
        let token = self.token().await?;
        let started = Instant::now();
        let call = self.connector.call(Verb::Close, Some(id));
        let ended = self.connector.plugin.close(call, &token).await;
        let (effect, status) = (ended.record.effect, unsafe_status(&ended.record));
        // Whatever the plugin calls it: a closure that may have happened is read before it is asked for again.
        let may_repeat = effect == Effect::None || (effect == Effect::Answered && status == Some(401));
        let answer = self.settle(&asked, &token, ended, started, may_repeat).await;
        Ok(answer.map(|answer| Closure { answer, effect, status }))
    }

    /// A page of the target's accounts.
    pub(super) async fn page(&mut self, cursor: Option<&str>) -> Result<Accounts, Stop> {
        let asked = Question::Page(cursor.map(str::to_owned));
        loop {
            let token = self.token().await?;
            let started = Instant::now();
            let call = self.connector.call(Verb::Page, None);
            let ended = self.connector.plugin.page(call, cursor, &token).await;
            if let Some(answer) = self.settle(&asked, &token, ended, started, true).await {
                return answer.map_err(|problem| problem.into_stop(self.connector));
            }
        }
    }

    /// The connector's token; minted if there is none that is fresh.
    pub(super) async fn token(&mut self) -> Result<Token, Stop> {
        let connector = self.connector;
        let now = connector.grant.clock().now();
        let (transcript, said) = (&mut self.transcript, &mut self.said);
        connector
            .tokens
            .get(now, || async move {
                let started = Instant::now();
                let mut ended = connector.plugin.mint(connector.call(Verb::Mint, None)).await;
                observe(Verb::Mint, &ended.record, started);
                *said += size(&ended.record);
                transcript.push(kept(connector, &Question::Mint, &mut ended, said));
                match ended.result {
                    Ok(Ok(token)) => Ok(token),
                    Ok(Err(failure)) => Err(Problem::Failure(failure).into_stop_without_token(connector)),
                    Err(fault) => Err(Problem::Fault(fault).into_stop_without_token(connector)),
                }
            })
            .await
    }

    /// Keeps the record, and discards a token that was not accepted. None means: call again, which happens only where
    /// the call `may_repeat`.
    async fn settle<T: Answers>(
        &mut self,
        asked: &Question,
        token: &Token,
        mut ended: Ended<T>,
        started: Instant,
        may_repeat: bool,
    ) -> Option<Result<T, Problem>> {
        observe(asked.verb(), &ended.record, started);
        self.keep(asked, &mut ended);
        match ended.result {
            Ok(Ok(answer)) => Some(Ok(answer)),
            Ok(Err(failure @ Failure::Unauthorized(_))) if !self.reminted => {
                self.reminted = true;
                self.connector.tokens.discard(token).await;
                (!may_repeat).then_some(Err(Problem::Failure(failure)))
            }
            Ok(Err(failure)) => Some(Err(Problem::Failure(failure))),
            Err(fault) => Some(Err(Problem::Fault(fault))),
        }
    }
}

/// The status that the target gave the last request that could change something.
fn unsafe_status(record: &CallRecord) -> Option<u16> {
    let mut sent = record.exchanges.iter().rev();
    sent.find(|exchange| !matches!(exchange.method.as_str(), "GET" | "HEAD"))
        .and_then(|exchange| exchange.status)
}

/// Times a verb call, and what of it was spent in the sandbox and not at the target.
fn observe(verb: Verb, record: &CallRecord, started: Instant) {
    let whole = started.elapsed();
    let outside = record
        .exchanges
        .iter()
        .map(|exchange| Duration::from_millis(exchange.ms))
        .sum();
    let inside = whole.saturating_sub(outside);
    metrics::histogram!("exeunt_verb_seconds", "verb" => verb.as_str()).record(whole.as_secs_f64());
    metrics::histogram!("exeunt_sandbox_seconds", "verb" => verb.as_str()).record(inside.as_secs_f64());
}

/// Takes out what a target or a guest may make long.
fn thin_out(record: &mut CallRecord) {
    record.log.clear();
    for exchange in &mut record.exchanges {
        exchange.query.clear();
        exchange.request_headers.clear();
        exchange.response_headers.clear();
        (exchange.request_body, exchange.response_body) = (None, None);
    }
}

/// Bytes that a record takes as JSON, all texts together.
fn size(record: &CallRecord) -> usize {
    let pairs = |pairs: &[(String, String)]| {
        pairs
            .iter()
            .map(|(name, value)| escaped(name) + escaped(value))
            .sum::<usize>()
    };
    let exchanges = record.exchanges.iter().map(|exchange| {
        let bodies = [&exchange.request_body, &exchange.response_body, &exchange.error];
        let bodies: usize = bodies.into_iter().flatten().map(|text| escaped(text)).sum();
        let headers = pairs(&exchange.request_headers) + pairs(&exchange.response_headers);
        escaped(&exchange.path) + pairs(&exchange.query) + headers + bodies
    });
    let lines = record
        .log
        .iter()
        .map(|line| escaped(&line.message) + pairs(&line.fields));
    exchanges.chain(lines).sum::<usize>() + record.denied.as_ref().map_or(0, |text| escaped(text))
}

/// Bytes that a text takes in JSON, within its quotation marks. A line feed and the like are counted as long as the other
/// control characters.
fn escaped(text: &str) -> usize {
    let more = |byte: u8| 5 * u8::from(byte < 0x20) + u8::from(byte == b'"') + u8::from(byte == b'\\');
    // In pieces whose sum a byte holds, which the compiler adds up many at a time.
    let pieces = text.as_bytes().chunks(32);
    text.len()
        + pieces
            .map(|piece| usize::from(piece.iter().copied().map(more).sum::<u8>()))
            .sum::<usize>()
}

/// What is kept of a call. Its exchanges and log lines move there; the bytes of the rest are added to `said`.
fn kept<T: Answers>(connector: &Connector, asked: &Question, ended: &mut Ended<T>, said: &mut usize) -> CallTranscript {
    let (settings, endpoints) = connector.grant.surroundings();
    let endpoints = endpoints.map(|(name, base)| (name.to_owned(), base.to_owned()));
    let is_page = asked.verb() == Verb::Page;
    let answered = if is_page { None } else { small(Answer::of(ended), said) };
    let record = std::mem::take(&mut ended.record);
    CallTranscript {
        verb: asked.verb(),
        plugin: Some(connector.plugin.digest.clone()),
        asked: small(asked.clone(), said),
        answered,
        settings: small(settings.clone(), said),
        endpoints: endpoints.collect(),
        clock: record.clock,
        denied: record.denied,
        token_expires: record.token_expires,
        exchanges: record.exchanges,
        log: record.log,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Exchange;

    #[test]
    fn of_an_attempt_that_says_too_much_the_requests_and_their_statuses_stay() {
        let long = || Some("x".repeat(64 * 1024));
        let pair = || vec![("x".repeat(1000), "y".repeat(1000))];
        let exchange = Exchange {
            endpoint: "api".to_owned(),
            method: "GET".to_owned(),
            path: "/users/7".to_owned(),
            query: pair(),
            request_headers: pair(),
            request_body: long(),
            status: Some(200),
            response_headers: pair(),
            response_body: long(),
            trace_token: None,
            error: None,
            unanswered: None,
            at: jiff::Timestamp::UNIX_EPOCH,
            ms: 1,
        };
        let of_headers = CallRecord {
            exchanges: vec![Exchange {
                query: Vec::new(),
                response_headers: Vec::new(),
                request_body: None,
                response_body: None,
                ..exchange.clone()
            }],
            ..CallRecord::default()
        };
        assert_eq!(
            size(&of_headers),
            "/users/7".len() + 2000,
            "what a guest writes into its headers counts"
        );
        let mut record = CallRecord {
            exchanges: vec![exchange; 64],
            ..CallRecord::default()
        };
        assert!(size(&record) > TRANSCRIPT);
        thin_out(&mut record);
        assert!(size(&record) < 1024, "{}", size(&record));
        let kept = &record.exchanges[63];
        assert_eq!((kept.path.as_str(), kept.status), ("/users/7", Some(200)));
    }

    #[test]
    fn texts_count_as_long_as_they_are_written() {
        let longer = [31, 32, 33, 100].map(|length| "\u{1}".repeat(length));
        let texts = ["", "plain é", "\u{1}\u{1f}\"\\", "\u{7f}\u{2028}"];
        for text in texts.into_iter().chain(longer.iter().map(String::as_str)) {
            let written = serde_json::to_string(text).expect("JSON");
            assert_eq!(escaped(text), written.len() - 2, "{written}");
        }
    }
}
