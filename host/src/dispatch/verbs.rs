//! Verb calls of one attempt: a token for each, minted once more if the target does not accept it.

use std::time::Duration;

use tokio::time::Instant;

use super::ask;
use super::connector::Connector;
use super::procedure::Problem;
use super::stop::Stop;
use crate::capability::{CallRecord, Effect, Token, Verb};
use crate::evidence::{Answer, Answers, CallTranscript, Question, small};
use crate::intake;
use crate::sandbox::{Account, Accounts, Ended, Failure};

/// The verb calls of one attempt.
#[derive(Debug)]
pub(super) struct Verbs<'a> {
    connector: &'a Connector,
    /// A refused token is discarded once an attempt; a second refusal is not the token's fault.
    reminted: bool,
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
            transcript: Vec::new(),
        }
    }

    /// The person's accounts.
    pub(super) async fn find(&mut self, person: &intake::Person) -> Result<Vec<Account>, Stop> {
        let asked = Question::Find(person.clone());
        let person = ask::person(person);
        loop {
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

    /// Asks for the closure.
    ///
    /// # Errors
    ///
    /// There is no token, so nothing was asked.
    pub(super) async fn close(&mut self, id: &str) -> Result<Closure, Stop> {
        let asked = Question::Close(id.to_owned());
        loop {
            let token = self.token().await?;
            let started = Instant::now();
            let call = self.connector.call(Verb::Close, Some(id));
            let ended = self.connector.plugin.close(call, &token).await;
            let (effect, status) = (ended.record.effect, unsafe_status(&ended.record));
            // Whatever the plugin calls it: a closure that may have happened is read before it is asked for again.
            let may_repeat = effect == Effect::None || (effect == Effect::Answered && status == Some(401));
            if let Some(answer) = self.settle(&asked, &token, ended, started, may_repeat).await {
                return Ok(Closure { answer, effect, status });
            }
        }
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
        let transcript = &mut self.transcript;
        connector
            .tokens
            .get(now, || async move {
                let started = Instant::now();
                let ended = connector.plugin.mint(connector.call(Verb::Mint, None)).await;
                observe(Verb::Mint, &ended.record, started);
                transcript.push(kept(connector, &Question::Mint, &ended));
                match ended.result {
                    Ok(Ok(token)) => Ok(token),
                    Ok(Err(failure)) => Err(connector.stop(failure)),
                    Err(fault) => Err(Stop::from_fault(&fault)),
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
        ended: Ended<T>,
        started: Instant,
        may_repeat: bool,
    ) -> Option<Result<T, Problem>> {
        observe(asked.verb(), &ended.record, started);
        self.transcript.push(kept(self.connector, asked, &ended));
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

fn kept<T: Answers>(connector: &Connector, asked: &Question, ended: &Ended<T>) -> CallTranscript {
    let record = &ended.record;
    let (settings, endpoints) = connector.grant.surroundings();
    let endpoints = endpoints.map(|(name, base)| (name.to_owned(), base.to_owned()));
    let is_page = asked.verb() == Verb::Page;
    CallTranscript {
        verb: asked.verb(),
        plugin: Some(connector.plugin.digest.clone()),
        asked: small(asked.clone()),
        answered: small(Answer::of(ended)).filter(|_| !is_page),
        settings: small(settings.clone()),
        endpoints: endpoints.collect(),
        clock: record.clock.clone(),
        token_expires: record.token_expires,
        exchanges: record.exchanges.clone(),
        log: record.log.clone(),
    }
}
