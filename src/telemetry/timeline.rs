//! A timeline joins samples into a pose for any moment between them.
//!
//! Places go straight lines in Earth-centred coordinates, attitudes turn by the shortest way. Nothing is carried on
//! for more than half a second past the last sample, and nothing is bridged over more than two seconds: there the
//! answer is a refusal. Place, aircraft, gimbal and lens are kept apart, since some devices send each at its own rate.

mod series;

mod tie;

#[cfg(test)]
mod tests;

pub use series::Limits;
pub use tie::{TimeTie, TimelineProvider, poses_of};

use crate::flow::pose::{
    Attitude, Heights, LaserRange, Motion, Optics, Pose, PoseFlag, PoseFlags, PoseRefusal, PoseSigmas, Wgs84,
};
use crate::geo::ellipsoid::{from_ecef, to_ecef};
use crate::geo::rotation::{between, wrapped_deg};

use super::log::{LogTime, TelemetryLog, time_on};
use super::sample::{Gimbal, TelemetrySample};
use series::{SAME_MOMENT_S, Series};

/// Half the window over which the turning of the camera is measured, in seconds: single steps of a coarse angle would
/// look like a turn.
const RATE_WINDOW_S: f64 = 0.25;

/// Samples kept per part of a live timeline; a file's timeline holds the whole file.
const LIVE_SAMPLES: usize = 18_000;

/// The most samples a file's timeline holds.
const FILE_SAMPLES: usize = 8_000_000;

#[derive(Clone, Copy, Debug)]
struct Fix {
    position: Wgs84,
    heights: Heights,
    takeoff: Option<Wgs84>,
    motion: Motion,
    sigmas: PoseSigmas,
    flags: PoseFlags,
}

/// Samples in the order of one clock, and the poses between them.
#[derive(Clone, Debug)]
pub struct Timeline {
    clock: LogTime,
    limits: Limits,
    fixes: Series<Fix>,
    platforms: Series<Attitude>,
    headings: Series<f64>,
    gimbals: Series<Gimbal>,
    optics: Series<Optics>,
    lasers: Series<LaserRange>,
    pushed: u64,
    left_out: u64,
    newest_s: Option<f64>,
}

impl Timeline {
    /// Makes an empty timeline on one clock, for samples that come as they are taken.
    #[must_use]
    pub fn live(clock: LogTime, limits: Limits) -> Self {
        Self::with_capacity(clock, limits, LIVE_SAMPLES)
    }

    fn with_capacity(clock: LogTime, limits: Limits, capacity: usize) -> Self {
        Self {
            clock,
            limits,
            fixes: Series::new(capacity),
            platforms: Series::new(capacity),
            headings: Series::new(capacity),
            gimbals: Series::new(capacity),
            optics: Series::new(capacity),
            lasers: Series::new(capacity),
            pushed: 0,
            left_out: 0,
            newest_s: None,
        }
    }

    /// Makes the timeline of a whole log.
    #[must_use]
    pub fn of(log: &TelemetryLog) -> Self {
        Self::of_samples(log.clock, Limits::default(), &log.samples)
    }

    /// Makes the timeline of samples on one clock.
    #[must_use]
    pub fn of_samples(clock: LogTime, limits: Limits, samples: &[TelemetrySample]) -> Self {
        let mut timeline = Self::with_capacity(clock, limits, FILE_SAMPLES);
        for sample in samples {
            timeline.push(sample);
        }
        timeline
    }

    /// Adds what a sample says. A sample without a time on this clock, or earlier than the last, is counted and left
    /// out.
    pub fn push(&mut self, sample: &TelemetrySample) {
        let Some(at_s) = time_on(self.clock, sample) else {
            self.left_out += 1;
            return;
        };
        let mut taken = true;
        if let Some(position) = sample.position {
            taken &= self.fixes.push(
                at_s,
                Fix {
                    position,
                    heights: sample.heights,
                    takeoff: sample.takeoff,
                    motion: sample.motion,
                    sigmas: sample.sigmas,
                    flags: sample.flags,
                },
            );
        }
        if let Some(platform) = sample.platform {
            taken &= self.platforms.push(at_s, platform);
        }
        if let Some(heading_deg) = sample.heading_deg {
            taken &= self.headings.push(at_s, heading_deg);
        }
        if let Some(gimbal) = sample.gimbal {
            taken &= self.gimbals.push(at_s, gimbal);
        }
        if sample.optics != Optics::default() {
            taken &= self.optics.push(at_s, sample.optics);
        }
        if let Some(laser) = sample.laser {
            taken &= self.lasers.push(at_s, laser);
        }
        self.pushed += 1;
        self.left_out += u64::from(!taken);
        if taken && self.newest_s.is_none_or(|newest_s| at_s > newest_s) {
            self.newest_s = Some(at_s);
        }
    }

    /// Returns the clock it is ordered by.
    #[must_use]
    pub const fn clock(&self) -> LogTime {
        self.clock
    }

    /// Returns how many samples were left out because they had no time or went back in time.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns the first and last moment with a place, in seconds.
    #[must_use]
    pub fn span_s(&self) -> Option<(f64, f64)> {
        Some((self.fixes.items.front()?.0, self.fixes.items.back()?.0))
    }

    /// Returns the turning of the optical axis over time as (seconds, degrees a second clockwise), for calibration.
    #[must_use]
    pub fn yaw_rates(&self) -> Vec<(f64, f64)> {
        let times: Vec<f64> = self.gimbals.items.iter().map(|(at_s, _)| *at_s).collect();
        times
            .windows(2)
            .filter_map(|pair| {
                let [from_s, to_s] = pair else { return None };
                let span_s = to_s - from_s;
                let turned = wrapped_deg(self.camera_at(*to_s)?.yaw_deg - self.camera_at(*from_s)?.yaw_deg);
                (span_s > 1e-6 && span_s <= self.limits.gap_s)
                    .then(|| (f64::midpoint(*from_s, *to_s), turned / span_s))
            })
            .collect()
    }

    fn camera_at(&self, at_s: f64) -> Option<Attitude> {
        let mut sample = TelemetrySample::default();
        self.directions_at(at_s, &mut sample).ok()?;
        sample.camera_attitude().ok()
    }

    /// Fills in the aircraft's and the gimbal's angles. Returns the age of the older of the two.
    fn directions_at(&self, at_s: f64, sample: &mut TelemetrySample) -> Result<f64, PoseRefusal> {
        let turned = |from: Attitude, to: Attitude, share: f64| {
            // Beyond the last sample an attitude is held: a turn may have ended there.
            between(from, to, share.clamp(0.0, 1.0))
        };
        let mut age_s = 0.0f64;
        if !self.platforms.items.is_empty() {
            // The aircraft's own attitude is only needed where the gimbal is measured against it.
            match self.platforms.place(at_s, self.limits) {
                Ok(place) => {
                    sample.platform = Some(turned(place.before.1, place.after.1, place.share));
                    age_s = age_s.max(place.age_s);
                }
                Err(_) => sample.platform = None,
            }
        }
        if let Ok(place) = self.headings.place(at_s, self.limits) {
            let turn = wrapped_deg(place.after.1 - place.before.1) * place.share.clamp(0.0, 1.0);
            sample.heading_deg = Some((place.before.1 + turn).rem_euclid(360.0));
        }
        if !self.gimbals.items.is_empty() {
            let place = self.gimbals.place(at_s, self.limits)?;
            let (before, after) = (place.before.1, place.after.1);
            sample.gimbal = Some(if before.frame == after.frame {
                Gimbal {
                    attitude: turned(before.attitude, after.attitude, place.share),
                    frame: before.frame,
                }
            } else if place.share < 0.5 {
                before
            } else {
                after
            });
            age_s = age_s.max(place.age_s);
        }
        Ok(age_s)
    }

    /// Returns all that is known of one moment of the timeline's own clock, in seconds, or why nothing is.
    pub fn sample_at(&self, at_s: f64) -> Result<(TelemetrySample, f64), PoseRefusal> {
        if self.pushed == 0 || !at_s.is_finite() {
            return Err(PoseRefusal::NoTelemetry);
        }
        let mut sample = TelemetrySample::default();
        let mut age_s = self.directions_at(at_s, &mut sample)?;
        match self.clock {
            LogTime::Media => sample.time.media_s = Some(at_s),
            LogTime::Unix => sample.time.unix_s = Some(at_s),
            LogTime::Local => sample.time.local_s = Some(at_s),
            LogTime::Boot => sample.time.boot_s = Some(at_s),
            LogTime::None => {}
        }
        if self.fixes.items.is_empty() {
            sample.flags.insert(PoseFlag::NoFix);
        } else {
            let place = self.fixes.place(at_s, self.limits)?;
            let (before, after) = (&place.before.1, &place.after.1);
            sample.position = Some(mid_place(before.position, after.position, place.share));
            sample.heights = mid_heights(&before.heights, &after.heights, place.share);
            let near = if place.share < 0.5 { before } else { after };
            sample.takeoff = near.takeoff;
            sample.motion = near.motion;
            sample.sigmas = near.sigmas;
            sample.flags = before.flags.union(after.flags);
            if place.age_s > SAME_MOMENT_S {
                sample.flags.insert(PoseFlag::Interpolated);
            }
            age_s = age_s.max(place.age_s);
        }
        if let Some((_, optics)) = self.optics.held(at_s) {
            sample.optics = *optics;
        }
        sample.laser = self.lasers.nearest(at_s, self.limits.extrapolation_s).copied();
        if let Some((yaw_deg_s, pitch_deg_s)) = self.turning_at(at_s) {
            sample.motion.yaw_deg_s = Some(yaw_deg_s);
            sample.motion.pitch_deg_s = Some(pitch_deg_s);
        }
        Ok((sample, age_s))
    }

    /// Returns the pose at one moment of the timeline's own clock, in seconds, or why there is none.
    pub fn pose_at(&self, at_s: f64) -> Result<Pose, PoseRefusal> {
        let (sample, age_s) = self.sample_at(at_s)?;
        Ok(Pose {
            age_s: Some(age_s),
            ..sample.to_pose()
        })
    }

    /// Returns how fast the optical axis turns at a moment: degrees a second clockwise and upwards.
    fn turning_at(&self, at_s: f64) -> Option<(f64, f64)> {
        let items = &self.gimbals.items;
        let from = items.partition_point(|(sample_s, _)| *sample_s < at_s - RATE_WINDOW_S);
        let to = items
            .partition_point(|(sample_s, _)| *sample_s <= at_s + RATE_WINDOW_S)
            .checked_sub(1)?;
        // With fewer than two samples inside the window, the neighbours around the moment are taken.
        let (from, to) = if to > from {
            (from, to)
        } else {
            let next = items
                .partition_point(|(sample_s, _)| *sample_s < at_s)
                .clamp(1, items.len().max(2) - 1);
            (next - 1, next)
        };
        let (from_s, to_s) = (items.get(from)?.0, items.get(to)?.0);
        let span_s = to_s - from_s;
        if !(span_s > 1e-3 && span_s <= self.limits.gap_s) {
            return None;
        }
        let (first, last) = (self.camera_at(from_s)?, self.camera_at(to_s)?);
        Some((
            wrapped_deg(last.yaw_deg - first.yaw_deg) / span_s,
            (last.pitch_deg - first.pitch_deg) / span_s,
        ))
    }
}

fn mid_place(from: Wgs84, to: Wgs84, share: f64) -> Wgs84 {
    let (first, last) = (to_ecef(from, 0.0), to_ecef(to, 0.0));
    from_ecef(&(first + (last - first) * share)).0
}

fn mid_heights(from: &Heights, to: &Heights, share: f64) -> Heights {
    // A height that only one of the two states is not known in between.
    let mid = |from: Option<f64>, to: Option<f64>| Some(from? + (to? - from?) * share);
    Heights {
        ellipsoid_m: mid(from.ellipsoid_m, to.ellipsoid_m),
        egm96_m: mid(from.egm96_m, to.egm96_m),
        egm2008_m: mid(from.egm2008_m, to.egm2008_m),
        takeoff_m: mid(from.takeoff_m, to.takeoff_m),
        ground_m: mid(from.ground_m, to.ground_m),
    }
}
