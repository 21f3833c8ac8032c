//! Follows a camera that says over ONVIF where it points.
//!
//! A camera whose numbers are mapped ([`PtzMap`]) gives a direction anywhere; one without a map gives one where its
//! numbers are those of a surveyed preset.

use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::fixed::PresetCamera;
use super::log::TelemetryError;
use super::onvif::{PtzMap, PtzRefusal, PtzStatus};
use super::onvif_service::malformed;

/// A camera stands at a preset when pan and tilt are this close, in degrees of the spherical space.
const SAME_DEG: f64 = 0.5;
/// The same in the generic space, which spans -1 to 1.
const SAME_SHARE: f64 = 0.005;

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

/// Turns a camera to where its status says: by its map where it has one, else to the surveyed preset at which it stands.
/// A status without a direction leaves the camera without one.
pub fn follow(
    camera: &PresetCamera,
    map: Option<&PtzMap>,
    positions: &[PresetPosition],
    status: &PtzStatus,
) -> Result<(), PtzRefusal> {
    if let Some(map) = map {
        let direction = map.pose_of(status);
        camera.set_direction(direction.as_ref().ok().copied());
        return direction.map(|_| ());
    }
    camera.set_direction(None);
    if status.moving == Some(true) {
        return Err(PtzRefusal::Moving);
    }
    let (Some(pan), Some(tilt)) = (status.pan, status.tilt) else {
        return Err(PtzRefusal::NoPosition);
    };
    let is_spherical = status
        .pan_tilt_space
        .as_deref()
        .is_some_and(|space| space.contains("SphericalPositionSpace"));
    let same = if is_spherical { SAME_DEG } else { SAME_SHARE };
    let here = positions.iter().find(|preset| {
        let turn = (preset.pan - pan).abs();
        let turn = if is_spherical {
            turn.min((360.0 - turn).abs())
        } else {
            turn
        };
        turn <= same && (preset.tilt - tilt).abs() <= same
    });
    // A camera between its presets is no fault: it has no direction there.
    if let Some(preset) = here
        && !camera.set_current(Some(&preset.token))
    {
        camera.set_current(preset.name.as_deref());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pose::{
        Attitude, Height, HeightDatum, Optics, PoseProvider as _, PoseRefusal, PoseSigmas,
    };
    use crate::flow::time::MediaTime;
    use crate::telemetry::fixed::{Mast, Preset};

    const PRESETS: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>
        <tptz:GetPresetsResponse><tptz:Preset token="1"><tt:Name>north</tt:Name><tt:PTZPosition>
        <tt:PanTilt x="0.25" y="-0.1"/><tt:Zoom x="0"/></tt:PTZPosition></tptz:Preset>
        <tptz:Preset token="2"><tt:Name>nowhere</tt:Name></tptz:Preset></tptz:GetPresetsResponse></s:Body></s:Envelope>"#;

    fn camera() -> PresetCamera {
        let mast = Mast {
            lat: 35.19,
            lon: 113.25,
            height: Height::new(40.0, HeightDatum::Ground),
            sigmas: PoseSigmas::default(),
        };
        let north = Preset {
            name: "north".into(),
            attitude: Attitude::new(3.0, -5.0, 0.0),
            optics: Optics::default(),
        };
        PresetCamera::new(mast, vec![north])
    }

    fn status(pan: f64, moving: bool) -> PtzStatus {
        PtzStatus {
            pan: Some(pan),
            tilt: Some(-0.1),
            moving: Some(moving),
            ..PtzStatus::default()
        }
    }

    #[test]
    fn a_camera_is_at_the_preset_whose_numbers_it_tells() {
        let positions = parse_presets(PRESETS).unwrap();
        assert_eq!(positions.len(), 1, "a preset without a position is left out");
        let camera = camera();
        follow(&camera, None, &positions, &status(0.2501, false)).unwrap();
        let pose = camera.pose_at(MediaTime::ZERO).unwrap();
        assert!((pose.attitude.unwrap().yaw_deg - 3.0).abs() < 1e-9);
        follow(&camera, None, &positions, &status(0.4, false)).unwrap();
        assert_eq!(camera.pose_at(MediaTime::ZERO), Err(PoseRefusal::NoPreset));
        assert_eq!(
            follow(&camera, None, &positions, &status(0.25, true)),
            Err(PtzRefusal::Moving)
        );
        assert!(parse_presets("<Fault/>").is_err());
    }
}
