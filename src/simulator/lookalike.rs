//! What looks like fire and is none: its things, its clouds and its lamps.

use nalgebra::Vector3;

use super::camera::Camera;
use super::canvas::Canvas;
use super::ground::{Thing, ThingKind};
use super::light::Light;
use super::noise::{Noise, hash, unit};
use super::options::SceneKind;
use super::puffs::Style;

/// A cloud of a look-alike scene: its style and where it is born, by time.
pub(super) type BornAt = (Style, Box<dyn Fn(f64) -> (Vector3<f64>, f64) + Send + Sync>);

/// Returns what a scene puts on its ground beside the farmland; metres from the scene's centre.
pub(super) fn things(kind: SceneKind) -> Vec<Thing> {
    let house = |east_m: f32, north_m: f32, half: (f32, f32), heights: (f32, f32), roof, wall| Thing {
        east_m,
        north_m,
        kind: ThingKind::House {
            half_east_m: half.0,
            half_north_m: half.1,
            eaves_m: heights.0,
            ridge_m: heights.1,
            roof,
            wall,
        },
    };
    let brick = [206.0, 200.0, 190.0];
    match kind {
        SceneKind::LookalikeRedRoof => vec![
            house(0.0, 0.0, (17.0, 8.0), (6.0, 3.2), [178.0, 62.0, 46.0], brick),
            house(-34.0, 14.0, (9.0, 7.0), (5.0, 2.6), [186.0, 70.0, 48.0], brick),
            house(30.0, -22.0, (12.0, 6.0), (4.0, 2.0), [168.0, 58.0, 48.0], brick),
        ],
        SceneKind::LookalikeSteam => vec![
            house(
                0.0,
                0.0,
                (1.5, 1.5),
                (STACK_M as f32, 0.0),
                [60.0; 3],
                [150.0, 132.0, 122.0],
            ),
            house(-16.0, 8.0, (11.0, 8.0), (8.0, 0.0), [150.0, 152.0, 154.0], brick),
            house(14.0, 12.0, (9.0, 7.0), (6.0, 2.4), [96.0, 118.0, 146.0], brick),
        ],
        _ => vec![],
    }
}

/// Height of the chimney, in metres.
const STACK_M: f64 = 27.0;
/// Speed of the tractor, in metres a second.
const TRACTOR_M_S: f64 = 3.2;
/// Length of its furrow, in metres.
const FURROW_M: f64 = 110.0;

/// Returns the cloud of a scene, if it has one.
pub(super) fn cloud(kind: SceneKind, seed: u64) -> Option<BornAt> {
    match kind {
        SceneKind::LookalikeDust => Some((
            Style::DUST,
            Box::new(|time_s| {
                (
                    Vector3::new(tractor_m(time_s) - 3.0 * tractor_heading(time_s), 0.0, 0.3),
                    1.0,
                )
            }),
        )),
        SceneKind::LookalikeSteam => Some((
            Style::STEAM,
            Box::new(|time_s| {
                let gust = 0.65 + 0.35 * (time_s * 0.7).sin();
                (Vector3::new(0.0, 0.0, STACK_M), gust)
            }),
        )),
        SceneKind::LookalikeFog => Some((
            Style::FOG,
            Box::new(move |birth_s| {
                let drawn = hash(seed, (birth_s * 1000.0).round() as i64 as u64);
                let east_m = f64::from(unit(drawn)) * 260.0 - 130.0;
                let north_m = f64::from(unit(hash(drawn, 1))) * 150.0 - 75.0;
                (Vector3::new(east_m, north_m, -2.0), 1.0)
            }),
        )),
        _ => None,
    }
}

/// Returns where the tractor is along its furrow, in metres east of the centre: to and fro.
fn tractor_m(time_s: f64) -> f64 {
    let travelled = (time_s * TRACTOR_M_S).rem_euclid(2.0 * FURROW_M);
    (if travelled < FURROW_M {
        travelled
    } else {
        2.0 * FURROW_M - travelled
    }) - FURROW_M / 2.0
}

/// Returns 1 while the tractor drives east, -1 while it drives west.
fn tractor_heading(time_s: f64) -> f64 {
    if (time_s * TRACTOR_M_S).rem_euclid(2.0 * FURROW_M) < FURROW_M {
        1.0
    } else {
        -1.0
    }
}

/// Returns the tractor where it is now.
pub(super) fn vehicles(kind: SceneKind, time_s: f64) -> Vec<Thing> {
    if kind != SceneKind::LookalikeDust {
        return Vec::new();
    }
    let at_m = tractor_m(time_s) as f32;
    let ahead = tractor_heading(time_s) as f32;
    let part = |east_m: f32, half: (f32, f32), eaves_m: f32, roof, wall| Thing {
        east_m,
        north_m: 0.0,
        kind: ThingKind::House {
            half_east_m: half.0,
            half_north_m: half.1,
            eaves_m,
            ridge_m: 0.0,
            roof,
            wall,
        },
    };
    let green = [44.0, 96.0, 58.0];
    vec![
        part(at_m, (1.0, 0.95), 2.7, [40.0, 42.0, 44.0], [70.0, 84.0, 92.0]),
        part(at_m + 1.9 * ahead, (1.1, 0.75), 1.6, green, green),
        part(
            at_m - 2.4 * ahead,
            (0.6, 1.4),
            0.8,
            [120.0, 60.0, 50.0],
            [80.0, 50.0, 46.0],
        ),
    ]
}

/// Paints lamps of vehicles on the road that passes the scene's centre.
pub(super) fn lamps(
    canvas: &mut Canvas,
    camera: &Camera,
    to_camera: &dyn Fn(Vector3<f64>) -> Vector3<f64>,
    light: &Light,
    time_s: f64,
    seed: u64,
    across: (f64, f64),
) {
    const LANE_M: f64 = 420.0;
    for number in 0..4_u64 {
        let chance = |which: u64| f64::from(unit(hash(hash(seed, number), which)));
        let goes_right = number % 2 == 0;
        let speed_m_s = 9.0 + 6.0 * chance(0);
        let travelled_m = (time_s * speed_m_s + chance(1) * LANE_M).rem_euclid(LANE_M) - LANE_M / 2.0;
        let along_m = if goes_right { travelled_m } else { -travelled_m };
        let lane_m = if goes_right { -1.8 } else { 1.8 };
        // A bend takes each car towards the camera for a while: only then its head lamps dazzle.
        let bend_m = 60.0 * (along_m / 130.0).sin();
        let towards = (60.0 / 130.0 * (along_m / 130.0).cos()) * if goes_right { 1.0 } else { -1.0 };
        for side in [-0.7, 0.7] {
            let point = Vector3::new(
                across.0 * along_m + across.1 * (bend_m + lane_m + side),
                across.1 * along_m - across.0 * (bend_m + lane_m + side),
                0.7,
            );
            let local = to_camera(point);
            let Some((u, v, depth_m)) = camera.project_local(local) else {
                continue;
            };
            let clear = light.clearness(local.norm() as f32);
            let dazzle = (0.35 + 0.65 * towards.max(0.0) * 2.0).min(1.0) as f32 * clear;
            let radius = (camera.focal_px() / depth_m * 0.22).max(1.2) as f32;
            let (hue, dazzle) = if towards > -0.25 {
                ([255.0, 246.0, 214.0], dazzle)
            } else {
                ([255.0, 44.0, 30.0], dazzle * 0.5)
            };
            canvas.glow(
                (u as f32, v as f32),
                radius * (4.0 + 8.0 * dazzle),
                hue.map(|channel| channel * 0.35 * dazzle),
            );
            canvas.glow((u as f32, v as f32), radius * 1.6, hue);
        }
    }
}

/// Paints the sun's mirror image on plastic: bright streaks along the greenhouses' ridges.
pub(super) fn glint(
    canvas: &mut Canvas,
    camera: &Camera,
    to_camera: &dyn Fn(Vector3<f64>) -> Vector3<f64>,
    light: &Light,
    noise: &Noise,
) {
    for bay in 0..9 {
        for step in 0..60 {
            let point = Vector3::new(f64::from(step) * 1.4 - 42.0, f64::from(bay) * 10.4 - 44.0, 0.2);
            let local = to_camera(point);
            let Some((u, v, depth_m)) = camera.project_local(local) else {
                continue;
            };
            let seen = -local.normalize();
            let middle = (seen + light.towards_sun).normalize();
            // The plastic is round across the bay: only its slope along the bay has to fit.
            let off_x = middle.x / middle.z;
            let wrinkles = noise.cloudy(step as f32 * 7.0 + 3.0, bay as f32 * 23.0);
            let strength = (-(off_x * 3.2).powi(2)).exp() as f32 * wrinkles * wrinkles;
            let radius = (camera.focal_px() / depth_m) as f32;
            canvas.glow(
                (u as f32, v as f32),
                radius * 1.3,
                [190.0 * strength, 188.0 * strength, 178.0 * strength],
            );
        }
    }
}
