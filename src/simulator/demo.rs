//! The patrol of `make demo`: a drone and two masts around one fire.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::error::SimulatorError;
use super::options::{SceneKind, SceneOptions};
use super::write::{OutputOptions, WrittenScene, write};

/// Length of the demo's clips, in seconds.
pub const DEMO_SECONDS: f64 = 40.0;
/// When the demo's fire starts, in seconds from the first frame.
pub const DEMO_FIRE_START_S: f64 = 6.0;

/// Returns the demo's scenes: a drone and two masts that see the same fire at the same moments.
#[must_use]
pub fn demo_scenes() -> [SceneOptions; 3] {
    [SceneKind::Drone, SceneKind::Tower, SceneKind::TowerEast].map(|kind| SceneOptions {
        seed: 16,
        seconds: DEMO_SECONDS,
        fire_start_s: DEMO_FIRE_START_S,
        fire_size: 1.5,
        ..SceneOptions::new(kind)
    })
}

/// Renders the demo's clips as `drone.mp4`, `tower.mp4` and `tower-east.mp4`, on two threads.
///
/// `progress` is told the frames done and the frames in all, from either thread.
pub fn demo_patrol(
    folder: &Path,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<WrittenScene>, SimulatorError> {
    let scenes = demo_scenes();
    let all: u64 = scenes
        .iter()
        .map(|scene| (scene.seconds * scene.frames_per_second).round() as u64)
        .sum();
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || -> Result<Vec<(usize, WrittenScene)>, SimulatorError> {
        let mut written = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(scene) = scenes.get(index) else {
                return Ok(written);
            };
            let output = OutputOptions {
                name: Some(scene.kind.name().to_owned()),
                ..OutputOptions::default()
            };
            let files = write(scene, &output, folder, &mut |_| {
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
            })?;
            written.push((index, files));
        }
    };
    let mut written = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let own = work();
        let others = other
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        own.and_then(|mut own| {
            own.extend(others?);
            Ok(own)
        })
    })?;
    written.sort_by_key(|(index, _)| *index);
    Ok(written.into_iter().map(|(_, files)| files).collect())
}
