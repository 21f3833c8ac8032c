//! SQLite: incidents, transitions, outbox, evidence index, audit.
