//! Follows a camera that says over ONVIF where it points.
//!
//! A camera whose numbers are mapped ([`PtzMap`]) gives a direction anywhere; one without a map gives one where its
//! numbers are those of a surveyed preset.

use super::fixed::PresetCamera;
use super::onvif::{PresetPosition, PtzMap, PtzRefusal, PtzStatus};

/// A camera stands at a preset when pan and tilt are this close, in degrees of the spherical space.
const SAME_DEG: f64 = 0.5;
/// The same in the generic space, which spans -1 to 1.
const SAME_SHARE: f64 = 0.005;

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
    use crate::telemetry::onvif::parse_presets;

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
