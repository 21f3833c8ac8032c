//! Delivers events from the outbox to the world.
