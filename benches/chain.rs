//! The whole chain on simulated flights: video and telemetry with a drone's errors in, detector, tracker, position out;
//! how far that is from where it burns, by range.
//!
//! `cargo bench --bench chain` renders and analyses some minutes of video. `EMBERWATCH_CHAIN_SEEDS=3` takes fewer flights.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use emberwatch::flow::pose::Wgs84;
use emberwatch::flow::position::Position;
use emberwatch::geo::ellipsoid::{FlatMap, distance_m};
use emberwatch::geo::spread::Covariance;
use emberwatch::simulator::SCENE_PLACE;
use serde_json::Value;

/// Ranges over ground, in metres, with the size of the fire: a heap of straw close by, a burning field edge far away.
const RANGES: [(u32, &str); 4] = [(100, "1"), (200, "1"), (350, "1.5"), (600, "2.5")];
/// Flights at each range.
const SEEDS: u64 = 5;
/// Twice the radius of the truth: within a 90 % ellipse in units of its own size.
const SQUARED_RADIUS: f64 = 4.605_170_186;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emberwatch"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Renders one flight and returns its video.
fn simulated(folder: &Path, range_m: u32, size: &str, seed: u64) -> Option<PathBuf> {
    let name = format!("range-{range_m}-{seed}");
    let status = program()
        .args([
            "simulate",
            "--scene",
            "orbit",
            "--telemetry-errors",
            "--fire-start",
            "1",
        ])
        .args(["--seconds", "12", "--fps", "10", "--size", "1280x720"])
        .args([
            "--range",
            &range_m.to_string(),
            "--fire-size",
            size,
            "--seed",
            &seed.to_string(),
        ])
        .args(["--name", &name, "--out"])
        .arg(folder)
        .output()
        .ok()?;
    status
        .status
        .success()
        .then(|| folder.join(format!("{name}.mp4")))
}

/// One incident with a point.
struct Found {
    off_m: f64,
    position: Position,
    holds: bool,
}

/// Analyses a flight; returns its incidents that have a point, the surest first, and how many have none.
fn analysed(video: &Path, out: &Path) -> Option<(Vec<Found>, usize)> {
    let run = program()
        .arg("analyze")
        .arg("--out")
        .arg(out)
        .arg(video)
        .output()
        .ok()?;
    if !run.status.success() {
        println!("{}", String::from_utf8_lossy(&run.stderr));
        return None;
    }
    let text = std::fs::read_to_string(out.join("incidents.geojson")).ok()?;
    let features: Value = serde_json::from_str(&text).ok()?;
    let mut incidents: Vec<&Value> = features["features"].as_array()?.iter().collect();
    let confidence = |incident: &Value| incident["properties"]["confidence"].as_f64().unwrap_or(0.0);
    incidents.sort_by(|one, other| confidence(other).total_cmp(&confidence(one)));
    let found: Vec<Found> = incidents
        .iter()
        .filter_map(|incident| {
            let position: Position =
                serde_json::from_value(incident["properties"]["position"].clone()).ok()?;
            let truth: Wgs84 = SCENE_PLACE;
            let (east, north) = FlatMap::around(position.point).offset(truth);
            Some(Found {
                off_m: distance_m(position.point, truth),
                holds: Covariance::of_ellipse(&position.ellipse).mahalanobis_squared(east, north)
                    <= SQUARED_RADIUS,
                position,
            })
        })
        .collect();
    let without = incidents.len() - found.len();
    Some((found, without))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> ExitCode {
    let seeds = std::env::var("EMBERWATCH_CHAIN_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(SEEDS);
    let Ok(folder) = tempfile::tempdir() else {
        println!("a folder for the flights cannot be made");
        return ExitCode::FAILURE;
    };
    println!(
        "| range over ground | flights | found | median off | median semi-minor axis (90 %) | ratio, goal 2 | ellipse holds | \
         further incidents |\n|---|---|---|---|---|---|---|---|"
    );
    let mut is_good = true;
    for (range_m, size) in RANGES {
        let (mut off, mut minor, mut held, mut further, mut flights) = (Vec::new(), Vec::new(), 0, 0, 0);
        for seed in 1..=seeds {
            let Some(video) = simulated(folder.path(), range_m, size, seed) else {
                println!("the flight could not be rendered");
                return ExitCode::FAILURE;
            };
            let Some((found, without)) = analysed(&video, &video.with_extension("out")) else {
                println!("the flight could not be analysed");
                return ExitCode::FAILURE;
            };
            flights += 1;
            further += without + found.len().saturating_sub(1);
            if let Some(best) = found.first() {
                off.push(best.off_m);
                minor.push(best.position.ellipse.semi_minor_m);
                held += u32::from(best.holds);
            }
        }
        let count = off.len();
        let (off_m, minor_m) = (median(&mut off), median(&mut minor));
        let ratio = off_m / minor_m;
        println!(
            "| {range_m} m | {flights} | {count} | {off_m:.1} m | {minor_m:.1} m | {ratio:.2} | {held} of {count} | {further} |"
        );
        is_good &= count > 0 && ratio <= 2.0;
    }
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
