//! From a pipeline file to poses and grid of the service.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::lens::lens_of;
use crate::config::file::SourceSection;
use crate::config::place::{GridSection, YawFrame};
use crate::config::plan;
use crate::flow::pose::PoseProvider;
use crate::flow::position::Position;
use crate::flow::source::{Mount, SourceId};
use crate::geo::areas::Areas;
use crate::geo::{Assumptions, CameraModel, SensorCrop, Terrain};
use crate::pipeline::feed::{Feed, FeedOrigin, TieRule};
use crate::stages::incident::{GridAnswer, GridLookup, NoGrid};
use crate::stages::locate::{CameraChoice, LocateSettings};
use crate::telemetry::GimbalFrame;
use crate::telemetry::dji_cloud::DjiCloudSettings;
use crate::telemetry::dji_cloud_mqtt::DjiCloudBroker;
use crate::telemetry::fixed::PresetCamera;
use crate::telemetry::onvif_service::PtzService;
use crate::telemetry::open;
use crate::telemetry::timeline::poses_of;

/// The most bytes of a grid file that are read.
const LARGEST_GRID: u64 = 256 << 20;

/// Where a source is, and the ground that it sees.
#[derive(Clone)]
pub(crate) struct Placed {
    /// Tells where the camera was; none for a source without telemetry.
    pub poses: Option<Arc<dyn PoseProvider>>,
    /// Keeps the poses up to date while the source runs.
    pub feed: Option<Arc<Feed>>,
    terrain: Arc<Terrain>,
    crop: SensorCrop,
    lens: Option<CameraModel>,
}

impl Placed {
    /// Returns what the locate stage needs.
    pub(crate) fn settings(&self) -> LocateSettings {
        LocateSettings {
            poses: self.poses.clone(),
            camera: CameraChoice::FromPose {
                crop: self.crop,
                fallback: self.lens,
            },
            terrain: Arc::clone(&self.terrain),
            assumptions: Assumptions::default(),
            staying: crate::geo::fuse::StayingShares::default(),
            occluders: Vec::new(),
        }
    }
}

/// Reads the grid of a pipeline; one without cells where it names no file.
pub(crate) fn grid(section: Option<&GridSection>, pipeline: &Path) -> anyhow::Result<Box<dyn GridLookup>> {
    let Some(section) = section else {
        return Ok(Box::new(NoGrid));
    };
    let path = plan::beside(pipeline, &section.file);
    let unread = || format!("cannot read the grid file {}", path.display());
    let length = std::fs::metadata(&path).with_context(unread)?.len();
    anyhow::ensure!(
        length <= LARGEST_GRID,
        "the grid file {} has {length} bytes, at most {LARGEST_GRID} are expected",
        path.display()
    );
    let text = std::fs::read_to_string(&path).with_context(unread)?;
    let areas = Areas::from_geojson(&text, section.crs)
        .with_context(|| format!("cannot use the grid file {}", path.display()))?;
    for problem in areas.problems() {
        tracing::warn!(file = %path.display(), %problem, "the grid file is not sound");
    }
    tracing::info!(file = %path.display(), cells = areas.len(), "grid read");
    Ok(Box::new(move |position: &Position| grid_answer(&areas, position)))
}

/// Says who is responsible for a position. A cell that names no team gets the nearest, as the crow flies.
fn grid_answer(areas: &Areas, position: &Position) -> GridAnswer {
    let found = areas.jurisdiction(position);
    let nearest = areas
        .nearest_teams(position.point, 1)
        .first()
        .map(|(team, away_m)| {
            let contact = team
                .contact
                .as_deref()
                .map_or(String::new(), |contact| format!(", {contact}"));
            format!("{} ({:.1} km{contact})", team.name, away_m / 1_000.0)
        });
    let with_team = |mut cell: crate::flow::incident::GridCell| {
        cell.team = cell.team.or_else(|| nearest.clone());
        cell
    };
    GridAnswer {
        cell: found.cell.map(with_team),
        candidates: if found.candidates.len() > 1 {
            found
                .candidates
                .into_iter()
                .map(|candidate| with_team(candidate.cell))
                .collect()
        } else {
            Vec::new()
        },
    }
}

/// Says where a source's poses come from.
pub(crate) fn of_source(
    source: &SourceSection,
    pipeline: &Path,
    ground: Option<&Arc<Terrain>>,
) -> anyhow::Result<Placed> {
    let feed = feed_of(source, pipeline)?.map(Arc::new);
    let log = source
        .telemetry
        .as_deref()
        .filter(|telemetry| *telemetry != "stream" && !telemetry.contains("://"));
    let poses = match (&feed, log, source.camera) {
        (Some(feed), _, _) => Some(feed.poses()),
        (None, Some(log), _) => {
            let log = plan::beside(pipeline, Path::new(log));
            let log = open::open(&log, &open::Settings::default())?;
            let time = source.telemetry_time;
            Some(Arc::new(poses_of(&log, time.offset_s, time.sigma_s)) as Arc<dyn PoseProvider>)
        }
        (None, None, Some(camera)) => Some(Arc::new(camera) as Arc<dyn PoseProvider>),
        (None, None, None) => None,
    };
    let is_on_mast = source.mount == Mount::Fixed || source.camera.is_some() || source.ptz.is_some();
    let (flat, crop) = if is_on_mast {
        // Without terrain, the ground is level at the foot of the mast.
        (Terrain::flat_below_camera(), SensorCrop::Whole)
    } else {
        (Terrain::flat_at_takeoff(), SensorCrop::FullWidthOfFourThirds)
    };
    Ok(Placed {
        poses,
        feed,
        terrain: ground.map_or_else(|| Arc::new(flat), Arc::clone),
        crop,
        lens: source
            .lens
            .as_ref()
            .map(|lens| lens_of(lens).with_context(|| format!("source {:?}: lens", source.id)))
            .transpose()?,
    })
}

/// Makes the feed of a source whose telemetry comes while it runs.
fn feed_of(source: &SourceSection, pipeline: &Path) -> anyhow::Result<Option<Feed>> {
    let id = SourceId::new(&source.id);
    let rule = TieRule {
        offset_s: source.telemetry_time.offset_s,
        latency_s: source.telemetry_time.latency_s,
        sigma_s: source.telemetry_time.sigma_s,
    };
    let secret = |field: &str, text: Option<&String>| {
        text.map(|text| plan::secret(&format!("source {:?}: {field}", source.id), text, pipeline))
            .transpose()
    };
    if let Some(ptz) = &source.ptz {
        let user = secret("user", source.user.as_ref())?;
        let password = secret("password", source.password.as_ref())?;
        let credentials = user.map(|user| (user, password.unwrap_or_default()));
        let origin = FeedOrigin::Ptz {
            service: PtzService::new(&ptz.service, &ptz.profile, credentials, &ptz.tls)
                .with_context(|| format!("source {:?}: ptz", source.id))?,
            map: ptz.map.clone().map(Box::new),
            every: ptz.every(),
        };
        let camera = PresetCamera::new(ptz.mast, ptz.preset.clone());
        return Ok(Some(Feed::turning(id, origin, camera)));
    }
    if let Some(cloud) = &source.dji_cloud {
        let user = secret("dji_cloud.user", cloud.user.as_ref())?;
        let password = secret("dji_cloud.password", cloud.password.as_ref())?;
        let broker = DjiCloudBroker {
            host: cloud.host.clone(),
            port: cloud.port,
            client_id: format!("emberwatch-{}-{:08x}", source.id, rand::random::<u32>()),
            credentials: user.map(|user| (user, password.unwrap_or_default())),
            aircraft: cloud.aircraft.clone(),
            gateway: cloud.gateway.clone(),
            settings: DjiCloudSettings {
                gimbal_yaw: cloud.gimbal_yaw.map(|frame| match frame {
                    YawFrame::North => GimbalFrame::Earth,
                    YawFrame::Aircraft => GimbalFrame::Heading,
                }),
            },
        };
        return Ok(Some(Feed::moving(
            id,
            FeedOrigin::DjiCloud(Box::new(broker)),
            rule,
        )));
    }
    Ok(match source.telemetry.as_deref() {
        Some("stream") => Some(Feed::moving(id, FeedOrigin::Stream, rule)),
        Some(url) if url.contains("://") => Some(Feed::moving(id, FeedOrigin::Mavlink(url.to_owned()), rule)),
        _ => None,
    })
}
