//! From judged frames of a recording to incidents and events: the same stages as live, with the recording's own time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use crate::flow::event::Event;
use crate::flow::incident::{Incident, IncidentId};
use crate::flow::pose::PoseProvider;
use crate::flow::report::{Evidence, EvidenceKind, ModelTag, TrackReport};
use crate::flow::source::{Liveness, Mount, SourceId};
use crate::flow::time::{CaptureTime, MediaTime};
use crate::flow::track::{JudgedFrame, TrackId};
use crate::geo::fuse::StayingShares;
use crate::geo::{Assumptions, SensorCrop, Terrain};
use crate::pipeline::keeper::FolderKeeper;
use crate::stages::incident::{Ids, IncidentBook, IncidentConfig, NoGrid, WeightedFusion};
use crate::stages::locate::{CameraChoice, LocateSettings, Locator};
use crate::stages::report::{EvidenceKeeper, ReportSettings, Reporter};
use crate::telemetry::open::{Settings, beside_or_inside};
use crate::telemetry::timeline::TimeTie;
use crate::telemetry::{LogTime, TelemetryLog, Timeline, TimelineProvider};

/// Follows one recording from frames to incidents.
pub struct Cases {
    locator: Locator,
    reporter: Reporter,
    book: IncidentBook,
    /// The incidents as they stand.
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// What would have left the program, in order.
    pub events: Vec<Event>,
    /// Alarms of which a clip is wanted: file name and moment.
    pub clips: Vec<(String, MediaTime)>,
    wanted: Arc<std::sync::Mutex<Vec<(String, MediaTime)>>>,
    /// Where the telemetry was found; none for a recording without.
    pub telemetry: Option<PathBuf>,
}

/// Keeps pictures at once, and notes which clips are wanted: they are cut when the recording has been read.
struct PictureKeeper {
    folder: FolderKeeper,
    wanted: Arc<std::sync::Mutex<Vec<(String, MediaTime)>>>,
}

impl EvidenceKeeper for PictureKeeper {
    fn keep(
        &mut self,
        kind: EvidenceKind,
        name: &str,
        bytes: &[u8],
        captured: CaptureTime,
    ) -> Option<Evidence> {
        self.folder.keep(kind, name, bytes, captured)
    }

    fn begin_clip(&mut self, name: &str, _track: TrackId, alarm: MediaTime, _captured: CaptureTime) {
        self.wanted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push((name.to_owned(), alarm));
    }

    fn clips(&mut self) -> Vec<(TrackId, Evidence)> {
        Vec::new()
    }
}

/// Returns the poses that a log tells; one on another clock than the video's is taken to begin with it.
pub(crate) fn poses_of(log: &TelemetryLog) -> Arc<dyn PoseProvider> {
    let timeline = Timeline::of(log);
    let offset_s = match log.clock {
        LogTime::Media => 0.0,
        _ => timeline.span_s().map_or(0.0, |(first, _)| first),
    };
    let tie = TimeTie {
        offset_s,
        sigma_s: (log.clock == LogTime::Media).then_some(0.02),
    };
    Arc::new(TimelineProvider::new(timeline, tie))
}

/// Returns the poses of a recording, from the telemetry beside or inside it.
fn poses(recording: &Path) -> Option<(PathBuf, Arc<dyn PoseProvider>)> {
    let (path, log) = match beside_or_inside(recording, &Settings::default()) {
        Ok(found) => found?,
        Err(why) => {
            warn!(recording = %recording.display(), %why, "the telemetry cannot be read: fires get no place");
            return None;
        }
    };
    Some((path, poses_of(&log)))
}

impl Cases {
    /// Begins with a recording whose evidence goes to `evidence` under names that begin with `name`.
    ///
    /// Ids are made from `seed`, so that the same recording gives the same events.
    pub fn new(
        recording: &Path,
        name: &str,
        evidence: &Path,
        mount: Mount,
        model: ModelTag,
        seed: u64,
    ) -> Result<Self, String> {
        let found = poses(recording);
        let telemetry = found.as_ref().map(|(path, _)| path.clone());
        let locator = Locator::new(LocateSettings {
            poses: found.map(|(_, poses)| poses),
            camera: CameraChoice::FromPose {
                crop: SensorCrop::FullWidthOfFourThirds,
                fallback: None,
            },
            terrain: Arc::new(Terrain::flat_at_takeoff()),
            assumptions: Assumptions::default(),
            staying: StayingShares::default(),
            occluders: Vec::new(),
        });
        let wanted = Arc::default();
        let keeper = PictureKeeper {
            folder: FolderKeeper::new(evidence.to_owned(), None),
            wanted: Arc::clone(&wanted),
        };
        let modified = std::fs::metadata(recording)
            .and_then(|metadata| metadata.modified())
            .ok();
        let origin = modified
            .and_then(|time| Timestamp::try_from(time).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        let reporter = Reporter::new(
            ReportSettings {
                source: SourceId::new(name),
                liveness: Liveness::Recorded,
                mount,
                model,
                every: std::time::Duration::from_secs(2),
                origin,
            },
            Box::new(keeper),
        );
        let book = IncidentBook::new(
            IncidentConfig::default(),
            Box::new(NoGrid),
            Box::new(WeightedFusion),
            Ids::seeded(seed),
        )
        .map_err(|problems| problems.to_string())?;
        Ok(Self {
            locator,
            reporter,
            book,
            incidents: BTreeMap::new(),
            events: Vec::new(),
            clips: Vec::new(),
            wanted,
            telemetry,
        })
    }

    /// Takes in the next judged frame; returns the small pictures of new alarms, as file names.
    pub fn take(&mut self, frame: JudgedFrame) -> Vec<String> {
        let located = self.locator.place(frame);
        let mut reports: Vec<TrackReport> = Vec::new();
        self.reporter.report(&located, &mut |report| reports.push(report));
        let mut pictures = Vec::new();
        for report in reports {
            let thumbnails = report
                .evidence
                .iter()
                .filter(|evidence| evidence.kind == EvidenceKind::Thumbnail);
            pictures.extend(thumbnails.map(|evidence| evidence.name.clone()));
            for change in self.book.process(&report, report.last_seen.at) {
                self.events.extend(change.events);
                self.incidents.insert(change.incident.id, change.incident);
            }
        }
        let mut wanted = self
            .wanted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.clips.append(&mut wanted);
        drop(wanted);
        pictures
    }
}
