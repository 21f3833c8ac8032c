//! The data folder: one SQLite file with incidents, their history, the outbox, the evidence index and the audit, and
//! a folder of evidence files beside it.
//!
//! ```text
//! DATA/emberwatch.sqlite3      incidents · milestones · transitions · evidence · outbox · deliveries · sinks ·
//!                              audit · deletions · idempotency
//! DATA/evidence/NAME           snapshots, thumbnails and clips
//! ```
//!
//! What was acknowledged is on the disk: write-ahead log, `synchronous = FULL`, and an incident's change, its line in
//! the history and its events in the outbox are one transaction ([`Store::commit`]). The history and the audit are
//! append-only (triggers refuse anything else) and chained by SHA-256, so that [`Store::verify`] sees a line that was
//! changed, removed or slipped in. A [`Store`] is a cheap clone: one connection writes, behind a lock; readers have
//! their own read-only connections and never wait for the writer.

mod audit;

mod backup;

mod chain;

mod error;

mod evidence;

mod export;

mod handle;

mod idempotency;

mod incidents;

mod outbox;

mod report;

mod retention;

mod rounds;

mod schema;

mod settings;

mod verify;

mod wal;

pub use audit::{AuditEntry, AuditRecord};
pub use backup::BackupSummary;
pub use error::{ErrorKind, StoreError};
pub use evidence::StoredEvidence;
pub use export::ExportSummary;
pub use handle::{Store, StoreOptions};
pub use idempotency::RememberedAnswer;
pub use incidents::{Area, Change, HistoryLine, IncidentFilter, Page, PageMark};
pub use outbox::{Delivery, DeliveryFilter, DeliveryState, OutboxEvent, Pending, SinkStart, SinkStatus};
pub use report::{AreaFigures, GroupBy, MilestoneFigures, PeriodReport, ReportQuery};
pub use retention::{RetentionPolicy, RetentionSummary};
pub use rounds::RetentionRounds;
pub use verify::{Finding, VerifySummary};

#[cfg(test)]
mod tests;
