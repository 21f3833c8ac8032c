//! Time to detect against false alarms: the same recordings judged under stricter and laxer rules.

use std::fmt::Write as _;

use serde::Serialize;

use super::looks::{FrameLook, alerts};
use super::truth::ClipTruth;
use crate::stages::verify::rules::{ClassThreshold, VerifySettings};

/// A recording with what was seen in it and what is true of it.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Its length in seconds.
    pub duration_s: f64,
    /// The frames with tracks.
    pub frames: Vec<FrameLook>,
    /// What is true of it.
    pub truth: ClipTruth,
}

/// What one set of rules gives over all recordings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// By how much the thresholds of the manifest are multiplied.
    pub factor: f64,
    /// The thresholds of flame and smoke that follow, under watch.
    pub thresholds: [f32; 2],
    /// For how long a track must be visible, in seconds.
    pub least_seconds: f64,
    /// Recordings in which something burns.
    pub fires: usize,
    /// How many of them were alerted while it burns, at what burns.
    pub found: usize,
    /// Half of those found were alerted so soon after the fire could be seen, in seconds.
    pub median_s: Option<f64>,
    /// 95 % of those found were.
    pub p95_s: Option<f64>,
    /// Alerts where nothing burns.
    pub false_alerts: usize,
    /// Over how many hours nothing burned.
    pub calm_h: f64,
}

/// Thresholds multiplied by these are tried, …
const FACTORS: [f64; 9] = [0.6, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0];
/// … and these persistences, in seconds.
const PERSISTENCES: [f64; 6] = [0.5, 1.0, 1.5, 2.0, 3.0, 4.0];
/// No threshold is raised above this.
const HIGHEST: f32 = 0.98;

/// Returns the curve over thresholds at the persistence in force, and that over persistence at the thresholds in force.
#[must_use]
pub fn curves(clips: &[Clip], settings: VerifySettings) -> [Vec<Point>; 2] {
    let by_threshold = FACTORS
        .iter()
        .map(|factor| point(clips, settings, *factor))
        .collect();
    let by_persistence = PERSISTENCES
        .iter()
        .map(|least_seconds| {
            let settings = VerifySettings {
                least_seconds: *least_seconds,
                // Two sightings are the least from which anything can be said to last.
                least_sightings: ((2.0 * least_seconds).round() as u32).max(2),
                ..settings
            };
            point(clips, settings, 1.0)
        })
        .collect();
    [by_threshold, by_persistence]
}

fn point(clips: &[Clip], settings: VerifySettings, factor: f64) -> Point {
    let scaled = |at: ClassThreshold| {
        let by = |value: f32| (value * factor as f32).min(HIGHEST);
        ClassThreshold {
            patrol: by(at.patrol),
            watch: by(at.watch),
            alarm: by(at.alarm),
        }
    };
    let settings = VerifySettings {
        flame: scaled(settings.flame),
        smoke: scaled(settings.smoke),
        ..settings
    };
    let mut delays = Vec::new();
    let (mut fires, mut false_alerts, mut calm_s) = (0, 0, 0.0);
    for clip in clips {
        let outcome = Outcome::of(clip, settings);
        fires += usize::from(clip.truth.burns_from_s.is_some());
        delays.extend(outcome.delay_s);
        false_alerts += outcome.false_alerts;
        calm_s += outcome.calm_s;
    }
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * delays.len() as f64).ceil() as usize;
        delays.get(place.max(1) - 1).copied()
    };
    Point {
        factor,
        thresholds: [settings.flame.watch, settings.smoke.watch],
        least_seconds: settings.least_seconds,
        fires,
        found: delays.len(),
        median_s: at(0.5),
        p95_s: at(0.95),
        false_alerts,
        calm_h: calm_s / 3600.0,
    }
}

/// What the rules give on one recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// How long after the fire could be seen it was alerted, in seconds; none where it was not, or where nothing burns.
    pub delay_s: Option<f64>,
    /// Alerts at what does not burn.
    pub false_alerts: usize,
    /// For how long an alert would have been false, in seconds.
    pub calm_s: f64,
}

impl Outcome {
    /// Judges a recording. Where it is not known what burns where, every alert after the fire can be seen is right.
    #[must_use]
    pub fn of(clip: &Clip, settings: VerifySettings) -> Self {
        let alerts = alerts(&clip.frames, settings);
        let Some(from_s) = clip.truth.burns_from_s else {
            return Self {
                delay_s: None,
                false_alerts: alerts.len(),
                calm_s: clip.duration_s,
            };
        };
        let is_right = |alert: &super::looks::Alert| {
            alert.at_s >= from_s && clip.truth.touches(alert.at_s, &alert.bbox).unwrap_or(true)
        };
        Self {
            delay_s: alerts
                .iter()
                .filter(|alert| is_right(alert))
                .map(|alert| alert.at_s - from_s)
                .reduce(f64::min),
            false_alerts: alerts.iter().filter(|alert| !is_right(alert)).count(),
            calm_s: if clip.truth.frames.is_empty() {
                from_s.min(clip.duration_s)
            } else {
                clip.duration_s
            },
        }
    }
}

/// Writes points as a table to read.
#[must_use]
pub fn table(title: &str, points: &[Point]) -> String {
    let mut text = format!(
        "{title}\n{:>7} {:>7} {:>7} {:>9} {:>9} {:>9} {:>9} {:>8}\n",
        "flame", "smoke", "lasts s", "found", "median s", "95 % s", "false", "an hour"
    );
    let second = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |second| format!("{second:.1}"));
    for point in points {
        let [flame, smoke] = point.thresholds;
        let rate = if point.calm_h > 0.0 {
            format!("{:.1}", point.false_alerts as f64 / point.calm_h)
        } else {
            "-".to_owned()
        };
        // Writing to a string cannot fail.
        writeln!(
            text,
            "{flame:>7.2} {smoke:>7.2} {:>7.1} {:>9} {:>9} {:>9} {:>9} {rate:>8}",
            point.least_seconds,
            format!("{}/{}", point.found, point.fires),
            second(point.median_s),
            second(point.p95_s),
            point.false_alerts,
        )
        .unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::looks::TrackLook;
    use crate::flow::detection::{BBox, Class};
    use crate::flow::source::{Duty, Mount};
    use crate::flow::time::MediaTime;
    use crate::flow::track::TrackPhase;

    const PLUME: BBox = BBox::new(100.0, 100.0, 160.0, 200.0);

    /// Ten seconds at five frames a second in which one track of smoke is seen from `from_s` on, with one score.
    fn clip(from_s: f64, score: f32, truth: ClipTruth) -> Clip {
        let first = MediaTime::from_secs_f64(from_s);
        let frames = (0..50)
            .map(|step| f64::from(step) / 5.0)
            .filter(|second| *second >= from_s)
            .map(|second| {
                let pts = MediaTime::from_secs_f64(second);
                let breath = (second * 7.0).sin() as f32 * 6.0;
                let bbox = BBox::new(PLUME.x0 - breath, PLUME.y0 - breath, PLUME.x1 + breath, PLUME.y1);
                FrameLook {
                    source: "a.mp4".to_owned(),
                    mount: Mount::Moving,
                    pts_ns: pts,
                    duty: Duty::Watch,
                    size: (640, 360),
                    motion: (0.0, 0.0),
                    tracks: vec![TrackLook {
                        track: 1,
                        class: Class::Smoke,
                        phase: TrackPhase::Established,
                        seen_ns: (first, pts),
                        sightings: 1,
                        seen: Some((score, bbox)),
                        bbox,
                        activity: 3.0,
                    }],
                }
            })
            .collect();
        Clip {
            duration_s: 10.0,
            frames,
            truth,
        }
    }

    fn burning(from_s: f64) -> ClipTruth {
        ClipTruth {
            burns_from_s: Some(from_s),
            frames: vec![(0.0, vec![]), (from_s, vec![PLUME])],
        }
    }

    #[test]
    fn stricter_thresholds_trade_fires_for_false_alarms() {
        let clips = [
            clip(2.0, 0.9, burning(1.0)),
            clip(2.0, 0.5, burning(1.0)),
            clip(0.0, 0.5, ClipTruth::default()),
        ];
        let whole_threshold = VerifySettings {
            steady_score: 1.0,
            ..VerifySettings::default()
        };
        let [by_threshold, by_persistence] = curves(&clips, whole_threshold);
        let at = |factor: f64| {
            let is_it = |point: &&Point| (point.factor - factor).abs() < 1e-9;
            by_threshold.iter().find(is_it).unwrap()
        };
        let shipped = at(1.0);
        assert_eq!((shipped.fires, shipped.found, shipped.false_alerts), (2, 2, 1));
        // Seen a second after it could be, and two seconds more until it has lasted.
        assert_eq!((shipped.median_s, shipped.p95_s), (Some(3.0), Some(3.0)));
        assert_eq!((at(1.5).found, at(1.5).false_alerts), (1, 0));
        assert!((shipped.calm_h - 30.0 / 3600.0).abs() < 1e-9);
        let delays: Vec<_> = by_persistence
            .iter()
            .map(|point| point.median_s.unwrap())
            .collect();
        assert!(
            delays.is_sorted() && delays[0] < 2.0 && delays[5] >= 5.0,
            "{delays:?}"
        );
        let table = table("by threshold", &by_threshold);
        assert!(table.contains("2/2") && table.contains("120.0"), "{table}");
    }

    #[test]
    fn an_alert_beside_the_fire_or_before_it_is_false() {
        let elsewhere = ClipTruth {
            burns_from_s: Some(0.0),
            frames: vec![(0.0, vec![BBox::new(400.0, 0.0, 500.0, 50.0)])],
        };
        let outcome = |truth: ClipTruth| Outcome::of(&clip(0.0, 0.9, truth), VerifySettings::default());
        assert_eq!(outcome(elsewhere).false_alerts, 1);
        assert_eq!(outcome(burning(8.0)).false_alerts, 1);
        let right = outcome(burning(0.0));
        assert_eq!((right.delay_s, right.false_alerts), (Some(2.0), 0));
        let without_boxes = outcome(ClipTruth {
            burns_from_s: Some(1.5),
            frames: vec![],
        });
        assert_eq!((without_boxes.delay_s, without_boxes.calm_s), (Some(0.5), 1.5));
    }

    #[test]
    fn a_line_that_is_written_is_read_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(crate::analysis::looks::FILE);
        let clip = clip(1.0, 0.37, ClipTruth::default());
        let mut text: Vec<String> = clip
            .frames
            .iter()
            .map(|frame| serde_json::to_string(frame).unwrap())
            .collect();
        std::fs::write(&path, text.join("\n")).unwrap();
        assert_eq!(crate::analysis::looks::read(&path).unwrap()["a.mp4"], clip.frames);
        text[3] = "{\"source\": 3}".to_owned();
        std::fs::write(&path, text.join("\n")).unwrap();
        let problem = crate::analysis::looks::read(&path).unwrap_err().to_string();
        assert!(problem.contains("looks.jsonl:4"), "{problem}");
    }
}
