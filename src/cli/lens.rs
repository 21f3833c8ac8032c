//! From the name of a lens to its camera.

use anyhow::Context as _;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as WordError, StrDeserializer};

use crate::config::place::{LensSection, LensWord};
use crate::geo::CameraModel;
use crate::geo::camera_table::{self, Lens};

/// Makes the camera that a source's lens stands for; pictures of another size show the same view.
pub(crate) fn lens_of(lens: &LensSection) -> anyhow::Result<CameraModel> {
    const SIZE: (u32, u32) = (1_920, 1_080);
    match (&lens.model, lens.hfov_deg) {
        (None, Some(hfov_deg)) => Ok(CameraModel::from_hfov(SIZE.0, SIZE.1, hfov_deg)?),
        (Some(model), None) => {
            let camera = match lens.camera {
                LensWord::Wide => Lens::Wide,
                LensWord::Medium => Lens::Medium,
                LensWord::Tele => Lens::Tele,
                LensWord::Thermal => Lens::Thermal,
            };
            let entry = camera_table::find(model, camera).with_context(|| {
                let mut known: Vec<&str> = camera_table::CAMERAS
                    .iter()
                    .filter_map(|entry| entry.models.first().copied())
                    .collect();
                known.dedup();
                format!(
                    "no {camera:?} camera of {model:?} is known; give hfov_deg, or one of: {}",
                    known.join(", ")
                )
            })?;
            Ok(entry.model(SIZE.0, SIZE.1)?)
        }
        _ => anyhow::bail!("either `model` or `hfov_deg` is expected"),
    }
}

/// Reads a lens as the command line has it: `NAME`, `NAME:CAMERA`, or its horizontal field of view in degrees.
pub(crate) fn parse(text: &str) -> Result<LensSection, String> {
    if let Ok(hfov_deg) = text.parse::<f64>() {
        if !(0.5..=170.0).contains(&hfov_deg) {
            return Err(format!(
                "{text} is no field of view, 0.5 to 170 degrees are expected"
            ));
        }
        return Ok(LensSection {
            hfov_deg: Some(hfov_deg),
            ..LensSection::default()
        });
    }
    let (model, camera) = match text.rsplit_once(':') {
        None => (text, LensWord::default()),
        Some((model, word)) => {
            let word: StrDeserializer<'_, WordError> = word.into_deserializer();
            (
                model,
                LensWord::deserialize(word).map_err(|error| error.to_string())?,
            )
        }
    };
    let section = LensSection {
        model: Some(model.to_owned()),
        camera,
        hfov_deg: None,
    };
    lens_of(&section)
        .map(|_camera| section)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn width_deg(text: &str) -> f64 {
        let camera = lens_of(&parse(text).unwrap()).unwrap();
        2.0 * (f64::from(camera.width) / 2.0 / camera.fx).atan().to_degrees()
    }

    #[test]
    fn a_lens_is_a_name_one_of_its_cameras_or_an_angle() {
        assert!((width_deg("48.5") - 48.5).abs() < 1e-6);
        assert!(width_deg("M30T:tele") < width_deg("M30T"));
        for (wrong, said) in [
            ("0", "0.5 to 170"),
            ("M30T:fisheye", "`wide`, `medium`, `tele`, `thermal`"),
            ("Box Brownie", "give hfov_deg, or one of"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }
}
