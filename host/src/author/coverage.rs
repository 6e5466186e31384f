//! Which answers a script has shown of each verb.

use std::collections::BTreeMap;
use std::fmt;

use crate::capability::Verb;
use crate::evidence::{Answer, FailureAnswer};

/// The column of what is no failure.
const ANSWERED: &str = "answered";

/// Counts answers by verb and case.
#[derive(Debug, Default)]
pub struct Coverage(BTreeMap<(Verb, String), usize>);

impl Coverage {
    /// Counts one.
    pub fn count(&mut self, verb: Verb, answer: &Answer) {
        let column = match answer {
            Answer::Failure(failure) => failure.kind.clone(),
            // A fault is no answer of the verb's.
            Answer::Fault(_) => return,
            _ => ANSWERED.to_owned(),
        };
        *self.0.entry((verb, column)).or_default() += 1;
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = || [ANSWERED].into_iter().chain(FailureAnswer::KINDS);
        write!(f, "{:<6}", "")?;
        for column in columns() {
            write!(f, " {column}")?;
        }
        for verb in Verb::ALL {
            write!(f, "\n{:<6}", verb.as_str())?;
            for column in columns() {
                let count = self.0.get(&(verb, column.to_owned()));
                let count = count.map_or_else(|| "-".to_owned(), ToString::to_string);
                write!(f, " {count:>width$}", width = column.len())?;
            }
        }
        Ok(())
    }
}
