//! The simulator: farmland seen from a drone or a mast, with a fire at a known place, or with what only looks like one.
//!
//! A scene is a pure function: [`Scene::frame`] renders any frame, without those before it, together with its
//! [`Truth`]. The same [`SceneOptions`] give the same pixels and the same truth, byte for byte.
//!
//! ```text
//! options ─▶ scene ─▶ flight ─▶ camera ─▶ backdrop ─▶ things ─▶ puffs ─▶ flame ─▶ canvas ─▶ I420
//!                                         (ground)             └──── truth ────┘
//! ```
//!
//! Geometry is exact to a fraction of a pixel: WGS 84 through Earth-centred coordinates, ground that curves with the
//! Earth at one height above the ellipsoid. What is approximate is beauty: fields repeat every kilometre, trees face
//! the camera, flames stand in a plane across the view through the fire's place.

mod backdrop;
mod camera;
mod canvas;
mod demo;
mod earth;
mod error;
mod farmland;
mod flame;
mod flight;
mod ground;
#[cfg(feature = "video")]
mod gst;
mod klv;
mod layer;
mod light;
mod lookalike;
mod noise;
mod options;
mod puffs;
mod render;
mod scene;
#[cfg(feature = "video")]
pub mod serve;
mod sprites;
mod telemetry;
mod things;
mod truth;
mod write;

pub use camera::{Camera, CameraPose};
pub use demo::{DEMO_FIRE_START_S, DEMO_SECONDS, demo_patrol, demo_scenes};
pub use earth::GroundPoint;
pub use error::SimulatorError;
pub use options::{FirePlace, SceneKind, SceneOptions, TelemetryErrors, Weather};
pub use scene::{GROUND_HEIGHT_M, SCENE_PLACE, Scene};
pub use truth::{TrueBox, Truth};
pub use write::{Codec, OutputOptions, SceneRecord, WrittenScene, started_at, write};
