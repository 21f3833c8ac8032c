//! Finds the time offset of one source while its video is watched: the motion of the picture is gathered frame by frame
//! and laid against the turning that telemetry tells, every few seconds anew.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::calibrate::{NoCalibration, TimeCalibration, time_offset};
use super::timeline::{TimeTie, TimelineProvider};

/// The largest offset that is looked for, in seconds.
pub const SEARCH_S: f64 = 5.0;
/// So much of the video is kept, in seconds.
const KEPT_S: f64 = 300.0;
/// How often an offset is looked for, in seconds of video.
const EVERY_S: f64 = 5.0;
/// Frames further apart than this say nothing of a turn.
const LONGEST_STEP_S: f64 = 1.0;

/// How the picture moved from frame to frame.
#[derive(Clone, Debug, Default)]
pub struct PictureMotion {
    curve: VecDeque<(f64, f64)>,
    last_s: Option<f64>,
}

impl PictureMotion {
    /// Adds a frame: its media time in seconds and how far its content moved to the right since the frame before, in
    /// pixels.
    pub fn add(&mut self, at_s: f64, right_px: f64) {
        let before_s = self.last_s.replace(at_s);
        let Some(before_s) = before_s else { return };
        let step_s = at_s - before_s;
        if step_s <= 0.0 {
            // Another pass over the same recording, or a stream that began anew.
            self.curve.clear();
            return;
        }
        if step_s > LONGEST_STEP_S || !right_px.is_finite() {
            return;
        }
        self.curve
            .push_back((f64::midpoint(before_s, at_s), -right_px / step_s));
        while self
            .curve
            .front()
            .is_some_and(|(first_s, _)| at_s - first_s > KEPT_S)
        {
            self.curve.pop_front();
        }
    }

    /// Returns (seconds, pixels a second to the left), which grows when the camera pans to the right.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, f64)> {
        self.curve.iter().copied().collect()
    }
}

/// What a calibration found, as it is told to people.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ToldCalibration {
    /// What was found; its offset is to the tie that was assumed before.
    #[serde(flatten)]
    pub found: TimeCalibration,
    /// Seconds of video since the middle of what it rests on.
    pub age_s: f64,
}

/// Keeps the tie of one source calibrated.
#[derive(Clone, Debug, Default)]
pub struct Calibrator {
    motion: PictureMotion,
    tried_s: Option<f64>,
    newest_s: f64,
    found: Option<TimeCalibration>,
}

impl Calibrator {
    /// Adds a frame, and looks for the offset every five seconds of video. `assumed` is the tie without calibration.
    ///
    /// Returns a new calibration where one was found.
    pub fn frame(
        &mut self,
        at_s: f64,
        right_px: f64,
        poses: &TimelineProvider,
        assumed: TimeTie,
    ) -> Option<TimeCalibration> {
        self.motion.add(at_s, right_px);
        self.newest_s = at_s;
        if self
            .tried_s
            .is_some_and(|tried_s| (0.0..EVERY_S).contains(&(at_s - tried_s)))
        {
            return None;
        }
        self.tried_s = Some(at_s);
        let found = calibrate(&self.motion.curve(), poses, assumed, SEARCH_S).ok()?;
        // An older calibration that was much clearer is kept: a weak pan must not undo it.
        if self
            .found
            .is_some_and(|known| known.quality > found.quality + 0.15)
        {
            return None;
        }
        self.found = Some(found);
        Some(found)
    }

    /// Returns the calibration with its age.
    #[must_use]
    pub fn told(&self) -> Option<ToldCalibration> {
        self.found.map(|found| ToldCalibration {
            found,
            age_s: (self.newest_s - found.at_s).max(0.0),
        })
    }

    /// Returns the tie with what was found.
    #[must_use]
    pub fn tie(&self, assumed: TimeTie) -> TimeTie {
        self.found.map_or(assumed, |found| TimeTie {
            offset_s: assumed.offset_s + found.offset_s,
            sigma_s: Some(found.sigma_s),
        })
    }
}

/// Finds the offset of telemetry to the motion of a picture, beyond the tie that is assumed.
pub fn calibrate(
    motion: &[(f64, f64)],
    poses: &TimelineProvider,
    assumed: TimeTie,
    search_s: f64,
) -> Result<TimeCalibration, NoCalibration> {
    let turning: Vec<(f64, f64)> = poses
        .yaw_rates()
        .into_iter()
        .map(|(at_s, rate)| (at_s - assumed.offset_s, rate))
        .collect();
    time_offset(&turning, motion, search_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pose::Attitude;
    use crate::telemetry::timeline::Limits;
    use crate::telemetry::{Gimbal, GimbalFrame, LogTime, TelemetrySample, Timeline};

    /// Yaw of a pan back and forth, degrees at a moment of telemetry.
    fn yaw_deg(at_s: f64) -> f64 {
        180.0 + 12.0 * (at_s * 0.9).sin() + 7.0 * (at_s * 0.37 + 1.0).sin()
    }

    fn telemetry(first_s: f64) -> TimelineProvider {
        let mut timeline = Timeline::live(LogTime::Unix, Limits::default());
        for step in 0..600 {
            let at_s = f64::from(step) * 0.1;
            let mut sample = TelemetrySample::default();
            sample.time.unix_s = Some(first_s + at_s);
            sample.gimbal = Some(Gimbal {
                attitude: Attitude::new(yaw_deg(at_s), -10.0, 0.0),
                frame: GimbalFrame::Earth,
            });
            timeline.push(&sample);
        }
        TimelineProvider::new(timeline, TimeTie::default())
    }

    #[test]
    fn a_pan_ties_the_clocks_while_it_is_watched() {
        let poses = telemetry(1_000.0);
        let assumed = TimeTie {
            offset_s: 1_000.0,
            sigma_s: None,
        };
        let mut calibrator = Calibrator::default();
        let mut turned = yaw_deg(1.7);
        for frame in 0..250 {
            let at_s = f64::from(frame) * 0.2;
            // The picture is 1.7 s late: what it shows at `at_s` is what telemetry tells 1.7 s later.
            let now = yaw_deg(at_s + 1.7);
            calibrator.frame(at_s, -(now - turned) * 30.0, &poses, assumed);
            turned = now;
        }
        let told = calibrator.told().expect("the pan is long enough");
        assert!((told.found.offset_s - 1.7).abs() < 0.05, "{told:?}");
        assert!(told.found.quality > 0.95 && told.age_s > 0.0);
        let tie = calibrator.tie(assumed);
        assert!((tie.offset_s - 1_001.7).abs() < 0.05 && tie.sigma_s.is_some());
    }

    #[test]
    fn a_still_camera_keeps_the_assumed_tie() {
        let poses = telemetry(0.0);
        let mut calibrator = Calibrator::default();
        for frame in 0..250 {
            calibrator.frame(f64::from(frame) * 0.2, 0.0, &poses, TimeTie::default());
        }
        assert_eq!(calibrator.told(), None);
        assert_eq!(calibrator.tie(TimeTie::default()), TimeTie::default());
        // Times that go back begin anew and do not panic.
        calibrator.frame(0.0, f64::NAN, &poses, TimeTie::default());
    }
}
