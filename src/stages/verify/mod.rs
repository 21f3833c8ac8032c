//! Judges tracks: is it fire, and why.
