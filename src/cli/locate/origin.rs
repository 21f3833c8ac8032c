//! Where a question's pose and time come from: telemetry, a pipeline's fixed camera, and what is seen of the video.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::LocateArgs;
use crate::config::file::PipelineFile;
use crate::telemetry::calibrator::{SEARCH_S, ToldCalibration, calibrate};
use crate::telemetry::open::{self, Settings};
use crate::telemetry::timeline::poses_of;
use crate::telemetry::{Gimbal, GimbalFrame, LogTime, TelemetryLog, TelemetrySample};

/// Reads the telemetry that was named, or that lies beside or inside the video.
pub(super) fn telemetry(args: &LocateArgs, settings: &Settings) -> anyhow::Result<TelemetryLog> {
    if let Some(path) = args.telemetry.as_ref().or(args.photo.as_ref()) {
        return Ok(open::open(path, settings)?);
    }
    let video: &Path = args
        .video
        .as_deref()
        .context("a photo, --telemetry or --video is expected")?;
    match open::beside_or_inside(video, settings)? {
        Some((_, log)) => Ok(log),
        None => bail!(
            "no telemetry lies beside or inside {}: NAME.SRT, .klv, .tlog, .csv or .gpx, or a subtitle track, is expected; name it with --telemetry",
            video.display()
        ),
    }
}

/// What was seen of the video, where one was given.
#[derive(Debug, Default)]
pub(super) struct SeenVideo {
    pub(super) size: Option<(u32, u32)>,
    pub(super) frame_s: Option<f64>,
    pub(super) motion: Vec<(f64, f64)>,
}

/// Looks at the video for what the question needs of it.
#[cfg(feature = "video")]
pub(super) fn seen_of_video(args: &LocateArgs, log: &TelemetryLog) -> anyhow::Result<SeenVideo> {
    use crate::cli::video_look::{Wanted, look};
    let Some(video) = &args.video else {
        return Ok(SeenVideo::default());
    };
    let is_size_known = args.size.or(log.picture_px).is_some();
    let frame = args.frame.filter(|_| args.fps.is_none());
    if is_size_known && frame.is_none() && !args.calibrate_time {
        return Ok(SeenVideo::default());
    }
    let wanted = Wanted {
        frame,
        motion: args.calibrate_time,
    };
    let seen = look(video, wanted)?;
    Ok(SeenVideo {
        size: Some(seen.size),
        frame_s: seen.frame_s,
        motion: seen.motion.curve(),
    })
}

/// Without GStreamer, nothing is seen of a video.
#[cfg(not(feature = "video"))]
pub(super) fn seen_of_video(args: &LocateArgs, _log: &TelemetryLog) -> anyhow::Result<SeenVideo> {
    if args.calibrate_time || (args.frame.is_some() && args.fps.is_none()) {
        bail!("this build reads no video: give --fps or --time-offset, or build with the feature `video`");
    }
    Ok(SeenVideo::default())
}

/// Finds the offset of telemetry's clock; none where the telemetry has the video's own time.
pub(super) fn calibration(log: &TelemetryLog, seen: &SeenVideo) -> anyhow::Result<Option<ToldCalibration>> {
    if log.clock == LogTime::Media {
        return Ok(None);
    }
    let poses = poses_of(log, 0.0, None);
    let found = calibrate(&seen.motion, &poses, poses.tie(), SEARCH_S)?;
    let last_s = seen.motion.last().map_or(found.at_s, |(last_s, _)| *last_s);
    Ok(Some(ToldCalibration {
        found,
        age_s: (last_s - found.at_s).max(0.0),
    }))
}

/// Returns the one record that a fixed camera of a pipeline amounts to.
pub(super) fn camera_of_pipeline(
    pipeline: &Path,
    file: &PipelineFile,
    source: &str,
    preset: Option<&str>,
) -> anyhow::Result<TelemetryLog> {
    let known = || -> String {
        let ids: Vec<&str> = file.source.iter().map(|source| source.id.as_str()).collect();
        ids.join(", ")
    };
    let found = file
        .source
        .iter()
        .find(|known| known.id == source)
        .with_context(|| {
            format!(
                "{} has no source {source:?}; it has {}",
                pipeline.display(),
                known()
            )
        })?;
    let (mast, attitude, optics) = match (&found.camera, &found.ptz, preset) {
        (Some(camera), _, None) => (camera.mast, camera.attitude, camera.optics),
        (Some(_), _, Some(preset)) => {
            bail!("source {source:?} does not turn: --preset {preset} is not expected")
        }
        (None, Some(ptz), Some(name)) => {
            let preset = ptz
                .preset
                .iter()
                .find(|preset| preset.name == name)
                .with_context(|| {
                    let names: Vec<&str> = ptz.preset.iter().map(|preset| preset.name.as_str()).collect();
                    format!(
                        "source {source:?} has no preset {name:?}; it has {}",
                        names.join(", ")
                    )
                })?;
            (ptz.mast, preset.attitude, preset.optics)
        }
        (None, Some(_), None) => bail!("source {source:?} turns: say with --preset where it stands"),
        (None, None, _) => bail!(
            "source {source:?} has neither `camera` nor `ptz`: its pose is not in the pipeline file; give --telemetry"
        ),
    };
    let mut log = TelemetryLog::new("pipeline", LogTime::None);
    log.samples.push(TelemetrySample {
        position: crate::flow::pose::Wgs84::checked(mast.lat, mast.lon),
        heights: crate::flow::pose::Heights::default().with(mast.height),
        gimbal: Some(Gimbal {
            attitude,
            frame: GimbalFrame::Earth,
        }),
        optics,
        sigmas: mast.sigmas,
        ..TelemetrySample::default()
    });
    Ok(log)
}
