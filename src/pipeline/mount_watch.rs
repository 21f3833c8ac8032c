//! Looks once a day whether a fixed camera still looks where its calibration says.
//!
//! The first clear picture after a calibration is the reference. From the configured hour on, one picture an hour is
//! compared with it until one can be told; a dark or foggy picture says nothing, and the next hour is tried.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use crate::flow::frame::{Picture, PixelFormat};
use crate::flow::pose::Optics;
use crate::geo::moved::{Grey, MountCheck, check_mount};
use crate::geo::{CameraModel, SensorCrop};
use crate::telemetry::fixed::FixedCamera;

/// The field of view that is assumed where the calibration tells none, in degrees.
const USUAL_HFOV_DEG: f64 = 60.0;
/// The widest picture that is kept: shifts are found on far fewer pixels.
const KEPT_WIDTH: usize = 640;

/// Which camera, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct MountWatchSettings {
    /// The folder of references.
    pub folder: PathBuf,
    /// The source's name.
    pub source: String,
    /// The camera as calibrated: another calibration takes another reference.
    pub camera: FixedCamera,
    /// The hour of the day from which it is looked at, in `zone`.
    pub hour: i8,
    /// The zone of that hour.
    pub zone: TimeZone,
    /// The most that it may have turned, in degrees.
    pub allowed_deg: f64,
}

/// A small grey picture.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Small {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

impl Small {
    fn of(picture: &Picture) -> Self {
        let (plane, stride) = match picture.format {
            PixelFormat::I420 | PixelFormat::Nv12 => picture.planes.plane(0),
        };
        let step = (picture.width as usize).div_ceil(KEPT_WIDTH).max(1);
        let (width, height) = (picture.width as usize / step, picture.height as usize / step);
        let samples = (0..height)
            .flat_map(|row| (0..width).map(move |column| row * step * stride + column * step))
            .map(|at| plane.get(at).copied().unwrap_or(0))
            .collect();
        Self {
            width,
            height,
            samples,
        }
    }

    fn grey(&self) -> Grey<'_> {
        Grey {
            width: self.width,
            height: self.height,
            stride: self.width,
            samples: &self.samples,
        }
    }

    fn to_pgm(&self) -> Vec<u8> {
        let mut bytes = format!("P5 {} {} 255\n", self.width, self.height).into_bytes();
        bytes.extend_from_slice(&self.samples);
        bytes
    }

    fn of_pgm(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let mut words = head.split(' ');
        let (kind, width, height) = (words.next()?, words.next()?, words.next()?);
        let (width, height) = (width.parse().ok()?, height.parse().ok()?);
        let samples = bytes.get(end + 1..)?;
        (kind == "P5" && samples.len() == usize::checked_mul(width, height)?).then(|| Self {
            width,
            height,
            samples: samples.to_vec(),
        })
    }
}

/// Watches the mount of one camera.
#[derive(Debug)]
pub struct MountWatch {
    settings: MountWatchSettings,
    path: PathBuf,
    reference: Option<Small>,
    settled_on: Option<civil::Date>,
    tried: Option<(civil::Date, i8)>,
}

impl MountWatch {
    /// Makes the watch of a camera, with the reference of an earlier run where there is one.
    #[must_use]
    pub fn new(settings: MountWatchSettings) -> Self {
        let path = reference_path(&settings.folder, &settings.source, &settings.camera);
        let reference = std::fs::read(&path).ok().and_then(|bytes| Small::of_pgm(&bytes));
        Self {
            settings,
            path,
            reference,
            settled_on: None,
            tried: None,
        }
    }

    /// Looks at a picture if it is time; returns what was found, or an error where a reference could not be kept.
    pub fn look(&mut self, picture: &Picture, now: Timestamp) -> std::io::Result<Option<MountCheck>> {
        let local = self.settings.zone.to_datetime(now);
        let (day, hour) = (local.date(), local.hour());
        if self.tried == Some((day, hour)) {
            return Ok(None);
        }
        let is_due = hour >= self.settings.hour && self.settled_on != Some(day);
        if self.reference.is_some() && !is_due {
            return Ok(None);
        }
        self.tried = Some((day, hour));
        let small = Small::of(picture);
        let Some(reference) = &self.reference else {
            // A picture that cannot be found again in itself is dark or foggy: no reference.
            if matches!(self.check(&small, &small), MountCheck::InPlace(_)) {
                if let Some(folder) = self.path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                std::fs::write(&self.path, small.to_pgm())?;
                self.reference = Some(small);
                self.settled_on = Some(day);
            }
            return Ok(None);
        };
        let check = self.check(reference, &small);
        if check != MountCheck::Unknown {
            self.settled_on = Some(day);
        }
        Ok(Some(check))
    }

    fn check(&self, reference: &Small, now: &Small) -> MountCheck {
        let size = |length: usize| u32::try_from(length).unwrap_or(0);
        let (width, height) = (size(now.width), size(now.height));
        let camera = CameraModel::from_optics(width, height, &self.settings.camera.optics, SensorCrop::Whole)
            .or_else(|_unknown| CameraModel::from_hfov(width, height, USUAL_HFOV_DEG));
        camera.map_or(MountCheck::Unknown, |camera| {
            check_mount(&reference.grey(), &now.grey(), &camera, self.settings.allowed_deg)
        })
    }
}

/// Returns where the reference of a camera as calibrated lies.
fn reference_path(folder: &Path, source: &str, camera: &FixedCamera) -> PathBuf {
    use sha2::{Digest as _, Sha256};
    let FixedCamera {
        mast,
        attitude,
        optics: Optics { hfov_deg, .. },
    } = camera;
    let text = format!("{mast:?} {attitude:?} {hfov_deg:?}");
    let digest = Sha256::digest(text.as_bytes());
    let mark = digest
        .iter()
        .take(4)
        .fold(0_u32, |mark, byte| (mark << 8) | u32::from(*byte));
    folder.join(format!("{source}-{mark:08x}.pgm"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::frame::{ColourMatrix, ColourRange, PlanarBuffer};
    use crate::flow::pose::{Attitude, Height, HeightDatum, PoseSigmas};
    use crate::telemetry::fixed::Mast;

    /// A hillside of blotches, seen `shift` pixels further to the left.
    fn picture(shift: usize, light: f64) -> Picture {
        let (width, height) = (640_usize, 360_usize);
        let samples = (0..width * height)
            .map(|index| {
                let (x, y) = ((index % width + shift) as f64, (index / width) as f64);
                let wave =
                    (x * 0.071 + (y * 0.043).sin() * 3.0).sin() + (y * 0.093 + (x * 0.029).cos() * 4.0).cos();
                let cell = ((x / 9.0).floor() * 12.989 + (y / 7.0).floor() * 78.233).sin() * 43_758.545;
                (light * (128.0 + 30.0 * wave + 60.0 * (cell - cell.floor() - 0.5))) as u8
            })
            .collect();
        Picture {
            format: PixelFormat::I420,
            width: 640,
            height: 360,
            matrix: ColourMatrix::Bt709,
            range: ColourRange::Limited,
            planes: Arc::new(PlanarBuffer::new(vec![(samples, width)])),
        }
    }

    fn settings(folder: &Path) -> MountWatchSettings {
        MountWatchSettings {
            folder: folder.to_owned(),
            source: "tower".into(),
            camera: FixedCamera {
                mast: Mast {
                    lat: 35.0,
                    lon: 113.0,
                    height: Height::new(30.0, HeightDatum::Ground),
                    sigmas: PoseSigmas::default(),
                },
                attitude: Attitude::new(0.0, -5.0, 0.0),
                optics: Optics {
                    hfov_deg: Some(60.0),
                    ..Optics::default()
                },
            },
            hour: 3,
            zone: TimeZone::UTC,
            allowed_deg: 0.5,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_mount_that_turned_is_found_in_the_night_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = MountWatch::new(settings(folder.path()));
        let still = picture(0, 1.0);
        assert_eq!(watch.look(&still, at("2026-11-24T12:00:00Z")).unwrap(), None);
        assert_eq!(
            watch.look(&picture(40, 1.0), at("2026-11-24T23:00:00Z")).unwrap(),
            None,
            "the day of the reference is settled"
        );
        let mut again = MountWatch::new(settings(folder.path()));
        assert_eq!(
            again.look(&still, at("2026-11-25T01:00:00Z")).unwrap(),
            None,
            "too early"
        );
        assert_eq!(
            again.look(&picture(0, 0.01), at("2026-11-25T03:00:00Z")).unwrap(),
            Some(MountCheck::Unknown),
            "too dark to tell"
        );
        let found = again.look(&still, at("2026-11-25T04:00:00Z")).unwrap();
        assert!(matches!(found, Some(MountCheck::InPlace(_))), "{found:?}");
        assert_eq!(again.look(&still, at("2026-11-25T05:00:00Z")).unwrap(), None);
        let found = again.look(&picture(40, 1.0), at("2026-11-26T03:10:00Z")).unwrap();
        assert!(
            matches!(found, Some(MountCheck::Moved(_) | MountCheck::Lost)),
            "{found:?}"
        );
    }

    #[test]
    fn another_calibration_takes_another_reference() {
        let folder = tempfile::tempdir().unwrap();
        let one = settings(folder.path());
        let mut other = one.clone();
        other.camera.attitude.yaw_deg = 1.0;
        assert_ne!(MountWatch::new(one).path, MountWatch::new(other).path);
        assert_eq!(Small::of_pgm(b"P5 2 2 255\nabc"), None, "cut short");
        assert_eq!(Small::of_pgm(b"P5 18446744073709551615 2 255\nabc"), None);
    }
}
