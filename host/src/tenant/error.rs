//! What the operator is told: where a mistake is, and what to write instead.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::text::printable;

/// A place in a configuration file, cheap to keep with a value.
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    file: Arc<Path>,
    position: Option<(usize, usize)>,
    key: String,
}

impl Location {
    /// A file as a whole.
    #[must_use]
    pub fn file_only(file: &Path) -> Self {
        Self {
            file: file.into(),
            position: None,
            key: String::new(),
        }
    }

    pub(crate) fn new(file: Arc<Path>, position: Option<(usize, usize)>, key: String) -> Self {
        Self { file, position, key }
    }

    /// The file, as it was named when it was loaded.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.position.map(|(line, _)| line)
    }

    /// The dotted key, such as `connectors.docusign.mode`; empty for the file as a whole.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// An error that consists of one problem here.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError {
            problems: vec![self.problem(message)],
        }
    }

    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem {
            location: self.clone(),
            // Of guests and of files, whose text must neither drive a terminal nor begin a line.
            message: printable(&message.into()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line() {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One mistake, with what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub location: Location,
    /// What is wrong and what to write. Never holds a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.message)
    }
}

/// What is wrong with the configuration: one or more problems, shown one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// The problems in the order of their lines; never empty.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Adds the problems of another error.
    pub fn merge(&mut self, other: ConfigError) {
        self.problems.extend(other.problems);
    }

    /// One error out of many; `Ok` when there are none.
    ///
    /// # Errors
    /// All the problems of all the errors.
    pub fn collect(errors: impl IntoIterator<Item = ConfigError>) -> Result<(), ConfigError> {
        Self::from_problems(errors.into_iter().flat_map(|error| error.problems).collect())
    }

    pub(crate) fn from_problems(mut problems: Vec<Problem>) -> Result<(), ConfigError> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by(|a, b| (&a.location.file, a.location.position).cmp(&(&b.location.file, b.location.position)));
        Err(ConfigError { problems })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
