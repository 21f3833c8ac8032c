//! The files of an analysis, written so that nothing half-written looks whole.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::flight::Flight;
use super::looks::{self, FrameLook};
use super::records::{FrameRecord, TrackRecord};
use crate::flow::event::Event;
use crate::flow::hash::hexadecimal;
use crate::flow::incident::Incident;
use crate::flow::track::JudgedFrame;
use crate::geo::links::Links;

/// Something could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}; choose another folder with --out or make room")]
pub struct OutputError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl OutputError {
    /// Makes an error about a file.
    pub fn new(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Returns the SHA-256 of a file in hexadecimal.
pub fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}

/// Writes a file under another name and gives it its own when it is whole and on disk.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|error| {
        // The partial file is of no use to anybody; that it cannot be removed either adds nothing.
        let _removed = std::fs::remove_file(&partial);
        OutputError::new("write", path, error)
    })
}

/// A file of lines that gets its name when it is whole.
struct Lines {
    path: PathBuf,
    partial: PathBuf,
    writer: BufWriter<File>,
}

impl Lines {
    fn create(path: PathBuf, before: &[u8]) -> Result<Self, OutputError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".part");
        let partial = PathBuf::from(partial);
        let create = || -> std::io::Result<BufWriter<File>> {
            let mut writer = BufWriter::new(File::create(&partial)?);
            writer.write_all(before)?;
            Ok(writer)
        };
        let writer = create().map_err(|error| OutputError::new("write", &partial, error))?;
        Ok(Self {
            path,
            partial,
            writer,
        })
    }

    fn line(&mut self, record: &impl Serialize) -> Result<(), OutputError> {
        let mut write = || -> std::io::Result<()> {
            serde_json::to_writer(&mut self.writer, record)?;
            self.writer.write_all(b"\n")
        };
        write().map_err(|error| OutputError::new("write", &self.partial, error))
    }

    fn finish(mut self) -> Result<(), OutputError> {
        let mut finish = || -> std::io::Result<()> {
            self.writer.flush()?;
            self.writer.get_ref().sync_all()?;
            std::fs::rename(&self.partial, &self.path)
        };
        finish().map_err(|error| OutputError::new("write", &self.path, error))
    }
}

/// What is written besides the lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras {
    /// Every frame that was looked at, with its boxes, as a picture.
    pub annotate: bool,
    /// What the verify stage was shown.
    pub looks: bool,
}

/// The output folder of a run.
pub struct Outputs {
    folder: PathBuf,
    detections: Lines,
    tracks: Lines,
    events: Lines,
    looks: Option<Lines>,
    features: Vec<serde_json::Value>,
    flights: Vec<(String, Flight)>,
    extras: Extras,
    annotated: Option<super::annotate::Annotator>,
    recording: String,
}

impl Outputs {
    /// Makes the folder and begins its files; lines of an earlier run that are to be kept come first.
    pub fn create(folder: &Path, extras: Extras, kept: &super::resume::Kept) -> Result<Self, OutputError> {
        let evidence = folder.join("evidence");
        std::fs::create_dir_all(&evidence)
            .map_err(|error| OutputError::new("make the folder", &evidence, error))?;
        Ok(Self {
            folder: folder.to_owned(),
            detections: Lines::create(folder.join("detections.jsonl"), &kept.detections)?,
            tracks: Lines::create(folder.join("tracks.jsonl"), &kept.tracks)?,
            events: Lines::create(folder.join("events.jsonl"), b"")?,
            looks: if extras.looks {
                Some(Lines::create(folder.join(looks::FILE), b"")?)
            } else {
                None
            },
            features: Vec::new(),
            flights: Vec::new(),
            extras,
            annotated: None,
            recording: String::new(),
        })
    }

    /// Returns the folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins the files of the next recording, whose evidence bears `name`.
    pub fn begin(&mut self, name: &str) {
        name.clone_into(&mut self.recording);
        self.annotated = None;
    }

    /// Writes a line of `detections.jsonl`.
    pub fn frame(&mut self, record: &FrameRecord) -> Result<(), OutputError> {
        self.detections.line(record)
    }

    /// Writes a line of `looks.jsonl`, where that file is wanted.
    pub fn look(&mut self, look: &FrameLook) -> Result<(), OutputError> {
        self.looks.as_mut().map_or(Ok(()), |lines| lines.line(look))
    }

    /// Writes a line of `tracks.jsonl`.
    pub fn track(&mut self, record: &TrackRecord) -> Result<(), OutputError> {
        self.tracks.line(record)
    }

    /// Adds a frame to the annotated video, where one is wanted.
    pub fn annotate(&mut self, frame: &JudgedFrame) -> Result<(), OutputError> {
        if !self.extras.annotate {
            return Ok(());
        }
        let path = self.folder.join(format!("{}.annotated.mp4", self.recording));
        if self.annotated.is_none() {
            self.annotated = Some(super::annotate::Annotator::new(&path));
        }
        self.annotated
            .as_mut()
            .map_or(Ok(()), |annotator| annotator.add(frame))
    }

    /// Writes a line of `events.jsonl`.
    pub fn event(&mut self, event: &Event) -> Result<(), OutputError> {
        self.events.line(event)
    }

    /// Notes an incident for `incidents.geojson`.
    pub fn place(&mut self, incident: &Incident) {
        let geometry = incident.position.as_ref().map(|position| {
            serde_json::json!({"type": "Point", "coordinates": [position.point.lon, position.point.lat]})
        });
        let links = incident
            .position
            .as_ref()
            .map(|position| Links::to(position.point, &incident.id.to_string(), Some(position.ce90_m)));
        self.features.push(serde_json::json!({
            "type": "Feature",
            "geometry": geometry,
            "properties": {
                "recording": self.recording,
                "incident": incident.id.to_string(),
                "class": incident.class,
                "confidence": incident.confidence,
                "first_seen": incident.first_seen,
                "last_seen": incident.last_seen,
                "position": incident.position,
                "bearing": incident.bearing,
                "links": links,
            },
        }));
    }

    /// Notes where the camera of the recording was, for `incidents.kml`.
    pub fn flight(&mut self, flight: &Flight) {
        self.flights.push((self.recording.clone(), flight.clone()));
    }

    /// Returns the name under which the evidence of the recording at hand is kept.
    #[must_use]
    pub fn recording(&self) -> &str {
        &self.recording
    }

    /// Ends the files of the recording.
    pub fn end(&mut self) -> Result<(), OutputError> {
        self.annotated
            .take()
            .map_or(Ok(()), super::annotate::Annotator::finish)
    }

    /// Gives the files of lines their names.
    pub fn finish(self) -> Result<PathBuf, OutputError> {
        self.detections.finish()?;
        self.tracks.finish()?;
        self.events.finish()?;
        self.looks.map_or(Ok(()), Lines::finish)?;
        let collection = serde_json::json!({"type": "FeatureCollection", "features": self.features});
        write_whole(
            &self.folder.join("incidents.geojson"),
            collection.to_string().as_bytes(),
        )?;
        write_whole(
            &self.folder.join("incidents.kml"),
            super::kml::kml(&self.flights).as_bytes(),
        )?;
        Ok(self.folder)
    }
}
