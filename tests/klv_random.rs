//! ST 0601 packets against random and damaged input: no panic, and what is read is written and read again as the same.
//!
//! Ten million inputs, optimised: `EMBERWATCH_KLV_INPUTS=10000000 CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo test --test
//! klv_random -- --nocapture`

#![expect(clippy::print_stdout, reason = "the figure is what is measured")]

use std::path::PathBuf;

use emberwatch::telemetry::klv::packet::UasPacket;
use emberwatch::telemetry::klv::{PacketReader, UAS_KEY, checksum, sample_of, write};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Inputs where nobody asks for more.
const USUAL: u64 = 30_000;

struct Chance(ChaCha8Rng);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.0.next_u32() as u8
    }
}

/// Whole packets of the fixtures, and one of our own for where there are none.
fn good_packets() -> Vec<Vec<u8>> {
    let folder = std::env::var_os("EMBERWATCH_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    let mut packets = vec![write::to_bytes(
        &UasPacket {
            time_us: Some(1_790_000_000_000_000),
            sensor_lat_deg: Some(35.2),
            sensor_lon_deg: Some(113.2),
            ..UasPacket::default()
        },
        Some("random"),
    )];
    for name in ["Truck.klv", "realflight.bin", "day.klv"] {
        let Ok(bytes) = std::fs::read(folder.join("klv").join(name)) else {
            println!("skipped: {name} is not at hand");
            continue;
        };
        let starts: Vec<usize> = (0..bytes.len())
            .filter(|at| bytes[*at..].starts_with(&UAS_KEY))
            .collect();
        packets.extend(
            starts
                .windows(2)
                .take(40)
                .map(|pair| bytes[pair[0]..pair[1]].to_vec()),
        );
    }
    packets
}

/// Makes an input: a packet or two with some bytes changed, cut, doubled or put in, or items of nothing but chance.
fn input(chance: &mut Chance, good: &[Vec<u8>], out: &mut Vec<u8>) {
    out.clear();
    if chance.below(4) == 0 {
        // Items of chance under a right key, with a right checksum now and then.
        out.extend_from_slice(&UAS_KEY);
        let length = chance.below(120);
        out.push(length as u8);
        for _ in 0..length {
            let byte = chance.byte();
            out.push(if chance.below(3) == 0 { byte % 100 } else { byte });
        }
        if chance.below(2) == 0 {
            out.extend_from_slice(&[1, 2]);
            out[16] = (length + 4) as u8;
            let sum = checksum(out);
            out.extend_from_slice(&sum.to_be_bytes());
        }
    } else {
        for _ in 0..=chance.below(2) {
            out.extend_from_slice(&good[chance.below(good.len())]);
        }
        for _ in 0..chance.below(6) {
            let at = chance.below(out.len());
            match chance.below(4) {
                0 => out[at] = chance.byte(),
                1 => out[at] ^= 1 << chance.below(8),
                2 => out.insert(at, chance.byte()),
                _ => drop(out.remove(at)),
            }
        }
        if chance.below(3) == 0 {
            out.truncate(chance.below(out.len() + 1));
        }
        // A right checksum over damaged items lets them through to the items' own tests.
        if chance.below(2) == 0 && out.len() > 4 {
            let end = out.len() - 2;
            let sum = checksum(&out[..end]);
            out[end..].copy_from_slice(&sum.to_be_bytes());
        }
    }
}

#[test]
fn no_input_makes_the_reader_of_packets_panic_or_give_a_place_off_the_earth() {
    let inputs = std::env::var("EMBERWATCH_KLV_INPUTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(USUAL);
    let good = good_packets();
    let mut chance = Chance(ChaCha8Rng::seed_from_u64(601));
    let mut bytes = Vec::new();
    let (mut packets, mut places, mut read) = (0_u64, 0_u64, 0_u64);
    for _ in 0..inputs {
        input(&mut chance, &good, &mut bytes);
        read += bytes.len() as u64;
        for packet in PacketReader::new(&bytes) {
            packets += 1;
            let sample = sample_of(&packet, Some(1.0));
            if let Some(place) = sample.position {
                places += 1;
                assert!(place.lat.abs() <= 90.0 && place.lon.abs() <= 180.0, "{place:?}");
            }
            let height = sample.heights.absolute();
            assert!(height.is_none_or(|height| height.metres.is_finite()));
            if packets % 16 == 0 {
                let written = write::to_bytes(&packet, None);
                let again = PacketReader::new(&written).next();
                let again = again.expect("a written packet is read");
                assert_eq!(packet.time_us, again.time_us);
                assert_eq!(packet.sensor_lat_deg.is_some(), again.sensor_lat_deg.is_some());
            }
        }
    }
    println!("{inputs} inputs, {read} bytes: {packets} packets were read, {places} of them with a place");
    assert!(packets > inputs / 10 && places > inputs / 20);
}
