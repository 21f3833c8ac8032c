//! The camera model: which direction a pixel looks in, in camera axes (right, down, forward).

use nalgebra::Vector3;
use serde::{Deserialize, Serialize};

use crate::flow::pose::Optics;

/// The diagonal of a 36 mm × 24 mm picture, which the 35 mm equivalent is defined by, in millimetres.
const FULL_FRAME_DIAGONAL_MM: f64 = 43.266_615_305_567_87;

/// Brown's lens distortion, in the order and sign of `OpenCV`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Distortion {
    /// Radial, second power.
    pub k1: f64,
    /// Radial, fourth power.
    pub k2: f64,
    /// Tangential, vertical.
    pub p1: f64,
    /// Tangential, horizontal.
    pub p2: f64,
    /// Radial, sixth power.
    pub k3: f64,
}

impl Distortion {
    /// Returns where an ideal point falls through the lens; both in units of the focal length.
    #[must_use]
    pub fn distorted(&self, x: f64, y: f64) -> (f64, f64) {
        let r2 = x * x + y * y;
        let radial = 1.0 + r2 * (self.k1 + r2 * (self.k2 + r2 * self.k3));
        (
            x * radial + 2.0 * self.p1 * x * y + self.p2 * (r2 + 2.0 * x * x),
            y * radial + self.p1 * (r2 + 2.0 * y * y) + 2.0 * self.p2 * x * y,
        )
    }

    /// Returns the ideal point that falls on a given point through the lens, or `None` where the lens folds back on
    /// itself and no single answer exists.
    #[must_use]
    pub fn undistorted(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        if *self == Self::default() {
            return Some((x, y));
        }
        let (mut ideal_x, mut ideal_y) = (x, y);
        for _ in 0..50 {
            let (at_x, at_y) = self.distorted(ideal_x, ideal_y);
            let (off_x, off_y) = (x - at_x, y - at_y);
            if off_x.hypot(off_y) < 1e-12 {
                return Some((ideal_x, ideal_y));
            }
            let step = 1e-6;
            let (dx_x, dx_y) = self.distorted(ideal_x + step, ideal_y);
            let (dy_x, dy_y) = self.distorted(ideal_x, ideal_y + step);
            let (a, b) = ((dx_x - at_x) / step, (dy_x - at_x) / step);
            let (c, d) = ((dx_y - at_y) / step, (dy_y - at_y) / step);
            let determinant = a * d - b * c;
            if !(determinant > 1e-3 && determinant.is_finite()) {
                return None;
            }
            ideal_x += (d * off_x - b * off_y) / determinant;
            ideal_y += (a * off_y - c * off_x) / determinant;
        }
        let (at_x, at_y) = self.distorted(ideal_x, ideal_y);
        ((x - at_x).hypot(y - at_y) < 1e-6).then_some((ideal_x, ideal_y))
    }
}

/// Which part of its sensor a camera shows in its video. It changes what a 35 mm equivalent means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SensorCrop {
    /// All of it.
    #[default]
    Whole,
    /// The full width of a 4:3 sensor, cut above and below: most drones in 16:9.
    FullWidthOfFourThirds,
    /// The full width of a 3:2 sensor, cut above and below.
    FullWidthOfThreeTwo,
}

impl SensorCrop {
    /// Returns the diagonal of the whole sensor in pixels of a picture of this size.
    fn diagonal_px(self, width: f64, height: f64) -> f64 {
        match self {
            Self::Whole => width.hypot(height),
            Self::FullWidthOfFourThirds => width.hypot(width * 3.0 / 4.0),
            Self::FullWidthOfThreeTwo => width.hypot(width * 2.0 / 3.0),
        }
    }
}

/// What is wrong with the figures of a camera.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum CameraError {
    /// The picture has no size.
    #[error("a camera cannot have a picture of {width}x{height} pixels, at least 1x1 is expected")]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A figure is out of range.
    #[error("a camera cannot have {what} = {value}, {expected} is expected")]
    Figure {
        /// Which figure.
        what: &'static str,
        /// What was given.
        value: f64,
        /// What would do.
        expected: &'static str,
    },
    /// Nothing says how wide the camera sees.
    #[error(
        "the field of view is unknown: telemetry gives neither an angle nor a focal length with a sensor; configure `hfov_deg` or name the drone's model"
    )]
    Unknown,
}

/// Says which direction each pixel looks in. Pixels: x right, y down, centres at .5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CameraModel {
    /// Width of the picture, in pixels.
    pub width: u32,
    /// Height of the picture, in pixels.
    pub height: u32,
    /// Focal length, in pixels across.
    pub fx: f64,
    /// Focal length, in pixels down.
    pub fy: f64,
    /// Where the optical axis meets the picture, in pixels from the left.
    pub cx: f64,
    /// Where the optical axis meets the picture, in pixels from the top.
    pub cy: f64,
    /// What the lens bends.
    pub distortion: Distortion,
    /// One standard deviation of the focal length, as a share of it.
    pub focal_sigma_share: f64,
}

impl CameraModel {
    /// The share by which a stated focal length is usually off: stabilisation and crops differ by mode.
    pub const STATED_FOCAL_SIGMA_SHARE: f64 = 0.02;

    /// Makes a camera with square pixels from its focal length in pixels; the axis meets the middle.
    pub fn from_focal_px(width: u32, height: u32, focal_px: f64) -> Result<Self, CameraError> {
        if width == 0 || height == 0 {
            return Err(CameraError::Size { width, height });
        }
        if !(focal_px.is_finite() && focal_px > f64::from(width) * 1e-2 && focal_px < f64::from(width) * 1e4)
        {
            return Err(CameraError::Figure {
                what: "focal length in pixels",
                value: focal_px,
                expected: "0.01 to 10,000 picture widths",
            });
        }
        Ok(Self {
            width,
            height,
            fx: focal_px,
            fy: focal_px,
            cx: f64::from(width) / 2.0,
            cy: f64::from(height) / 2.0,
            distortion: Distortion::default(),
            focal_sigma_share: Self::STATED_FOCAL_SIGMA_SHARE,
        })
    }

    /// Makes a camera from its horizontal field of view in degrees.
    pub fn from_hfov(width: u32, height: u32, hfov_deg: f64) -> Result<Self, CameraError> {
        let half = half_angle("horizontal field of view", hfov_deg)?;
        Self::from_focal_px(width, height, f64::from(width) / (2.0 * half.tan()))
    }

    /// Makes a camera from both fields of view in degrees: its pixels need not be square.
    pub fn from_fov(width: u32, height: u32, hfov_deg: f64, vfov_deg: f64) -> Result<Self, CameraError> {
        let half = half_angle("vertical field of view", vfov_deg)?;
        let mut camera = Self::from_hfov(width, height, hfov_deg)?;
        camera.fy = f64::from(height) / (2.0 * half.tan());
        Ok(camera)
    }

    /// Makes a camera from its true focal length and the width of the sensor that the picture uses, in millimetres.
    pub fn from_sensor(
        width: u32,
        height: u32,
        focal_mm: f64,
        sensor_width_mm: f64,
    ) -> Result<Self, CameraError> {
        positive("focal length", focal_mm)?;
        positive("sensor width", sensor_width_mm)?;
        Self::from_focal_px(width, height, f64::from(width) * focal_mm / sensor_width_mm)
    }

    /// Makes a camera from its 35 mm equivalent focal length. The equivalent is defined by the diagonal of the whole
    /// sensor, so `crop` says which part of it the picture shows: 24 mm is 73.7° for a whole 3:2 picture, and 71.6°
    /// for a 16:9 picture over the full width of a 4:3 sensor.
    pub fn from_focal_35mm(
        width: u32,
        height: u32,
        focal_mm: f64,
        crop: SensorCrop,
    ) -> Result<Self, CameraError> {
        positive("35 mm equivalent focal length", focal_mm)?;
        let diagonal_px = crop.diagonal_px(f64::from(width), f64::from(height));
        Self::from_focal_px(width, height, focal_mm * diagonal_px / FULL_FRAME_DIAGONAL_MM)
    }

    /// Makes a camera from what telemetry says: a field of view wins, then a focal length with its sensor, then a 35 mm
    /// equivalent.
    pub fn from_optics(
        width: u32,
        height: u32,
        optics: &Optics,
        crop: SensorCrop,
    ) -> Result<Self, CameraError> {
        if let Some(hfov_deg) = optics.hfov_deg {
            // A vertical angle that contradicts square pixels is more often a full sensor's than a truth: it is used
            // only when it agrees within 5 %.
            let camera = Self::from_hfov(width, height, hfov_deg)?;
            return Ok(optics
                .vfov_deg
                .and_then(|vfov_deg| Self::from_fov(width, height, hfov_deg, vfov_deg).ok())
                .filter(|both| (both.fy / both.fx - 1.0).abs() < 0.05)
                .unwrap_or(camera));
        }
        let camera = match (
            optics.focal_length_mm,
            optics.sensor_width_mm,
            optics.focal_length_35mm_mm,
        ) {
            (Some(focal_mm), Some(sensor_mm), _) => Self::from_sensor(width, height, focal_mm, sensor_mm)?,
            (_, _, Some(focal_mm)) => Self::from_focal_35mm(width, height, focal_mm, crop)?,
            _ => {
                let vfov_deg = optics.vfov_deg.ok_or(CameraError::Unknown)?;
                let half = half_angle("vertical field of view", vfov_deg)?;
                Self::from_focal_px(width, height, f64::from(height) / (2.0 * half.tan()))?
            }
        };
        match optics.zoom {
            Some(zoom) if optics.focal_length_mm.is_some() || optics.focal_length_35mm_mm.is_some() => {
                camera.zoomed(zoom)
            }
            _ => Ok(camera),
        }
    }

    /// Returns this camera with its focal lengths multiplied by a zoom.
    pub fn zoomed(mut self, zoom: f64) -> Result<Self, CameraError> {
        if !(zoom.is_finite() && (0.1..=1000.0).contains(&zoom)) {
            return Err(CameraError::Figure {
                what: "zoom",
                value: zoom,
                expected: "0.1 to 1000",
            });
        }
        self.fx *= zoom;
        self.fy *= zoom;
        Ok(self)
    }

    /// Returns this camera with a lens that bends.
    #[must_use]
    pub const fn with_distortion(mut self, distortion: Distortion) -> Self {
        self.distortion = distortion;
        self
    }

    /// Returns this camera with a focal length that is known to a share of itself.
    #[must_use]
    pub const fn with_focal_sigma(mut self, share: f64) -> Self {
        self.focal_sigma_share = share;
        self
    }

    /// Returns the same camera for a picture of another size that shows the same view.
    pub fn resized(mut self, width: u32, height: u32) -> Result<Self, CameraError> {
        if width == 0 || height == 0 {
            return Err(CameraError::Size { width, height });
        }
        let across = f64::from(width) / f64::from(self.width);
        let down = f64::from(height) / f64::from(self.height);
        self.fx *= across;
        self.cx *= across;
        self.fy *= down;
        self.cy *= down;
        (self.width, self.height) = (width, height);
        Ok(self)
    }

    /// Returns the middle of the picture, in pixels.
    #[must_use]
    pub fn centre(&self) -> (f64, f64) {
        (f64::from(self.width) / 2.0, f64::from(self.height) / 2.0)
    }

    /// Returns the horizontal field of view, in degrees, without distortion.
    #[must_use]
    pub fn hfov_deg(&self) -> f64 {
        2.0 * (f64::from(self.width) / (2.0 * self.fx)).atan().to_degrees()
    }

    /// Returns the vertical field of view, in degrees, without distortion.
    #[must_use]
    pub fn vfov_deg(&self) -> f64 {
        2.0 * (f64::from(self.height) / (2.0 * self.fy)).atan().to_degrees()
    }

    /// Returns the direction in camera axes (right, down, forward) that a pixel looks in, with forward 1, or `None`
    /// where the distortion has no inverse or the pixel is not a number.
    #[must_use]
    pub fn direction(&self, pixel: (f64, f64)) -> Option<Vector3<f64>> {
        let x = (pixel.0 - self.cx) / self.fx;
        let y = (pixel.1 - self.cy) / self.fy;
        if !(x.is_finite() && y.is_finite()) {
            return None;
        }
        let (x, y) = self.distortion.undistorted(x, y)?;
        Some(Vector3::new(x, y, 1.0))
    }

    /// Returns the pixel that shows a direction in camera axes, inside the picture or not, or `None` behind the camera.
    #[must_use]
    pub fn pixel(&self, direction: &Vector3<f64>) -> Option<(f64, f64)> {
        if direction.z <= 1e-9 {
            return None;
        }
        let (x, y) = self
            .distortion
            .distorted(direction.x / direction.z, direction.y / direction.z);
        Some((self.cx + self.fx * x, self.cy + self.fy * y))
    }
}

fn half_angle(what: &'static str, degrees: f64) -> Result<f64, CameraError> {
    if degrees.is_finite() && degrees > 0.01 && degrees < 179.0 {
        Ok(degrees.to_radians() / 2.0)
    } else {
        Err(CameraError::Figure {
            what,
            value: degrees,
            expected: "an angle of 0.01 to 179 degrees",
        })
    }
}

fn positive(what: &'static str, millimetres: f64) -> Result<(), CameraError> {
    if millimetres.is_finite() && millimetres > 0.0 {
        Ok(())
    } else {
        Err(CameraError::Figure {
            what,
            value: millimetres,
            expected: "a positive number of millimetres",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn twenty_four_millimetres_mean_different_angles_for_different_crops() {
        let whole = CameraModel::from_focal_35mm(3000, 2000, 24.0, SensorCrop::Whole).unwrap();
        assert!((whole.hfov_deg() - 73.74).abs() < 0.01, "{}", whole.hfov_deg());
        let video =
            CameraModel::from_focal_35mm(3840, 2160, 24.0, SensorCrop::FullWidthOfFourThirds).unwrap();
        assert!((video.hfov_deg() - 71.6).abs() < 0.05, "{}", video.hfov_deg());
        assert!((video.fx - 24.0 * 3840.0 / 34.613).abs() < 0.1);
    }

    #[test]
    fn the_edge_of_the_picture_lies_at_half_the_field_of_view() {
        let camera = CameraModel::from_hfov(1920, 1080, 60.0).unwrap();
        let right = camera.direction((1920.0, 540.0)).unwrap();
        assert!((right.x.atan2(right.z).to_degrees() - 30.0).abs() < 1e-9);
        let left = camera.direction((0.0, 540.0)).unwrap();
        assert!(
            (left.x + right.x).abs() < 1e-12,
            "left and right are mirror images"
        );
    }

    #[test]
    fn a_zoom_of_two_halves_the_tangent() {
        let camera = CameraModel::from_hfov(1920, 1080, 60.0)
            .unwrap()
            .zoomed(2.0)
            .unwrap();
        let expected = 2.0 * (30f64.to_radians().tan() / 2.0).atan().to_degrees();
        assert!((camera.hfov_deg() - expected).abs() < 1e-9);
    }

    #[test]
    fn telemetry_that_names_an_angle_wins_over_a_focal_length() {
        let optics = Optics {
            hfov_deg: Some(50.0),
            focal_length_35mm_mm: Some(24.0),
            zoom: Some(7.0),
            ..Optics::default()
        };
        let camera = CameraModel::from_optics(1920, 1080, &optics, SensorCrop::Whole).unwrap();
        assert!((camera.hfov_deg() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn figures_that_no_camera_has_are_refused() {
        assert!(CameraModel::from_hfov(0, 1080, 60.0).is_err());
        assert!(CameraModel::from_hfov(1920, 1080, f64::NAN).is_err());
        assert!(CameraModel::from_hfov(1920, 1080, 180.0).is_err());
        assert!(CameraModel::from_sensor(1920, 1080, 0.0, 6.4).is_err());
        assert!(CameraModel::from_optics(1920, 1080, &Optics::default(), SensorCrop::Whole).is_err());
        let camera = CameraModel::from_hfov(1920, 1080, 60.0).unwrap();
        assert!(camera.direction((f64::NAN, 0.0)).is_none());
        assert!(camera.zoomed(0.0).is_err());
    }

    #[test]
    fn a_lens_that_folds_back_gives_no_direction_beyond_the_fold() {
        let bent = Distortion {
            k1: -0.5,
            ..Distortion::default()
        };
        assert!(bent.undistorted(2.0, 2.0).is_none());
        assert!(bent.undistorted(0.1, 0.1).is_some());
    }

    proptest! {
        #[test]
        fn pixel_to_direction_and_back(u in 0.0..1920.0f64, v in 0.0..1080.0f64, k1 in -0.12..0.12f64, p1 in -0.002..0.002f64) {
            let distortion = Distortion { k1, k2: 0.01, p1, p2: -p1, k3: 0.0 };
            let camera = CameraModel::from_hfov(1920, 1080, 70.0).unwrap().with_distortion(distortion);
            let direction = camera.direction((u, v)).unwrap();
            let back = camera.pixel(&direction).unwrap();
            prop_assert!((back.0 - u).abs() < 1e-3 && (back.1 - v).abs() < 1e-3);
        }
    }
}
