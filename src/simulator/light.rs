//! What weather and hour do to colours: sun, sky, haze and sensor noise.
//!
//! Colours are display values, 0 to 255, red, green, blue; light is a factor on them.

use nalgebra::Vector3;

use super::options::Weather;

/// A colour in display values, 0 to 255: red, green, blue.
pub(super) type Colour = [f32; 3];

/// The light of a scene.
#[derive(Clone, Debug)]
pub(super) struct Light {
    /// Towards the sun (or the moon), east, north, up, length 1.
    pub(super) towards_sun: Vector3<f64>,
    /// Factor of what the sun adds on a surface that faces it.
    pub(super) sun: Colour,
    /// Factor of what reaches every surface.
    pub(super) ambient: Colour,
    /// What far things fade to.
    pub(super) haze: Colour,
    /// Distance at which 2 % of the contrast is left, in metres.
    pub(super) visibility_m: f32,
    /// The sky overhead.
    pub(super) zenith: Colour,
    /// The glow around the sun.
    pub(super) glow: Colour,
    /// The colour of clouds, and how much of the sky they cover, 0 to 1.
    pub(super) cloud: (Colour, f32),
    /// Standard deviation of the sensor noise, in display values.
    pub(super) grain: f32,
    /// How much flames and lamps light their surroundings, 0 to 1.
    pub(super) darkness: f32,
}

impl Light {
    /// Makes the light of a weather; `sun_azimuth_deg` is clockwise from north.
    pub(super) fn new(weather: Weather, sun_azimuth_deg: f64) -> Self {
        let (elevation_deg, light) = match weather {
            Weather::Clear => (
                42.0,
                Self {
                    towards_sun: Vector3::z(),
                    sun: [0.80, 0.77, 0.70],
                    ambient: [0.40, 0.43, 0.48],
                    haze: [193.0, 205.0, 217.0],
                    visibility_m: 16_000.0,
                    zenith: [98.0, 142.0, 196.0],
                    glow: [40.0, 36.0, 26.0],
                    cloud: ([236.0, 238.0, 242.0], 0.35),
                    grain: 1.6,
                    darkness: 0.0,
                },
            ),
            Weather::Haze => (
                38.0,
                Self {
                    towards_sun: Vector3::z(),
                    sun: [0.44, 0.42, 0.38],
                    ambient: [0.56, 0.57, 0.58],
                    haze: [196.0, 197.0, 195.0],
                    visibility_m: 3_200.0,
                    zenith: [176.0, 184.0, 192.0],
                    glow: [26.0, 24.0, 18.0],
                    cloud: ([208.0, 208.0, 206.0], 0.15),
                    grain: 2.0,
                    darkness: 0.0,
                },
            ),
            Weather::Dusk => (
                3.0,
                Self {
                    towards_sun: Vector3::z(),
                    sun: [0.62, 0.42, 0.24],
                    ambient: [0.46, 0.46, 0.52],
                    haze: [196.0, 164.0, 146.0],
                    visibility_m: 9_000.0,
                    zenith: [92.0, 108.0, 146.0],
                    glow: [110.0, 66.0, 18.0],
                    cloud: ([190.0, 138.0, 118.0], 0.45),
                    grain: 3.2,
                    darkness: 0.45,
                },
            ),
            Weather::Night => (
                35.0,
                Self {
                    towards_sun: Vector3::z(),
                    sun: [0.05, 0.055, 0.07],
                    ambient: [0.115, 0.120, 0.145],
                    haze: [34.0, 36.0, 46.0],
                    visibility_m: 7_000.0,
                    zenith: [16.0, 18.0, 30.0],
                    glow: [6.0, 6.0, 8.0],
                    cloud: ([26.0, 27.0, 34.0], 0.3),
                    grain: 5.0,
                    darkness: 1.0,
                },
            ),
        };
        let (sin_elevation, cos_elevation) = f64::to_radians(elevation_deg).sin_cos();
        let (sin_azimuth, cos_azimuth) = sun_azimuth_deg.to_radians().sin_cos();
        Self {
            towards_sun: Vector3::new(
                cos_elevation * sin_azimuth,
                cos_elevation * cos_azimuth,
                sin_elevation,
            ),
            ..light
        }
    }

    /// Returns the factor on a surface whose normal makes this cosine with the sun, in this much sunshine (0 to 1).
    pub(super) fn on(&self, cosine: f32, sunshine: f32) -> Colour {
        let direct = cosine.max(0.0) * sunshine;
        std::array::from_fn(|channel| self.ambient[channel] + self.sun[channel] * direct)
    }

    /// Returns how much of a thing's own light is left after `distance_m` of air, 0 to 1.
    pub(super) fn clearness(&self, distance_m: f32) -> f32 {
        (-3.912 * distance_m / self.visibility_m).exp()
    }

    /// Returns a colour as seen through `distance_m` of air.
    pub(super) fn through_air(&self, colour: Colour, distance_m: f32) -> Colour {
        mix(self.haze, colour, self.clearness(distance_m))
    }

    /// Returns the clear sky in a direction of length 1 (east, north, up).
    pub(super) fn sky(&self, direction: &Vector3<f64>) -> Colour {
        let up = direction.z.max(0.0) as f32;
        let towards_zenith = 1.0 - (-5.0 * up).exp();
        let near_sun = direction.dot(&self.towards_sun).max(0.0) as f32;
        let glow = near_sun.powi(8) * 0.55 + near_sun.powi(90) * 0.9 + near_sun.powi(2500) * 3.0;
        let sky = mix(self.haze, self.zenith, towards_zenith);
        std::array::from_fn(|channel| (sky[channel] + self.glow[channel] * glow).min(255.0))
    }
}

/// Returns `from` at share 0 and `to` at share 1.
pub(super) fn mix(from: Colour, to: Colour, share: f32) -> Colour {
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

/// Returns a colour under a light.
pub(super) fn lit(colour: Colour, light: Colour) -> Colour {
    std::array::from_fn(|channel| (colour[channel] * light[channel]).min(255.0))
}
