//! The same clip once more, as a transport stream with ST 0601: viewers of such streams show where the camera was and
//! looked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::super::ring::Clip;
use crate::flow::packet::Codec;
use crate::flow::pose::PoseProvider;
use crate::flow::time::MediaTime;
use crate::stages::locate::CameraChoice;
use crate::telemetry::TelemetryError;
use crate::telemetry::klv::gst::{ClipCodec, write_clip};
use crate::telemetry::klv::of_pose::packet_of;
use crate::telemetry::klv::write;

/// The time from one packet to the next: five a second follow a gimbal well.
const EVERY: Duration = Duration::from_millis(200);
/// The mission that packets name.
const MISSION: &str = "EMBERWATCH";
/// The picture's size where the stream does not say it; only its shape matters.
const USUAL_SIZE: (u32, u32) = (1_920, 1_080);

/// Writes `NAME.ts` beside the clip's own file `NAME.mp4`, whose pictures it holds. `begins` is when the first of them was
/// taken. Returns its path; none where no pose is known, or where the codec has no place in such a stream.
pub fn located_clip(
    clip: &Clip,
    video: &Path,
    begins: Timestamp,
    poses: &dyn PoseProvider,
    camera: &CameraChoice,
) -> Result<Option<PathBuf>, TelemetryError> {
    let codec = match clip.packets.first().map(|packet| &packet.codec) {
        Some(Codec::H264) => ClipCodec::H264,
        Some(Codec::H265) => ClipCodec::H265,
        Some(Codec::Other(_)) | None => return Ok(None),
    };
    let packets = packets_of(clip, begins, poses, camera);
    if packets.is_empty() {
        return Ok(None);
    }
    let target = video.with_extension("ts");
    let partial = video.with_extension("ts.part");
    let written = write_clip(video, codec, &packets, &partial).and_then(|()| {
        std::fs::rename(&partial, &target).map_err(|error| TelemetryError::Malformed {
            what: "a clip to be written with KLV",
            problem: format!("it cannot be named {}: {error}", target.display()),
        })
    });
    if let Err(error) = written {
        // The partial file is of no use to anybody; that it cannot be removed either adds nothing.
        let _removed = std::fs::remove_file(&partial);
        return Err(error);
    }
    Ok(Some(target))
}

/// Returns the packets of a clip with their times from its start; moments without a pose have none.
fn packets_of(
    clip: &Clip,
    begins: Timestamp,
    poses: &dyn PoseProvider,
    camera: &CameraChoice,
) -> Vec<(Duration, Vec<u8>)> {
    let (Some(start), Some(first)) = (clip.start(), clip.packets.first()) else {
        return Vec::new();
    };
    let last: MediaTime = clip
        .packets
        .iter()
        .map(|packet| packet.pts)
        .max()
        .unwrap_or(start);
    let (width, height) = size_of(&first.media_type).unwrap_or(USUAL_SIZE);
    let count = last.since(start).as_nanos() / EVERY.as_nanos();
    (0..=u32::try_from(count).unwrap_or(u32::MAX))
        .map(|step| EVERY * step)
        .filter_map(|after| {
            let pose = poses.pose_at(start + after).ok()?;
            let camera = camera.camera(&pose, width, height).ok();
            let packet = packet_of(&pose, begins + after, camera.as_ref())?;
            Some((after, write::to_bytes(&packet, Some(MISSION))))
        })
        .collect()
}

/// Reads width and height out of a media type, as in `video/x-h264, width=(int)1280, height=(int)720`.
fn size_of(media_type: &str) -> Option<(u32, u32)> {
    let number = |name: &str| {
        let (_, rest) = media_type.split_once(&format!("{name}=(int)"))?;
        let end = rest
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    };
    number("width").zip(number("height"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_read_out_of_a_media_type() {
        let text = "video/x-h264, stream-format=(string)avc, width=(int)1280, height=(int)720, framerate=(fraction)25/1";
        assert_eq!(size_of(text), Some((1280, 720)));
        assert_eq!(size_of("video/x-h264, width=(int), height=(int)7"), None);
    }
}
