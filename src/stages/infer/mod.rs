//! Runs the model and reads its head.
