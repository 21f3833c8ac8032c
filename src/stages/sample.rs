//! Thins frames on purpose to the rate of the duty level.
