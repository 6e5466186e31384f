//! Whether a connector may run a plugin that needs what this one needs.
//!
//! An upgrade that needs more than what ran is for the operator to decide, not for whoever can replace a file.

use super::history::Ran;
use crate::sandbox::Plugin;
use crate::tenant::{ConfigError, ConnectorConfig};

/// Needs that are shown in a message; a plugin may have hundreds.
const SHOWN: usize = 12;

/// What is written holds, on every host. Where nothing is written, what this connector has run here is what was
/// accepted; the first plugin is, by being named.
///
/// # Errors
/// What is new, and the line that accepts it.
pub(super) fn check_needs(plugin: &Plugin, config: &ConnectorConfig, ran: &[Ran]) -> Result<(), ConfigError> {
    let refusal = match &config.accepts {
        Some(accepted) => other_than_accepted(plugin, accepted, ran),
        None => more_than_before(plugin, ran),
    };
    let Some(text) = refusal else {
        return Ok(());
    };
    let (descriptor, digest) = (&plugin.descriptor, &plugin.digest);
    let text = format!("{} {} ({digest}) {text}", descriptor.name, descriptor.version);
    Err(config.at("accepts").error(text))
}

fn other_than_accepted(plugin: &Plugin, accepted: &str, ran: &[Ran]) -> Option<String> {
    let (needs, digest) = (&plugin.needs, plugin.needs.digest());
    if digest == accepted {
        return None;
    }
    let known = ran.iter().map(Ran::needs).find(|known| known.digest() == accepted);
    let difference = match known {
        Some(known) => {
            let (more, less) = (list(needs.beyond(&known)), list(known.beyond(needs)));
            format!("it needs {more}, and no more {less}")
        }
        None => format!(
            "it needs {}, and this host has not seen what was accepted",
            list(needs.lines())
        ),
    };
    Some(format!(
        "needs other than what is accepted: {difference}. Compare both with `exeunt plugin diff`, then write \
         accepts = \"{digest}\""
    ))
}

fn more_than_before(plugin: &Plugin, ran: &[Ran]) -> Option<String> {
    let latest = ran.last()?;
    if ran.iter().any(|ran| ran.digest == plugin.digest) {
        return None;
    }
    let before = latest.needs();
    let mut more = plugin.needs.beyond(&before).peekable();
    more.peek()?;
    let (version, stays, digest) = (&latest.version, &latest.digest, plugin.needs.digest());
    Some(format!(
        "needs more than {version}, which ran before: {}. Compare both with `exeunt plugin diff`, then write \
         accepts = \"{digest}\"; or stay, and write digest = \"{stays}\"",
        list(more)
    ))
}

fn list<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<&str> = lines.collect();
    if lines.is_empty() {
        return "nothing".to_owned();
    }
    let shown = lines.iter().take(SHOWN).map(|line| format!("`{line}`"));
    let more = lines.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("and {more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}
