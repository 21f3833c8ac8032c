//! Smoke, dust, steam and fog: many soft puffs that are born at a source, rise, drift, widen and thin out.
//!
//! Where a puff is follows from its number and the time alone, so that any frame can be rendered without those
//! before it.

use nalgebra::Vector3;

use super::camera::Camera;
use super::layer::Layer;
use super::light::{Colour, Light, lit, mix};
use super::noise::{hash, smoothstep, unit};
use super::sprites::Sprites;

/// How a cloud behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Puffs a second.
    pub(super) births_per_s: f64,
    /// How long a puff can be seen, in seconds.
    pub(super) lives_s: f64,
    /// Radius at birth, in metres.
    pub(super) start_radius_m: f64,
    /// Metres of radius gained per metre travelled.
    pub(super) widens: f64,
    /// Speed of rising at birth, in metres a second.
    pub(super) rises_m_s: f64,
    /// After how many seconds most of the rise is over.
    pub(super) rise_lasts_s: f64,
    /// Rise that stays, in metres a second.
    pub(super) keeps_rising_m_s: f64,
    /// Share of the wind that carries it.
    pub(super) drifts: f64,
    /// How much of what lies behind a fresh cloud it hides, 0 to 1.
    pub(super) thickness: f32,
    /// Metres travelled after which half of the thickness is left.
    pub(super) thins_over_m: f64,
    /// Its own colour.
    pub(super) albedo: Colour,
    /// Height over width of a puff.
    pub(super) squat: f32,
    /// How much denser a puff is than a smooth cloud would need, for its gaps.
    pub(super) density: f64,
    /// The least distance from one birth to the next: the source itself moves or is wide, in metres.
    pub(super) apart_m: f64,
}

impl Style {
    /// Smoke of burning straw, of a shade from white (0) to dark grey (1).
    pub(super) fn smoke(shade: f32, size: f64) -> Self {
        let size = size.sqrt();
        Self {
            births_per_s: 9.0,
            lives_s: 50.0,
            start_radius_m: 2.8 * size,
            widens: 0.5,
            rises_m_s: 6.0 * size,
            rise_lasts_s: 7.0,
            keeps_rising_m_s: 0.5,
            drifts: 1.0,
            thickness: 0.985,
            thins_over_m: 230.0 * size,
            albedo: mix([214.0, 214.0, 216.0], [112.0, 110.0, 110.0], shade),
            squat: 0.92,
            density: 10.0,
            apart_m: 0.0,
        }
    }

    /// Dust behind a tractor.
    pub(super) const DUST: Self = Self {
        births_per_s: 10.0,
        lives_s: 16.0,
        start_radius_m: 2.2,
        widens: 0.34,
        rises_m_s: 0.55,
        rise_lasts_s: 3.0,
        keeps_rising_m_s: 0.12,
        drifts: 0.75,
        thickness: 0.97,
        thins_over_m: 24.0,
        albedo: [182.0, 156.0, 120.0],
        squat: 0.6,
        density: 3.5,
        apart_m: 0.32,
    };

    /// Steam above a chimney.
    pub(super) const STEAM: Self = Self {
        births_per_s: 8.0,
        lives_s: 13.0,
        start_radius_m: 2.3,
        widens: 0.27,
        rises_m_s: 3.0,
        rise_lasts_s: 2.4,
        keeps_rising_m_s: 0.6,
        drifts: 0.9,
        thickness: 0.97,
        thins_over_m: 17.0,
        albedo: [226.0, 227.0, 229.0],
        squat: 0.9,
        density: 3.5,
        apart_m: 0.0,
    };

    /// Ground fog: puffs that hardly move, over a wide piece of ground.
    pub(super) const FOG: Self = Self {
        births_per_s: 4.0,
        lives_s: 120.0,
        start_radius_m: 25.0,
        widens: 0.02,
        rises_m_s: 0.0,
        rise_lasts_s: 1.0,
        keeps_rising_m_s: 0.0,
        drifts: 0.08,
        thickness: 0.5,
        thins_over_m: 400.0,
        albedo: [214.0, 215.0, 216.0],
        squat: 0.24,
        density: 3.5,
        apart_m: 9.0,
    };
}

/// Where puffs are born and how the air moves.
pub(super) struct Cloud<'a> {
    pub(super) style: Style,
    /// Where and how strongly (0 to 1) puffs are born, by time in seconds; scene east, north, up.
    pub(super) source: &'a dyn Fn(f64) -> (Vector3<f64>, f64),
    /// Wind in metres a second; scene east and north.
    pub(super) wind: (f64, f64),
    /// Decides what is left to chance.
    pub(super) seed: u64,
    /// Orange light from flames under it, 0 to 1.
    pub(super) lit_from_below: f32,
}

/// One puff as the camera sees it.
pub(super) struct Seen {
    pub(super) u: f32,
    pub(super) v: f32,
    pub(super) radius: f32,
    pub(super) depth: f32,
    pub(super) opacity: f32,
    pub(super) light: Colour,
    pub(super) dark: Colour,
    pub(super) turn: f32,
    pub(super) sprite: usize,
}

/// How far a layer may reach beyond the frame, as a share of the frame: what is outside counts as not visible.
const MARGIN: f32 = 0.35;
/// How much work is done at full resolution before the layer is made coarser, in puff pixels.
const AFFORDABLE: f32 = 1.6e6;

/// Renders clouds; nothing where none can be seen.
pub(super) fn layer(
    cloud: &Cloud<'_>,
    time_s: f64,
    camera: &Camera,
    to_camera: &dyn Fn(Vector3<f64>) -> Vector3<f64>,
    light: &Light,
    sprites: &Sprites,
    frame: (usize, usize),
) -> Option<Layer> {
    let mut puffs = seen(cloud, time_s, camera, to_camera, light);
    let (width, height) = (frame.0 as f32, frame.1 as f32);
    let window = (
        -MARGIN * width,
        -MARGIN * height,
        (1.0 + MARGIN) * width,
        (1.0 + MARGIN) * height,
    );
    puffs.retain(|puff| {
        puff.u + puff.radius > window.0
            && puff.u - puff.radius < window.2
            && puff.v + puff.radius > window.1
            && puff.v - puff.radius < window.3
    });
    puffs.sort_by(|one, two| two.depth.total_cmp(&one.depth));
    let left = puffs
        .iter()
        .map(|puff| puff.u - puff.radius)
        .fold(f32::MAX, f32::min)
        .max(window.0)
        .floor();
    let top = puffs
        .iter()
        .map(|puff| puff.v - puff.radius)
        .fold(f32::MAX, f32::min)
        .max(window.1)
        .floor();
    let right = puffs
        .iter()
        .map(|puff| puff.u + puff.radius)
        .fold(f32::MIN, f32::max)
        .min(window.2);
    let bottom = puffs
        .iter()
        .map(|puff| puff.v + puff.radius)
        .fold(f32::MIN, f32::max)
        .min(window.3);
    if right - left < 1.0 || bottom - top < 1.0 {
        return None;
    }
    let work: f32 = puffs.iter().map(|puff| 4.0 * puff.radius * puff.radius).sum();
    let scale = [1_usize, 2, 4]
        .into_iter()
        .find(|scale| work / ((scale * scale) as f32) < AFFORDABLE)
        .unwrap_or(8);
    let mut layer = Layer::new((left, top, right, bottom), scale);
    let sun = camera.direction_seen(light.towards_sun);
    let side = (sun.x.hypot(sun.y)).max(1e-6);
    // Even with the sun in front or behind, the sky makes the top of a puff brighter.
    let shine = ((sun.x / side * 0.75) as f32, (sun.y / side * 0.55 - 0.45) as f32);
    for puff in &puffs {
        layer.stamp(puff, sprites, shine, cloud.style.squat);
    }
    Some(layer)
}

fn seen(
    cloud: &Cloud<'_>,
    time_s: f64,
    camera: &Camera,
    to_camera: &dyn Fn(Vector3<f64>) -> Vector3<f64>,
    light: &Light,
) -> Vec<Seen> {
    let style = &cloud.style;
    let wind_m_s = cloud.wind.0.hypot(cloud.wind.1).max(1e-3);
    let across = (-cloud.wind.1 / wind_m_s, cloud.wind.0 / wind_m_s);
    let first = ((time_s - style.lives_s) * style.births_per_s).ceil() as i64;
    let last = (time_s * style.births_per_s).floor() as i64;
    let mut puffs = Vec::new();
    for number in first..=last {
        let birth_s = number as f64 / style.births_per_s;
        let (origin, strength) = (cloud.source)(birth_s);
        if strength <= 0.0 {
            continue;
        }
        let age_s = time_s - birth_s;
        let chance = |which: u64| f64::from(unit(hash(hash(cloud.seed, number as u64), which)));
        let rise_speed = style.rises_m_s * (0.55 + 0.45 * strength) * (0.8 + 0.4 * chance(0));
        let rise_m = rise_speed * style.rise_lasts_s * (1.0 - (-age_s / style.rise_lasts_s).exp())
            + style.keeps_rising_m_s * age_s;
        // Wind is weaker near the ground, and a puff needs a moment to take its speed.
        let drift_m = wind_m_s
            * style.drifts
            * (age_s - 1.2 * (1.0 - (-age_s / 1.2).exp())).max(0.0)
            * (0.75 + 0.25 * (rise_m / 12.0).min(1.0));
        let travelled_m = rise_m.hypot(drift_m);
        let radius_m = (style.start_radius_m * (0.6 + 0.4 * strength)
            + style.widens * travelled_m * (0.75 + 0.5 * chance(1)))
        .max(0.05);
        // Keep about four puffs to a radius: numbers fade out one by one, the even ones last.
        let spacing_m = (wind_m_s * style.drifts).hypot(style.rises_m_s * 0.3).max(0.05) / style.births_per_s;
        let spacing_m = spacing_m.max(style.apart_m);
        let thinned = (radius_m / 4.0 / spacing_m).max(1.0).log2();
        let kept_to = f64::from((number as u64 | 1 << 20).trailing_zeros());
        let kept = if number == 0 {
            1.0
        } else {
            (kept_to + 1.0 - thinned).clamp(0.0, 1.0)
        };
        if kept <= 0.0 {
            continue;
        }
        let overlapping = (2.0 * radius_m / (spacing_m * thinned.exp2())).max(1.0);
        let hides = f64::from(style.thickness)
            * (0.45 + 0.55 * strength)
            * (0.5_f64).powf(travelled_m / style.thins_over_m)
            * (1.0 - (age_s / style.lives_s).powi(2)).max(0.0);
        // Sprites are ragged: a puff is made denser, or gaps would show between puffs that should hide the ground.
        let opacity = style.density * (1.0 - (1.0 - hides.min(0.985)).powf(1.0 / overlapping)) * kept;
        let sway = 0.11
            * travelled_m
            * ((birth_s * 0.43).sin() + 0.6 * (birth_s * 1.13 + 1.0).sin() + 0.4 * (age_s * 0.31).sin());
        let scatter = radius_m * 0.62;
        let aside = Vector3::new(chance(2) - 0.5, 1.5 * (chance(3) - 0.5), chance(4) - 0.5);
        let (along_m, across_m) = (drift_m + scatter * aside.x, sway + scatter * aside.y);
        let east_m = cloud.wind.0 / wind_m_s * along_m + across.0 * across_m;
        let north_m = cloud.wind.1 / wind_m_s * along_m + across.1 * across_m;
        let up_m = (rise_m + scatter * aside.z).max(0.0) + radius_m * f64::from(style.squat) * 1.05;
        let local = to_camera(origin + Vector3::new(east_m, north_m, up_m));
        let Some((u, v, depth_m)) = camera.project_local(local) else {
            continue;
        };
        let distance_m = local.norm() as f32;
        // Puffs on the sunny side of the plume are bright, those underneath and behind lie in its shadow.
        let outwards = Vector3::new(
            cloud.wind.0 / wind_m_s * aside.x + across.0 * aside.y,
            cloud.wind.1 / wind_m_s * aside.x + across.1 * aside.y,
            aside.z * 1.4,
        );
        let facing = (0.5 + 0.8 * outwards.dot(&light.towards_sun)).clamp(0.0, 1.0) as f32;
        let sunshine = smoothstep(0.0, 14.0, rise_m as f32) * 0.35 + 0.65;
        let hue: Colour =
            std::array::from_fn(|channel| style.albedo[channel] * (0.94 + 0.12 * chance(5) as f32));
        let below = cloud.lit_from_below * (-rise_m as f32 / 7.0).exp();
        let warm = |colour: Colour| {
            let fire = [235.0, 112.0, 36.0];
            let added: Colour =
                std::array::from_fn(|channel| (colour[channel] + fire[channel] * below).min(255.0));
            light.through_air(added, distance_m)
        };
        puffs.push(Seen {
            u: u as f32,
            v: v as f32,
            radius: (radius_m * camera.focal_px() / depth_m) as f32,
            depth: depth_m as f32,
            opacity: opacity.min(0.96) as f32,
            light: warm(lit(hue, light.on(0.6 + 0.5 * facing, sunshine))),
            dark: warm(lit(hue, light.on(0.4 + 0.4 * facing, sunshine))),
            turn: (chance(6) * std::f64::consts::TAU + (chance(7) - 0.5) * 0.35 * age_s) as f32,
            sprite: (chance(8) * Sprites::COUNT as f64) as usize,
        });
    }
    puffs
}
