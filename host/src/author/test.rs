//! Plays the cases of a script, each in a fresh sandbox.

use std::sync::Arc;

use anyhow::anyhow;
use jiff::Timestamp;

use super::case::{Case, Script};
use super::stage::{Stage, StageKeys, token};
use super::target::{Body, Difference, ScriptedTarget};
use crate::capability::{Grant, Method, Network, Verb};
use crate::clock::ManualClock;
use crate::dispatch::ask;
use crate::evidence::Answer;
use crate::sandbox::Plugin;
use crate::tenant::ConfigError;

/// A case that was played.
#[derive(Debug)]
pub struct Played<'a> {
    /// The case.
    pub case: &'a Case,
    /// What the plugin answered.
    pub answer: Answer,
    /// What was not as it should be.
    pub differences: Vec<Difference>,
}

/// A case that cannot be played with this plugin.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// A mistake in the script.
    #[error(transparent)]
    Script(#[from] ConfigError),
    /// There are no keys to play with.
    #[error("{0:#}")]
    Keys(anyhow::Error),
}

/// Plays all cases, in order.
///
/// # Errors
///
/// A case that cannot be played, with its line; then none is.
pub async fn play<'a>(plugin: &Plugin, script: &'a Script) -> Result<Vec<Played<'a>>, ScriptError> {
    let keys = StageKeys::for_descriptor(&plugin.descriptor).map_err(ScriptError::Keys)?;
    let mut ready = Vec::new();
    let mut errors = Vec::new();
    for case in &script.cases {
        let target = Arc::new(ScriptedTarget::new(steps(case)));
        match stage(plugin, script, case, &keys, Arc::clone(&target)) {
            Ok(grant) => ready.push((case, Arc::new(grant), target)),
            Err(error) => errors.push(case.place.error(format!("{error:#}"))),
        }
    }
    ConfigError::collect(errors)?;
    let lent = token(&plugin.descriptor, None);
    let mut played = Vec::new();
    for (case, grant, target) in ready {
        let (answer, _) = ask(plugin, &grant, &case.question, &lent).await;
        let mut differences = target.differences();
        differences.extend(case.expected.compare(&answer));
        played.push(Played {
            case,
            answer,
            differences,
        });
    }
    Ok(played)
}

fn stage(
    plugin: &Plugin,
    script: &Script,
    case: &Case,
    keys: &StageKeys,
    target: Arc<ScriptedTarget>,
) -> anyhow::Result<Grant> {
    let descriptor = &plugin.descriptor;
    let schema = descriptor
        .settings_validator()
        .map_err(|error| anyhow!("the plugin's settings schema {error}"))?;
    if let Some(error) = schema.iter_errors(&case.settings).next() {
        let at = error.instance_path().to_string();
        let at = if at.is_empty() { at } else { format!(" at {at}") };
        return Err(anyhow!("the host would refuse these settings{at}: {error}"));
    }
    let now = i64::try_from(script.now)?;
    Stage {
        settings: case.settings.clone(),
        endpoints: script.endpoints.clone(),
        reach: case.reach.clone(),
        clock: Arc::new(ManualClock::new(Timestamp::from_second(now)?)),
        network: Network::answered_by(target),
    }
    .grant(descriptor, keys)
}

/// In `mint` only the host sends POST: the exchange of a key, whose body is its own.
fn steps(case: &Case) -> Vec<super::target::Step> {
    let mut steps = case.steps.clone();
    for step in &mut steps {
        if case.question.verb() == Verb::Mint && step.method == Method::Post {
            step.body = Body::Any;
        }
    }
    steps
}
