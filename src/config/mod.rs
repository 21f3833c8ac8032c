//! What was written in a pipeline file, and what it means.
