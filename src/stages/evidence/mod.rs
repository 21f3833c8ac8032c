//! Evidence: pictures with boxes and clips that show a fire.

pub mod picture;

pub mod snapshot;

pub mod clean;

pub mod ring;

pub mod clip;

pub mod recording;

pub mod still;
