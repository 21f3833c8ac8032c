//! What is wrong with a pipeline file.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place in the TOML, such as `source[2].rate`; empty for the file as a whole.
    pub at: String,
    /// What is wrong and what was expected.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Problem {
    /// Makes a problem.
    pub fn new(at: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            what: what.into(),
            fix: fix.into(),
        }
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.at.is_empty() {
            write!(formatter, "{}: ", self.at)?;
        }
        write!(formatter, "{}", self.what)?;
        if !self.fix.is_empty() {
            write!(formatter, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// Every mistake in a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file.
    pub path: PathBuf,
    /// The mistakes, in the order of the file's sections.
    pub problems: Vec<Problem>,
}

impl Problems {
    /// Makes a report of one problem with the file as a whole.
    pub fn whole(path: &Path, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problems: vec![Problem::new("", what, fix)],
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(formatter, "{count} {noun} in {}", self.path.display())?;
        for problem in &self.problems {
            write!(formatter, "\n  - {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
