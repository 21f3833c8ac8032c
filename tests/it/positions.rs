//! Positions in the service: telemetry that comes by its own way while a source runs, terrain, the grid, and clips that
//! say where the camera was.

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use emberwatch::clock::{Clock, SystemClock};
use emberwatch::flow::pose::Wgs84;
use emberwatch::geo::ellipsoid::{destination, distance_m};
use emberwatch::pipeline::stop::Stop;
use mavlink::dialects::common as mav;
use nix::sys::signal::Signal;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{Client, MqttOptions};
use serde_json::Value;

use crate::analysis::has_runtime;
use crate::faults::Server;
use crate::fixtures::fixture;
use crate::servers::free_port;
use crate::service::Service;

/// The height of the ground in the test's tile, in metres above sea level.
const GROUND_M: i16 = 150;
/// How high the drones fly above it, in metres.
const ABOVE_M: f64 = 100.0;

/// Where each drone hovers: five kilometres apart, both inside the tile.
const NORTHERN: Wgs84 = Wgs84 {
    lat: 35.30,
    lon: 113.25,
};
const SOUTHERN: Wgs84 = Wgs84 {
    lat: 35.25,
    lon: 113.25,
};

/// Level ground of three arc-seconds at 150 m: what no plane at take-off height would know.
fn write_tile(folder: &Path) -> PathBuf {
    let path = folder.join("N35E113.hgt");
    let heights: Vec<u8> = std::iter::repeat_n(GROUND_M.to_be_bytes(), 1_201 * 1_201)
        .flatten()
        .collect();
    std::fs::write(&path, heights).unwrap();
    path
}

/// A cell of a kilometre and a half around each drone, and a team in the north.
fn write_grid(folder: &Path) {
    let cell = |name: &str, centre: Wgs84| {
        let (south, north) = (centre.lat - 0.007, centre.lat + 0.007);
        let (west, east) = (centre.lon - 0.008, centre.lon + 0.008);
        format!(
            "{{\"type\":\"Feature\",\"properties\":{{\"district\":\"D\",\"township\":\"T\",\"village\":\"{name}\"}},\
             \"geometry\":{{\"type\":\"Polygon\",\"coordinates\":[[[{west},{south}],[{east},{south}],[{east},{north}],\
             [{west},{north}],[{west},{south}]]]}}}}"
        )
    };
    let text = format!(
        "{{\"type\":\"FeatureCollection\",\"features\":[{},{},{{\"type\":\"Feature\",\"properties\":{{\"kind\":\"team\",\
         \"name\":\"first team\"}},\"geometry\":{{\"type\":\"Point\",\"coordinates\":[{},{}]}}}}]}}",
        cell("north", NORTHERN),
        cell("south", SOUTHERN),
        NORTHERN.lon,
        NORTHERN.lat + 0.02
    );
    std::fs::write(folder.join("grid.geojson"), text).unwrap();
}

fn write_pipeline(folder: &Path, sources: &str) {
    let mut text = String::from(
        "[console]\nlisten = \"127.0.0.1:0\"\n\n[evidence]\nbefore_s = 2.0\nafter_s = 2.0\n\n\
         [terrain]\nfiles = [\"N35E113.hgt\"]\n\n[grid]\nfile = \"grid.geojson\"\ncrs = \"wgs84\"\n\n\
         [incidents]\nsite = \"urn:emberwatch:test\"\n\n\
         [[sink]]\nname = \"events\"\nto = { kind = \"json_lines\", path = \"events.jsonl\" }\n\
         filter = { events = [\"incident.*\", \"source.*\"] }\n",
    );
    text.push_str(sources);
    std::fs::write(folder.join("pipeline.toml"), text).unwrap();
}

fn source(id: &str, url: &str, more: &str) -> String {
    format!(
        "\n[[source]]\nid = \"{id}\"\nurl = \"{url}\"\nkind = \"live\"\nmount = \"moving\"\nrate = 5.0\n\
         telemetry_time = {{ latency_s = 0.3, sigma_s = 0.2 }}\n{more}\n"
    )
}

fn now_s() -> f64 {
    SystemClock::new().wall().as_nanosecond() as f64 / 1e9
}

/// Sends what a hovering drone sends, ten times a second, until told to stop: it looks north, 45 degrees down.
fn send_mavlink(port: u16, leave: &AtomicBool) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let begun_s = now_s();
    let mut sequence = 0_u8;
    while !leave.load(Ordering::Relaxed) {
        let unix_s = now_s();
        let boot_ms = ((unix_s - begun_s) * 1e3) as u32 + 1_000;
        let half = (-45.0_f32).to_radians() / 2.0;
        let messages = [
            mav::MavMessage::SYSTEM_TIME(mav::SYSTEM_TIME_DATA {
                time_unix_usec: (unix_s * 1e6) as u64,
                time_boot_ms: boot_ms,
            }),
            mav::MavMessage::GLOBAL_POSITION_INT(mav::GLOBAL_POSITION_INT_DATA {
                time_boot_ms: boot_ms,
                lat: (NORTHERN.lat * 1e7).round() as i32,
                lon: (NORTHERN.lon * 1e7).round() as i32,
                alt: ((f64::from(GROUND_M) + ABOVE_M) * 1e3) as i32,
                relative_alt: 30_000,
                hdg: 9_000,
                ..mav::GLOBAL_POSITION_INT_DATA::default()
            }),
            mav::MavMessage::ATTITUDE(mav::ATTITUDE_DATA {
                time_boot_ms: boot_ms,
                yaw: std::f32::consts::FRAC_PI_2,
                ..mav::ATTITUDE_DATA::default()
            }),
            mav::MavMessage::GIMBAL_DEVICE_ATTITUDE_STATUS(mav::GIMBAL_DEVICE_ATTITUDE_STATUS_DATA {
                time_boot_ms: boot_ms,
                q: [half.cos(), 0.0, half.sin(), 0.0],
                flags: mav::GimbalDeviceFlags::GIMBAL_DEVICE_FLAGS_YAW_IN_EARTH_FRAME,
                ..mav::GIMBAL_DEVICE_ATTITUDE_STATUS_DATA::default()
            }),
            mav::MavMessage::CAMERA_FOV_STATUS(mav::CAMERA_FOV_STATUS_DATA {
                time_boot_ms: boot_ms,
                lat_camera: i32::MAX,
                lon_camera: i32::MAX,
                alt_camera: i32::MAX,
                lat_image: i32::MIN,
                lon_image: i32::MIN,
                alt_image: i32::MIN,
                q: [f32::NAN; 4],
                hfov: 60.0,
                vfov: 36.0,
            }),
        ];
        for message in messages {
            sequence = sequence.wrapping_add(1);
            let header = mavlink::MavHeader {
                sequence,
                ..mavlink::MavHeader::default()
            };
            let mut bytes = Vec::new();
            mavlink::write_v2_msg(&mut bytes, header, &message).unwrap();
            socket.send_to(&bytes, ("127.0.0.1", port)).ok();
        }
        let _never = Stop::new().wait_for(Duration::from_millis(100));
    }
}

/// Publishes what a dock's aircraft publishes, as its camera looks east, 45 degrees down.
fn publish_dji(port: u16, leave: &AtomicBool) {
    let (client, mut connection) = Client::new(MqttOptions::new("aircraft", "127.0.0.1", port), 16);
    std::thread::scope(|scope| {
        scope.spawn(move || for _report in connection.iter().take_while(Result::is_ok) {});
        while !leave.load(Ordering::Relaxed) {
            let millis = (now_s() * 1e3) as u64;
            let undulation_m = emberwatch::geo::geoid::undulation_m(SOUTHERN);
            let payload = serde_json::json!({ "timestamp": millis, "data": {
                "latitude": SOUTHERN.lat, "longitude": SOUTHERN.lon,
                "height": f64::from(GROUND_M) + ABOVE_M + undulation_m, "elevation": 30.0,
                "attitude_head": 0, "attitude_pitch": 0, "attitude_roll": 0,
                "52-0-0": { "gimbal_pitch": -45.0, "gimbal_roll": 0, "gimbal_yaw": 90.0, "zoom_factor": 1.0,
                    "measure_target_error_state": 1 },
            }});
            client
                .publish(
                    "thing/product/AIRCRAFT1/osd",
                    QoS::AtMostOnce,
                    false,
                    payload.to_string(),
                )
                .unwrap();
            let _never = Stop::new().wait_for(Duration::from_millis(100));
        }
        client.disconnect().unwrap();
    });
}

/// Returns the newest event of each incident that this source alone sees and that has a point.
fn placed(events: &[Value], source: &str) -> Option<Value> {
    events
        .iter()
        .rev()
        .find(|event| {
            event["data"]["geometry"].is_object() && event["data"]["properties"]["sources"][0]["id"] == source
        })
        .cloned()
}

fn point(event: &Value) -> Wgs84 {
    let coordinates = &event["data"]["geometry"]["coordinates"];
    Wgs84 {
        lat: coordinates[1].as_f64().unwrap(),
        lon: coordinates[0].as_f64().unwrap(),
    }
}

/// Returns the name of the clip with telemetry of any event.
fn located_clip(events: &[Value], source: &str) -> Option<String> {
    events.iter().find_map(|event| {
        let evidence = event["data"]["properties"]["evidence"].as_array()?;
        let names = evidence.iter().filter_map(|kept| kept["name"].as_str());
        let is_ours = |name: &&str| {
            name.starts_with(source) && Path::new(name).extension().is_some_and(|it| it == "ts")
        };
        names.into_iter().find(is_ours).map(str::to_owned)
    })
}

#[test]
fn drones_that_send_mavlink_and_dji_cloud_pushes_have_their_fires_placed_on_terrain_and_in_the_grid() {
    let Some(fire) = fixture("video/house6.mp4") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mavlink_port, mqtt_port) = (free_port(), free_port());
    let Ok(mut mosquitto) = Command::new("mosquitto")
        .args(["-p", &mqtt_port.to_string()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
    else {
        println!("skipped: mosquitto is not installed");
        return;
    };
    write_tile(folder.path());
    write_grid(folder.path());
    let (one, other) = (Server::start(&fire, 0, None), Server::start(&fire, 0, None));
    let mut sources = String::new();
    let _written = write!(
        sources,
        "{}{}",
        source(
            "mavlink",
            &one.address,
            &format!("telemetry = \"udp://127.0.0.1:{mavlink_port}\"")
        ),
        source(
            "dock",
            &other.address,
            &format!(
                "dji_cloud = {{ host = \"127.0.0.1\", port = {mqtt_port}, aircraft = \"AIRCRAFT1\", gimbal_yaw = \"north\" }}\n\
                 lens = {{ model = \"M30T\" }}"
            )
        )
    );
    write_pipeline(folder.path(), &sources);
    let leave = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| send_mavlink(mavlink_port, &leave));
        scope.spawn(|| publish_dji(mqtt_port, &leave));
        let ends = scope.spawn(|| {
            let service = Service::start(folder.path());
            for (source, at, azimuth_deg, village) in [
                ("mavlink", NORTHERN, 0.0, "north"),
                ("dock", SOUTHERN, 90.0, "south"),
            ] {
                service.until("a fire with a place", |it| placed(&it.events(), source).is_some());
                let event = placed(&service.events(), source).unwrap();
                let told = &event["data"]["properties"];
                // 100 m above ground and 45 degrees down: the axis meets it 100 m ahead, the picture's parts around that.
                let off_m = distance_m(point(&event), destination(at, azimuth_deg, ABOVE_M));
                assert!(off_m < 130.0, "{source}: {off_m} m off, {told}");
                assert_eq!(told["method"], "ray_terrain", "{told}");
                assert!(
                    (told["height_m"].as_f64().unwrap() - f64::from(GROUND_M)).abs() < 1.0,
                    "{told}"
                );
                assert_eq!(told["grid"]["village"], village, "{told}");
                assert!(
                    told["grid"]["team"].as_str().unwrap().starts_with("first team ("),
                    "{told}"
                );
            }
            service.until("a clip with telemetry", |it| {
                located_clip(&it.events(), "mavlink").is_some()
            });
            let name = located_clip(&service.events(), "mavlink").unwrap();
            let clip = folder.path().join("data/evidence").join(name);
            service.signal(Signal::SIGTERM);
            assert_eq!(service.wait().code(), Some(0));
            clip
        });
        let ended = ends.join();
        leave.store(true, Ordering::Relaxed);
        let clip = ended.unwrap();
        let dump = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
            .args(["telemetry", "dump", clip.to_str().unwrap(), "--json"])
            .output()
            .unwrap();
        let text = String::from_utf8(dump.stdout).unwrap();
        assert!(text.lines().count() >= 10, "{text}");
        let sample: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert!((sample["position"]["lat"].as_f64().unwrap() - NORTHERN.lat).abs() < 1e-6);
    });
    mosquitto.kill().unwrap();
    mosquitto.wait().unwrap();
}
