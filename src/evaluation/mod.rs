//! Measures detections against labels.
