//! Gathers inputs of all sources into batches, fair by source.
