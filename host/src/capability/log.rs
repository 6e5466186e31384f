//! `log`: a guest's lines for the operator.

use super::call::{Call, LogLine};
use crate::text::printable;

/// What a field costs besides its bytes: quotes and separators. So a million empty ones are not free.
const FIELD: usize = 8;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For authors.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warn,
    /// Needs someone.
    Error,
}

impl Call {
    /// Writes one line. Lines over the limits are dropped; that they were is said once.
    pub fn log(&mut self, level: Level, message: String, fields: Vec<(String, String)>) {
        self.used.log_lines += 1;
        let limits = &self.grant.limits;
        if self.used.log_lines > limits.log_lines {
            if self.used.log_lines == limits.log_lines + 1 {
                self.keep(
                    Level::Warn,
                    format!("more than {} log lines; the rest is dropped", limits.log_lines),
                    Vec::new(),
                );
            }
            return;
        }
        let size = message.len()
            + fields
                .iter()
                .map(|(name, value)| name.len() + value.len() + FIELD)
                .sum::<usize>();
        if size > limits.log_line {
            self.keep(
                Level::Warn,
                format!(
                    "a log line of {size} bytes is dropped; at most {} are allowed",
                    limits.log_line
                ),
                Vec::new(),
            );
            return;
        }
        let clean = |text: String| printable(&self.clean(text));
        let fields = fields
            .into_iter()
            .map(|(name, value)| (clean(name), clean(value)))
            .collect();
        let message = clean(message);
        self.keep(level, message, fields);
    }

    fn keep(&self, level: Level, message: String, fields: Vec<(String, String)>) {
        let (tenant, connector, verb) = (&self.grant.tenant, &self.grant.connector, self.verb);
        match level {
            Level::Debug => tracing::debug!(target: "guest", tenant, connector, %verb, ?fields, "{message}"),
            Level::Info => tracing::info!(target: "guest", tenant, connector, %verb, ?fields, "{message}"),
            Level::Warn => tracing::warn!(target: "guest", tenant, connector, %verb, ?fields, "{message}"),
            Level::Error => tracing::error!(target: "guest", tenant, connector, %verb, ?fields, "{message}"),
        }
        let level = format!("{level:?}").to_lowercase();
        self.note().log.push(LogLine { level, message, fields });
    }
}
