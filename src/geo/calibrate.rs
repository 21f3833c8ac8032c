//! Calibration of a fixed camera: yaw, pitch, roll and focal length from landmarks that a person clicked.

use nalgebra::{Matrix3, Rotation3, SMatrix, SVector, Vector3};
use serde::{Deserialize, Serialize};

use crate::flow::pose::{Attitude, Height, HeightDatum, Wgs84};

use super::camera::{CameraModel, Distortion};
use super::ellipsoid::LocalFrame;
use super::geoid;
use super::rotation::{attitude_of, enu_to_camera, rotation_of, wrapped_deg};

/// Landmarks that are needed: four unknowns, two equations each.
pub const LEAST_LANDMARKS: usize = 3;
/// A greater residual means a landmark that was mistaken for another, as a share of the picture's width.
const MOST_RESIDUAL_SHARE: f64 = 0.02;
/// How far above the horizon light is bent, as a share of the Earth's curve.
const REFRACTION: f64 = 0.13;
const EARTH_RADIUS_M: f64 = 6_371_000.0;

/// A place that is known on the ground and was found in the picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Landmark {
    /// What it is, for messages.
    pub name: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// How high it is, in metres above `datum`.
    pub height_m: f64,
    /// What its height is measured from; a geoid or the ellipsoid.
    #[serde(default = "egm96")]
    pub datum: HeightDatum,
    /// Where it is in the picture: pixels from the left and from the top.
    pub pixel: (f64, f64),
}

const fn egm96() -> HeightDatum {
    HeightDatum::Egm96
}

/// The camera whose direction is sought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stand {
    /// Where it stands.
    pub point: Wgs84,
    /// How high the lens is, above a geoid or the ellipsoid.
    pub height: Height,
    /// Width and height of the picture, in pixels.
    pub picture: (u32, u32),
    /// What its lens bends, if it was measured.
    pub distortion: Distortion,
}

/// What the landmarks say of the camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Where the axis points.
    pub attitude: Attitude,
    /// The camera with its focal length.
    pub camera: CameraModel,
    /// One standard deviation of the yaw, in degrees.
    pub yaw_sigma_deg: f64,
    /// One standard deviation of the pitch, in degrees.
    pub pitch_sigma_deg: f64,
    /// One standard deviation of the roll, in degrees.
    pub roll_sigma_deg: f64,
    /// Root of the mean squared distance between clicked and computed pixels, in pixels.
    pub residual_px: f64,
    /// That distance for each landmark, in the order they were given, in pixels.
    pub residuals_px: Vec<f64>,
}

/// Why landmarks give no calibration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// Too few.
    #[error("{0} landmarks, at least {LEAST_LANDMARKS} are expected")]
    TooFew(usize),
    /// A height that no datum ties to the Earth, or a place off the Earth.
    #[error(
        "{0:?} has no place that can be used: latitude, longitude and a height above egm96, egm2008 or ellipsoid are expected"
    )]
    Place(String),
    /// A pixel outside the picture.
    #[error("landmark {name:?} lies at pixel {u},{v}, outside the picture of {width}x{height}")]
    Pixel {
        /// Which.
        name: String,
        /// From the left.
        u: f64,
        /// From the top.
        v: f64,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// They lie too close together.
    #[error(
        "the landmarks span {span_px:.0} pixels, at least {needed_px:.0} are expected: choose some far apart in the picture"
    )]
    TooClose {
        /// The greatest distance between two.
        span_px: f64,
        /// The least.
        needed_px: f64,
    },
    /// They contradict each other.
    #[error(
        "the landmarks contradict each other: {worst:?} is {worst_px:.0} pixels off, on average {residual_px:.0}; is one of them mistaken for another?"
    )]
    Contradiction {
        /// The worst one.
        worst: String,
        /// How far it is off.
        worst_px: f64,
        /// The root mean square of all.
        residual_px: f64,
    },
    /// No camera sees them so.
    #[error("no camera at this place sees the landmarks where they were clicked")]
    NoSolution,
}

/// Solves yaw, pitch, roll and focal length. No first guess is needed.
pub fn calibrate(stand: &Stand, landmarks: &[Landmark]) -> Result<Calibration, CalibrationError> {
    if landmarks.len() < LEAST_LANDMARKS {
        return Err(CalibrationError::TooFew(landmarks.len()));
    }
    let (width, height) = stand.picture;
    check_pixels(stand, landmarks)?;
    let directions = directions_of(stand, landmarks)?;
    let pixels: Vec<(f64, f64)> = landmarks.iter().map(|landmark| landmark.pixel).collect();
    let camera_at = |focal_px: f64| {
        CameraModel::from_focal_px(width, height, focal_px)
            .ok()
            .map(|camera| camera.with_distortion(stand.distortion))
    };
    // For each focal length the best rotation has a closed form; the best of them starts the refinement.
    let start = (0..120)
        .filter_map(|step| {
            let hfov_deg = 1.5 * (130.0f64 / 1.5).powf(f64::from(step) / 119.0);
            let camera = camera_at(f64::from(width) / (2.0 * (hfov_deg.to_radians() / 2.0).tan()))?;
            let rotation = best_rotation(&camera, &pixels, &directions)?;
            let attitude = attitude_of(&rotation);
            let squares = squares_of(&residuals(&camera, attitude, &pixels, &directions)?);
            Some((squares, camera, attitude))
        })
        .min_by(|one, other| one.0.total_cmp(&other.0))
        .ok_or(CalibrationError::NoSolution)?;
    let (attitude, camera, covariance) =
        refined(start.2, start.1, &pixels, &directions).ok_or(CalibrationError::NoSolution)?;
    let misses = residuals(&camera, attitude, &pixels, &directions).ok_or(CalibrationError::NoSolution)?;
    let residuals_px: Vec<f64> = misses.iter().map(|(across, down)| across.hypot(*down)).collect();
    let residual_px = (squares_of(&misses) / landmarks.len() as f64).sqrt();
    if residual_px > MOST_RESIDUAL_SHARE * f64::from(width) {
        let worst = residuals_px
            .iter()
            .zip(landmarks)
            .max_by(|one, other| one.0.total_cmp(other.0));
        let (worst_px, worst) = worst.ok_or(CalibrationError::NoSolution)?;
        return Err(CalibrationError::Contradiction {
            worst: worst.name.clone(),
            worst_px: *worst_px,
            residual_px,
        });
    }
    // A click is never better than a pixel, and few landmarks always agree with themselves: the residual is a floor.
    let freedom = (2 * landmarks.len() - 4) as f64;
    let pixel_sigma = (squares_of(&misses) / freedom).sqrt().max(1.0);
    let residual_deg = (pixel_sigma / camera.fx).to_degrees();
    let sigma_deg = |index: usize| (covariance[(index, index)].max(0.0).sqrt() * pixel_sigma).to_degrees();
    Ok(Calibration {
        attitude,
        camera: camera.with_focal_sigma(covariance[(3, 3)].max(0.0).sqrt() * pixel_sigma),
        yaw_sigma_deg: sigma_deg(0).hypot(residual_deg),
        pitch_sigma_deg: sigma_deg(1).hypot(residual_deg),
        roll_sigma_deg: sigma_deg(2),
        residual_px,
        residuals_px,
    })
}

fn check_pixels(stand: &Stand, landmarks: &[Landmark]) -> Result<(), CalibrationError> {
    let (width, height) = stand.picture;
    for landmark in landmarks {
        let (u, v) = landmark.pixel;
        if !(0.0..=f64::from(width)).contains(&u) || !(0.0..=f64::from(height)).contains(&v) {
            return Err(CalibrationError::Pixel {
                name: landmark.name.clone(),
                u,
                v,
                width,
                height,
            });
        }
    }
    let span_px = landmarks
        .iter()
        .flat_map(|one| landmarks.iter().map(move |other| (one.pixel, other.pixel)))
        .map(|(one, other)| (one.0 - other.0).hypot(one.1 - other.1))
        .fold(0.0, f64::max);
    let needed_px = f64::from(width) * 0.1;
    if span_px < needed_px {
        return Err(CalibrationError::TooClose { span_px, needed_px });
    }
    Ok(())
}

/// Returns the directions in which the landmarks appear: east, north, up, length 1.
fn directions_of(stand: &Stand, landmarks: &[Landmark]) -> Result<Vec<Vector3<f64>>, CalibrationError> {
    let ellipsoid = |name: &str, point: Wgs84, height: Height| {
        Wgs84::checked(point.lat, point.lon)
            .filter(|_| height.metres.is_finite())
            .and_then(|point| geoid::converted(height, point, HeightDatum::Ellipsoid))
            .map(|height| height.metres)
            .ok_or_else(|| CalibrationError::Place(name.to_owned()))
    };
    let frame = LocalFrame::at(stand.point, ellipsoid("camera", stand.point, stand.height)?);
    landmarks
        .iter()
        .map(|landmark| {
            let height = Height::new(landmark.height_m, landmark.datum);
            let point = Wgs84 {
                lat: landmark.lat,
                lon: landmark.lon,
            };
            let mut enu = frame.enu_of(point, ellipsoid(&landmark.name, point, height)?);
            let distance_m = enu.x.hypot(enu.y);
            if enu.norm() < 1.0 {
                return Err(CalibrationError::Place(landmark.name.clone()));
            }
            enu.z += REFRACTION * distance_m * distance_m / (2.0 * EARTH_RADIUS_M);
            Ok(enu.normalize())
        })
        .collect()
}

/// Returns the rotation that turns pixels' directions best into the landmarks' (Kabsch).
fn best_rotation(
    camera: &CameraModel,
    pixels: &[(f64, f64)],
    directions: &[Vector3<f64>],
) -> Option<Rotation3<f64>> {
    let mut correlation = Matrix3::zeros();
    for (pixel, enu) in pixels.iter().zip(directions) {
        let seen = camera.direction(*pixel)?.normalize();
        let body = Vector3::new(seen.z, seen.x, seen.y);
        let ned = Vector3::new(enu.y, enu.x, -enu.z);
        correlation += ned * body.transpose();
    }
    let parts = correlation.svd(true, true);
    let (left, right) = (parts.u?, parts.v_t?);
    let sign = (left * right).determinant().signum();
    let turn = left * Matrix3::from_diagonal(&Vector3::new(1.0, 1.0, sign)) * right;
    Some(Rotation3::from_matrix_unchecked(turn))
}

/// Returns how far each landmark is computed from where it was clicked, in pixels; `None` if one lies behind.
fn residuals(
    camera: &CameraModel,
    attitude: Attitude,
    pixels: &[(f64, f64)],
    directions: &[Vector3<f64>],
) -> Option<Vec<(f64, f64)>> {
    let rotation = rotation_of(attitude);
    pixels
        .iter()
        .zip(directions)
        .map(|(pixel, enu)| {
            let computed = camera.pixel(&enu_to_camera(&rotation, enu))?;
            Some((computed.0 - pixel.0, computed.1 - pixel.1))
        })
        .collect()
}

fn squares_of(misses: &[(f64, f64)]) -> f64 {
    misses
        .iter()
        .map(|(across, down)| across * across + down * down)
        .sum()
}

type Normal = SMatrix<f64, 4, 4>;

/// Refines attitude and focal length by Levenberg and Marquardt's method. The covariance is for pixels of standard
/// deviation 1, angles in radians and the focal length as a share.
fn refined(
    attitude: Attitude,
    camera: CameraModel,
    pixels: &[(f64, f64)],
    directions: &[Vector3<f64>],
) -> Option<(Attitude, CameraModel, Normal)> {
    let moved = |attitude: Attitude, camera: CameraModel, step: &SVector<f64, 4>| {
        let attitude = Attitude {
            yaw_deg: (attitude.yaw_deg + step[0].to_degrees()).rem_euclid(360.0),
            pitch_deg: attitude.pitch_deg + step[1].to_degrees(),
            roll_deg: wrapped_deg(attitude.roll_deg + step[2].to_degrees()),
        };
        let scale = step[3].clamp(-0.5, 0.5).exp();
        let camera = CameraModel {
            fx: camera.fx * scale,
            fy: camera.fy * scale,
            ..camera
        };
        (attitude, camera)
    };
    let (mut attitude, mut camera) = (attitude, camera);
    let mut squares = squares_of(&residuals(&camera, attitude, pixels, directions)?);
    let mut damping = 1e-3;
    let mut normal = Normal::zeros();
    for _ in 0..100 {
        let misses = residuals(&camera, attitude, pixels, directions)?;
        let mut columns = Vec::with_capacity(4);
        for part in 0..4 {
            let mut step = SVector::<f64, 4>::zeros();
            step[part] = 1e-6;
            let (more_attitude, more_camera) = moved(attitude, camera, &step);
            let more = residuals(&more_camera, more_attitude, pixels, directions)?;
            let column: Vec<f64> = more
                .iter()
                .zip(&misses)
                .flat_map(|(more, miss)| [(more.0 - miss.0) / 1e-6, (more.1 - miss.1) / 1e-6])
                .collect();
            columns.push(column);
        }
        let flat: Vec<f64> = misses.iter().flat_map(|miss| [miss.0, miss.1]).collect();
        let dot = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
        normal = Normal::from_fn(|row, column| dot(&columns[row], &columns[column]));
        let gradient = SVector::<f64, 4>::from_fn(|row, _| dot(&columns[row], &flat));
        let damped = normal + Normal::from_diagonal(&(normal.diagonal() * damping));
        let step = -damped.try_inverse()? * gradient;
        let (next_attitude, next_camera) = moved(attitude, camera, &step);
        let next =
            residuals(&next_camera, next_attitude, pixels, directions).map(|misses| squares_of(&misses));
        match next {
            Some(next) if next <= squares => {
                let gain = squares - next;
                (attitude, camera, squares) = (next_attitude, next_camera, next);
                damping = (damping / 10.0).max(1e-12);
                if gain < 1e-12 * (1.0 + squares) {
                    break;
                }
            }
            _ => {
                damping *= 10.0;
                if damping > 1e8 {
                    break;
                }
            }
        }
    }
    Some((attitude, camera, normal.try_inverse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOWER: Wgs84 = Wgs84 {
        lat: 35.2,
        lon: 113.25,
    };

    fn stand() -> Stand {
        Stand {
            point: TOWER,
            height: Height::new(140.0, HeightDatum::Egm96),
            picture: (1920, 1080),
            distortion: Distortion::default(),
        }
    }

    /// Landmarks as a camera with this attitude and field of view sees them, each off by `noise`.
    fn seen(
        attitude: Attitude,
        hfov_deg: f64,
        count: usize,
        noise: impl Fn(usize) -> (f64, f64),
    ) -> Vec<Landmark> {
        let camera = CameraModel::from_hfov(1920, 1080, hfov_deg).unwrap();
        let pixels = [
            (200.0, 300.0),
            (1700.0, 420.0),
            (900.0, 900.0),
            (400.0, 800.0),
            (1500.0, 700.0),
        ];
        (0..count)
            .map(|index| {
                let pixel = pixels[index];
                let range_m = 800.0 + 350.0 * index as f64;
                let enu = super::super::locate::ray_direction(pixel, attitude, &camera).unwrap() * range_m;
                let bent = REFRACTION * enu.x.hypot(enu.y).powi(2) / (2.0 * EARTH_RADIUS_M);
                let frame = LocalFrame::at(
                    TOWER,
                    geoid::converted(
                        Height::new(140.0, HeightDatum::Egm96),
                        TOWER,
                        HeightDatum::Ellipsoid,
                    )
                    .unwrap()
                    .metres,
                );
                let (point, height_m) = frame.point_at(&(enu - Vector3::new(0.0, 0.0, bent)));
                let off = noise(index);
                Landmark {
                    name: format!("landmark {index}"),
                    lat: point.lat,
                    lon: point.lon,
                    height_m,
                    datum: HeightDatum::Ellipsoid,
                    pixel: (pixel.0 + off.0, pixel.1 + off.1),
                }
            })
            .collect()
    }

    #[test]
    fn three_landmarks_give_back_the_camera_without_a_first_guess() {
        for (yaw, pitch, roll, hfov) in [
            (10.0, -8.0, 1.5, 60.0),
            (355.0, -3.0, -2.0, 8.0),
            (200.0, -25.0, 0.0, 95.0),
        ] {
            let attitude = Attitude::new(yaw, pitch, roll);
            let found = calibrate(&stand(), &seen(attitude, hfov, 3, |_| (0.0, 0.0))).unwrap();
            assert!(
                wrapped_deg(found.attitude.yaw_deg - yaw).abs() < 1e-3,
                "{found:?}"
            );
            assert!((found.attitude.pitch_deg - pitch).abs() < 1e-3);
            assert!(wrapped_deg(found.attitude.roll_deg - roll).abs() < 1e-2);
            assert!((found.camera.hfov_deg() - hfov).abs() < 0.01 * hfov);
            assert!(found.residual_px < 0.01);
        }
    }

    #[test]
    fn clicks_that_are_off_become_the_sigma() {
        let noise = |index: usize| [(3.0, -2.0), (-2.5, 3.0), (2.0, 2.5), (-3.0, -2.0), (1.0, -3.0)][index];
        let attitude = Attitude::new(120.0, -6.0, 0.5);
        let found = calibrate(&stand(), &seen(attitude, 50.0, 5, noise)).unwrap();
        assert!(found.residual_px > 1.0 && found.residual_px < 5.0, "{found:?}");
        assert!((wrapped_deg(found.attitude.yaw_deg - 120.0) / found.yaw_sigma_deg).abs() < 3.0);
        assert!(((found.attitude.pitch_deg + 6.0) / found.pitch_sigma_deg).abs() < 3.0);
        assert!((0.05..0.5).contains(&found.yaw_sigma_deg), "{found:?}");
        assert!(found.camera.focal_sigma_share > 1e-4);
    }

    #[test]
    fn a_landmark_mistaken_for_another_is_named() {
        let attitude = Attitude::new(120.0, -6.0, 0.5);
        let noise = |index: usize| if index == 3 { (600.0, -300.0) } else { (0.0, 0.0) };
        let error = calibrate(&stand(), &seen(attitude, 50.0, 5, noise)).unwrap_err();
        assert!(
            matches!(&error, CalibrationError::Contradiction { .. }),
            "{error}"
        );
    }

    #[test]
    fn landmarks_that_cannot_tell_are_refused() {
        let attitude = Attitude::new(120.0, -6.0, 0.5);
        let good = seen(attitude, 50.0, 4, |_| (0.0, 0.0));
        assert_eq!(
            calibrate(&stand(), &good[..2]).unwrap_err(),
            CalibrationError::TooFew(2)
        );
        let mut outside = good.clone();
        outside[0].pixel.0 = f64::NAN;
        assert!(matches!(
            calibrate(&stand(), &outside),
            Err(CalibrationError::Pixel { .. })
        ));
        let mut close = good.clone();
        for landmark in &mut close {
            landmark.pixel = (500.0, 500.0);
        }
        assert!(matches!(
            calibrate(&stand(), &close),
            Err(CalibrationError::TooClose { .. })
        ));
        let mut untied = good;
        untied[1].datum = HeightDatum::Ground;
        assert!(matches!(
            calibrate(&stand(), &untied),
            Err(CalibrationError::Place(_))
        ));
    }
}
