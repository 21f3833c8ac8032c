//! The stage trait: a pure verb.

/// Why a stage cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StageError {
    message: String,
    is_fatal: bool,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StageError {
    /// Makes an error about one item: it is counted and the stage goes on.
    #[must_use]
    pub fn item(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_fatal: false,
            source: None,
        }
    }

    /// Makes an error after which the stage cannot go on.
    #[must_use]
    pub fn fatal(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_fatal: true,
            source: None,
        }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Returns whether the stage must end.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        self.is_fatal
    }
}

/// Takes what a stage gives.
pub struct Emit<'a, T> {
    send: &'a mut dyn FnMut(T) -> bool,
    is_open: bool,
}

impl<'a, T> Emit<'a, T> {
    /// Makes an outlet over a function that returns whether the next stage is still there.
    pub fn new(send: &'a mut dyn FnMut(T) -> bool) -> Self {
        Self { send, is_open: true }
    }

    /// Hands one item on; it waits while the link is full, and drops the item when nobody is there any more.
    pub fn send(&mut self, item: T) {
        if self.is_open {
            self.is_open = (self.send)(item);
        }
    }

    /// Returns whether the next stage is still there.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.is_open
    }
}

/// A verb: takes items, gives items, touches neither thread nor channel, clock, environment or file.
pub trait Stage: Send {
    /// What it takes.
    type In: Send;
    /// What it gives.
    type Out: Send;

    /// Works on one item and emits what follows from it.
    fn process(&mut self, item: Self::In, emit: &mut Emit<'_, Self::Out>) -> Result<(), StageError>;

    /// Emits what it still holds: its input has ended.
    fn flush(&mut self, _emit: &mut Emit<'_, Self::Out>) -> Result<(), StageError> {
        Ok(())
    }
}
