//! `emberwatch calibrate camera`: where a fixed camera looks, from landmarks that a person clicked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::flow::pose::{Attitude, Height, Optics, PoseSigmas, Wgs84};
use crate::geo::Distortion;
use crate::geo::calibrate::{Calibration, Landmark, Stand, calibrate};

/// Calibrates what stands still.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// What to calibrate.
    #[command(subcommand)]
    pub what: CalibrateWhat,
}

/// What can be calibrated.
#[derive(Debug, Subcommand)]
pub enum CalibrateWhat {
    /// Solves yaw, pitch, roll and focal length of a fixed camera from at least 3 landmarks.
    ///
    /// The file names the camera's place and the landmarks:
    ///
    /// ```toml
    /// [camera]
    /// lat = 35.2
    /// lon = 113.25
    /// height = { metres = 140.0, datum = "egm96" }
    /// picture = [1920, 1080]
    ///
    /// [[landmark]]
    /// name = "water tower"
    /// lat = 35.21
    /// lon = 113.26
    /// height_m = 118.0
    /// pixel = [812.5, 440.0]
    /// ```
    ///
    /// Exit codes: 0 calibrated, 1 the landmarks cannot tell or contradict each other, 2 the file cannot be read.
    #[command(verbatim_doc_comment)]
    Camera {
        /// The file of landmarks, TOML.
        landmarks: PathBuf,
        /// Where to write the calibration; it is printed where absent.
        #[arg(long, short)]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LandmarkFile {
    camera: CameraSection,
    landmark: Vec<Landmark>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CameraSection {
    lat: f64,
    lon: f64,
    height: Height,
    picture: (u32, u32),
    #[serde(default)]
    distortion: Distortion,
}

/// What is written: the form in which fixed cameras are configured.
#[derive(Debug, Serialize)]
struct CalibrationFile {
    mast: MastSection,
    attitude: Attitude,
    optics: Optics,
}

#[derive(Debug, Serialize)]
struct MastSection {
    lat: f64,
    lon: f64,
    height: Height,
    sigmas: PoseSigmas,
}

/// Runs the command.
pub fn run(args: &CalibrateArgs) -> anyhow::Result<ExitCode> {
    let CalibrateWhat::Camera { landmarks, out } = &args.what;
    let file = read(landmarks)?;
    let stand = Stand {
        point: Wgs84 {
            lat: file.camera.lat,
            lon: file.camera.lon,
        },
        height: file.camera.height,
        picture: file.camera.picture,
        distortion: file.camera.distortion,
    };
    let found = match calibrate(&stand, &file.landmark) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{}: {error}", landmarks.display());
            return Ok(ExitCode::from(1));
        }
    };
    for (landmark, residual_px) in file.landmark.iter().zip(&found.residuals_px) {
        eprintln!("{:>8.1} px  {}", residual_px, landmark.name);
    }
    eprintln!(
        "{:>8.1} px  root mean square (均方根残差)\nyaw 方位 {:.3}° ± {:.3}°, pitch 俯仰 {:.3}° ± {:.3}°, roll 横滚 {:.3}° ± {:.3}°, field of view 视场 {:.3}° ± {:.1} %",
        found.residual_px,
        found.attitude.yaw_deg,
        found.yaw_sigma_deg,
        found.attitude.pitch_deg,
        found.pitch_sigma_deg,
        found.attitude.roll_deg,
        found.roll_sigma_deg,
        found.camera.hfov_deg(),
        found.camera.focal_sigma_share * 100.0
    );
    let text = toml::to_string(&calibration_file(&stand, &found))
        .context("the calibration cannot be written as TOML")?;
    match out {
        Some(path) => {
            std::fs::write(path, text)
                .with_context(|| format!("cannot write the calibration to {}", path.display()))?;
        }
        None => print!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<LandmarkFile> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read landmarks from {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("cannot understand the landmarks in {}", path.display()))
}

fn calibration_file(stand: &Stand, found: &Calibration) -> CalibrationFile {
    CalibrationFile {
        mast: MastSection {
            lat: stand.point.lat,
            lon: stand.point.lon,
            height: stand.height,
            sigmas: PoseSigmas {
                yaw_deg: Some(found.yaw_sigma_deg),
                pitch_deg: Some(found.pitch_sigma_deg),
                roll_deg: Some(found.roll_sigma_deg),
                focal_share: Some(found.camera.focal_sigma_share),
                ..PoseSigmas::default()
            },
        },
        attitude: found.attitude,
        optics: Optics {
            hfov_deg: Some(found.camera.hfov_deg()),
            vfov_deg: Some(found.camera.vfov_deg()),
            ..Optics::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [camera]
        lat = 35.2
        lon = 113.25
        height = { metres = 140.0, datum = "egm96" }
        picture = [1920, 1080]

        [[landmark]]
        name = "water tower"
        lat = 35.21
        lon = 113.26
        height_m = 118.0
        pixel = [812.5, 440.0]
    "#;

    #[test]
    fn the_example_of_the_help_is_understood() {
        let file: LandmarkFile = toml::from_str(FILE).unwrap();
        assert_eq!(file.landmark.len(), 1);
        assert_eq!(file.camera.picture, (1920, 1080));
        assert!(toml::from_str::<LandmarkFile>(&FILE.replace("picture", "pictures")).is_err());
    }
}
