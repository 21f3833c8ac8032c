//! Pose providers: where the camera was and looked, read from the formats of drones and cameras.
