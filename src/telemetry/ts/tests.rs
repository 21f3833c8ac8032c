use super::*;
use crate::telemetry::klv::write::to_bytes;

fn table(pid: u16, id: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 9) as u16;
    let mut section = vec![0, id, 0xB0 | (length >> 8) as u8, length as u8, 0, 1, 0xC1, 0, 0];
    section.extend_from_slice(body);
    section.extend_from_slice(&[0; 4]);
    packets(pid, &section, 0).concat()
}

/// Cuts a payload into packets, stuffing the last.
fn packets(pid: u16, payload: &[u8], counter: u8) -> Vec<Vec<u8>> {
    payload
        .chunks(184)
        .enumerate()
        .map(|(index, chunk)| {
            let start = if index == 0 { 0x40 } else { 0 };
            let mut packet = vec![SYNC, start | (pid >> 8) as u8, pid as u8];
            let missing = 184 - chunk.len();
            if missing == 0 {
                packet.push(0x10 | (counter & 0x0F));
            } else {
                packet.push(0x30 | (counter & 0x0F));
                packet.push((missing - 1) as u8);
                packet.extend(std::iter::repeat_n(
                    if missing > 1 { 0xFF } else { 0 },
                    missing - 1,
                ));
                if missing > 1 {
                    packet[5] = 0;
                }
            }
            packet.extend_from_slice(chunk);
            packet
        })
        .collect()
}

fn pes(id: u8, pts: Option<i64>, payload: &[u8]) -> Vec<u8> {
    let header = if pts.is_some() { 5 } else { 0 };
    let length = (3 + header + payload.len()) as u16;
    let mut out = vec![0, 0, 1, id, (length >> 8) as u8, length as u8, 0x80];
    out.push(if pts.is_some() { 0x80 } else { 0 });
    out.push(header as u8);
    if let Some(pts) = pts {
        out.push(0x21 | ((pts >> 29) & 0x0E) as u8);
        out.push((pts >> 22) as u8);
        out.push(((pts >> 14) & 0xFE) as u8 | 1);
        out.push((pts >> 7) as u8);
        out.push(((pts << 1) & 0xFE) as u8 | 1);
    }
    out.extend_from_slice(payload);
    out
}

fn klv(index: u32) -> Vec<u8> {
    let packet = UasPacket {
        time_us: Some(1_790_000_000_000_000 + u64::from(index) * 500_000),
        sensor_lat_deg: Some(35.0 + f64::from(index) * 1e-4),
        sensor_lon_deg: Some(113.0),
        ..UasPacket::default()
    };
    to_bytes(&packet, Some(&"m".repeat(100)))
}

fn stream(kind: u8, first_pts: i64, with_pts: bool) -> Vec<u8> {
    let descriptor: &[u8] = if kind == 0x06 { b"\x05\x04KLVA" } else { b"" };
    let mut map = vec![0xE1, 0x00, 0xF0, 0x00];
    map.extend_from_slice(&[0x1B, 0xE1, 0x01, 0xF0, 0x00]);
    map.extend_from_slice(&[kind, 0xE1, 0x02, 0xF0, descriptor.len() as u8]);
    map.extend_from_slice(descriptor);
    let mut out = table(0, 0, &[0, 1, 0xE1, 0x00]);
    out.extend(table(0x100, 2, &map));
    for index in 0..4u32 {
        let pts = (first_pts + i64::from(index) * 45_000).rem_euclid(WRAP_TICKS);
        let time = sei::PictureTime {
            time_us: 1_790_000_000_000_000 + u64::from(index) * 500_000,
            locked: true,
            jumped: false,
        };
        let mut picture = vec![0, 0, 0, 1, 6, 5, 28];
        picture.extend_from_slice(&sei::to_bytes(time, false));
        picture.extend_from_slice(&[0; 400]);
        out.extend(packets(0x101, &pes(0xE0, Some(pts), &picture), index as u8).concat());
        let mut metadata = klv(index);
        if kind == 0x15 {
            let length = metadata.len() as u16;
            metadata.splice(0..0, [0, 0, 0xDF, (length >> 8) as u8, length as u8]);
        }
        let id = if kind == 0x15 { 0xFC } else { 0xBD };
        out.extend(packets(0x102, &pes(id, with_pts.then_some(pts), &metadata), index as u8).concat());
    }
    out
}

#[track_caller]
fn assert_four(log: &TelemetryLog) {
    assert_eq!(log.samples.len(), 4, "{log:?}");
    assert_eq!(log.bad_checksums, 0);
    for (index, sample) in (0u32..).zip(&log.samples) {
        let media_s = sample.time.media_s.unwrap();
        assert!((media_s - f64::from(index) * 0.5).abs() < 1e-6, "{media_s}");
        assert!((sample.position.unwrap().lat - 35.0 - f64::from(index) * 1e-4).abs() < 1e-6);
    }
    assert_eq!(log.clock, LogTime::Media);
}

#[test]
fn asynchronous_and_synchronous_klv_are_read_with_their_times() {
    assert_four(&parse(&stream(0x06, 900_000, true)));
    assert_four(&parse(&stream(0x15, 900_000, true)));
}

#[test]
fn times_that_wrap_go_on() {
    assert_four(&parse(&stream(0x15, WRAP_TICKS - 60_000, true)));
}

#[test]
fn klv_without_times_is_tied_to_the_picture_by_the_stamps_in_both() {
    assert_four(&parse(&stream(0x06, 900_000, false)));
}

#[test]
fn a_stream_with_a_time_before_each_packet_is_read() {
    let timed: Vec<u8> = stream(0x06, 900_000, true)
        .chunks(PACKET)
        .flat_map(|packet| [&[1, 2, 3, 4][..], packet].concat())
        .collect();
    assert_eq!(detect(&timed), Some((4, 192)));
    assert_four(&parse(&timed));
}

#[test]
fn a_lost_packet_costs_one_sample_at_most() {
    let mut bytes = stream(0x06, 900_000, true);
    let lost = bytes.len() / PACKET / 2 * PACKET;
    bytes.drain(lost..lost + PACKET);
    assert!(parse(&bytes).samples.len() >= 3);
}

#[test]
fn what_is_no_transport_stream_gives_nothing() {
    assert_eq!(detect(&[]), None);
    assert_eq!(parse(&[0x47; 100]).samples.len(), 0);
    assert_eq!(parse(&vec![0x47; 5_000]).samples.len(), 0);
}
