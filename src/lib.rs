//! Emberwatch sees smoke and flame in drone and camera video, says where on the ground it is, and gets it to the
//! people who put it out.
//!
//! ```text
//!  per source                                  shared                         per source         shared
//!  ingest ─▶ decode ─▶ sample ─▶ preprocess ─┐
//!  ingest ─▶ decode ─▶ sample ─▶ preprocess ─┼▶ batch ─▶ infer ─▶ track ─▶ verify ─▶ locate ─▶ incident ─▶ publish
//!  ingest ─▶ decode ─▶ sample ─▶ preprocess ─┘
//!                   ▲ live frames may be lost here, and only here           everything after blocks; publish spools
//! ```
//!
//! Who may import what: [`flow`] imports nothing of ours; [`geo`] and [`telemetry`] import `flow`; [`stages`] import
//! those; [`pipeline`] joins stages; [`cli`] starts pipelines. GStreamer lives in files called `gst.rs`, ONNX Runtime
//! in `ort.rs`, tokio in `stages/publish` and `console`.

pub mod flow;

pub mod clock;

pub mod tls;

pub mod config;

pub mod geo;

pub mod telemetry;

pub mod models;

pub mod stages;

pub mod dataset;

pub mod evaluation;

pub mod pipeline;

pub mod store;

pub mod console;

pub mod simulator;

pub mod metrics;

pub mod analysis;

pub mod cli;
