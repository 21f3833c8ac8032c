//! One answer of `emberwatch locate`, as JSON and in words.

use serde::Serialize;

use crate::flow::pose::{HeightDatum, PoseFlag, PoseFlags};
use crate::flow::position::{Ellipse, Method};
use crate::geo::locate::RayDirection;
use crate::telemetry::calibrator::ToldCalibration;

/// One answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unix_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) media_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ray: Option<RayDirection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<AnswerPosition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ellipse: Option<Ellipse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ce90_m: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<Method>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_calibration: Option<ToldCalibration>,
    #[serde(skip_serializing_if = "has_none")]
    pub(super) flags: PoseFlags,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn has_none(flags: &PoseFlags) -> bool {
    flags.is_empty()
}

#[derive(Debug, Serialize)]
pub(super) struct AnswerPosition {
    pub(super) lat: f64,
    pub(super) lon: f64,
    pub(super) height_m: f64,
    pub(super) datum: HeightDatum,
}

/// Says it in words, a line for each thing that is known.
pub(super) fn describe(answer: &Answer) -> String {
    let mut lines: Vec<String> = Vec::new();
    if let Some(ray) = answer.ray {
        lines.push(format!(
            "ray       {:.2}° from true north, {:+.2}° above the horizon",
            ray.azimuth_deg, ray.elevation_deg
        ));
    }
    if let Some(position) = &answer.position {
        let datum = serde_json::to_value(position.datum)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default();
        lines.push(format!(
            "position  {:.7},{:.7}  {:.1} m ({datum})",
            position.lat, position.lon, position.height_m
        ));
    }
    if let (Some(ellipse), Some(ce90_m)) = (answer.ellipse, answer.ce90_m) {
        lines.push(format!(
            "error     {:.1} m x {:.1} m towards {:.0}° ({:.0} %), CE90 {ce90_m:.1} m",
            ellipse.semi_major_m,
            ellipse.semi_minor_m,
            ellipse.azimuth_deg,
            ellipse.level * 100.0
        ));
    }
    if let Some(told) = &answer.time_calibration {
        lines.push(format!(
            "time      offset {:+.2} s ± {:.2} s by a pan of the camera (correlation {:.2}, {:.0} s old)",
            told.found.offset_s, told.found.sigma_s, told.found.quality, told.age_s
        ));
    } else if answer.flags.contains(PoseFlag::TimeOffsetAssumed) {
        lines.push("time      video and telemetry are taken to begin together".to_owned());
    }
    if let Some(method) = answer.method
        && let Ok(serde_json::Value::String(word)) = serde_json::to_value(method)
    {
        lines.push(format!("method    {word}"));
    }
    if let Some(refused) = &answer.refused {
        lines.push(format!("refused   {refused}"));
    }
    lines.join("\n")
}
