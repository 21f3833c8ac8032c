//! A timeline on the video's time: the tie between the two clocks.

use std::sync::{Arc, PoisonError, RwLock};

use super::Timeline;
use crate::flow::pose::{Pose, PoseFlag, PoseProvider, PoseRefusal};
use crate::flow::time::MediaTime;
use crate::telemetry::log::{LogTime, TelemetryLog};
use crate::telemetry::sample::TelemetrySample;

/// One standard deviation of the time of records that are stamped with the video's own, in seconds.
const CUE_SIGMA_S: f64 = 0.02;

/// How the video's time is tied to telemetry's: telemetry seconds = media seconds + offset.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeTie {
    /// Seconds that are added to the video's time.
    pub offset_s: f64,
    /// One standard deviation of the offset, in seconds; `None` if it was never measured.
    pub sigma_s: Option<f64>,
}

/// A timeline that answers for the moments of a video.
#[derive(Clone, Debug)]
pub struct TimelineProvider {
    timeline: Arc<RwLock<Timeline>>,
    tie: Arc<RwLock<TimeTie>>,
}

impl TimelineProvider {
    /// Joins a timeline with its tie to the video. Clones share both, so that a receiver may go on adding samples.
    #[must_use]
    pub fn new(timeline: Timeline, tie: TimeTie) -> Self {
        Self {
            timeline: Arc::new(RwLock::new(timeline)),
            tie: Arc::new(RwLock::new(tie)),
        }
    }

    /// Adds a sample.
    pub fn push(&self, sample: &TelemetrySample) {
        self.timeline
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sample);
    }

    /// Replaces the tie to the video: after a calibration, or for each sender report of a live stream.
    pub fn set_tie(&self, tie: TimeTie) {
        *self.tie.write().unwrap_or_else(PoisonError::into_inner) = tie;
    }

    /// Returns the turning of the optical axis over time, as [`Timeline::yaw_rates`].
    #[must_use]
    pub fn yaw_rates(&self) -> Vec<(f64, f64)> {
        self.timeline
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .yaw_rates()
    }

    /// Returns the tie to the video.
    #[must_use]
    pub fn tie(&self) -> TimeTie {
        *self.tie.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoseProvider for TimelineProvider {
    fn pose_at(&self, pts: MediaTime) -> Result<Pose, PoseRefusal> {
        let tie = self.tie();
        let timeline = self.timeline.read().unwrap_or_else(PoisonError::into_inner);
        let mut pose = timeline.pose_at(pts.as_secs_f64() + tie.offset_s)?;
        pose.sigmas.time_s = tie.sigma_s;
        if tie.sigma_s.is_none() {
            pose.flags.insert(PoseFlag::TimeOffsetAssumed);
        }
        Ok(pose)
    }
}

/// Returns the poses that a log tells about a video. A log on another clock than the video's is taken to begin with it.
/// `offset_s` is added to the video's time; `sigma_s` is how well that is known.
#[must_use]
pub fn poses_of(log: &TelemetryLog, offset_s: f64, sigma_s: Option<f64>) -> TimelineProvider {
    let timeline = Timeline::of(log);
    let begins_s = match log.clock {
        LogTime::Media => 0.0,
        _ => timeline.span_s().map_or(0.0, |(first, _)| first),
    };
    let tie = TimeTie {
        offset_s: begins_s + offset_s,
        sigma_s: sigma_s.or_else(|| (log.clock == LogTime::Media).then_some(CUE_SIGMA_S)),
    };
    TimelineProvider::new(timeline, tie)
}
