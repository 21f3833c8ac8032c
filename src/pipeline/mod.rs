//! Joints: stage trait, runner, link, stop, exit, stats, and the one function that wires everything.
