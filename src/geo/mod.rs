//! From pixel to ground: WGS 84, terrain, camera model, error propagation.
