//! Opens telemetry of any known format, and finds the telemetry that lies beside a video.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::csv::ColumnMap;
use super::dji_cloud::DjiCloudSettings;
use super::log::{TelemetryError, TelemetryLog};
use super::{csv, dji_cloud, dji_srt, gpx, klv, mavlink_stream, photo, ts};

/// The largest telemetry file that is read, in bytes. Transport streams hold video too and may be larger.
const LARGEST: u64 = 512 << 20;
/// The largest transport stream of which the KLV is read, in bytes.
const LARGEST_STREAM: u64 = 4 << 30;

/// The formats that telemetry files come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// DJI subtitles.
    DjiSrt,
    /// Bare ST 0601 packets.
    Klv,
    /// ST 0601 in a transport stream.
    KlvTs,
    /// MAVLink, with or without times before its frames.
    Mavlink,
    /// DJI Cloud API payloads.
    DjiCloud,
    /// A photo, or its XMP alone.
    Photo,
    /// A receiver's track.
    Gpx,
    /// A table.
    Csv,
    /// A container whose subtitle track is to be read.
    Container,
}

/// What to know of a file that it does not say itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// For DJI Cloud API payloads.
    pub dji_cloud: DjiCloudSettings,
    /// For tables.
    pub columns: ColumnMap,
}

/// Tells a format by a file's bytes first, then by its name.
#[must_use]
pub fn detect(name: &Path, bytes: &[u8]) -> Option<Format> {
    let extension = name
        .extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    let head = bytes.get(..bytes.len().min(4_096)).unwrap_or_default();
    let holds = |needle: &[u8]| head.windows(needle.len()).any(|window| window == needle);
    if head.get(4..8) == Some(b"ftyp") && !matches!(extension.as_str(), "heic" | "heif" | "avif") {
        return Some(Format::Container);
    }
    if head.starts_with(&[0x1A, 0x45, 0xDF, 0xA3]) {
        return Some(Format::Container);
    }
    if head.starts_with(&[0xFF, 0xD8])
        || head.starts_with(b"II*\0")
        || head.starts_with(b"MM\0*")
        || head.starts_with(&[0x89, b'P', b'N', b'G'])
        || holds(b"<x:xmpmeta")
    {
        return Some(Format::Photo);
    }
    if ts::detect(head).is_some() {
        return Some(Format::KlvTs);
    }
    if holds(&klv::UAS_KEY) || holds(klv::UAS_KEY.get(5..).unwrap_or_default()) {
        return Some(Format::Klv);
    }
    match extension.as_str() {
        "srt" => return Some(Format::DjiSrt),
        "klv" | "bin" | "stanag" => return Some(Format::Klv),
        "tlog" | "mavlink" => return Some(Format::Mavlink),
        "gpx" => return Some(Format::Gpx),
        "csv" | "tsv" => return Some(Format::Csv),
        "json" | "jsonl" | "ndjson" => return Some(Format::DjiCloud),
        "ts" | "m2ts" | "mpg" | "mts" => return Some(Format::KlvTs),
        "jpg" | "jpeg" | "heic" | "heif" | "avif" | "tif" | "tiff" | "png" | "dng" | "xmp" => {
            return Some(Format::Photo);
        }
        "mp4" | "mov" | "mkv" => return Some(Format::Container),
        _ => {}
    }
    if holds(b"-->") {
        Some(Format::DjiSrt)
    } else if holds(b"<gpx") {
        Some(Format::Gpx)
    } else if head.first() == Some(&b'{') {
        Some(Format::DjiCloud)
    } else if head.iter().any(|byte| matches!(byte, 0xFD | 0xFE))
        && !mavlink_stream::parse(head).samples.is_empty()
    {
        Some(Format::Mavlink)
    } else {
        None
    }
}

/// Reads telemetry out of bytes of a known format.
pub fn parse(format: Format, bytes: &[u8], settings: &Settings) -> Result<TelemetryLog, TelemetryError> {
    let text = || String::from_utf8_lossy(bytes);
    Ok(match format {
        Format::DjiSrt => dji_srt::parse(bytes),
        Format::Klv => klv::log_from_bytes(bytes),
        Format::KlvTs => ts::parse(bytes),
        Format::Mavlink => mavlink_stream::parse(bytes),
        Format::DjiCloud => dji_cloud::parse(bytes, settings.dji_cloud),
        Format::Photo => return photo::parse(bytes),
        Format::Gpx => return gpx::parse(&text()),
        Format::Csv => return csv::parse(&text(), &settings.columns),
        Format::Container => {
            return Err(TelemetryError::NotFound {
                what: "a container".into(),
                expected: "its subtitle track is read from the file, not from bytes".into(),
            });
        }
    })
}

/// Opens a telemetry file. A log without a single sample is an error that says what was looked for.
pub fn open(path: &Path, settings: &Settings) -> Result<TelemetryLog, TelemetryError> {
    let read = |source: std::io::Error| TelemetryError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = std::fs::File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if metadata.is_dir() {
        return Err(read(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
    }
    let bytes_total = metadata.len();
    let mut bytes = Vec::new();
    (&mut file).take(4_096).read_to_end(&mut bytes).map_err(read)?;
    let format = detect(path, &bytes).ok_or_else(|| TelemetryError::NotFound {
        what: path.display().to_string(),
        expected: "known are DJI .srt, .klv, MPEG-TS with KLV, MAVLink .tlog, DJI Cloud .json, photos with EXIF or XMP, .gpx, .csv, and subtitle tracks in MP4, MOV and MKV".into(),
    })?;
    if format == Format::Container {
        return container(path);
    }
    let limit = if format == Format::KlvTs {
        LARGEST_STREAM
    } else {
        LARGEST
    };
    if bytes_total > limit {
        return Err(TelemetryError::TooLarge {
            path: path.to_owned(),
            bytes: bytes_total,
            limit,
        });
    }
    file.take(limit).read_to_end(&mut bytes).map_err(read)?;
    let log = parse(format, &bytes, settings)?;
    if log.samples.is_empty() {
        return Err(TelemetryError::NotFound {
            what: path.display().to_string(),
            expected: format!(
                "it looks like {} but holds no whole record ({} damaged, {} with a wrong checksum)",
                log.format, log.malformed, log.bad_checksums
            ),
        });
    }
    Ok(log)
}

#[cfg(feature = "video")]
fn container(path: &Path) -> Result<TelemetryLog, TelemetryError> {
    super::gst::embedded_subtitles(path)
}

#[cfg(not(feature = "video"))]
fn container(path: &Path) -> Result<TelemetryLog, TelemetryError> {
    Err(TelemetryError::NotFound {
        what: path.display().to_string(),
        expected: "subtitle tracks are read by GStreamer, which this build does without: build with the feature `video`, or give the .SRT file".into(),
    })
}

/// Finds the telemetry beside a video: the same name with another ending, in the order in which they are preferred.
#[must_use]
pub fn sidecar(video: &Path) -> Option<PathBuf> {
    const ENDINGS: [&str; 8] = ["SRT", "srt", "klv", "KLV", "tlog", "TLOG", "csv", "gpx"];
    ENDINGS
        .into_iter()
        .map(|ending| video.with_extension(ending))
        .find(|path| path != video && path.try_exists().unwrap_or(false) && path.is_file())
}

/// Returns the telemetry of a video: beside it, else inside it. `Ok(None)` if there is neither.
pub fn beside_or_inside(
    video: &Path,
    settings: &Settings,
) -> Result<Option<(PathBuf, TelemetryLog)>, TelemetryError> {
    if let Some(path) = sidecar(video) {
        return open(&path, settings).map(|log| Some((path, log)));
    }
    match open(video, settings) {
        Ok(log) => Ok(Some((video.to_owned(), log))),
        Err(TelemetryError::NotFound { .. } | TelemetryError::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_bytes_before_their_names() {
        let klv = Path::new("x.bin");
        assert_eq!(detect(klv, &klv::UAS_KEY), Some(Format::Klv));
        assert_eq!(detect(Path::new("x.jpg"), &klv::UAS_KEY), Some(Format::Klv));
        assert_eq!(
            detect(Path::new("x.xml"), b"<x:xmpmeta a='1'/>"),
            Some(Format::Photo)
        );
        assert_eq!(detect(Path::new("x.SRT"), b""), Some(Format::DjiSrt));
        assert_eq!(
            detect(Path::new("x"), b"1\n00:00:01,000 --> 00:00:02,000"),
            Some(Format::DjiSrt)
        );
        assert_eq!(
            detect(Path::new("x"), b"\0\0\0\x18ftypmp42"),
            Some(Format::Container)
        );
        assert_eq!(detect(Path::new("x"), b"what"), None);
    }

    #[test]
    fn the_file_beside_a_video_is_found_and_an_empty_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let video = folder.path().join("DJI_0001.MP4");
        std::fs::write(&video, b"").unwrap();
        assert_eq!(sidecar(&video), None);
        let beside = folder.path().join("DJI_0001.SRT");
        std::fs::write(&beside, b"1\n").unwrap();
        assert_eq!(sidecar(&video), Some(beside.clone()));
        assert!(matches!(
            open(&beside, &Settings::default()),
            Err(TelemetryError::NotFound { .. })
        ));
        assert!(matches!(
            open(folder.path(), &Settings::default()),
            Err(TelemetryError::Read { .. })
        ));
        assert!(beside_or_inside(&video, &Settings::default()).is_err());
    }
}
