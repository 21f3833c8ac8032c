//! What an analysis of recordings leaves behind: a summary, lines of JSON, pictures and a page to read.

pub mod summary;

pub mod records;

pub mod looks;

pub mod truth;

pub mod curve;

pub mod flight;

mod map;

pub mod kml;

pub mod page;

pub mod resume;

#[cfg(feature = "video")]
pub mod files;

#[cfg(feature = "video")]
pub mod annotate;

#[cfg(feature = "video")]
mod gst;

#[cfg(feature = "video")]
pub mod cases;

#[cfg(feature = "video")]
pub mod run;
