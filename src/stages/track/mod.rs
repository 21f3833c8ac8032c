//! Joins detections in time, per source.
