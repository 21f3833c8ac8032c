//! Reads real media of every kind, good and bad.

use std::ops::ControlFlow;
use std::sync::Arc;

use emberwatch::flow::source::Duty;
use emberwatch::flow::time::MediaTime;
use emberwatch::stages::ingest::{DecoderChoice, IngestErrorKind, MediaWindow, TelemetryKind, recordings_in};

use crate::fixtures::fixture;
use crate::reading::{Scratch, make_clip, ffmpeg, read, read_with, request_for};

/// Keeps reading.
const ON: ControlFlow<()> = ControlFlow::Continue(());

#[test]
fn real_clips_give_every_frame_once_in_order() {
    for (path, frames) in [
        ("video/house6.mp4", 899),
        ("video/car-detection.mp4", 377),
        ("video/one-by-one-person-detection.mp4", 1394),
    ] {
        let Some(file) = fixture(path) else { return };
        let reading = read(&file).expect("the clip can be read");
        let totals = &reading.totals;
        assert!(totals.is_complete);
        assert_eq!(totals.frames_in, frames, "{path}");
        assert_eq!(totals.delivered, frames, "{path}");
        assert_eq!((totals.undecoded, totals.unreadable, totals.damaged), (0, 0, 0), "{path}");
        for (index, frame) in reading.frames.iter().enumerate() {
            assert_eq!(frame.meta.sequence, index as u64);
            assert_eq!(frame.meta.gap.lost(), 0);
        }
        assert!(reading.frames.windows(2).all(|pair| pair[0].meta.pts < pair[1].meta.pts));
        assert!(!totals.is_cut_short());
        println!("{path}: {totals:?} by {:?}", reading.decoder);
    }
}

#[test]
fn patrol_reads_the_key_frames_and_accounts_for_the_rest() {
    let Some(file) = fixture("video/house6.mp4") else { return };
    let mut request = request_for(&file);
    request.duty = Arc::new(emberwatch::stages::ingest::DutyControl::new(Duty::Patrol));
    let reading = read_with(&request, &mut |_| ON).expect("the clip can be read");
    let totals = &reading.totals;
    assert_eq!(totals.frames_in, 899);
    assert!(totals.delivered < 899 / 4 && totals.delivered > 0, "{totals:?}");
    assert_eq!(totals.delivered + totals.undecoded, 899);
    assert!(reading.frames.iter().all(|frame| frame.meta.is_key));
    let skipped: u64 = reading.frames.iter().map(|frame| u64::from(frame.meta.gap.skipped)).sum();
    assert!(skipped <= totals.undecoded && skipped + 250 > totals.undecoded, "{skipped} of {totals:?}");
}
