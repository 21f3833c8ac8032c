//! Smoke, dust, steam and fog: many soft puffs that are born at a source, rise, drift, widen and thin out.
//!
//! Where a puff is follows from its number and the time alone, so that any frame can be rendered without those
//! before it.

use nalgebra::Vector3;

use super::camera::Camera;
use super::canvas::Canvas;
use super::light::{Colour, Light, lit, mix};
use super::noise::{Noise, hash, smoothstep, unit};
use super::truth::Extent;

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
}

impl Style {
    /// Smoke of burning straw, of a shade from white (0) to dark grey (1).
    pub(super) fn smoke(shade: f32, size: f64) -> Self {
        let size = size.sqrt();
        Self {
            births_per_s: 9.0,
            lives_s: 50.0,
            start_radius_m: 2.8 * size,
            widens: 0.42,
            rises_m_s: 4.8 * size,
            rise_lasts_s: 7.0,
            keeps_rising_m_s: 0.5,
            drifts: 1.0,
            thickness: 0.985,
            thins_over_m: 230.0 * size,
            albedo: mix([214.0, 214.0, 216.0], [112.0, 110.0, 110.0], shade),
            squat: 0.92,
        }
    }

    /// Dust behind a tractor.
    pub(super) const DUST: Self = Self {
        births_per_s: 7.0,
        lives_s: 9.0,
        start_radius_m: 1.0,
        widens: 0.30,
        rises_m_s: 0.5,
        rise_lasts_s: 3.0,
        keeps_rising_m_s: 0.1,
        drifts: 0.8,
        thickness: 0.62,
        thins_over_m: 9.0,
        albedo: [178.0, 152.0, 116.0],
        squat: 0.55,
    };

    /// Steam above a chimney.
    pub(super) const STEAM: Self = Self {
        births_per_s: 8.0,
        lives_s: 7.0,
        start_radius_m: 0.9,
        widens: 0.26,
        rises_m_s: 3.2,
        rise_lasts_s: 2.2,
        keeps_rising_m_s: 0.6,
        drifts: 0.9,
        thickness: 0.85,
        thins_over_m: 7.0,
        albedo: [222.0, 223.0, 225.0],
        squat: 0.9,
    };

    /// Ground fog: puffs that hardly move, over a wide piece of ground.
    pub(super) const FOG: Self = Self {
        births_per_s: 1.2,
        lives_s: 120.0,
        start_radius_m: 17.0,
        widens: 0.02,
        rises_m_s: 0.0,
        rise_lasts_s: 1.0,
        keeps_rising_m_s: 0.0,
        drifts: 0.08,
        thickness: 0.75,
        thins_over_m: 400.0,
        albedo: [182.0, 184.0, 186.0],
        squat: 0.22,
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
struct Seen {
    u: f32,
    v: f32,
    radius: f32,
    depth: f32,
    opacity: f32,
    light: Colour,
    dark: Colour,
    turn: f32,
    sprite: usize,
}

/// A picture of clouds alone, in premultiplied red, green, blue and opacity, perhaps coarser than the frame.
pub(super) struct Layer {
    left: i32,
    top: i32,
    scale: usize,
    width: usize,
    height: usize,
    pixels: Vec<[f32; 4]>,
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
    let window = (-MARGIN * width, -MARGIN * height, (1.0 + MARGIN) * width, (1.0 + MARGIN) * height);
    puffs.retain(|puff| {
        puff.u + puff.radius > window.0
            && puff.u - puff.radius < window.2
            && puff.v + puff.radius > window.1
            && puff.v - puff.radius < window.3
    });
    puffs.sort_by(|one, two| two.depth.total_cmp(&one.depth));
    let left = puffs.iter().map(|puff| puff.u - puff.radius).fold(f32::MAX, f32::min).max(window.0).floor();
    let top = puffs.iter().map(|puff| puff.v - puff.radius).fold(f32::MAX, f32::min).max(window.1).floor();
    let right = puffs.iter().map(|puff| puff.u + puff.radius).fold(f32::MIN, f32::max).min(window.2);
    let bottom = puffs.iter().map(|puff| puff.v + puff.radius).fold(f32::MIN, f32::max).min(window.3);
    if right - left < 1.0 || bottom - top < 1.0 {
        return None;
    }
    let work: f32 = puffs.iter().map(|puff| 4.0 * puff.radius * puff.radius).sum();
    let scale = [1_usize, 2, 4]
        .into_iter()
        .find(|scale| work / ((scale * scale) as f32) < AFFORDABLE)
        .unwrap_or(8);
    let mut layer = Layer {
        left: left as i32,
        top: top as i32,
        scale,
        width: ((right - left) / scale as f32).ceil() as usize + 1,
        height: ((bottom - top) / scale as f32).ceil() as usize + 1,
        pixels: Vec::new(),
    };
    layer.pixels = vec![[0.0; 4]; layer.width * layer.height];
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
        let drift_m = wind_m_s * style.drifts * (age_s - 1.2 * (1.0 - (-age_s / 1.2).exp())).max(0.0)
            * (0.75 + 0.25 * (rise_m / 12.0).min(1.0));
        let travelled_m = rise_m.hypot(drift_m);
        let radius_m = (style.start_radius_m * (0.6 + 0.4 * strength)
            + style.widens * travelled_m * (0.75 + 0.5 * chance(1)))
        .max(0.05);
        // Keep about four puffs to a radius: numbers fade out one by one, the even ones last.
        let spacing_m = ((wind_m_s * style.drifts).hypot(style.rises_m_s * 0.3)).max(0.05) / style.births_per_s;
        let thinned = (radius_m / 4.0 / spacing_m).max(1.0).log2();
        let kept_to = f64::from((number as u64 | 1 << 20).trailing_zeros());
        let kept = if number == 0 { 1.0 } else { (kept_to + 1.0 - thinned).clamp(0.0, 1.0) };
        if kept <= 0.0 {
            continue;
        }
        let overlapping = (2.0 * radius_m / (spacing_m * thinned.exp2())).max(1.0);
        let hides = f64::from(style.thickness)
            * (0.45 + 0.55 * strength)
            * (0.5_f64).powf(travelled_m / style.thins_over_m)
            * (1.0 - (age_s / style.lives_s).powi(2)).max(0.0);
        // The sprite's mean density is about a half, so a puff is made denser by that.
        let opacity = 3.5 * (1.0 - (1.0 - hides.min(0.985)).powf(1.0 / overlapping)) * kept;
        let sway = 0.11 * travelled_m
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
        let hue: Colour = std::array::from_fn(|channel| {
            style.albedo[channel] * (0.94 + 0.12 * chance(5) as f32)
        });
        let below = cloud.lit_from_below * (-rise_m as f32 / 7.0).exp();
        let warm = |colour: Colour| {
            let fire = [235.0, 112.0, 36.0];
            let added: Colour = std::array::from_fn(|channel| (colour[channel] + fire[channel] * below).min(255.0));
            light.through_air(added, distance_m)
        };
        puffs.push(Seen {
            u: u as f32,
            v: v as f32,
            radius: (radius_m * camera.focal_px() / depth_m) as f32,
            depth: depth_m as f32,
            opacity: opacity.min(0.96) as f32,
            light: warm(lit(hue, light.on(0.5 + 0.5 * facing, sunshine))),
            dark: warm(lit(hue, light.on(0.2 + 0.4 * facing, sunshine))),
            turn: (chance(6) * std::f64::consts::TAU + (chance(7) - 0.5) * 0.35 * age_s) as f32,
            sprite: (chance(8) * Sprites::COUNT as f64) as usize,
        });
    }
    puffs
}

impl Layer {
    fn stamp(&mut self, puff: &Seen, sprites: &Sprites, shine: (f32, f32), squat: f32) {
        let scale = self.scale as f32;
        let radius = puff.radius / scale;
        let (u, v) = (
            (puff.u - self.left as f32) / scale,
            (puff.v - self.top as f32) / scale,
        );
        let sprite = sprites.sized(puff.sprite, radius);
        let half = sprite.side as f32 / 2.0;
        let (sin, cos) = puff.turn.sin_cos();
        let step = half / radius.max(0.3);
        let light_at = (shine.0 * cos + shine.1 * sin, -shine.0 * sin + shine.1 * cos);
        // A puff smaller than a pixel must not vanish between two: it becomes wider and thinner.
        let (reach, opacity) = if radius < 0.7 {
            (0.7, puff.opacity * (radius / 0.7).powi(2))
        } else {
            (radius, puff.opacity)
        };
        let step = if radius < 0.7 { half / 0.7 } else { step };
        let squat = if radius < 0.7 { 1.0 } else { squat };
        for y in Canvas::span(v - reach * squat, v + reach * squat, self.height) {
            let dy = (y as f32 + 0.5 - v) * step / squat;
            let row = &mut self.pixels[y * self.width..(y + 1) * self.width];
            for x in Canvas::span(u - reach, u + reach, self.width) {
                let dx = (x as f32 + 0.5 - u) * step;
                let column = dx * cos + dy * sin + half;
                let line = -dx * sin + dy * cos + half;
                let Some([density, slope_x, slope_y]) = sprite.at(column, line) else {
                    continue;
                };
                let covers = opacity * density;
                let shade = (0.5 + slope_x * light_at.0 + slope_y * light_at.1).clamp(0.0, 1.0);
                let pixel = &mut row[x];
                let rest = 1.0 - covers;
                for channel in 0..3 {
                    let colour = puff.dark[channel] + (puff.light[channel] - puff.dark[channel]) * shade;
                    pixel[channel] = pixel[channel] * rest + colour * covers;
                }
                pixel[3] = pixel[3] * rest + covers;
            }
        }
    }

    /// Returns the layer's value at a frame pixel.
    fn at(&self, x: i32, y: i32) -> [f32; 4] {
        if self.scale == 1 {
            return self.texel(x - self.left, y - self.top);
        }
        let scale = self.scale as f32;
        let u = ((x - self.left) as f32 + 0.5) / scale - 0.5;
        let v = ((y - self.top) as f32 + 0.5) / scale - 0.5;
        let (column, row) = (u.floor(), v.floor());
        let (fx, fy) = (u - column, v - row);
        let (column, row) = (column as i32, row as i32);
        let (a, b) = (self.texel(column, row), self.texel(column + 1, row));
        let (c, d) = (self.texel(column, row + 1), self.texel(column + 1, row + 1));
        std::array::from_fn(|channel| {
            let top = a[channel] + (b[channel] - a[channel]) * fx;
            let bottom = c[channel] + (d[channel] - c[channel]) * fx;
            top + (bottom - top) * fy
        })
    }

    fn texel(&self, x: i32, y: i32) -> [f32; 4] {
        match (usize::try_from(x), usize::try_from(y)) {
            (Ok(x), Ok(y)) if x < self.width && y < self.height => self.pixels[y * self.width + x],
            _ => [0.0; 4],
        }
    }

    /// Lays the layer over the picture and marks where it changes it by at least `visible` (opacity, display values).
    pub(super) fn lay(&self, canvas: &mut Canvas, visible: (f32, f32)) -> Laid {
        let mut seen = Vec::new();
        for (x, y) in self.frame_pixels(canvas.width, canvas.height) {
            let [r, g, b, covers] = self.at(x as i32, y as i32);
            if covers > 0.004 {
                let pixel = &mut canvas.pixels[y * canvas.width + x];
                let mut change = 0.0;
                for (channel, over) in pixel.iter_mut().zip([r, g, b]) {
                    let under = f32::from(*channel);
                    let now = under * (1.0 - covers) + over;
                    change += (now - under).abs() / 3.0;
                    *channel = (now + 0.5) as u8;
                }
                if covers > visible.0 && change > visible.1 {
                    seen.push((x, y));
                }
            }
        }
        // What reaches beyond the frame is counted at the layer's own resolution.
        let scale = self.scale as i32;
        let outside = self.pixels.iter().enumerate().filter(|(index, pixel)| {
            let x = self.left + (index % self.width) as i32 * scale;
            let y = self.top + (index / self.width) as i32 * scale;
            let is_inside = (0..canvas.width as i32).contains(&x) && (0..canvas.height as i32).contains(&y);
            pixel[3] > visible.0 && !is_inside
        });
        Laid {
            outside: outside.count() as f64 * f64::from(scale * scale),
            seen,
        }
    }

    fn frame_pixels(&self, width: usize, height: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let clip = |value: i32, limit: usize| value.clamp(0, limit as i32) as usize;
        let right = clip(self.left + (self.width * self.scale) as i32, width);
        let bottom = clip(self.top + (self.height * self.scale) as i32, height);
        let (left, top) = (clip(self.left, width), clip(self.top, height));
        (top..bottom).flat_map(move |y| (left..right).map(move |x| (x, y)))
    }
}

/// Where a layer changed the picture visibly.
pub(super) struct Laid {
    seen: Vec<(usize, usize)>,
    outside: f64,
}

impl Laid {
    /// Measures the cloud, once nearer things are painted.
    pub(super) fn extent(&self, canvas: &Canvas) -> Extent {
        let mut extent = Extent::default();
        for (x, y) in &self.seen {
            extent.add(*x, *y, canvas.hidden(*x, *y));
        }
        extent.add_outside(self.outside);
        extent
    }
}

/// Shapes of puffs, each at several sizes.
#[derive(Debug)]
pub(super) struct Sprites {
    shapes: Vec<Vec<Sprite>>,
}

#[derive(Debug)]
struct Sprite {
    side: usize,
    /// Density, and the slope of its surface to the right and down.
    texels: Vec<[f32; 3]>,
}

impl Sprites {
    const COUNT: usize = 16;
    const SIDE: usize = 64;

    /// Makes the shapes out of noise.
    pub(super) fn new(noise: &Noise) -> Self {
        let shapes = (0..Self::COUNT)
            .map(|number| {
                let mut sizes = vec![Sprite::new(noise, number, Self::SIDE)];
                while let Some(half) = sizes.last().filter(|sprite| sprite.side > 4).map(Sprite::halved) {
                    sizes.push(half);
                }
                sizes
            })
            .collect();
        Self { shapes }
    }

    /// Returns the size of a shape that fits `radius` pixels best.
    fn sized(&self, number: usize, radius: f32) -> &Sprite {
        let sizes = &self.shapes[number % Self::COUNT];
        let halvings = (Self::SIDE as f32 / (2.0 * radius).max(1.0)).log2().max(0.0) as usize;
        &sizes[halvings.min(sizes.len() - 1)]
    }
}

impl Sprite {
    fn new(noise: &Noise, number: usize, side: usize) -> Self {
        let (shift_x, shift_y) = ((number % 4) as f32 * 64.0 + 11.0, (number / 4) as f32 * 64.0 + 5.0);
        let height = |x: f32, y: f32| {
            let from_middle = x.hypot(y);
            let lumps = noise.cloudy(shift_x + x * 15.0, shift_y + y * 15.0) - 0.5;
            let lumps_fine = noise.cloudy(shift_y + x * 34.0, shift_x + y * 34.0) - 0.5;
            let rough = from_middle + 0.85 * lumps + 0.28 * lumps_fine;
            let inside = smoothstep(0.98, 0.18, rough) * smoothstep(1.0, 0.8, from_middle);
            let bulge = (1.0 - from_middle * from_middle).max(0.0).sqrt();
            (inside, 0.55 * bulge - 0.9 * lumps - 0.22 * lumps_fine)
        };
        let texels = (0..side * side)
            .map(|index| {
                let unit = |cell: usize| (cell as f32 + 0.5) / side as f32 * 2.0 - 1.0;
                let (x, y) = (unit(index % side), unit(index / side));
                let (density, here) = height(x, y);
                let nudge = 0.03;
                let slope = |other: f32| ((here - other) / nudge * 0.32).clamp(-1.0, 1.0);
                [density, slope(height(x + nudge, y).1), slope(height(x, y + nudge).1)]
            })
            .collect();
        Self { side, texels }
    }

    fn halved(&self) -> Self {
        let side = self.side / 2;
        let texels = (0..side * side)
            .map(|index| {
                let at = index / side * 2 * self.side + index % side * 2;
                let four = [at, at + 1, at + self.side, at + self.side + 1];
                std::array::from_fn(|channel| {
                    four.iter().map(|texel| self.texels[*texel][channel]).sum::<f32>() / 4.0
                })
            })
            .collect();
        Self { side, texels }
    }

    fn at(&self, x: f32, y: f32) -> Option<[f32; 3]> {
        if x < 0.0 || y < 0.0 {
            return None;
        }
        let (x, y) = (x as usize, y as usize);
        (x < self.side && y < self.side).then(|| self.texels[y * self.side + x])
    }
}
