//! `emberwatch locate` in each of its forms: a photo over terrain, a camera of a pipeline, a frame of a video, a clock
//! that is found from a pan.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use emberwatch::flow::pose::Wgs84;
use emberwatch::geo::ellipsoid::{FlatMap, destination, distance_m};
use emberwatch::geo::geoid::undulation_m;
use serde_json::Value;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray32Float;
use tiff::tags::Tag;

use crate::fixtures::fixture;

fn locate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emberwatch"))
        .arg("locate")
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn answer(arguments: &[&str]) -> Value {
    let output = locate(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refusal(arguments: &[&str]) -> String {
    let output = locate(arguments);
    assert!(!output.status.success(), "{arguments:?} was answered");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn number(value: &Value, pointer: &str) -> f64 {
    value
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{pointer} is missing in {value}"))
}

fn place(answer: &Value) -> Wgs84 {
    Wgs84 {
        lat: number(answer, "/position/lat"),
        lon: number(answer, "/position/lon"),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Where the photo's drone was, and what its laser measured: see SOURCES.md.
const DRONE: Wgs84 = Wgs84 {
    lat: 49.726_349_021,
    lon: 13.350_951_205,
};
const TARGET: Wgs84 = Wgs84 {
    lat: 49.726_393_2,
    lon: 13.351_629_0,
};
/// Heights above the ellipsoid: of the ground that the drone took off from, and of the target.
const TAKEOFF_M: f64 = 431.531 - 36.28;
const TARGET_M: f64 = 409.1;

/// The ground that the photo's own figures state, above the geoid: an even slope from the take-off, taken to lie below the
/// drone, to the target. No terrain of that place is at hand: this shows that terrain is used, not how good one is.
fn slope_m(point: Wgs84) -> f64 {
    let (east, north) = FlatMap::around(DRONE).offset(point);
    let (to_east, to_north) = FlatMap::around(DRONE).offset(TARGET);
    let along = (east * to_east + north * to_north) / (to_east.powi(2) + to_north.powi(2));
    TAKEOFF_M + along * (TARGET_M - TAKEOFF_M) - undulation_m(DRONE)
}

/// Writes the slope as a tile of Copernicus: float heights in the middle of cells of one arc-second, above EGM2008.
fn write_geotiff(folder: &Path) -> PathBuf {
    const CELLS: u32 = 120;
    let step = 1.0 / 3600.0;
    let (north, west) = (DRONE.lat + 60.0 * step, DRONE.lon - 60.0 * step);
    let heights: Vec<f32> = (0..CELLS * CELLS)
        .map(|index| {
            let (row, column) = (f64::from(index / CELLS), f64::from(index % CELLS));
            slope_m(Wgs84 {
                lat: north - (row + 0.5) * step,
                lon: west + (column + 0.5) * step,
            }) as f32
        })
        .collect();
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<Gray32Float>(CELLS, CELLS).unwrap();
    let tags = image.encoder();
    tags.write_tag(Tag::ModelPixelScaleTag, &[step, step, 0.0][..])
        .unwrap();
    tags.write_tag(Tag::ModelTiepointTag, &[0.0, 0.0, 0.0, west, north, 0.0][..])
        .unwrap();
    let keys: [u16; 16] = [1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326];
    tags.write_tag(Tag::GeoKeyDirectoryTag, &keys[..]).unwrap();
    image.write_data(&heights).unwrap();
    let path = folder.join("Copernicus_DSM_COG_10_N49_00_E013_00_DEM.tif");
    std::fs::write(&path, bytes.into_inner()).unwrap();
    path
}

/// Writes the slope as a tile of SRTM: whole metres at the corners of cells of three arc-seconds, above EGM96.
fn write_hgt(folder: &Path) -> PathBuf {
    let heights: Vec<u8> = (0..1_201 * 1_201_u32)
        .flat_map(|index| {
            let point = Wgs84 {
                lat: 50.0 - f64::from(index / 1_201) / 1_200.0,
                lon: 13.0 + f64::from(index % 1_201) / 1_200.0,
            };
            // Far from the drone the slope would leave the Earth.
            let metres = if distance_m(point, DRONE) < 2_000.0 {
                slope_m(point)
            } else {
                350.0
            };
            (metres.round() as i16).to_be_bytes()
        })
        .collect();
    let path = folder.join("N49E013.hgt");
    std::fs::write(&path, heights).unwrap();
    path
}

#[test]
fn a_photo_without_its_laser_lands_on_terrain_and_not_thirty_metres_beyond() {
    let Some(photo) = fixture("geo/M30T_xmp_with_LRF.xml") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read_to_string(photo).unwrap();
    let without = whole.replace("LRFStatus=\"Normal\"", "LRFStatus=\"Abnormal\"");
    assert_ne!(whole, without);
    let photo = folder.path().join("photo.xml");
    std::fs::write(&photo, without).unwrap();
    let flat = answer(&[text(&photo), "--json"]);
    let flat_m = distance_m(place(&flat), TARGET);
    println!("\n| M30T photo without its laser | method | off the laser's target |\n|---|---|---|");
    println!(
        "| level ground at take-off height | {} | {flat_m:.1} m |",
        flat["method"]
    );
    assert!(
        (20.0..40.0).contains(&flat_m),
        "the error that terrain avoids: {flat_m} m"
    );
    for dem in [write_geotiff(folder.path()), write_hgt(folder.path())] {
        let found = answer(&[text(&photo), "--dem", text(&dem), "--json"]);
        let off_m = distance_m(place(&found), TARGET);
        let name = dem.file_name().unwrap().to_string_lossy().into_owned();
        println!("| {name} | {} | {off_m:.1} m |", found["method"]);
        assert_eq!(found["method"], "ray_terrain");
        assert!(off_m <= 5.0, "{name}: {off_m} m");
    }
}

const PIPELINE: &str = r#"
[[source]]
id = "tower"
url = "rtsp://127.0.0.1:8554/tower"
kind = "live"
mount = "fixed"
[source.camera]
mast = { lat = 35.2, lon = 113.25, height = { metres = 40.0, datum = "ground" } }
attitude = { yaw_deg = 210.0, pitch_deg = -4.0, roll_deg = 0.0 }
optics = { hfov_deg = 40.0 }

[[source]]
id = "turning"
url = "rtsp://127.0.0.1:8554/turning"
kind = "live"
mount = "fixed"
[source.ptz]
service = "http://127.0.0.1/onvif/ptz"
profile = "p"
mast = { lat = 35.2, lon = 113.25, height = { metres = 40.0, datum = "ground" } }
[[source.ptz.preset]]
name = "kiln"
attitude = { yaw_deg = 90.0, pitch_deg = -2.0, roll_deg = 0.0 }
optics = { hfov_deg = 20.0 }

[[source]]
id = "drone"
url = "rtsp://127.0.0.1:8554/drone"
kind = "live"
mount = "moving"
telemetry = "stream"
"#;

#[test]
fn a_camera_of_a_pipeline_is_asked_by_its_name_and_preset() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("pipeline.toml");
    std::fs::write(&pipeline, PIPELINE).unwrap();
    let mast = Wgs84 {
        lat: 35.2,
        lon: 113.25,
    };
    let ask = |more: &[&'static str]| [&["--pipeline", text(&pipeline)][..], more].concat();

    let tower = answer(&ask(&["--source", "tower", "--json"]));
    assert!((number(&tower, "/ray/azimuth_deg") - 210.0).abs() < 1e-6);
    // 40 m up and 4 degrees down.
    let range_m = 40.0 / 4.0_f64.to_radians().tan();
    assert!(
        distance_m(place(&tower), destination(mast, 210.0, range_m)) < 2.0,
        "{tower}"
    );
    assert_eq!(tower["method"], "ray_plane");
    let right = answer(&ask(&[
        "--source",
        "tower",
        "--pixel",
        "1919.5,540",
        "--size",
        "1920x1080",
        "--json",
    ]));
    assert!(
        (number(&right, "/ray/azimuth_deg") - 230.0).abs() < 0.2,
        "{right}"
    );

    let kiln = answer(&ask(&["--source", "turning", "--preset", "kiln", "--json"]));
    assert!((number(&kiln, "/ray/azimuth_deg") - 90.0).abs() < 1e-6);
    assert!((number(&kiln, "/ray/elevation_deg") + 2.0).abs() < 1e-6);

    for (more, expected) in [
        (&["--source", "nobody"][..], "tower, turning, drone"),
        (&["--source", "turning"], "--preset"),
        (&["--source", "turning", "--preset", "nowhere"], "kiln"),
        (&["--source", "tower", "--preset", "kiln"], "does not turn"),
        (&["--source", "drone"], "--telemetry"),
    ] {
        let said = refusal(&ask(more));
        assert!(said.contains(expected), "{more:?}: {said}");
    }
    // The terrain of the pipeline is the ground: here it lies 10 m below the foot of the mast's camera.
    let heights: Vec<u8> = std::iter::repeat_n(100_i16.to_be_bytes(), 1_201 * 1_201)
        .flatten()
        .collect();
    std::fs::write(folder.path().join("N35E113.hgt"), heights).unwrap();
    let above_sea = PIPELINE.replace(
        "height = { metres = 40.0, datum = \"ground\" }",
        "height = { metres = 150.0, datum = \"egm96\" }",
    );
    let with_terrain = format!("[terrain]\nfiles = [\"N35E113.hgt\"]\n{above_sea}");
    std::fs::write(&pipeline, with_terrain).unwrap();
    let tower = answer(&ask(&["--source", "tower", "--json"]));
    assert_eq!(tower["method"], "ray_terrain");
    let range_m = 50.0 / 4.0_f64.to_radians().tan();
    assert!(
        distance_m(place(&tower), destination(mast, 210.0, range_m)) < 2.0,
        "{tower}"
    );
}

#[cfg(feature = "video")]
#[test]
fn a_frame_of_a_video_is_found_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let simulate = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
        .args([
            "simulate",
            "--scene",
            "orbit",
            "--size",
            "320x180",
            "--fps",
            "10",
            "--seconds",
            "3",
        ])
        .args(["--name", "flight", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        simulate.status.success(),
        "{}",
        String::from_utf8_lossy(&simulate.stderr)
    );
    let video = folder.path().join("flight.mp4");
    let by_frame = answer(&["--video", text(&video), "--frame", "20", "--json"]);
    let by_time = answer(&["--video", text(&video), "--at", "2.0", "--json"]);
    let by_rate = answer(&["--video", text(&video), "--frame", "20", "--fps", "10", "--json"]);
    assert_eq!(by_frame["ray"], by_time["ray"]);
    assert_eq!(by_rate["ray"], by_time["ray"]);
    assert!((number(&by_frame, "/media_s") - 2.0).abs() < 1e-6);
    let said = refusal(&["--video", text(&video), "--frame", "99"]);
    assert!(said.contains("30 frames") && said.contains("0 to 29"), "{said}");
    let alone = folder.path().join("flight.SRT");
    let said = refusal(&["--telemetry", text(&alone), "--frame", "20"]);
    assert!(said.contains("--fps"), "{said}");
}

/// Returns the bytes from the first packet at or after so many seconds on.
#[cfg(feature = "video")]
fn from_second(klv: &[u8], seconds: f64) -> Vec<u8> {
    let key = emberwatch::telemetry::klv::UAS_KEY;
    let starts: Vec<usize> = (0..klv.len()).filter(|at| klv[*at..].starts_with(&key)).collect();
    let time = |start: usize| {
        let packet = emberwatch::telemetry::klv::PacketReader::new(&klv[start..])
            .next()
            .unwrap();
        packet.time_us.unwrap() as f64 / 1e6
    };
    let first = time(starts[0]);
    let from = starts
        .iter()
        .find(|start| time(**start) - first >= seconds)
        .unwrap();
    klv[*from..].to_vec()
}

#[cfg(feature = "video")]
#[test]
fn a_pan_of_the_camera_ties_the_telemetry_to_its_video() {
    let folder = tempfile::tempdir().unwrap();
    let simulate = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
        .args([
            "simulate",
            "--scene",
            "tower-pan",
            "--size",
            "320x180",
            "--fps",
            "10",
            "--seconds",
            "24",
        ])
        .args(["--name", "pan", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        simulate.status.success(),
        "{}",
        String::from_utf8_lossy(&simulate.stderr)
    );
    let klv = std::fs::read(folder.path().join("pan.klv")).unwrap();
    // The recorder was switched on 1.5 s after the camera.
    let late = folder.path().join("late.klv");
    std::fs::write(&late, from_second(&klv, 1.5)).unwrap();
    let video = folder.path().join("pan.mp4");
    let ask = |more: &[&str]| {
        let fixed = [
            "--video",
            text(&video),
            "--telemetry",
            text(&late),
            "--at",
            "9",
            "--json",
        ];
        answer(&[&fixed[..], more].concat())
    };
    let truth = answer(&[
        "--video",
        text(&video),
        "--telemetry",
        text(&folder.path().join("pan.klv")),
        "--at",
        "9",
        "--json",
    ]);
    let assumed = ask(&[]);
    let found = ask(&["--calibrate-time"]);
    let azimuth = |answer: &Value| number(answer, "/ray/azimuth_deg");
    assert!(
        (azimuth(&assumed) - azimuth(&truth)).abs() > 5.0,
        "the camera turns at that moment"
    );
    assert!((azimuth(&found) - azimuth(&truth)).abs() < 3.0, "{found}");
    let offset_s = number(&found, "/time_calibration/offset_s");
    assert!((offset_s + 1.5).abs() < 0.1, "{found}");
    assert!(number(&found, "/time_calibration/quality") > 0.5, "{found}");
    let told = ask(&["--time-offset", "-1.5"]);
    assert!((azimuth(&told) - azimuth(&truth)).abs() < 0.5);
    assert!(
        assumed["flags"].to_string().contains("time_offset_assumed"),
        "{assumed}"
    );
}
