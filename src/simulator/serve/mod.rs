//! A camera to test with: serves recordings as endless live RTSP streams on this machine.
//!
//! A file that is simply played again starts its times from zero, which no camera does. Here the encoded packets are
//! kept in memory and sent round and round with times that go on growing, as those of a camera do. Sender reports carry
//! this machine's clock.

mod gst;

pub use gst::RtspServer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::telemetry::klv::sei::{PictureTime, to_bytes};

/// The most bytes of one recording that are kept in memory.
const RECORDING_BYTES: usize = 512 << 20;

/// Why a recording cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is taken or not allowed.
    #[error("cannot serve on port {port}: it is taken or not allowed; choose another with --port")]
    Port {
        /// Which port was asked for.
        port: u16,
    },
    /// The file cannot be read as H.264 or H.265.
    #[error("cannot serve the file: {reason}; expected H.264 or H.265 in MP4, MKV or TS: {path:?}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// GStreamer lacks a part.
    #[error("cannot serve: {0}; install gstreamer1.0-plugins-good and gstreamer1.0-plugins-bad")]
    Library(String),
}

impl ServeError {
    fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

/// How a recording is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    H264,
    H265,
}

/// One encoded picture, its times counted in nanoseconds from the start of the recording.
#[derive(Clone, Debug)]
struct Piece {
    bytes: Arc<[u8]>,
    pts: u64,
    dts: u64,
    is_key: bool,
}

/// A recording in memory, sent round and round.
#[derive(Clone, Debug)]
struct Reel {
    encoding: Encoding,
    media_type: String,
    pieces: Vec<Piece>,
    /// The time of one round in nanoseconds.
    round: u64,
}

impl Reel {
    /// Makes a reel of pieces in decoding order; nothing of no pieces. Times are moved so that the smallest is zero.
    fn new(encoding: Encoding, media_type: String, mut pieces: Vec<Piece>) -> Option<Self> {
        let first = pieces.iter().map(|piece| piece.pts.min(piece.dts)).min()?;
        for piece in &mut pieces {
            piece.pts -= first;
            piece.dts -= first;
        }
        let shown_last = pieces.iter().map(|piece| piece.pts).max()?;
        let shown_first = pieces.iter().map(|piece| piece.pts).min()?;
        let intervals = u64::try_from(pieces.len()).ok()?.saturating_sub(1).max(1);
        let interval = ((shown_last - shown_first) / intervals).max(1_000_000);
        Some(Self {
            encoding,
            media_type,
            pieces,
            round: shown_last - shown_first + interval,
        })
    }

    /// Returns the number of the piece with which the camera of this number among so many begins.
    ///
    /// Cameras are not switched on together: each begins at another place of the round, and mostly between two key
    /// frames, as a camera does that was running before anybody looked.
    fn begin(&self, number: usize, cameras: usize) -> u64 {
        (self.pieces.len() * number / cameras.max(1)) as u64
    }

    /// Puts a message before the coded slices of an access unit of this reel.
    fn with_message(&self, unit: &[u8], time: PictureTime) -> Vec<u8> {
        let at = first_slice(unit, self.encoding).unwrap_or(0);
        let (head, slices) = unit.split_at(at);
        // A header of SEI, a message of user data (5) that is 28 bytes long, and the stop bit. The 0xFF between the bytes
        // of the time keep zeros apart, so that nothing needs an escape.
        let header: &[u8] = match self.encoding {
            Encoding::H264 => &[0, 0, 0, 1, 0x06],
            Encoding::H265 => &[0, 0, 0, 1, 0x4E, 0x01],
        };
        let message = to_bytes(time, self.encoding == Encoding::H265);
        [head, header, &[5, 28], &message, &[0x80], slices].concat()
    }

    /// Returns the piece with this number, counted over all rounds, with its times.
    fn piece(&self, number: u64) -> Option<Piece> {
        let count = u64::try_from(self.pieces.len()).ok()?;
        let round = number.checked_div(count)?;
        let mut piece = self.pieces.get(usize::try_from(number % count).ok()?)?.clone();
        piece.pts += round * self.round;
        piece.dts += round * self.round;
        Some(piece)
    }
}

/// Returns where the start code of the first coded slice of an access unit stands.
fn first_slice(unit: &[u8], encoding: Encoding) -> Option<usize> {
    let at = unit.windows(4).position(|window| {
        let [0, 0, 1, header] = window else { return false };
        match encoding {
            Encoding::H264 => matches!(header & 0x1F, 1..=5),
            Encoding::H265 => (header >> 1) & 0x3F < 32,
        }
    })?;
    // The zero before a start code belongs to it.
    Some(at - usize::from(at > 0 && unit.get(at - 1) == Some(&0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::klv::sei;

    fn piece(pts: u64, dts: u64) -> Piece {
        Piece {
            bytes: Arc::from([0_u8].as_slice()),
            pts: pts * 1_000_000,
            dts: dts * 1_000_000,
            is_key: dts == 0,
        }
    }

    #[test]
    fn times_grow_over_the_seam_as_a_cameras_do() {
        // Three pictures at 25 a second, the last two shown in the other order than decoded.
        let reel = Reel::new(
            Encoding::H264,
            String::new(),
            vec![piece(140, 100), piece(220, 140), piece(180, 180)],
        )
        .expect("there are pieces");
        assert_eq!(reel.round, 120_000_000);
        let decoded: Vec<u64> = (0..9)
            .filter_map(|number| reel.piece(number))
            .map(|piece| piece.dts / 1_000_000)
            .collect();
        assert_eq!(decoded, [0, 40, 80, 120, 160, 200, 240, 280, 320]);
        let mut shown: Vec<u64> = (0..9)
            .filter_map(|number| reel.piece(number))
            .map(|piece| piece.pts / 1_000_000)
            .collect();
        shown.sort_unstable();
        assert_eq!(shown, [40, 80, 120, 160, 200, 240, 280, 320, 360]);
    }

    #[test]
    fn cameras_of_one_recording_begin_spread_over_it() {
        let pieces = (0..50).map(|number| piece(number * 40, number * 40)).collect();
        let reel = Reel::new(Encoding::H264, String::new(), pieces).expect("there are pieces");
        let begins: Vec<u64> = (0..4).map(|number| reel.begin(number, 4)).collect();
        assert_eq!(begins, [0, 12, 25, 37]);
        assert_eq!(reel.begin(0, 1), 0);
    }

    #[test]
    fn the_time_of_a_picture_stands_before_its_slices() {
        let time = PictureTime {
            time_us: 1_767_225_600_000_000,
            locked: true,
            jumped: false,
        };
        for (encoding, unit) in [
            (Encoding::H264, [0, 0, 0, 1, 9, 16, 0, 0, 0, 1, 0x65, 1, 2, 3]),
            (Encoding::H265, [0, 0, 0, 1, 0x46, 1, 0, 0, 0, 1, 0x26, 1, 2, 3]),
        ] {
            let reel = Reel::new(encoding, String::new(), vec![piece(0, 0)]).expect("there is a piece");
            let stamped = reel.with_message(&unit, time);
            assert_eq!(sei::find(&stamped), Some(time));
            assert!(stamped.starts_with(&unit[..6]) && stamped.ends_with(&unit[6..]));
        }
    }

    #[test]
    fn an_empty_recording_is_no_reel() {
        assert!(Reel::new(Encoding::H265, String::new(), Vec::new()).is_none());
    }
}
