//! From judged frames of a recording to incidents and events: the same stages as live, with the recording's own time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use super::flight::Flight;
use crate::flow::event::Event;
use crate::flow::incident::{Incident, IncidentId};
use crate::flow::pose::PoseProvider;
use crate::flow::report::{Evidence, EvidenceKind, TrackReport};
use crate::flow::source::{Liveness, Mount, SourceId};
use crate::flow::time::{CaptureTime, MediaTime};
use crate::flow::track::{JudgedFrame, TrackId};
use crate::geo::fuse::StayingShares;
use crate::geo::{Assumptions, CameraModel, SensorCrop, Terrain};
use crate::pipeline::keeper::FolderKeeper;
use crate::stages::incident::{Ids, IncidentBook, IncidentConfig, NoGrid};
use crate::stages::locate::{CameraChoice, LocateSettings, Locator};
use crate::stages::report::{EvidenceKeeper, ReportSettings, Reporter};
use crate::telemetry::calibrator::{Calibrator, ToldCalibration};
use crate::telemetry::open::{Settings, beside_or_inside};
use crate::telemetry::timeline::{TimeTie, poses_of};
use crate::telemetry::{LogTime, TimelineProvider};

/// Follows one recording from frames to incidents.
pub struct Cases {
    locator: Locator,
    reporter: Reporter,
    book: IncidentBook,
    /// The incidents as they stand.
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// What would have left the program, in order.
    pub events: Vec<Event>,
    /// Alarms of which a clip is wanted.
    pub clips: Vec<WantedClip>,
    wanted: Arc<std::sync::Mutex<Vec<WantedClip>>>,
    /// Where the telemetry was found; none for a recording without.
    pub telemetry: Option<PathBuf>,
    /// Who answers for the camera's poses; none for a recording without.
    pub poses: Option<Arc<dyn PoseProvider>>,
    /// What the recording shows of its poses' views.
    pub camera: CameraChoice,
    told: Option<Told>,
    calibrator: Calibrator,
    /// Where the camera was and what it saw.
    pub flight: Flight,
}

/// A clip that is to be cut out of the recording.
#[derive(Clone, Debug)]
pub struct WantedClip {
    /// Its file name.
    pub name: String,
    /// The moment of the alarm.
    pub alarm: MediaTime,
    /// When the frame of that moment was taken.
    pub captured: CaptureTime,
}

/// Keeps pictures at once, and notes which clips are wanted: they are cut when the recording has been read.
struct PictureKeeper {
    folder: FolderKeeper,
    wanted: Arc<std::sync::Mutex<Vec<WantedClip>>>,
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

    fn begin_clip(&mut self, name: &str, _track: TrackId, alarm: MediaTime, captured: CaptureTime) {
        self.wanted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(WantedClip {
                name: name.to_owned(),
                alarm,
                captured,
            });
    }

    fn clips(&mut self) -> Vec<(TrackId, Evidence)> {
        Vec::new()
    }
}

/// The telemetry of a recording and its tie.
struct Told {
    path: PathBuf,
    poses: TimelineProvider,
    /// The tie that is assumed where the telemetry has a clock of its own; none where it has the video's.
    assumed: Option<TimeTie>,
    /// The wide camera of a drone that the telemetry names.
    named: Option<CameraModel>,
}

/// Returns the poses of a recording, from the telemetry beside or inside it.
fn poses(recording: &Path) -> Option<Told> {
    let (path, log) = match beside_or_inside(recording, &Settings::default()) {
        Ok(found) => found?,
        Err(why) => {
            warn!(recording = %recording.display(), %why, "the telemetry cannot be read: fires get no place");
            return None;
        }
    };
    let poses = poses_of(&log, 0.0, None);
    let assumed = (log.clock != LogTime::Media).then(|| poses.tie());
    let named = log
        .named_camera()
        .and_then(|entry| entry.model(1_920, 1_080).ok());
    Some(Told {
        path,
        poses,
        assumed,
        named,
    })
}

impl Cases {
    /// Begins with a recording whose evidence goes to `evidence` under names that begin with `name`.
    ///
    /// Ids are made from `seed`, so that the same recording gives the same events. `lens` serves telemetry that tells
    /// none.
    pub fn new(
        recording: &Path,
        name: &str,
        evidence: &Path,
        mount: Mount,
        seed: u64,
        ground: Option<Arc<Terrain>>,
        lens: Option<CameraModel>,
    ) -> Result<Self, String> {
        let found = poses(recording);
        let camera = CameraChoice::FromPose {
            crop: SensorCrop::FullWidthOfFourThirds,
            fallback: lens.or_else(|| found.as_ref()?.named),
        };
        let telemetry = found.as_ref().map(|told| told.path.clone());
        let poses = found
            .as_ref()
            .map(|told| Arc::new(told.poses.clone()) as Arc<dyn PoseProvider>);
        let locator = Locator::new(LocateSettings {
            poses: poses.clone(),
            camera,
            terrain: ground.unwrap_or_else(|| Arc::new(Terrain::flat_at_takeoff())),
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
                every: std::time::Duration::from_secs(2),
                origin,
            },
            Box::new(keeper),
        );
        let book = IncidentBook::new(IncidentConfig::default(), Box::new(NoGrid), Ids::seeded(seed))
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
            poses,
            camera,
            told: found,
            calibrator: Calibrator::default(),
            flight: Flight::default(),
        })
    }

    /// Takes in the next judged frame; returns the small pictures of new alarms, as file names.
    pub fn take(&mut self, frame: JudgedFrame) -> Vec<String> {
        self.calibrate(&frame);
        let size = (frame.picture.width, frame.picture.height);
        let located = self.locator.place(frame);
        if let Some(position) = located.pose.as_ref().and_then(|pose| pose.position) {
            let at = located.frame.meta.pts;
            let corners = self.flight.add(at.as_secs_f64(), position);
            if corners {
                self.footprint(at, size);
            }
        }
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

    /// Ties the telemetry to the picture by what both show of a pan, where nothing else ties them.
    fn calibrate(&mut self, frame: &JudgedFrame) {
        let Some((poses, assumed)) = self
            .told
            .as_ref()
            .and_then(|told| Some((&told.poses, told.assumed?)))
        else {
            return;
        };
        let (at_s, right_px) = (frame.meta.pts.as_secs_f64(), f64::from(frame.motion.0));
        if self.calibrator.frame(at_s, right_px, poses, assumed).is_some() {
            poses.set_tie(self.calibrator.tie(assumed));
        }
    }

    /// Returns how the telemetry's clock was tied to the video's; none where that was not needed or could not be found.
    #[must_use]
    pub fn calibration(&self) -> Option<ToldCalibration> {
        self.calibrator.told()
    }

    /// Notes what ground the picture shows, where all its corners meet the ground.
    fn footprint(&mut self, at: MediaTime, size: (u32, u32)) {
        let (right, low) = (f64::from(size.0) - 0.5, f64::from(size.1) - 0.5);
        let corners: Vec<_> = [(0.5, 0.5), (right, 0.5), (right, low), (0.5, low)]
            .into_iter()
            .filter_map(|pixel| self.locator.pixel(pixel, at, size).outcome.ok())
            .map(|position| position.point)
            .collect();
        if corners.len() == 4 {
            self.flight.footprints.push(corners);
        }
    }
}
