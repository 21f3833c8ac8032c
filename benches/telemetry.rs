//! How fast telemetry is read: ST 0601 packets, subtitles, MAVLink frames.
//!
//! `EMBERWATCH_FIXTURES=../shared/fixtures cargo bench --bench telemetry`

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use emberwatch::telemetry::dji_srt;
use emberwatch::telemetry::klv::packet::UasPacket;
use emberwatch::telemetry::klv::{PacketReader, write};

/// Returns the CPU time that this thread has used: other work on the machine does not count.
fn cpu() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("the clock of the thread is there")
}

/// Returns a fixture, or nothing where it is absent.
fn fixture(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("EMBERWATCH_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    std::fs::read(folder.join(name)).ok()
}

/// Makes packets as a drone with a full set of items sends them.
fn made_up() -> Vec<u8> {
    (0..700u32)
        .flat_map(|index| {
            let packet = UasPacket {
                time_us: Some(1_790_000_000_000_000 + u64::from(index) * 40_000),
                platform_heading_deg: Some(f64::from(index % 360)),
                platform_pitch_deg: Some(2.0),
                platform_roll_deg: Some(-1.0),
                sensor_lat_deg: Some(35.19),
                sensor_lon_deg: Some(113.25),
                sensor_hae_m: Some(80.0),
                hfov_deg: Some(60.0),
                relative_azimuth_deg: Some(10.0),
                relative_elevation_deg: Some(-30.0),
                relative_roll_deg: Some(0.0),
                ..UasPacket::default()
            };
            write::to_bytes(&packet, Some("EMBERWATCH"))
        })
        .collect()
}

fn klv(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("klv");
    let files = [("truck", fixture("klv/Truck.klv")), ("made_up", Some(made_up()))];
    for (name, bytes) in files {
        let Some(bytes) = bytes else { continue };
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let start = cpu();
                for _ in 0..times {
                    let placed = PacketReader::new(black_box(&bytes))
                        .filter(|packet| packet.sensor_lat_deg.is_some())
                        .count();
                    black_box(placed);
                }
                cpu().saturating_sub(start)
            });
        });
    }
    group.finish();
}

fn srt(criterion: &mut Criterion) {
    let Some(bytes) = fixture("srt/mavic_3_head.srt") else {
        return;
    };
    let mut group = criterion.benchmark_group("dji_srt");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("mavic_3", |bencher| {
        bencher.iter(|| dji_srt::parse(black_box(&bytes)).samples.len());
    });
    group.finish();
}

criterion_group!(benches, klv, srt);
criterion_main!(benches);
