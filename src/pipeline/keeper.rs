//! Keeps evidence on disk: pictures at once, clips when they are whole.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tracing::{error, warn};

use crate::flow::frame::Picture;
use crate::flow::hash::hexadecimal;
use crate::flow::pose::PoseProvider;
use crate::flow::report::{Evidence, EvidenceKind};
use crate::flow::time::{CaptureTime, MediaTime};
use crate::flow::track::TrackId;
use crate::stages::evidence::clip::{cut_clip, located_clip};
use crate::stages::evidence::ring::{Clip, ClipRing};
use crate::stages::evidence::still::decode_still;
use crate::stages::locate::CameraChoice;
use crate::stages::report::EvidenceKeeper;

/// Keeps the evidence of one source in a folder.
pub struct FolderKeeper {
    folder: PathBuf,
    ring: Option<ClipRing>,
    /// Whether the ring holds a larger stream than the one that is looked at.
    is_larger: bool,
    begun: BTreeMap<String, (TrackId, CaptureTime)>,
    poses: Option<(Arc<dyn PoseProvider>, CameraChoice)>,
}

impl FolderKeeper {
    /// Keeps files in `folder`, which exists; with a ring, clips too.
    #[must_use]
    pub fn new(folder: PathBuf, ring: Option<ClipRing>) -> Self {
        Self {
            folder,
            ring,
            is_larger: false,
            begun: BTreeMap::new(),
            poses: None,
        }
    }

    /// Writes each clip once more with where the camera was and looked, for viewers that show that.
    #[must_use]
    pub fn with_poses(mut self, poses: Option<Arc<dyn PoseProvider>>, camera: CameraChoice) -> Self {
        self.poses = poses.map(|poses| (poses, camera));
        self
    }

    /// Writes the located twin of a clip that was cut, where poses are known.
    fn located(&self, clip: &Clip, captured: CaptureTime) -> Option<Evidence> {
        let (poses, camera) = self.poses.as_ref()?;
        let path = self.folder.join(&clip.name);
        let written = located_clip(clip, &path, captured.at, poses.as_ref(), camera)
            .inspect_err(
                |why| error!(path = %path.display(), %why, "a clip could not be written with telemetry"),
            )
            .ok()??;
        let name = written.file_name()?.to_string_lossy().into_owned();
        self.index(EvidenceKind::Clip, &name, captured)
            .inspect_err(|why| error!(path = %written.display(), %why, "a clip cannot be read back"))
            .ok()
    }

    /// Keeps files in `folder`; clips and snapshots come from the packets of a larger stream in `ring`.
    #[must_use]
    pub fn of_larger(folder: PathBuf, ring: ClipRing) -> Self {
        Self {
            is_larger: true,
            ..Self::new(folder, Some(ring))
        }
    }

    fn index(&self, kind: EvidenceKind, name: &str, captured: CaptureTime) -> std::io::Result<Evidence> {
        let bytes = std::fs::read(self.folder.join(name))?;
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        Ok(Evidence {
            kind,
            name: name.to_owned(),
            sha256,
            bytes: bytes.len() as u64,
            captured,
        })
    }
}

impl EvidenceKeeper for FolderKeeper {
    fn keep(
        &mut self,
        kind: EvidenceKind,
        name: &str,
        bytes: &[u8],
        captured: CaptureTime,
    ) -> Option<Evidence> {
        let (path, partial) = (self.folder.join(name), self.folder.join(format!("{name}.part")));
        let write = || {
            std::fs::write(&partial, bytes)?;
            std::fs::rename(&partial, &path)?;
            self.index(kind, name, captured)
        };
        write()
            .inspect_err(
                |why| error!(path = %path.display(), %why, "evidence could not be written: look at the disk"),
            )
            .ok()
    }

    fn larger(&mut self, at: MediaTime) -> Option<Picture> {
        let ring = self.ring.as_ref().filter(|_| self.is_larger)?;
        decode_still(&ring.packets_to(at), at)
            .inspect_err(
                |why| warn!(%why, "the snapshot shows the small stream: the large one gave no picture"),
            )
            .ok()
    }

    fn begin_clip(&mut self, name: &str, track: TrackId, alarm: MediaTime, captured: CaptureTime) {
        if self.ring.as_ref().is_some_and(|ring| ring.begin(name, alarm)) {
            self.begun.insert(name.to_owned(), (track, captured));
        }
    }

    fn clips(&mut self) -> Vec<(TrackId, Evidence)> {
        let whole = self.ring.as_ref().map(ClipRing::take_whole).unwrap_or_default();
        let mut cut = Vec::new();
        for clip in whole {
            let Some((track, captured)) = self.begun.remove(&clip.name) else {
                continue;
            };
            let before = clip
                .start()
                .map_or(Duration::ZERO, |start| clip.alarm.since(start));
            let captured = CaptureTime {
                at: captured.at - before,
                ..captured
            };
            let path = self.folder.join(&clip.name);
            match cut_clip(&clip, &path) {
                Ok(_) => match self.index(EvidenceKind::Clip, &clip.name, captured) {
                    Ok(evidence) => {
                        cut.push((track, evidence));
                        cut.extend(self.located(&clip, captured).map(|evidence| (track, evidence)));
                    }
                    Err(why) => error!(path = %path.display(), %why, "a clip cannot be read back"),
                },
                Err(why) => error!(path = %path.display(), %why, "a clip could not be cut"),
            }
        }
        cut
    }
}
