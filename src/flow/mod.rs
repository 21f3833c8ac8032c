//! Nouns: what flows from camera to dispatch. No input or output, no threads, no clocks.
//!
//! Image coordinates: x right, y down, in source pixels, pixel centres at .5, boxes half-open.
//! World: WGS 84, degrees, latitude before longitude; heights in metres with their datum.

pub mod source;

pub mod time;

pub mod packet;

pub mod frame;

pub mod detection;

pub mod track;

pub mod pose;

pub mod position;

pub mod hash;

pub mod report;

pub mod incident;

pub mod event;
