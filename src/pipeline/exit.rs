//! How a stage ended, and which ending is the root cause.

use std::fmt;

/// How a thread of the pipeline ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Its input ended and it handed on all it had.
    Drained,
    /// It was asked to leave.
    Stopped,
    /// The next stage was gone: an echo of somebody else's trouble.
    DownstreamClosed,
    /// It gave up.
    Failed(String),
    /// It broke an invariant of this program.
    Panicked(String),
}

impl Exit {
    /// Returns how likely this is the root cause: a panic before a failure before an echo.
    const fn rank(&self) -> u8 {
        match self {
            Self::Panicked(_) => 4,
            Self::Failed(_) => 3,
            Self::DownstreamClosed => 2,
            Self::Stopped => 1,
            Self::Drained => 0,
        }
    }

    /// Returns whether nothing went wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        matches!(self, Self::Drained | Self::Stopped)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drained => formatter.write_str("drained"),
            Self::Stopped => formatter.write_str("stopped"),
            Self::DownstreamClosed => formatter.write_str("the next stage was gone"),
            Self::Failed(why) => write!(formatter, "failed: {why}"),
            Self::Panicked(why) => write!(formatter, "panicked: {why}"),
        }
    }
}

/// A thread's name and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The thread, `<source>/<stage>`.
    pub thread: String,
    /// How it ended.
    pub exit: Exit,
}

/// Returns the ending that explains the others; `None` when nothing went wrong.
#[must_use]
pub fn root_cause(endings: &[Ending]) -> Option<&Ending> {
    // The first of equals: threads are listed in the order in which they ended.
    endings
        .iter()
        .filter(|ending| !ending.exit.is_clean())
        .rev()
        .max_by_key(|ending| ending.exit.rank())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(thread: &str, exit: Exit) -> Ending {
        Ending {
            thread: thread.into(),
            exit,
        }
    }

    #[test]
    fn the_panic_is_named_and_not_its_echo() {
        let endings = [
            ending("a/sample", Exit::DownstreamClosed),
            ending("a/preprocess", Exit::Panicked("index".into())),
            ending("infer", Exit::Failed("no input".into())),
            ending("a/track", Exit::Drained),
        ];
        assert_eq!(root_cause(&endings).unwrap().thread, "a/preprocess");
    }

    #[test]
    fn a_clean_end_has_no_cause() {
        assert!(root_cause(&[ending("a", Exit::Drained), ending("b", Exit::Stopped)]).is_none());
    }

    #[test]
    fn of_two_failures_the_first_to_end_is_the_cause() {
        let endings = [
            ending("b", Exit::Failed("x".into())),
            ending("a", Exit::Failed("y".into())),
        ];
        assert_eq!(root_cause(&endings).unwrap().thread, "b");
    }
}
