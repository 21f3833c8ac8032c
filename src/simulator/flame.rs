//! Flames: tongues of noise that flicker over the fire's place, with a glow around them when it is dark.

use super::canvas::Canvas;
use super::light::{Colour, Light, mix};
use super::noise::{Noise, smoothstep};
use super::truth::Extent;

/// A fire as one camera sees it at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flame {
    /// The pixel of the fire's place.
    pub(super) foot: (f32, f32),
    /// Half the width of the burning front, in pixels.
    pub(super) half_width: f32,
    /// Height of the highest tongues, in pixels.
    pub(super) height: f32,
    /// Distance in metres.
    pub(super) distance_m: f32,
    /// Time since the fire started, in seconds.
    pub(super) time_s: f32,
}

/// Opacity above which a pixel counts as flame.
const VISIBLE: f32 = 0.35;

impl Flame {
    /// Paints the flames; what was painted is measured by [`Flame::extent`].
    pub(super) fn paint(&self, canvas: &mut Canvas, light: &Light, noise: &Noise) {
        let clear = light.clearness(self.distance_m);
        if light.darkness > 0.0 {
            let flicker = 0.85 + 0.3 * noise.cloudy(self.time_s * 37.0, 3.0);
            let reach = (self.height + self.half_width) * (1.8 + 2.4 * light.darkness) * flicker;
            let strength = 0.38 * light.darkness * clear;
            canvas.glow(
                (self.foot.0, self.foot.1 - self.height * 0.35),
                reach.max(2.0),
                [255.0 * strength, 118.0 * strength, 34.0 * strength],
            );
        }
        for y in self.rows(canvas.height) {
            for x in self.columns(canvas.width) {
                let heat = self.heat(x, y, noise);
                if heat > 0.02 {
                    let covers = smoothstep(0.05, 0.5, heat) * (0.25 + 0.75 * clear);
                    let colour = light.through_air(fire_colour(heat), self.distance_m * 0.35);
                    canvas.cover(x, y, colour, covers);
                }
            }
        }
    }

    /// Measures the flames, once nearer things are painted.
    pub(super) fn extent(&self, canvas: &Canvas, noise: &Noise) -> Extent {
        let mut extent = Extent::default();
        for y in self.rows(canvas.height) {
            for x in self.columns(canvas.width) {
                if smoothstep(0.05, 0.5, self.heat(x, y, noise)) > VISIBLE {
                    extent.add(x, y, canvas.hidden(x, y));
                }
            }
        }
        extent
    }

    fn rows(&self, limit: usize) -> std::ops::Range<usize> {
        Canvas::span(self.foot.1 - self.height * 1.15, self.foot.1, limit)
    }

    fn columns(&self, limit: usize) -> std::ops::Range<usize> {
        Canvas::span(
            self.foot.0 - self.half_width * 1.2,
            self.foot.0 + self.half_width * 1.2,
            limit,
        )
    }

    /// Returns how hot a pixel is, 0 to 1: the mean of four places in it, for flames are often small.
    fn heat(&self, x: usize, y: usize, noise: &Noise) -> f32 {
        let places = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)];
        places
            .iter()
            .map(|(dx, dy)| self.heat_at(x as f32 + dx, y as f32 + dy, noise))
            .sum::<f32>()
            / 4.0
    }

    fn heat_at(&self, x: f32, y: f32, noise: &Noise) -> f32 {
        let up = (self.foot.1 - y) / self.height;
        if up < 0.0 {
            return 0.0;
        }
        // Tongues lean and lick: the higher, the further they sway.
        let sway = (noise.cloudy(up * 9.0 - self.time_s * 9.0, self.time_s * 2.0) - 0.5) * up * 0.8;
        let across = (x - self.foot.0) / self.half_width + sway;
        if across.abs() >= 1.0 {
            return 0.0;
        }
        // Wider fires have more tongues, not wider ones.
        let tongues = (self.half_width / self.height * 16.0).clamp(9.0, 60.0);
        let lick = noise.cloudy(across * tongues + 40.0, self.time_s * 14.0);
        let reach = (1.0 - across * across).powf(0.7) * (0.12 + 1.5 * lick * lick);
        let body = noise.cloudy(across * tongues * 1.6 + 90.0, up * 26.0 + self.time_s * 34.0);
        let fullness = ((reach - up) / reach.max(0.05)).clamp(0.0, 1.0);
        (fullness * (0.75 + 0.75 * body)).clamp(0.0, 1.0)
    }
}

/// Returns the colour of a heat, 0 to 1: deep orange, orange, yellow, nearly white.
fn fire_colour(heat: f32) -> Colour {
    let steps: [(f32, Colour); 5] = [
        (0.0, [196.0, 58.0, 14.0]),
        (0.3, [240.0, 104.0, 20.0]),
        (0.55, [255.0, 162.0, 42.0]),
        (0.8, [255.0, 216.0, 106.0]),
        (1.0, [255.0, 246.0, 200.0]),
    ];
    let index = steps
        .partition_point(|step| step.0 <= heat)
        .clamp(1, steps.len() - 1);
    let (from, to) = (steps[index - 1], steps[index]);
    mix(from.1, to.1, ((heat - from.0) / (to.0 - from.0)).clamp(0.0, 1.0))
}
