//! Renders farmland with a fire at a known place, as seen by a drone or a tower.
