//! Reports judged tracks to the incident stage: at once when one is called fire, then every so often while it burns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::evidence::clean::{Seen, clean_jpeg};
use super::evidence::snapshot::{Annotation, snapshot_jpeg, thumbnail_jpeg};
use super::locate::LocatedFrame;
use crate::flow::frame::Picture;
use crate::flow::report::{Evidence, EvidenceKind, ModelTag, TrackReport};
use crate::flow::source::{Liveness, Mount, SourceId};
use crate::flow::time::{CaptureClock, CaptureTime, MediaTime};
use crate::flow::track::{Decision, JudgedFrame, Track, TrackId, TrackPhase};
use crate::pipeline::stage::{Emit, Stage, StageError};

/// Width of the small picture, in pixels.
const THUMBNAIL: u32 = 480;

/// Keeps evidence files.
pub trait EvidenceKeeper: Send {
    /// Writes a file into the evidence folder; `None` where it could not be written, which is logged there.
    fn keep(
        &mut self,
        kind: EvidenceKind,
        name: &str,
        bytes: &[u8],
        captured: CaptureTime,
    ) -> Option<Evidence>;

    /// Returns the picture at `at` of a larger stream of the same camera, where detection looks at a small one.
    fn larger(&mut self, at: MediaTime) -> Option<Picture> {
        let _ = at;
        None
    }

    /// Begins a clip around `alarm`.
    fn begin_clip(&mut self, name: &str, track: TrackId, alarm: MediaTime, captured: CaptureTime);

    /// Returns the clips that have been cut since the last call, each with the track for which it was begun.
    fn clips(&mut self) -> Vec<(TrackId, Evidence)>;
}

/// What the stage needs to know of its source.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// Which source.
    pub source: SourceId,
    /// Whether its frames come as they are taken.
    pub liveness: Liveness,
    /// Whether its camera stands still.
    pub mount: Mount,
    /// How often a burning track is reported again.
    pub every: Duration,
    /// When the first frame was taken, for recordings that do not say when.
    pub origin: Timestamp,
}

/// Reports the tracks of one source.
pub struct Reporter {
    settings: ReportSettings,
    keeper: Box<dyn EvidenceKeeper>,
    reported: BTreeMap<TrackId, (MediaTime, TrackReport)>,
    /// Tracks without a picture yet: the disk could not be written.
    unpictured: BTreeSet<TrackId>,
}

impl Reporter {
    /// Makes a reporter for one source.
    #[must_use]
    pub fn new(settings: ReportSettings, keeper: Box<dyn EvidenceKeeper>) -> Self {
        Self {
            settings,
            keeper,
            reported: BTreeMap::new(),
            unpictured: BTreeSet::new(),
        }
    }

    /// Returns when something at `pts` was taken, from when the frame of `frame` was.
    fn captured(&self, frame: &JudgedFrame, pts: MediaTime) -> CaptureTime {
        let of_frame = frame.meta.captured.unwrap_or_else(|| CaptureTime {
            at: self.settings.origin + frame.meta.pts.since(MediaTime::ZERO),
            clock: CaptureClock::Container,
            sigma_s: 3600.0,
        });
        CaptureTime {
            at: of_frame.at - frame.meta.pts.since(pts),
            ..of_frame
        }
    }

    /// Keeps the pictures of a track, and begins its clip where this is its first report.
    fn snapshots(&mut self, frame: &JudgedFrame, track: &Track, is_first: bool) -> Vec<Evidence> {
        let captured = self.captured(frame, frame.meta.pts);
        let stamp = captured.at.strftime("%Y%m%dT%H%M%S").to_string();
        let name = format!(
            "{}-{stamp}-{}-{}",
            file_word(self.settings.source.as_str()),
            track.id,
            track.class
        );
        let mut boxes = Annotation::of(frame);
        let mut fire = track.bbox;
        let picture = match self.keeper.larger(frame.meta.pts) {
            Some(larger) => {
                let across = larger.width as f32 / frame.picture.width.max(1) as f32;
                let down = larger.height as f32 / frame.picture.height.max(1) as f32;
                fire = fire.scaled(across, down);
                for annotation in &mut boxes {
                    annotation.bbox = annotation.bbox.scaled(across, down);
                }
                larger
            }
            None => frame.picture.clone(),
        };
        let mut evidence = Vec::new();
        if let Some(jpeg) = snapshot_jpeg(&picture, &boxes) {
            evidence.extend(self.keeper.keep(
                EvidenceKind::Snapshot,
                &format!("{name}.jpg"),
                &jpeg,
                captured,
            ));
        }
        if let Some(jpeg) = thumbnail_jpeg(&picture, &boxes, &fire, THUMBNAIL) {
            evidence.extend(self.keeper.keep(
                EvidenceKind::Thumbnail,
                &format!("{name}-small.jpg"),
                &jpeg,
                captured,
            ));
        }
        let burning = frame.tracks.iter().filter_map(|(track, verdict)| {
            let seen = track.seen?;
            (verdict.decision == Decision::Fire).then_some(Seen {
                class: track.class,
                bbox: seen.bbox,
            })
        });
        if let Some(jpeg) = clean_jpeg(&frame.picture, &burning.collect::<Vec<_>>()) {
            evidence.extend(self.keeper.keep(
                EvidenceKind::Frame,
                &format!("{name}-clean.jpg"),
                &jpeg,
                captured,
            ));
        }
        if is_first {
            self.keeper
                .begin_clip(&format!("{name}.mp4"), track.id, frame.meta.pts, captured);
        }
        if evidence.is_empty() {
            self.unpictured.insert(track.id);
        } else {
            self.unpictured.remove(&track.id);
        }
        evidence
    }

    /// Takes in a located frame and emits what is to be reported of it.
    pub fn report(&mut self, located: &LocatedFrame, emit: &mut dyn FnMut(TrackReport)) {
        let frame = &located.frame;
        let pts = frame.meta.pts;
        for ((track, verdict), place) in frame.tracks.iter().zip(&located.places) {
            if verdict.decision != Decision::Fire {
                continue;
            }
            let is_first = !self.reported.contains_key(&track.id);
            let is_due = self.reported.get(&track.id).is_none_or(|(last, _)| {
                pts.since(*last) >= self.settings.every || track.phase == TrackPhase::Ended
            });
            if !is_due {
                continue;
            }
            let evidence = if is_first || self.unpictured.contains(&track.id) {
                self.snapshots(frame, track, is_first)
            } else {
                Vec::new()
            };
            let report = TrackReport {
                source: self.settings.source.clone(),
                liveness: self.settings.liveness,
                mount: self.settings.mount,
                track: track.id,
                class: track.class,
                score: verdict.score,
                decision: verdict.decision,
                reason: verdict.reason.clone(),
                first_seen: self.captured(frame, track.first_pts),
                last_seen: self.captured(frame, track.last_pts),
                last_pts: track.last_pts,
                place: place.clone(),
                bbox: track.bbox,
                picture_size: (frame.picture.width, frame.picture.height),
                evidence,
                model: ModelTag::clone(&frame.model),
            };
            emit(report.clone());
            self.reported.insert(
                track.id,
                (
                    pts,
                    TrackReport {
                        evidence: Vec::new(),
                        ..report
                    },
                ),
            );
        }
        self.hand_on_clips(emit);
        self.reported
            .retain(|_, (last, _)| pts.since(*last) < Duration::from_mins(10));
        let reported = &self.reported;
        self.unpictured.retain(|track| reported.contains_key(track));
    }

    /// Reports the clips that were cut meanwhile.
    fn hand_on_clips(&mut self, emit: &mut dyn FnMut(TrackReport)) {
        for (track, clip) in self.keeper.clips() {
            if let Some((_, report)) = self.reported.get(&track) {
                emit(TrackReport {
                    evidence: vec![clip],
                    ..report.clone()
                });
            }
        }
    }
}

/// Replaces what does not belong into a file name.
pub(crate) fn file_word(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || "._-".contains(letter) {
                letter
            } else {
                '_'
            }
        })
        .collect()
}

impl Stage for Reporter {
    type In = LocatedFrame;
    type Out = TrackReport;

    fn process(&mut self, frame: LocatedFrame, emit: &mut Emit<'_, TrackReport>) -> Result<(), StageError> {
        self.report(&frame, &mut |report| emit.send(report));
        Ok(())
    }

    fn flush(&mut self, emit: &mut Emit<'_, TrackReport>) -> Result<(), StageError> {
        self.hand_on_clips(&mut |report| emit.send(report));
        Ok(())
    }
}
