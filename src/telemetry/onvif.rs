//! ONVIF PTZ: where a tower's camera says that it points (`GetStatus`), and what that means over ground.
//!
//! In the spherical space pan and tilt are degrees: pan clockwise seen from above, tilt upwards. In the generic space
//! they run from -1 to 1 over the range of that one camera, so a map per camera is needed, and zoom says nothing of an
//! angle without one. Vendors differ in sign: every mount is checked against a landmark.

use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::reader::Reader;
use serde::{Deserialize, Serialize};

use crate::flow::pose::{Attitude, Optics};
use crate::geo::rotation::platform_and_sensor;

use super::log::TelemetryError;

/// The largest answer that is read, in bytes.
const LARGEST: usize = 1 << 20;

/// What a camera answers to `GetStatus`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PtzStatus {
    /// Pan, in the unit of its space.
    pub pan: Option<f64>,
    /// Tilt, in the unit of its space.
    pub tilt: Option<f64>,
    /// The URI of the space of pan and tilt.
    pub pan_tilt_space: Option<String>,
    /// Zoom, in the unit of its space.
    pub zoom: Option<f64>,
    /// The URI of the space of zoom.
    pub zoom_space: Option<String>,
    /// Whether pan, tilt or zoom moves now; `None` if the camera does not say.
    pub moving: Option<bool>,
    /// The camera's own time, seconds since 1970.
    pub unix_s: Option<f64>,
}

/// Two points of a straight line from a camera's number to degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AxisMap {
    /// Degrees where the camera says -1.
    pub at_minus_one_deg: f64,
    /// Degrees where the camera says +1.
    pub at_plus_one_deg: f64,
}

impl AxisMap {
    fn degrees(&self, value: f64) -> f64 {
        self.at_minus_one_deg + f64::midpoint(value, 1.0) * (self.at_plus_one_deg - self.at_minus_one_deg)
    }
}

/// The field of view at one position of the zoom.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoomPoint {
    /// The camera's number.
    pub zoom: f64,
    /// Horizontal field of view, in degrees.
    pub hfov_deg: f64,
}

/// What turns a camera's own numbers into directions over ground.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PtzMap {
    /// The attitude of the camera at pan 0 and tilt 0, as calibrated: a mast that leans is a platform that banks.
    pub mount: Attitude,
    /// Whether pan counts against the clock.
    #[serde(default)]
    pub pan_reversed: bool,
    /// Whether tilt counts downwards.
    #[serde(default)]
    pub tilt_reversed: bool,
    /// For cameras that answer in the generic space.
    #[serde(default)]
    pub pan: Option<AxisMap>,
    /// For cameras that answer in the generic space.
    #[serde(default)]
    pub tilt: Option<AxisMap>,
    /// Fields of view over the range of the zoom, in rising order.
    #[serde(default)]
    pub zoom: Vec<ZoomPoint>,
}

/// Why a status gives no direction.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PtzRefusal {
    /// The camera does not tell its position.
    #[error(
        "the camera's status holds no pan and tilt: it may not support StatusPosition; use a table of presets"
    )]
    NoPosition,
    /// The camera is turning.
    #[error("the camera is moving")]
    Moving,
    /// The numbers are of a space that is not mapped.
    #[error(
        "pan and tilt are in the space {space}, which needs a map of this camera: calibrate `pan` and `tilt` at -1 and 1"
    )]
    NoMap {
        /// Its URI.
        space: String,
    },
    /// The numbers are outside their space.
    #[error("pan {pan} and tilt {tilt} are outside their space")]
    OutOfRange {
        /// As told.
        pan: f64,
        /// As told.
        tilt: f64,
    },
}

impl PtzMap {
    /// Returns where the camera looks and what it sees.
    pub fn pose_of(&self, status: &PtzStatus) -> Result<(Attitude, Optics), PtzRefusal> {
        if status.moving == Some(true) {
            return Err(PtzRefusal::Moving);
        }
        let (Some(pan), Some(tilt)) = (status.pan, status.tilt) else {
            return Err(PtzRefusal::NoPosition);
        };
        let space = status.pan_tilt_space.as_deref().unwrap_or("(none stated)");
        let spherical = space.contains("SphericalPositionSpace");
        let (pan_deg, tilt_deg) = if spherical {
            if pan.abs() > 720.0 || tilt.abs() > 180.0 {
                return Err(PtzRefusal::OutOfRange { pan, tilt });
            }
            (pan, tilt)
        } else {
            let (Some(pan_map), Some(tilt_map)) = (self.pan, self.tilt) else {
                return Err(PtzRefusal::NoMap { space: space.into() });
            };
            if !(-1.0..=1.0).contains(&pan) || !(-1.0..=1.0).contains(&tilt) {
                return Err(PtzRefusal::OutOfRange { pan, tilt });
            }
            (pan_map.degrees(pan), tilt_map.degrees(tilt))
        };
        let sign = |reversed: bool| if reversed { -1.0 } else { 1.0 };
        let relative = Attitude::new(
            pan_deg * sign(self.pan_reversed),
            tilt_deg * sign(self.tilt_reversed),
            0.0,
        );
        let optics = Optics {
            hfov_deg: status.zoom.and_then(|zoom| self.hfov_deg(zoom)),
            ..Optics::default()
        };
        Ok((platform_and_sensor(self.mount, relative), optics))
    }

    /// Returns the field of view at a zoom, on the line between the points around it; `None` outside them.
    fn hfov_deg(&self, zoom: f64) -> Option<f64> {
        if let [only] = self.zoom.as_slice() {
            return ((only.zoom - zoom).abs() < 1e-6).then_some(only.hfov_deg);
        }
        self.zoom.windows(2).find_map(|pair| match pair {
            [low, high] if low.zoom <= zoom && zoom <= high.zoom && high.zoom > low.zoom => Some(
                low.hfov_deg + (high.hfov_deg - low.hfov_deg) * (zoom - low.zoom) / (high.zoom - low.zoom),
            ),
            _ => None,
        })
    }
}

/// Reads the answer to `GetStatus`, or the `PTZStatus` of a metadata stream.
pub fn parse_status(text: &str) -> Result<PtzStatus, TelemetryError> {
    let malformed = |problem: String| TelemetryError::Malformed {
        what: "an ONVIF PTZ status",
        problem,
    };
    if text.len() > LARGEST {
        return Err(malformed(format!(
            "{} bytes are more than the limit of {LARGEST}",
            text.len()
        )));
    }
    let mut reader = Reader::from_str(text);
    let mut status = PtzStatus::default();
    let mut path: Vec<String> = Vec::new();
    let mut seen = false;
    loop {
        match reader
            .read_event()
            .map_err(|error| malformed(error.to_string()))?
        {
            Event::Start(element) => {
                let local: &str = element.local_name().into_inner();
                seen |= matches!(local, "PTZStatus" | "GetStatusResponse");
                read_position(&element, local, &path, &mut status);
                if path.len() >= 64 {
                    return Err(malformed("elements lie more than 64 levels deep".into()));
                }
                path.push(local.to_owned());
            }
            Event::Empty(element) => {
                let local: &str = element.local_name().into_inner();
                read_position(&element, local, &path, &mut status);
            }
            Event::Text(value) => {
                let value = value.xml10_content();
                let value = value.trim();
                match path.iter().rev().map(String::as_str).take(2).collect::<Vec<_>>()[..] {
                    ["PanTilt" | "Zoom", "MoveStatus"] => {
                        let moves = match value {
                            "MOVING" => Some(true),
                            "IDLE" => Some(false),
                            _ => None,
                        };
                        // Any axis that moves makes the camera move.
                        status.moving = match (status.moving, moves) {
                            (Some(true), _) | (_, Some(true)) => Some(true),
                            (_, Some(false)) | (Some(false), None) => Some(false),
                            (None, None) => None,
                        };
                    }
                    ["UtcTime", ..] => {
                        status.unix_s = value
                            .parse::<jiff::Timestamp>()
                            .ok()
                            .map(|at| at.as_nanosecond() as f64 / 1e9);
                    }
                    _ => {}
                }
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !seen {
        return Err(malformed(
            "no PTZStatus is in it; the answer to GetStatus is expected".into(),
        ));
    }
    Ok(status)
}

fn read_position(
    element: &quick_xml::events::BytesStart<'_>,
    local: &str,
    path: &[String],
    status: &mut PtzStatus,
) {
    if path.last().map(String::as_str) != Some("Position") || !matches!(local, "PanTilt" | "Zoom") {
        return;
    }
    for attribute in element.attributes().flatten() {
        let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0) else {
            continue;
        };
        let number = value
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite());
        let key: &str = attribute.key.local_name().into_inner();
        match (local, key) {
            ("PanTilt", "x") => status.pan = number,
            ("PanTilt", "y") => status.tilt = number,
            ("PanTilt", "space") => status.pan_tilt_space = Some(value.into_owned()),
            ("Zoom", "x") => status.zoom = number,
            ("Zoom", "space") => status.zoom_space = Some(value.into_owned()),
            _ => {}
        }
    }
}

pub(super) fn malformed(problem: String) -> TelemetryError {
    TelemetryError::Malformed {
        what: "an ONVIF PTZ service",
        problem,
    }
}

/// Where a camera says that one of its presets lies.
#[derive(Clone, Debug, PartialEq)]
pub struct PresetPosition {
    /// Its token.
    pub token: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Pan, in the unit of its space.
    pub pan: f64,
    /// Tilt, in the unit of its space.
    pub tilt: f64,
}

/// Reads the answer to `GetPresets`.
pub fn parse_presets(text: &str) -> Result<Vec<PresetPosition>, TelemetryError> {
    let mut reader = Reader::from_str(text);
    let (mut presets, mut token, mut name, mut position) = (Vec::new(), None, None, None);
    let mut in_name = false;
    let mut seen = false;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| malformed(error.to_string()))?;
        match &event {
            Event::Start(element) | Event::Empty(element) => {
                let attribute = |wanted: &str| {
                    element.attributes().flatten().find_map(|attribute| {
                        let key: &str = attribute.key.local_name().into_inner();
                        let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
                        (key == wanted).then(|| value.into_owned())
                    })
                };
                let local: &str = element.local_name().into_inner();
                match local {
                    "GetPresetsResponse" => seen = true,
                    "Preset" => (token, name, position) = (attribute("token"), None, None),
                    "Name" => in_name = matches!(event, Event::Start(_)),
                    "PanTilt" => {
                        let number = |wanted| attribute(wanted)?.trim().parse::<f64>().ok();
                        position = number("x")
                            .zip(number("y"))
                            .filter(|(pan, tilt)| pan.is_finite() && tilt.is_finite());
                    }
                    _ => {}
                }
            }
            Event::Text(value) if in_name => name = Some(value.xml10_content().trim().to_owned()),
            Event::End(element) => {
                let local: &str = element.local_name().into_inner();
                in_name &= local != "Name";
                if local == "Preset"
                    && let (Some(token), Some((pan, tilt))) = (token.take(), position.take())
                {
                    presets.push(PresetPosition {
                        token,
                        name: name.take(),
                        pan,
                        tilt,
                    });
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if seen {
        Ok(presets)
    } else {
        Err(malformed("no GetPresetsResponse is in the answer".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::rotation::wrapped_deg;

    fn answer(space: &str, pan: f64, tilt: f64, moves: &str) -> String {
        format!(
            r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><tptz:GetStatusResponse><tptz:PTZStatus>
            <tt:Position><tt:PanTilt x="{pan}" y="{tilt}" space="http://www.onvif.org/ver10/tptz/PanTiltSpaces/{space}"/>
            <tt:Zoom x="0.5" space="http://www.onvif.org/ver10/tptz/ZoomSpaces/PositionGenericSpace"/></tt:Position>
            <tt:MoveStatus><tt:PanTilt>{moves}</tt:PanTilt><tt:Zoom>IDLE</tt:Zoom></tt:MoveStatus>
            <tt:UtcTime>2026-11-23T10:00:00Z</tt:UtcTime></tptz:PTZStatus></tptz:GetStatusResponse></s:Body></s:Envelope>"#
        )
    }

    fn map() -> PtzMap {
        PtzMap {
            mount: Attitude::new(30.0, 0.0, 0.0),
            pan_reversed: false,
            tilt_reversed: false,
            pan: Some(AxisMap {
                at_minus_one_deg: -180.0,
                at_plus_one_deg: 180.0,
            }),
            tilt: Some(AxisMap {
                at_minus_one_deg: -90.0,
                at_plus_one_deg: 30.0,
            }),
            zoom: vec![
                ZoomPoint {
                    zoom: 0.0,
                    hfov_deg: 60.0,
                },
                ZoomPoint {
                    zoom: 1.0,
                    hfov_deg: 2.0,
                },
            ],
        }
    }

    #[test]
    fn degrees_are_added_to_the_mount() {
        let status = parse_status(&answer("SphericalPositionSpace", 45.0, -10.0, "IDLE")).unwrap();
        assert_eq!(status.moving, Some(false));
        assert_eq!(status.unix_s, Some(1_795_428_000.0));
        let (attitude, optics) = map().pose_of(&status).unwrap();
        assert!(wrapped_deg(attitude.yaw_deg - 75.0).abs() < 1e-9);
        assert!((attitude.pitch_deg + 10.0).abs() < 1e-9);
        assert_eq!(optics.hfov_deg, Some(31.0));
        let reversed = PtzMap {
            pan_reversed: true,
            ..map()
        };
        let (attitude, _) = reversed.pose_of(&status).unwrap();
        assert!(wrapped_deg(attitude.yaw_deg + 15.0).abs() < 1e-9);
    }

    #[test]
    fn normalised_numbers_need_the_map_of_their_camera() {
        let status = parse_status(&answer("PositionGenericSpace", 0.5, 0.5, "IDLE")).unwrap();
        let (attitude, _) = map().pose_of(&status).unwrap();
        assert!(wrapped_deg(attitude.yaw_deg - 120.0).abs() < 1e-9);
        assert!(attitude.pitch_deg.abs() < 1e-9);
        let bare = PtzMap { pan: None, ..map() };
        assert!(matches!(bare.pose_of(&status), Err(PtzRefusal::NoMap { .. })));
        let outside = parse_status(&answer("PositionGenericSpace", 1.5, 0.5, "IDLE")).unwrap();
        assert!(matches!(
            map().pose_of(&outside),
            Err(PtzRefusal::OutOfRange { .. })
        ));
    }

    #[test]
    fn a_camera_that_moves_or_hides_its_position_gives_no_direction() {
        let status = parse_status(&answer("SphericalPositionSpace", 45.0, -10.0, "MOVING")).unwrap();
        assert_eq!(map().pose_of(&status), Err(PtzRefusal::Moving));
        let status =
            parse_status("<PTZStatus><MoveStatus><PanTilt>IDLE</PanTilt></MoveStatus></PTZStatus>").unwrap();
        assert_eq!(map().pose_of(&status), Err(PtzRefusal::NoPosition));
        assert!(parse_status("<Fault/>").is_err());
        assert!(
            parse_status("<PTZStatus><Position>").is_ok_and(|status| status.pan.is_none())
                || parse_status("<PTZStatus><Position>").is_err()
        );
    }
}
