//! Reads real media of every kind, good and bad.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use emberwatch::clock::SystemClock;
use emberwatch::flow::source::Duty;
use emberwatch::flow::time::MediaTime;
use emberwatch::stages::evidence::clip::cut_clip;
use emberwatch::stages::evidence::recording::clip_of_recording;
use emberwatch::stages::evidence::ring::{ClipLimits, ClipRing};
use emberwatch::stages::ingest::{
    DecoderChoice, DutyControl, GstOpener, IngestError, IngestErrorKind, MediaWindow, SourceSpec,
    recordings_in,
};

use crate::fixtures::fixture;
use crate::reading::{Reading, ffmpeg, make_clip, read, read_with, request_for};

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
        assert_eq!(
            (totals.undecoded, totals.unreadable, totals.damaged),
            (0, 0, 0),
            "{path}"
        );
        for (index, frame) in reading.frames.iter().enumerate() {
            assert_eq!(frame.meta.sequence, index as u64);
            assert_eq!(frame.meta.gap.lost(), 0);
        }
        assert!(
            reading
                .frames
                .windows(2)
                .all(|pair| pair[0].meta.pts < pair[1].meta.pts)
        );
        assert!(!totals.is_cut_short());
        assert!(reading.decoder.is_some());
    }
}

#[test]
fn patrol_reads_the_key_frames_and_accounts_for_the_rest() {
    let Some(file) = fixture("video/house6.mp4") else {
        return;
    };
    let mut request = request_for(&file);
    request.duty = Arc::new(DutyControl::new(Duty::Patrol));
    let reading = read_with(&request, &mut |_| ON).expect("the clip can be read");
    let totals = &reading.totals;
    assert_eq!(totals.frames_in, 899);
    assert!(totals.delivered < 899 / 4 && totals.delivered > 0, "{totals:?}");
    assert_eq!(totals.delivered + totals.undecoded, 899);
    assert!(reading.frames.iter().all(|frame| frame.meta.is_key));
    let skipped: u64 = reading
        .frames
        .iter()
        .map(|frame| u64::from(frame.meta.gap.skipped))
        .sum();
    assert!(
        skipped <= totals.undecoded && skipped + 250 > totals.undecoded,
        "{skipped} of {totals:?}"
    );
}

#[test]
fn a_window_gives_the_frames_inside_it_with_their_own_times() {
    let Some(file) = fixture("video/one-by-one-person-detection.mp4") else {
        return;
    };
    let whole = read(&file).expect("the clip can be read");
    let (start, end) = (MediaTime::from_secs_f64(20.0), MediaTime::from_secs_f64(25.0));
    let mut request = request_for(&file);
    request.window = Some(MediaWindow {
        start,
        end: Some(end),
    });
    let part = read_with(&request, &mut |_| ON).expect("the window can be read");
    let inside: Vec<_> = whole
        .frames
        .iter()
        .map(|frame| frame.meta.pts)
        .filter(|pts| (start..end).contains(pts))
        .collect();
    let got: Vec<_> = part.frames.iter().map(|frame| frame.meta.pts).collect();
    assert!(inside.len() >= 45);
    assert_eq!(got, inside);
}

#[test]
fn every_container_and_codec_gives_its_fifty_frames() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let cases: [(&str, &[&str]); 9] = [
        ("a.mp4", &[]),
        ("a.mov", &[]),
        ("a.mkv", &[]),
        ("a.ts", &[]),
        ("a.avi", &[]),
        ("b-frames.mp4", &["-bf", "3", "-preset", "medium"]),
        (
            "hevc.mp4",
            &["-c:v", "libx265", "-x265-params", "log-level=error:keyint=25"],
        ),
        ("mjpeg.avi", &["-c:v", "mjpeg", "-pix_fmt", "yuvj422p"]),
        ("ten-bit.mkv", &["-pix_fmt", "yuv422p10le"]),
    ];
    for (name, more) in cases {
        let file = scratch.path().join(name);
        if !make_clip(&file, 2, more) {
            return;
        }
        let reading = read(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (reading.totals.frames_in, reading.totals.delivered),
            (50, 50),
            "{name}: {:?}",
            reading.totals
        );
        let picture = &reading.frames[0].picture;
        assert_eq!((picture.width, picture.height), (320, 180), "{name}");
        assert!(
            reading
                .frames
                .windows(2)
                .all(|pair| pair[0].meta.pts < pair[1].meta.pts),
            "{name}"
        );
    }
}

#[test]
fn sound_and_subtitles_beside_the_picture_do_not_disturb_it() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let subtitles = scratch.path().join("a.srt");
    let text = "1\n00:00:00,000 --> 00:00:00,900\nlatitude: 36.3\n\n2\n00:00:01,000 --> 00:00:01,900\nlatitude: 36.4\n\n";
    std::fs::write(&subtitles, text).expect("the folder can be written");
    for name in ["a.mp4", "a.mkv"] {
        let file = scratch.path().join(name);
        let text_codec = if name == "a.mp4" { "mov_text" } else { "srt" };
        let subtitles = subtitles.to_string_lossy();
        let made = ffmpeg(&[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=25:duration=2",
            "-f",
            "lavfi",
            "-i",
            "sine=duration=2",
            "-i",
            &subtitles,
            "-c:v",
            "libx264",
            "-g",
            "25",
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
            "-c:s",
            text_codec,
            &file.to_string_lossy(),
        ]);
        if !made {
            return;
        }
        let reading = read(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(reading.totals.delivered, 50, "{name}");
        let lines: Vec<String> = reading
            .telemetry
            .iter()
            .map(|piece| String::from_utf8_lossy(&piece.bytes).into_owned())
            .collect();
        assert!(
            lines.iter().any(|line| line.contains("36.3")) && lines.iter().any(|line| line.contains("36.4")),
            "{name}: {lines:?}"
        );
    }
}

#[test]
fn odd_tiny_and_very_wide_pictures_are_read() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    for (width, height, codec) in [(1, 1, "ffv1"), (33, 17, "ffv1"), (16_384, 16, "mjpeg")] {
        let file = scratch.path().join(format!("{width}x{height}.mkv"));
        let scale = format!("scale={width}:{height}");
        let format = if codec == "mjpeg" { "yuvj420p" } else { "yuv420p" };
        let source = "color=red:size=32x32:rate=25:duration=0.2";
        let out = file.to_string_lossy();
        if !ffmpeg(&[
            "-f", "lavfi", "-i", source, "-vf", &scale, "-c:v", codec, "-pix_fmt", format, &out,
        ]) {
            return;
        }
        let mut planes = 0;
        let reading = read_with(&request_for(&file), &mut |frame| {
            let (luma, stride) = frame.picture.planes.plane(0);
            assert!(stride >= width && luma.len() >= stride * (height - 1) + width);
            planes += 1;
            ON
        })
        .unwrap_or_else(|error| panic!("{width}x{height}: {error}"));
        assert_eq!((planes, reading.frames[0].picture.width), (5, width as u32));
    }
}

#[test]
fn a_turned_recording_stands_upright() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let (straight, turned) = (
        scratch.path().join("straight.mp4"),
        scratch.path().join("turned.mp4"),
    );
    if !make_clip(&straight, 1, &[]) {
        return;
    }
    let (from, to) = (straight.to_string_lossy(), turned.to_string_lossy());
    if !ffmpeg(&["-i", &from, "-c", "copy", "-metadata:s:v:0", "rotate=90", &to]) {
        return;
    }
    let reading = read(&turned).expect("the clip can be read");
    let picture = &reading.frames[0].picture;
    assert_eq!(
        (picture.width, picture.height, reading.totals.delivered),
        (180, 320, 25)
    );
}

#[test]
fn a_variable_rate_and_times_that_jump_back_still_grow() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let variable = scratch.path().join("variable.mkv");
    if !make_clip(
        &variable,
        4,
        &["-vf", "select='lt(mod(n,10),3)'", "-vsync", "vfr"],
    ) {
        return;
    }
    let reading = read(&variable).expect("the clip can be read");
    assert_eq!(reading.totals.delivered, 30);
    assert!(
        reading
            .frames
            .windows(2)
            .all(|pair| pair[0].meta.pts < pair[1].meta.pts)
    );

    let (once, twice) = (scratch.path().join("once.ts"), scratch.path().join("twice.ts"));
    assert!(make_clip(&once, 2, &[]));
    let bytes = std::fs::read(&once).expect("the clip is there");
    std::fs::write(&twice, [bytes.clone(), bytes].concat()).expect("the folder can be written");
    let reading = read(&twice).expect("the clip can be read");
    let totals = &reading.totals;
    assert!(
        totals.delivered >= 95 && totals.delivered + totals.unreadable == totals.frames_in,
        "{totals:?}"
    );
    assert!(
        reading
            .frames
            .windows(2)
            .all(|pair| pair[0].meta.pts < pair[1].meta.pts)
    );
}

#[test]
fn a_hole_in_the_middle_costs_pictures_and_not_the_recording() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    for name in ["hole.mp4", "hole.ts"] {
        let file = scratch.path().join(name);
        if !make_clip(&file, 4, &[]) {
            return;
        }
        let mut bytes = std::fs::read(&file).expect("the clip is there");
        let middle = bytes.len() / 2;
        bytes[middle..middle + 3000].fill(0xaa);
        std::fs::write(&file, bytes).expect("the folder can be written");
        let reading = read(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let totals = &reading.totals;
        assert!(totals.is_complete && totals.delivered >= 70, "{name}: {totals:?}");
        assert_eq!(totals.delivered + totals.unreadable, totals.frames_in, "{name}");
    }
}

fn failure(outcome: Result<Reading, IngestError>) -> IngestError {
    match outcome {
        Ok(reading) => panic!("expected an error, got {:?}", reading.totals),
        Err(error) => error,
    }
}

/// Checks that an error is of the kind, names the file and says what to do.
fn assert_names(error: &IngestError, kinds: &[IngestErrorKind], file: &Path) {
    assert!(
        kinds.contains(&error.kind()),
        "{error} is {:?}, expected {kinds:?}",
        error.kind()
    );
    let text = error.to_string();
    assert!(
        text.contains(&*file.to_string_lossy()) && text.contains(error.hint()),
        "{text}"
    );
}

#[test]
fn what_is_no_recording_gets_one_clear_error() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| scratch.path().join(name);
    let missing = path("missing.mp4");
    assert_names(&failure(read(&missing)), &[IngestErrorKind::NotFound], &missing);
    assert_names(
        &failure(read(scratch.path())),
        &[IngestErrorKind::BadLocation],
        scratch.path(),
    );
    let empty = path("empty.mp4");
    std::fs::write(&empty, "").expect("the folder can be written");
    assert_names(&failure(read(&empty)), &[IngestErrorKind::Empty], &empty);
    for (name, content) in [
        ("text.mp4", "not a film at all, only words\n".repeat(200)),
        ("short.mp4", "x".to_owned()),
    ] {
        let text = path(name);
        std::fs::write(&text, content).expect("the folder can be written");
        assert_names(&failure(read(&text)), &[IngestErrorKind::NotMedia], &text);
    }
    let none = recordings_in(&path("nowhere")).expect_err("there is no such folder");
    assert_eq!(none.kind(), IngestErrorKind::Unreadable);
    let bare = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(bare.path().join("notes.txt"), "").expect("the folder can be written");
    let none = recordings_in(bare.path()).expect_err("the folder holds no video");
    assert_names(&none, &[IngestErrorKind::NotFound], bare.path());
    assert_eq!(
        recordings_in(scratch.path())
            .expect("there are files called .mp4")
            .len(),
        3
    );
}

#[test]
fn a_recording_that_was_cut_off_says_so() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let cut_in_half = |name: &str, more: &[&str]| {
        let file = scratch.path().join(name);
        if !make_clip(&file, 4, more) {
            return None;
        }
        let bytes = std::fs::read(&file).expect("the clip is there");
        std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("the folder can be written");
        Some(file)
    };
    // The index of an ordinary MP4 stands at its end.
    let Some(file) = cut_in_half("index-last.mp4", &[]) else {
        return;
    };
    assert_names(
        &failure(read(&file)),
        &[IngestErrorKind::Truncated, IngestErrorKind::NotMedia],
        &file,
    );
    let Some(file) = cut_in_half("index-first.mp4", &["-movflags", "+faststart"]) else {
        return;
    };
    let totals = read(&file).expect("half a recording is read").totals;
    assert!(totals.delivered >= 30 && totals.delivered < 70, "{totals:?}");
    assert!(totals.is_cut_short() || totals.broken_by.is_some(), "{totals:?}");
}

#[test]
fn a_recording_without_a_usable_picture_says_what_is_missing() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| scratch.path().join(name);
    let sound = path("sound.mp4");
    if !ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "sine=duration=1",
        "-c:a",
        "aac",
        &sound.to_string_lossy(),
    ]) {
        return;
    }
    assert_names(&failure(read(&sound)), &[IngestErrorKind::NoVideo], &sound);

    let foreign = path("foreign.avi");
    assert!(make_clip(&foreign, 1, &["-c:v", "mpeg4"]));
    let mut bytes = std::fs::read(&foreign).expect("the clip is there");
    let places: Vec<usize> = (0..bytes.len() - 4)
        .filter(|&at| &bytes[at..at + 4] == b"FMP4")
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + 4].copy_from_slice(b"ZZQQ");
    }
    std::fs::write(&foreign, bytes).expect("the folder can be written");
    assert_names(
        &failure(read(&foreign)),
        &[IngestErrorKind::UnsupportedCodec, IngestErrorKind::NoVideo],
        &foreign,
    );

    let huge = path("huge.mkv");
    let source = "testsrc2=size=16400x16:rate=25:duration=0.2";
    assert!(ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        source,
        "-c:v",
        "ffv1",
        "-pix_fmt",
        "yuv420p",
        &huge.to_string_lossy()
    ]));
    let error = failure(read(&huge));
    assert_names(&error, &[IngestErrorKind::TooLarge], &huge);
    assert!(error.to_string().contains("16400x16"), "{error}");

    let plain = path("plain.mp4");
    assert!(make_clip(&plain, 1, &[]));
    let mut request = request_for(&plain);
    request.spec = Arc::new(SourceSpec {
        decoder: DecoderChoice::VaApi,
        ..(*request.spec).clone()
    });
    match read_with(&request, &mut |_| ON) {
        Ok(reading) => println!(
            "skipped: this machine has a VA-API decoder, {:?}",
            reading.decoder
        ),
        Err(error) => assert_names(&error, &[IngestErrorKind::DecoderMissing], &plain),
    }
}

#[test]
fn a_clip_cut_from_the_packets_plays_and_begins_before_the_alarm() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    for (name, more) in [
        ("h264.mp4", &["-bf", "2", "-preset", "medium"][..]),
        (
            "h265.mkv",
            &["-c:v", "libx265", "-x265-params", "log-level=error:keyint=25"],
        ),
    ] {
        let file = scratch.path().join(name);
        if !make_clip(&file, 45, more) {
            return;
        }
        let spec = Arc::clone(&request_for(&file).spec);
        let clock: Arc<SystemClock> = Arc::default();
        let opener = GstOpener::new(clock.clone()).expect("GStreamer loads");
        let alarm = MediaTime::from_secs_f64(15.0);
        let limits = ClipLimits::default();
        let clip = clip_of_recording(&spec, &opener, clock.as_ref(), &|_| false, "fire", alarm, &limits)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            clip.packets[0].is_key && clip.start() <= Some(MediaTime::from_secs_f64(5.1)),
            "{name}"
        );
        let out = scratch.path().join(format!("clip-{name}.mp4"));
        let written = cut_clip(&clip, &out).unwrap_or_else(|error| panic!("{name}: {error}"));
        let seconds = written.duration.as_secs_f64();
        assert!((29.5..=31.5).contains(&seconds), "{name}: {written:?}");
        let again = read(&out).unwrap_or_else(|error| panic!("{name}: {error}"));
        // A reordered picture at the end may refer to one beyond it.
        let pictures = written.pictures as u64;
        assert!(
            (pictures - 2..=pictures).contains(&again.totals.delivered),
            "{name}: {:?}",
            again.totals
        );
        // A browser begins to play when the index comes before the pictures.
        let bytes = std::fs::read(&out).expect("the clip is there");
        let find = |word: &[u8]| bytes.windows(4).position(|window| window == word);
        assert!(find(b"moov") < find(b"mdat"), "{name}");
        assert!(!out.with_extension("mp4.part").try_exists().unwrap_or(true));
    }
}

#[test]
fn a_clip_that_cannot_be_written_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let file = scratch.path().join("a.mp4");
    if !make_clip(&file, 3, &[]) {
        return;
    }
    let ring = ClipRing::new(ClipLimits {
        before: Duration::from_secs(1),
        ..ClipLimits::default()
    });
    let mut request = request_for(&file);
    request.tap = Some(Arc::new(ring.clone()));
    read_with(&request, &mut |_| ON).expect("the clip can be read");
    assert!(ring.begin("fire", MediaTime::from_secs_f64(2.0)));
    ring.finish();
    let clips = ring.take_whole();
    let nowhere = scratch.path().join("no-such-folder/clip.mp4");
    let error = cut_clip(&clips[0], &nowhere).expect_err("the folder is missing");
    assert!(error.to_string().contains("no-such-folder"), "{error}");
    let mut empty = clips[0].clone();
    empty.packets.clear();
    assert!(cut_clip(&empty, &scratch.path().join("empty.mp4")).is_err());
}
