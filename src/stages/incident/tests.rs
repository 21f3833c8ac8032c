//! The incident stage on a simulated clock.

mod crossing;

mod deadlines;

mod desk;

mod fusion;

mod joining;

mod lifecycle;

mod quiet;

mod scene;
