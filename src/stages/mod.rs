//! Verbs, in flow order. A stage touches no thread, channel, clock, environment or file: what it needs arrives in `new`.

pub mod ingest;

pub mod sample;

pub mod blank;

pub mod preprocess;

pub mod batch;

pub mod infer;

pub mod track;

pub mod verify;

pub mod locate;

pub mod evidence;

pub mod report;

pub mod incident;

pub mod event_maker;

pub mod publish;
