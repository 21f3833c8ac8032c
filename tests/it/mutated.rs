//! Damage by chance: recordings, pipeline files, manifests and addresses with bytes changed, lost, doubled or cut off.
//! Whatever comes of them, it is an answer.

use std::path::Path;

use emberwatch::config::load;
use emberwatch::models::Manifest;
use emberwatch::stages::ingest::Location;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

fn below(chance: &mut ChaCha8Rng, end: usize) -> usize {
    (chance.next_u64() % end.max(1) as u64) as usize
}

/// Damages bytes: some are changed, and now and then a stretch is lost, doubled, or the end is cut off.
fn damage(chance: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=below(chance, 40) {
        let at = below(chance, bytes.len());
        let Some(byte) = bytes.get_mut(at) else { return };
        match below(chance, 3) {
            0 => *byte = chance.next_u32() as u8,
            1 => *byte ^= 1 << below(chance, 8),
            _ => *byte = [0, b'"', b'-', b'9', b'\n', 0x80, 0xff][below(chance, 7)],
        }
    }
    let from = below(chance, bytes.len());
    let to = from + below(chance, (bytes.len() - from).min(2_000));
    match below(chance, 4) {
        0 => drop(bytes.drain(from..to)),
        1 => {
            let again = bytes[from..to].to_vec();
            bytes.splice(to..to, again);
        }
        2 => bytes.truncate(from),
        _ => {}
    }
}

#[test]
fn mutated_pipelines_manifests_and_addresses_are_answered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut chance = ChaCha8Rng::seed_from_u64(2);
    let mut refused = 0;
    for entry in std::fs::read_dir(root.join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        let good = std::fs::read(&path).unwrap();
        for _ in 0..60 {
            let mut bytes = good.clone();
            damage(&mut chance, &mut bytes);
            if let Err(problems) = load::parse(&path, &String::from_utf8_lossy(&bytes)) {
                refused += 1;
                assert!(problems.to_string().contains("pipelines"), "{problems}");
            }
        }
    }
    assert!(refused > 100, "{refused} pipelines were refused");
    let path = root.join("models/fire-smoke-nano/model.toml");
    let good = std::fs::read(&path).unwrap();
    for _ in 0..300 {
        let mut bytes = good.clone();
        damage(&mut chance, &mut bytes);
        if let Err(error) = Manifest::parse(&String::from_utf8_lossy(&bytes), &path) {
            assert!(error.to_string().contains("model.toml"), "{error}");
        }
    }
    for _ in 0..3_000 {
        let mut bytes = b"rtsp://user:pass%20word@[fe80::1]:554/live/1?a=b#c".to_vec();
        damage(&mut chance, &mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        if let Err(error) = Location::parse(&text) {
            assert!(!error.to_string().contains("pass%20word"), "{error}");
        }
    }
}

#[cfg(feature = "video")]
mod recordings {
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use emberwatch::clock::{Clock, SystemClock};
    use serde_json::Value;

    use super::*;
    use crate::analysis::has_runtime;

    /// Damaged copies of each container.
    const COPIES: u64 = 8;
    /// The most that all of them may take.
    const PATIENCE: Duration = Duration::from_mins(4);

    /// A burning clip of three seconds as MP4, and the same packets in a transport stream and in Matroska.
    fn clips(folder: &Path) -> Vec<PathBuf> {
        let mp4 = folder.join("clip.mp4");
        let rendered = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
            .args([
                "simulate",
                "--size",
                "320x180",
                "--seconds",
                "3",
                "--key-interval",
                "1",
            ])
            .args(["--fire-start", "-20", "--name", "clip", "--out"])
            .arg(folder)
            .output()
            .unwrap();
        assert!(rendered.status.success(), "{rendered:?}");
        let mut clips = vec![mp4.clone()];
        for (muxer, ending) in [("mpegtsmux", "ts"), ("matroskamux", "mkv")] {
            let path = folder.join(format!("clip.{ending}"));
            let done = Command::new("gst-launch-1.0")
                .args(["-q", "filesrc", &format!("location={}", mp4.display())])
                .args(["!", "qtdemux", "!", "h264parse", "!", muxer, "!", "filesink"])
                .arg(format!("location={}", path.display()))
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
            clips.push(path);
        }
        clips
    }

    fn wait(mut child: Child) -> std::process::Output {
        let clock = SystemClock::new();
        let began = clock.monotonic();
        while child.try_wait().unwrap().is_none() {
            if clock.monotonic().since(began) > PATIENCE {
                child.kill().unwrap();
                panic!(
                    "damaged recordings hold the program for ever: {:?}",
                    child.wait_with_output()
                );
            }
            let _never = emberwatch::pipeline::stop::Stop::new().wait_for(Duration::from_millis(100));
        }
        child.wait_with_output().unwrap()
    }

    #[test]
    fn mutated_recordings_are_read_or_refused_by_name_and_the_rest_goes_on() {
        if !has_runtime() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let damaged = folder.path().join("damaged");
        std::fs::create_dir(&damaged).unwrap();
        let mut chance = ChaCha8Rng::seed_from_u64(3);
        for clip in clips(folder.path()) {
            let good = std::fs::read(&clip).unwrap();
            let ending = clip.extension().unwrap().to_str().unwrap().to_owned();
            for copy in 0..COPIES {
                let mut bytes = good.clone();
                damage(&mut chance, &mut bytes);
                std::fs::write(damaged.join(format!("{copy}.{ending}")), bytes).unwrap();
            }
        }
        std::fs::copy(folder.path().join("clip.mp4"), damaged.join("sound.mp4")).unwrap();
        let out = folder.path().join("out");
        let child = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["--log", "error", "analyze", "--rate", "2", "--out"])
            .args([&out, &damaged])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let run = wait(child);
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(
            run.status.code().is_some_and(|code| code != 101),
            "{:?}: {said}",
            run.status
        );
        assert!(!said.contains("panicked"), "{said}");
        let summary: Value =
            serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
        let inputs = summary["inputs"].as_array().unwrap();
        assert_eq!(inputs.len() as u64, 3 * COPIES + 1);
        let mut read = 0;
        for input in inputs {
            let count = |name: &str| input[name].as_u64().unwrap_or(0);
            assert_eq!(
                count("frames_in"),
                count("frames_inferred") + count("frames_skipped") + count("frames_lost"),
                "{input}"
            );
            let is_refused = input["error"].as_str().is_some_and(|error| !error.is_empty());
            assert!(is_refused || count("frames_in") > 0, "{input}");
            read += u64::from(count("frames_in") > 0);
        }
        assert!(read > COPIES, "{read} of {} gave frames", inputs.len());
        let sound = inputs
            .iter()
            .find(|input| input["path"].as_str().unwrap().ends_with("sound.mp4"));
        assert!(
            sound.unwrap()["error"].is_null() && sound.unwrap()["frames_lost"] == 0,
            "{sound:?}"
        );
    }
}
