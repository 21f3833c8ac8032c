//! What a pipeline file means: every value resolved, every default filled in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{MaskSection, MaskWord, PipelineFile, SourceSection};
use super::problem::Problem;
use crate::flow::source::{Liveness, Mount, SourceId};
use crate::stages::blank::Blank;
use crate::stages::ingest::{Credentials, Location, SourceSpec};
use crate::stages::sample::{Rate, Rates};
use crate::stages::verify::mask::{Mask, MaskKind};

/// Frames a second looked at in watch where the file says nothing.
const FIXED_RATE: f64 = 2.0;
/// The same for cameras that move: a plume is in the picture for a shorter time.
const MOVING_RATE: f64 = 5.0;

/// Adds what only the meaning shows to `problems`.
pub(super) fn find_problems(file: &PipelineFile, path: &Path, problems: &mut Vec<Problem>) {
    if let Err(found) = file.incidents.check() {
        problems.extend(
            found
                .0
                .into_iter()
                .map(|what| Problem::new("incidents", what, "")),
        );
    }
    let mut names = BTreeSet::new();
    for (index, sink) in file.sink.iter().enumerate() {
        if !names.insert(sink.name.as_str()) {
            problems.push(Problem::new(
                format!("sink[{index}].name"),
                format!("{:?} is used twice", sink.name),
                "give each sink its own name",
            ));
        }
    }
    for (number, terrain) in file.terrain.files.iter().enumerate() {
        check_file(&format!("terrain.files[{number}]"), terrain, path, problems);
    }
    if let Some(grid) = &file.grid {
        check_file("grid.file", &grid.file, path, problems);
    }
    let mut ids = BTreeSet::new();
    for (index, source) in file.source.iter().enumerate() {
        let at = |field: &str| format!("source[{index}].{field}");
        if !ids.insert(source.id.as_str()) {
            problems.push(Problem::new(
                at("id"),
                format!("{:?} is used twice", source.id),
                "give each source its own id",
            ));
        }
        if !source
            .id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        {
            problems.push(Problem::new(
                at("id"),
                format!(
                    "{:?} holds other characters than letters, digits, `.`, `_` and `-`",
                    source.id
                ),
                "the id becomes part of file names and topics",
            ));
        }
        for (field, url) in [
            ("url", Some(&source.url)),
            ("detect_url", source.detect_url.as_ref()),
        ] {
            let Some(url) = url else { continue };
            check_url(&at(field), url, source, path, problems);
        }
        for (field, text) in [("user", &source.user), ("password", &source.password)] {
            if let Some(Err(problem)) = text.as_ref().map(|text| secret(&at(field), text, path)) {
                problems.push(problem);
            }
        }
        if source
            .password
            .as_ref()
            .is_some_and(|text| !text.starts_with("${") && !text.starts_with("file:"))
        {
            problems.push(Problem::new(
                at("password"),
                "a password stands in the file",
                "write \"${NAME}\" and set NAME in the environment, or \"file:PATH\"",
            ));
        }
        check_poses(&at, source, path, problems);
        for (number, mask) in source.mask.iter().enumerate() {
            if mask
                .corners
                .iter()
                .flatten()
                .any(|share| !(0.0..=1.0).contains(share))
            {
                problems.push(Problem::new(
                    at(&format!("mask[{number}].corners")),
                    "a corner lies outside the picture",
                    "write shares of width and height from 0 to 1",
                ));
            }
            check_preset(&at(&format!("mask[{number}].preset")), source, mask, problems);
        }
    }
}

/// Looks whether the preset at which a mask holds is one of the camera's.
fn check_preset(at: &str, source: &SourceSection, mask: &MaskSection, problems: &mut Vec<Problem>) {
    let Some(preset) = &mask.preset else { return };
    if mask.kind == MaskWord::Privacy {
        problems.push(Problem::new(
            at,
            "a private part of one preset would be seen while the camera turns there",
            "leave preset out: it is blanked at every one",
        ));
        return;
    }
    let known: Vec<&str> = source
        .ptz
        .iter()
        .flat_map(|ptz| &ptz.preset)
        .map(|preset| preset.name.as_str())
        .collect();
    if !known.contains(&preset.as_str()) {
        problems.push(Problem::new(
            at,
            format!("there is no preset {preset:?}, expected one of {known:?}"),
            "survey it under ptz.preset, or leave preset out",
        ));
    }
}

/// Says where a file that is named does not exist.
fn check_file(at: &str, file: &Path, pipeline: &Path, problems: &mut Vec<Problem>) {
    let full = beside(pipeline, file);
    if !full.try_exists().unwrap_or(false) {
        problems.push(Problem::new(
            at,
            format!("there is no file {}", full.display()),
            "give a path relative to the pipeline file",
        ));
    }
}

/// Looks at what tells where a source was: one way at most, and each value sound.
fn check_poses(
    at: &dyn Fn(&str) -> String,
    source: &SourceSection,
    path: &Path,
    problems: &mut Vec<Problem>,
) {
    let ways: Vec<&str> = [
        ("camera", source.camera.is_some()),
        ("telemetry", source.telemetry.is_some()),
        ("ptz", source.ptz.is_some()),
        ("dji_cloud", source.dji_cloud.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, is_there)| is_there.then_some(name))
    .collect();
    if let [first, second, ..] = ways.as_slice() {
        problems.push(Problem::new(
            at(second),
            format!("the source has {first} and {second}, which both say where it is"),
            "keep one of them",
        ));
    }
    if let Some(telemetry) = &source.telemetry {
        if let Some((scheme, address)) = telemetry.split_once("://") {
            let has_port = address
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            if !matches!(scheme, "udp" | "tcp") || !has_port {
                problems.push(Problem::new(
                    at("telemetry"),
                    format!("{telemetry:?} is not understood"),
                    "write \"stream\", \"udp://:PORT\", \"tcp://HOST:PORT\" or a path",
                ));
            }
        } else if telemetry != "stream" {
            check_file(&at("telemetry"), Path::new(telemetry), path, problems);
        }
    }
    if let Some(ptz) = &source.ptz {
        match crate::telemetry::onvif_service::PtzService::parse_url(&ptz.service) {
            Err(error) => problems.push(Problem::new(
                at("ptz.service"),
                error.to_string(),
                "mend the address; user and password stand in the source's own fields",
            )),
            Ok(url) if url.scheme() == "https" => {
                if let Err(error) = ptz.tls.build() {
                    problems.push(Problem::new(
                        at("ptz.tls"),
                        error.to_string(),
                        "name the PEM file of the authority that signed the camera's certificate as ptz.tls.ca",
                    ));
                }
            }
            Ok(_) => {}
        }
        if ptz.map.is_none() && ptz.preset.is_empty() {
            problems.push(Problem::new(
                at("ptz"),
                "neither map nor preset is there: the camera would never have a direction",
                "survey a preset, or give the map of its pan and tilt",
            ));
        }
    }
    if let Some(cloud) = &source.dji_cloud {
        for (field, text) in [("user", &cloud.user), ("password", &cloud.password)] {
            if let Some(Err(problem)) = text
                .as_ref()
                .map(|text| secret(&at(&format!("dji_cloud.{field}")), text, path))
            {
                problems.push(problem);
            }
        }
        let is_plain = |text: &String| !text.starts_with("${") && !text.starts_with("file:");
        if cloud.password.as_ref().is_some_and(is_plain) {
            problems.push(Problem::new(
                at("dji_cloud.password"),
                "a password stands in the file",
                "write \"${NAME}\" and set NAME in the environment, or \"file:PATH\"",
            ));
        }
    }
    if source.camera.is_some() && source.mount == Mount::Moving {
        problems.push(Problem::new(
            at("camera"),
            "a camera that stands still is given for a source that moves",
            "write mount = \"fixed\", or give its telemetry",
        ));
    }
}

fn check_url(at: &str, url: &str, source: &SourceSection, path: &Path, problems: &mut Vec<Problem>) {
    match Location::parse(url) {
        Err(error) => problems.push(Problem::new(at, error.to_string(), "mend the address")),
        Ok((_, Some(_))) => problems.push(Problem::new(
            at,
            "the address holds a user or a password",
            "write them as user = and password = \"${NAME}\"",
        )),
        Ok((Location::File(file), None)) => {
            let full = beside(path, &file);
            if !full.try_exists().unwrap_or(false) {
                problems.push(Problem::new(
                    at,
                    format!("there is no file {}", full.display()),
                    "give a path relative to the pipeline file, or an address with ://",
                ));
            }
            if source.kind == Liveness::Live {
                problems.push(Problem::new(
                    at,
                    "a file is not live",
                    "write kind = \"recorded\"",
                ));
            }
        }
        Ok(_) => {}
    }
}

/// Returns `file` relative to the folder of the pipeline file.
pub(crate) fn beside(pipeline: &Path, file: &Path) -> PathBuf {
    pipeline
        .parent()
        .map_or_else(|| file.to_owned(), |folder| folder.join(file))
}

/// Resolves `"${NAME}"` from the environment and `"file:PATH"` from a file; other text stays as it is.
pub(crate) fn secret(at: &str, text: &str, pipeline: &Path) -> Result<String, Problem> {
    if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        return std::env::var(name).map_err(|_missing| {
            Problem::new(
                at,
                format!("the environment has no {name}"),
                format!("set {name} before starting"),
            )
        });
    }
    if let Some(file) = text.strip_prefix("file:") {
        let full = beside(pipeline, Path::new(file));
        return std::fs::read_to_string(&full)
            .map(|secret| secret.trim_end().to_owned())
            .map_err(|error| {
                Problem::new(
                    at,
                    format!("{} cannot be read: {error}", full.display()),
                    "write the secret there",
                )
            });
    }
    Ok(text.to_owned())
}

impl SourceSection {
    /// Returns the rates at which this source's frames are looked at.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let quiet = match self.mount {
            Mount::Fixed => FIXED_RATE,
            Mount::Moving => MOVING_RATE,
        };
        Rates {
            watch: Rate::PerSecond(self.rate.unwrap_or(quiet)),
            alarm: self.alarm_rate.map_or(Rate::All, Rate::PerSecond),
        }
    }

    /// Returns the masks as the verify stage uses them.
    #[must_use]
    pub fn masks(&self) -> Vec<Mask> {
        self.mask.iter().filter_map(MaskSection::meaning).collect()
    }

    /// Returns the parts of the picture that nobody may see.
    #[must_use]
    pub fn privacy(&self) -> Vec<Blank> {
        self.mask
            .iter()
            .filter(|mask| mask.kind == MaskWord::Privacy)
            .map(|mask| Blank {
                corners: mask.corners.iter().map(|[x, y]| (*x, *y)).collect(),
            })
            .collect()
    }
}

impl MaskSection {
    /// Returns the mask of verdicts that it is; none for a private part, in which there is nothing to judge.
    fn meaning(&self) -> Option<Mask> {
        let kind = match self.kind {
            MaskWord::Ignore => MaskKind::Ignore,
            MaskWord::KnownSource => MaskKind::KnownSource,
            MaskWord::Privacy => return None,
        };
        Some(Mask {
            name: self.name.clone(),
            kind,
            preset: self.preset.clone(),
            corners: self.corners.iter().map(|[x, y]| (*x, *y)).collect(),
        })
    }
}

/// Returns how a source is opened.
pub fn spec(source: &SourceSection, pipeline: &Path) -> Result<SourceSpec, Problem> {
    let at = |field: &str| format!("source {:?}: {field}", source.id);
    let locate = |field: &str, url: &str| {
        let (location, _) = Location::parse(url)
            .map_err(|error| Problem::new(at(field), error.to_string(), "mend the address"))?;
        Ok(match location {
            Location::File(file) => Location::File(beside(pipeline, &file)),
            other => other,
        })
    };
    let id = SourceId::new(&source.id);
    let location = locate("url", &source.url)?;
    let mut spec = match source.kind {
        Liveness::Live => SourceSpec::live(id, location),
        Liveness::Recorded => SourceSpec::recorded(id, location),
    };
    spec.detect = source
        .detect_url
        .as_deref()
        .map(|url| locate("detect_url", url))
        .transpose()?;
    spec.transport = source.transport;
    spec.latency = Duration::from_millis(source.latency_ms);
    spec.decoder = source.decoder;
    spec.max_staleness = Duration::from_millis(source.staleness_ms);
    spec.key_frame_bound = Duration::from_secs_f64(source.key_frame_bound_s);
    if let Some(user) = &source.user {
        let user = secret(&at("user"), user, pipeline)?;
        let password = source.password.as_deref().map_or_else(
            || Ok(String::new()),
            |password| secret(&at("password"), password, pipeline),
        )?;
        spec.credentials = Some(Credentials::new(user, password));
    }
    Ok(spec)
}
