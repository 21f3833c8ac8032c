//! `summary.json`: what was looked at, what was found, and what it cost.

use serde::{Deserialize, Serialize};

use crate::telemetry::calibrator::ToldCalibration;

/// Rounds to a number of decimals, so that files stay small and the same run gives the same text.
#[must_use]
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let factor = 10_f64.powi(decimals);
    (value * factor).round() / factor
}

/// The whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of the program.
    pub version: String,
    /// The model that looked.
    pub model: SummaryModel,
    /// Seconds from start to end.
    pub wall_s: f64,
    /// CPU seconds of the whole process.
    pub cpu_s: f64,
    /// One entry for each recording, in the order in which they were given.
    pub inputs: Vec<InputSummary>,
}

/// The model that looked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryModel {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the weights of its first variant.
    pub sha256: String,
}

/// One recording. `frames_in` = `frames_inferred` + `frames_skipped`, and `frames_lost` is 0, or the run has failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputSummary {
    /// The file as it was given.
    pub path: String,
    /// SHA-256 of the file; absent where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Frames that were decoded.
    pub frames_in: u64,
    /// Frames that the model looked at.
    pub frames_inferred: u64,
    /// Frames left out on purpose.
    pub frames_skipped: u64,
    /// Frames lost.
    pub frames_lost: u64,
    /// Length of the recording in seconds, from its first to the end of its last frame.
    pub duration_s: f64,
    /// When the first alert was raised, in seconds from the start of the recording; null when none was.
    pub first_alert_s: Option<f64>,
    /// How many fires.
    pub incidents: u64,
    /// How many tracks were called fire.
    pub alerts: u64,
    /// How far the telemetry's clock was found to be off the video's, by what both show of a pan; absent where telemetry
    /// has the video's own time, or nothing could be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_calibration: Option<ToldCalibration>,
    /// Why the recording could not be analysed, or not to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_has_the_promised_keys() {
        let summary = Summary {
            version: "0.1.0".into(),
            model: SummaryModel {
                name: "m".into(),
                version: "1".into(),
                sha256: "ab".into(),
            },
            wall_s: 1.0,
            cpu_s: 2.0,
            inputs: vec![InputSummary {
                path: "a.mp4".into(),
                error: Some("broken".into()),
                ..Default::default()
            }],
        };
        let value = serde_json::to_value(&summary).unwrap();
        for key in ["version", "model", "wall_s", "cpu_s", "inputs"] {
            assert!(value.get(key).is_some(), "{key}");
        }
        for key in [
            "path",
            "frames_in",
            "frames_inferred",
            "frames_skipped",
            "frames_lost",
            "duration_s",
            "first_alert_s",
            "incidents",
            "error",
        ] {
            assert!(value["inputs"][0].get(key).is_some(), "{key}");
        }
    }
}
