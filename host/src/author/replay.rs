//! Replay: what a job's verb calls did then, asked of a plugin now.
//!
//! Nothing is signed, minted or sent: the grant of a replay has no keys, and the recorded answers take the network's
//! place. Only what a guest can tell apart is recorded and given back: questions, settings, answers of the target, the
//! clock, the token's end.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;

use super::case::parse_method;
use super::expect::describe;
use super::stage::{Stage, StageKeys, token};
use super::target::{Body, Difference, ScriptedTarget, Step, json_or_text};
use crate::capability::{Exchange, Grant, Network, Response, Unanswered, Verb};
use crate::clock::Clock;
use crate::dispatch::ask;
use crate::evidence::{Answer, CallTranscript, Question};
use crate::sandbox::Plugin;

/// A verb call that was replayed, or not.
#[derive(Debug)]
pub enum Replayed {
    /// It ran; what differs.
    Ran(Answer, Vec<Difference>),
    /// It cannot run, and why.
    Skipped(String),
}

/// Replays one recorded verb call; `number` is its place in the transcript, from 1.
///
/// # Errors
///
/// The plugin cannot be asked this at all: its settings or endpoints are other ones.
pub async fn replay(plugin: &Plugin, number: usize, call: &CallTranscript) -> anyhow::Result<Replayed> {
    let verb = call.verb;
    let skipped = |why: &str| Ok(Replayed::Skipped(why.to_owned()));
    match verb {
        Verb::Mint => return skipped("a replay never signs and never mints"),
        Verb::Page => return skipped("what pages held is not kept"),
        Verb::Find | Verb::Read | Verb::Close => {}
    }
    if call.plugin.is_none() {
        bail!(
            "call {number} ({verb}) was recorded by a version that did not keep what verbs were called with; only newer \
             transcripts can be replayed"
        );
    }
    let (Some(question), Some(answered), Some(_)) = (&call.asked, &call.answered, &call.settings) else {
        return skipped("its question, answer or settings were too large to be kept");
    };
    let place = format!("call {number} ({verb})");
    let Some(steps) = steps(&place, &call.exchanges)? else {
        return skipped("the body of an answer was too large to be kept");
    };
    let target = Arc::new(ScriptedTarget::new(steps));
    let grant = Arc::new(grant(plugin, call, Arc::clone(&target)).with_context(|| place.clone())?);
    let lent = token(&plugin.descriptor, call.token_expires);
    let (answer, _) = ask(plugin, &grant, question, &lent).await;
    let mut differences = target.differences();
    if answer != *answered {
        differences.push(Difference {
            place,
            what: "result".to_owned(),
            expected: whole(answered),
            came: whole(&answer),
        });
    }
    Ok(Replayed::Ran(answer, differences))
}

/// An answer with all that it holds, since any of it may be what differs.
fn whole(answer: &Answer) -> String {
    serde_json::to_string(answer).unwrap_or_else(|_| describe(answer))
}

fn steps(place: &str, exchanges: &[Exchange]) -> anyhow::Result<Option<Vec<Step>>> {
    let mut steps = Vec::new();
    for (number, exchange) in exchanges.iter().enumerate() {
        let answer = match (exchange.status, exchange.unanswered) {
            (Some(status), _) => {
                let Some(body) = &exchange.response_body else {
                    return Ok(None);
                };
                Ok(Response {
                    status,
                    headers: exchange.response_headers.clone(),
                    body: body.clone().into_bytes(),
                })
            }
            (None, kind) => {
                let text = exchange.error.clone().unwrap_or_default();
                Err(kind.unwrap_or(Unanswered::NoAnswer).with(text))
            }
        };
        let method = parse_method(&exchange.method);
        steps.push(Step {
            place: format!("{place}, exchange {}", number + 1),
            endpoint: exchange.endpoint.clone(),
            method: method.ok_or_else(|| anyhow!("{place}: `{}` is no method", exchange.method))?,
            path: exchange.path.clone(),
            query: exchange.query.clone(),
            headers: exchange.request_headers.clone(),
            more_headers: false,
            body: Body::Json(exchange.request_body.as_ref().map(|body| json_or_text(body.as_bytes()))),
            answer,
        });
    }
    Ok(Some(steps))
}

fn grant(plugin: &Plugin, call: &CallTranscript, target: Arc<ScriptedTarget>) -> anyhow::Result<Grant> {
    let mut descriptor = plugin.descriptor.clone();
    let settings = call.settings.clone().unwrap_or_default();
    let schema = descriptor
        .settings_validator()
        .map_err(|error| anyhow!("the plugin's settings schema {error}"))?;
    if let Some(error) = schema.iter_errors(&settings).next() {
        bail!("the plugin would refuse the recorded settings: {}", error.masked());
    }
    // No keys, so nothing can be signed or minted, whatever the plugin tries. All of its lines are granted: which
    // requests are new shows anyway.
    descriptor.keys.clear();
    let lines = descriptor.reach.iter().map(ToString::to_string).collect();
    let has = |name: &String| descriptor.endpoints.iter().any(|endpoint| endpoint.name == *name);
    let endpoints: BTreeMap<String, String> = call
        .endpoints
        .iter()
        .filter(|(name, _)| has(name))
        .map(|(name, base)| (name.clone(), base.clone()))
        .collect();
    let clock = RecordedClock {
        told: call.clock.clone(),
        otherwise: call
            .exchanges
            .first()
            .map_or(Timestamp::UNIX_EPOCH, |exchange| exchange.at),
        target: Arc::clone(&target),
    };
    Stage {
        settings,
        endpoints,
        reach: Some(lines),
        clock: Arc::new(clock),
        network: Network::answered_by(target),
    }
    .grant(&descriptor, &StageKeys::default())
}

/// Tells a guest what it was told after as many exchanges. A plugin that asks where the recorded one did not is told
/// the last thing before.
#[derive(Debug)]
struct RecordedClock {
    told: Vec<(usize, u64)>,
    otherwise: Timestamp,
    target: Arc<ScriptedTarget>,
}

impl Clock for RecordedClock {
    fn now(&self) -> Timestamp {
        let exchanges = self.target.requests();
        let before = self.told.iter().rev().find(|(since, _)| *since <= exchanges);
        let told = before.or(self.told.first()).map(|(_, seconds)| *seconds);
        let told = told.and_then(|seconds| Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
        told.unwrap_or(self.otherwise)
    }
}

/// Reads transcripts: JSON, one call a line, as `exeunt run --transcript` writes them.
///
/// # Errors
///
/// The first line that is none.
pub fn read_calls(text: &str) -> anyhow::Result<Vec<CallTranscript>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("line {} is no verb call of a transcript", number + 1))
        })
        .collect()
}

/// The question in one line, for people.
#[must_use]
pub fn asked(call: &CallTranscript) -> String {
    match &call.asked {
        Some(Question::Find(person)) => [&person.target_id, &person.email]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
        Some(Question::Read(id) | Question::Close(id)) => id.clone(),
        Some(Question::Mint | Question::Page(_)) | None => String::new(),
    }
}
