//! Turns judged tracks and poses into places on the ground.
