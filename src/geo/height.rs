//! Which height of a camera to trust: absolute, from the take-off's terrain, or above the ground below.

use serde::{Deserialize, Serialize};

use crate::flow::pose::{Height, HeightDatum, Pose, PoseFlag, PoseFlags};

use super::geoid;
use super::locate::LocateRefusal;
use super::terrain::Terrain;

/// Beyond this difference two heights of one camera contradict each other, in metres.
pub const DISAGREEMENT_M: f64 = 10.0;

/// Where a camera's height was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeightSource {
    /// Telemetry gives it above ellipsoid or geoid.
    Absolute,
    /// The terrain at the take-off plus the height above take-off.
    TakeoffTerrain,
    /// The terrain below the camera plus the height above ground.
    GroundTerrain,
    /// Telemetry gives it above the level plane that stands for terrain.
    Plane,
}

/// The height of a camera in the terrain's datum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CameraHeight {
    /// The height that is used.
    pub height: Height,
    /// Where it was taken from.
    pub source: HeightSource,
    /// The next best height, kept so that a person can judge.
    pub other: Option<(Height, HeightSource)>,
    /// [`PoseFlag::HeightsDisagree`] and [`PoseFlag::AssumedHeight`], where they hold.
    pub flags: PoseFlags,
    /// What the conversion adds to the standard deviation of the height, in metres.
    pub conversion_sigma_m: f64,
}

/// Chooses the height of a camera above the terrain's datum. Absolute heights win unless the pose says that they are
/// doubtful; then the take-off's terrain plus the height above take-off wins.
pub fn camera_height(pose: &Pose, terrain: &Terrain) -> Result<CameraHeight, LocateRefusal> {
    let datum = terrain.datum();
    if matches!(datum, HeightDatum::Takeoff | HeightDatum::Ground) {
        return above_plane(pose, datum);
    }
    let told = pose.heights.absolute();
    let absolute = pose
        .position
        .and_then(|point| geoid::converted(told?, point, datum));
    let from_takeoff = pose.takeoff.and_then(|point| {
        let metres = terrain.height_m(point)? + pose.heights.takeoff_m?;
        Some(Height::new(metres, datum))
    });
    let from_ground = pose.position.and_then(|point| {
        let metres = terrain.height_m(point)? + pose.heights.ground_m?;
        Some(Height::new(metres, datum))
    });
    let absolute = absolute.map(|height| (height, HeightSource::Absolute));
    let from_takeoff = from_takeoff.map(|height| (height, HeightSource::TakeoffTerrain));
    let from_ground = from_ground.map(|height| (height, HeightSource::GroundTerrain));
    let order = if pose.flags.contains(PoseFlag::AltitudeDoubtful) {
        [from_takeoff, from_ground, absolute]
    } else {
        [absolute, from_takeoff, from_ground]
    };
    let mut known = order
        .into_iter()
        .flatten()
        .filter(|(height, _)| height.metres.is_finite());
    let (height, source) = known.next().ok_or(LocateRefusal::NoHeight)?;
    let other = known.next();
    let mut flags = PoseFlags::NONE;
    if other.is_some_and(|(other, _)| (other.metres - height.metres).abs() > DISAGREEMENT_M) {
        flags.insert(PoseFlag::HeightsDisagree);
    }
    // From one geoid to the other, or from the ellipsoid to EGM2008 by way of EGM96.
    let is_step = source == HeightSource::Absolute
        && told.is_some_and(|told| match datum {
            HeightDatum::Egm2008 => told.datum != HeightDatum::Egm2008,
            _ => told.datum == HeightDatum::Egm2008,
        });
    Ok(CameraHeight {
        height,
        source,
        other,
        flags,
        conversion_sigma_m: if is_step { geoid::DATUM_STEP_SIGMA_M } else { 0.0 },
    })
}

fn above_plane(pose: &Pose, datum: HeightDatum) -> Result<CameraHeight, LocateRefusal> {
    let own = pose.heights.above(datum);
    // Level ground at take-off height also stands for level ground below the camera, and the other way round.
    let swapped = match datum {
        HeightDatum::Takeoff => pose.heights.ground_m,
        _ => pose.heights.takeoff_m,
    };
    let metres = own
        .or(swapped)
        .filter(|metres| metres.is_finite())
        .ok_or(LocateRefusal::NoHeight)?;
    let mut flags = PoseFlags::NONE;
    if own.is_none() {
        flags.insert(PoseFlag::AssumedHeight);
    }
    Ok(CameraHeight {
        height: Height::new(metres, datum),
        source: HeightSource::Plane,
        other: None,
        flags,
        conversion_sigma_m: 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pose::{Heights, Wgs84};

    const PLACE: Wgs84 = Wgs84 {
        lat: 35.19,
        lon: 113.25,
    };

    fn pose() -> Pose {
        Pose {
            position: Some(PLACE),
            takeoff: Some(PLACE),
            heights: Heights {
                egm96_m: Some(250.0),
                takeoff_m: Some(100.0),
                ..Heights::default()
            },
            ..Pose::default()
        }
    }

    fn ground() -> Terrain {
        Terrain::plane(Height::new(90.0, HeightDatum::Egm96))
    }

    #[test]
    fn heights_that_differ_by_more_than_ten_metres_are_flagged_and_both_kept() {
        let chosen = camera_height(&pose(), &ground()).unwrap();
        assert_eq!(chosen.source, HeightSource::Absolute);
        assert!((chosen.height.metres - 250.0).abs() < 1e-9);
        assert!(chosen.flags.contains(PoseFlag::HeightsDisagree));
        let (other, source) = chosen.other.unwrap();
        assert!((other.metres - 190.0).abs() < 1e-9 && source == HeightSource::TakeoffTerrain);
    }

    #[test]
    fn a_doubtful_altitude_gives_way_to_the_terrain_at_take_off() {
        let mut pose = pose();
        pose.flags.insert(PoseFlag::AltitudeDoubtful);
        let chosen = camera_height(&pose, &ground()).unwrap();
        assert_eq!(chosen.source, HeightSource::TakeoffTerrain);
        assert!((chosen.height.metres - 190.0).abs() < 1e-9);
    }

    #[test]
    fn an_ellipsoid_height_is_brought_to_the_terrains_datum() {
        let mut pose = pose();
        pose.heights = Heights {
            ellipsoid_m: Some(170.4),
            ..Heights::default()
        };
        let chosen = camera_height(&pose, &ground()).unwrap();
        assert!((chosen.height.metres - 190.0).abs() < 0.1, "{chosen:?}");
    }

    #[test]
    fn a_height_above_an_unknown_take_off_is_no_height_over_terrain() {
        let mut pose = pose();
        pose.takeoff = None;
        pose.heights.egm96_m = None;
        assert_eq!(
            camera_height(&pose, &ground()).unwrap_err(),
            LocateRefusal::NoHeight
        );
        assert!(camera_height(&pose, &Terrain::flat_at_takeoff()).is_ok());
    }
}
