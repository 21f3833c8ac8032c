//! Reads labelled pictures.
