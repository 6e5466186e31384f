//! The same request for one id after another.

use anyhow::bail;

use super::client::{Refused, Unfinished, was_refused};
use super::table::show;
use crate::text::printable;

/// Asks for each id, and returns a line for each. One that the server refuses is no reason to leave the others; after any
/// other error the rest would end the same way, and is not tried. `what` is named by ids, and `lost` says how to go on
/// where an answer got lost.
///
/// # Errors
///
/// What became of those that were not done, a line each. The lines of the others have been shown then.
pub(super) async fn each(
    ids: &[String],
    what: &str,
    lost: impl Fn(&str) -> String,
    ask: impl AsyncFn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let (mut done, mut failed) = (String::new(), Vec::new());
    let mut is_later = false;
    for (number, id) in ids.iter().enumerate() {
        let error = match ask(id).await {
            Ok(line) => {
                done += &line;
                continue;
            }
            Err(error) => error,
        };
        let id = printable(id);
        if was_refused(&error) {
            failed.push(format!("{what} {id} was left as it is: {error:#}"));
        } else {
            failed.push(format!("{what} {id} {}: {error:#}", lost(&id)));
        }
        is_later |= error.is::<Unfinished>();
        if !error.is::<Refused>() {
            let rest = ids.iter().skip(number + 1);
            failed.extend(rest.map(|id| format!("{what} {} was not tried", printable(id))));
            break;
        }
    }
    if failed.is_empty() {
        return Ok(done);
    }
    if ids.len() > 1 {
        failed.insert(
            0,
            format!("{} of {} were not done, as far as is known", failed.len(), ids.len()),
        );
    }
    if let Err(error) = show(&done) {
        failed.push(format!("{error:#}"));
    }
    let failed = failed.join("\n");
    if done.is_empty() && !is_later {
        bail!(failed);
    }
    Err(Unfinished(failed).into())
}
