//! Photos: EXIF and the vendors' XMP, also as a bare XMP file.

use std::io::Cursor;

use exif::{Exif, In, Tag, Value};
use jiff::tz::TimeZone;

use crate::flow::pose::{Height, HeightDatum, LaserRange, PoseFlag};

use super::log::{LogTime, TelemetryError, TelemetryLog};
use super::sample::{Gimbal, GimbalFrame, TelemetrySample, checked_attitude, checked_height_m, place};
use super::xmp::{self, Properties};

/// Prefixes under which vendors write DJI's names.
const DJI_PREFIXES: [&str; 2] = ["drone-dji", "drone"];

/// Reads a photo (JPEG, TIFF, HEIF, PNG) or a bare XMP packet.
pub fn parse(bytes: &[u8]) -> Result<TelemetryLog, TelemetryError> {
    let exif = exif::Reader::new()
        .read_from_container(&mut Cursor::new(bytes))
        .ok();
    let properties = xmp::packet_in(bytes).map(xmp::parse).transpose()?;
    if exif.is_none() && properties.is_none() {
        return Err(TelemetryError::NotFound {
            what: "a photo".into(),
            expected: "neither EXIF nor XMP metadata is in it; use the file as the drone wrote it, not one that was edited or sent by a messenger".into(),
        });
    }
    let mut log = TelemetryLog::new("photo", LogTime::None);
    let mut sample = TelemetrySample::default();
    if let Some(exif) = &exif {
        put_exif(exif, &mut sample, &mut log);
    }
    if let Some(properties) = &properties {
        put_xmp(properties, &mut sample, &mut log);
    }
    if sample.position.is_none() {
        sample.flags.insert(PoseFlag::NoFix);
    }
    log.samples.push(sample);
    Ok(log)
}

fn rational(exif: &Exif, tag: Tag) -> Option<f64> {
    let value = match &exif.get_field(tag, In::PRIMARY)?.value {
        Value::Rational(values) => values.first()?.to_f64(),
        Value::SRational(values) => values.first()?.to_f64(),
        Value::Short(values) => f64::from(*values.first()?),
        Value::Long(values) => f64::from(*values.first()?),
        _ => return None,
    };
    value.is_finite().then_some(value)
}

fn text(exif: &Exif, tag: Tag) -> Option<String> {
    match &exif.get_field(tag, In::PRIMARY)?.value {
        Value::Ascii(texts) => Some(String::from_utf8_lossy(texts.first()?).trim().to_owned()),
        _ => None,
    }
}

/// Reads degrees, minutes and seconds with their letter.
fn angle(exif: &Exif, tag: Tag, letter: Tag, negative: &str) -> Option<f64> {
    let Value::Rational(parts) = &exif.get_field(tag, In::PRIMARY)?.value else {
        return None;
    };
    let part = |index: usize| parts.get(index).map_or(0.0, exif::Rational::to_f64);
    let degrees = part(0) + part(1) / 60.0 + part(2) / 3_600.0;
    let sign = if text(exif, letter)?.eq_ignore_ascii_case(negative) {
        -1.0
    } else {
        1.0
    };
    degrees.is_finite().then_some(sign * degrees)
}

fn put_exif(exif: &Exif, sample: &mut TelemetrySample, log: &mut TelemetryLog) {
    if let (Some(lat), Some(lon)) = (
        angle(exif, Tag::GPSLatitude, Tag::GPSLatitudeRef, "S"),
        angle(exif, Tag::GPSLongitude, Tag::GPSLongitudeRef, "W"),
    ) {
        sample.position = place(lat, lon);
    }
    if let Some(metres) = rational(exif, Tag::GPSAltitude) {
        let below = matches!(
            exif.get_field(Tag::GPSAltitudeRef, In::PRIMARY).map(|field| &field.value),
            Some(Value::Byte(bytes)) if bytes.first() == Some(&1)
        );
        // EXIF says sea level; vendors also write heights above the ellipsoid or above take-off here.
        sample.heights.egm96_m = checked_height_m(if below { -metres } else { metres });
        sample.flags.insert(PoseFlag::AltitudeDoubtful);
    }
    sample.optics.focal_length_mm = rational(exif, Tag::FocalLength).filter(|mm| *mm > 0.0);
    sample.optics.focal_length_35mm_mm = rational(exif, Tag::FocalLengthIn35mmFilm).filter(|mm| *mm > 0.0);
    sample.optics.zoom = rational(exif, Tag::DigitalZoomRatio).filter(|zoom| (1.0..=400.0).contains(zoom));
    let size = rational(exif, Tag::PixelXDimension).zip(rational(exif, Tag::PixelYDimension));
    log.picture_px = size
        .filter(|(width, height)| (1.0..1e6).contains(width) && (1.0..1e6).contains(height))
        .map(|(width, height)| (width as u32, height as u32));
    log.device = text(exif, Tag::Model);
    sample.time.local_s = text(exif, Tag::DateTimeOriginal).and_then(|text| civil_s(&text));
    let day = text(exif, Tag::GPSDateStamp);
    if let (Some(day), Some(Value::Rational(parts))) = (
        day,
        exif.get_field(Tag::GPSTimeStamp, In::PRIMARY)
            .map(|field| &field.value),
    ) && let [hours, minutes, seconds] = parts.as_slice()
        && let Some(midnight_s) = civil_s(&format!("{day} 00:00:00"))
    {
        let of_day = hours.to_f64() * 3_600.0 + minutes.to_f64() * 60.0 + seconds.to_f64();
        sample.time.unix_s = (0.0..86_401.0).contains(&of_day).then_some(midnight_s + of_day);
    }
    if let Some(offset) = text(exif, Tag::OffsetTimeOriginal).and_then(|text| zone_s(&text)) {
        sample.time.unix_s = sample
            .time
            .unix_s
            .or(sample.time.local_s.map(|local_s| local_s - offset));
    }
    if sample.time.unix_s.is_none() && sample.time.local_s.is_some() {
        sample.flags.insert(PoseFlag::LocalTime);
    }
}

/// Reads `2024:05:06 07:08:09` as seconds of a clock without a zone.
fn civil_s(text: &str) -> Option<f64> {
    let mut numbers = text
        .split([':', ' ', '-'])
        .map(|part| part.trim().parse::<i16>().ok());
    let mut next = || numbers.next().flatten();
    let year = next()?;
    let mut small = || next().and_then(|number| i8::try_from(number).ok());
    let at = jiff::civil::DateTime::new(year, small()?, small()?, small()?, small()?, small()?, 0).ok()?;
    Some(TimeZone::UTC.to_timestamp(at).ok()?.as_second() as f64)
}

/// Reads `+08:00` as seconds.
fn zone_s(text: &str) -> Option<f64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1.0, rest),
        ("-", rest) => (-1.0, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let hours: u8 = hours.parse().ok().filter(|hours| *hours <= 14)?;
    let minutes: u8 = minutes.parse().ok().filter(|minutes| *minutes < 60)?;
    Some(sign * (f64::from(hours) * 3_600.0 + f64::from(minutes) * 60.0))
}

fn put_xmp(properties: &Properties, sample: &mut TelemetrySample, log: &mut TelemetryLog) {
    let number = |name: &str| {
        DJI_PREFIXES
            .iter()
            .find_map(|prefix| properties.number(&format!("{prefix}:{name}")))
    };
    let word = |name: &str| {
        DJI_PREFIXES
            .iter()
            .find_map(|prefix| properties.text(&format!("{prefix}:{name}")))
    };
    let lon = number("GpsLongitude").or_else(|| number("GpsLongtitude"));
    if let (Some(lat), Some(lon)) = (number("GpsLatitude"), lon) {
        sample.position = place(lat, lon);
    }
    if word("GpsStatus").is_some_and(|status| status.eq_ignore_ascii_case("invalid")) {
        sample.position = None;
    }
    log.device = word("DroneModel")
        .or_else(|| properties.text("tiff:Model"))
        .map(str::to_owned)
        .or_else(|| log.device.take());
    log.lens = word("ImageSource").map(str::to_owned);

    // 16 is a single-point fix, 34 float, 50 fixed. Only a real-time kinematic height is known to be ellipsoidal.
    let rtk = number("RtkFlag").is_some_and(|flag| flag >= 34.0)
        || word("AltitudeType").is_some_and(|kind| kind.eq_ignore_ascii_case("RtkAlt"))
        || word("GpsStatus").is_some_and(|status| status.eq_ignore_ascii_case("RTK"));
    let absolute_datum = if rtk {
        HeightDatum::Ellipsoid
    } else {
        HeightDatum::Egm96
    };
    if let Some(metres) = number("AbsoluteAltitude").and_then(checked_height_m) {
        sample.heights = sample.heights.with(Height::new(metres, absolute_datum));
        if rtk {
            // EXIF repeats the same figure without its datum.
            sample.heights.egm96_m = None;
            sample.flags = sample.flags.without(PoseFlag::AltitudeDoubtful);
            sample.flags.insert(PoseFlag::Rtk);
        } else {
            sample.flags.insert(PoseFlag::AltitudeDoubtful);
        }
    }
    sample.heights.takeoff_m = number("RelativeAltitude")
        .and_then(checked_height_m)
        .or(sample.heights.takeoff_m);
    if rtk {
        sample.sigmas.horizontal_m = number("RtkStdLon")
            .zip(number("RtkStdLat"))
            .map(|(lon, lat)| lon.max(lat))
            .filter(|metres| (0.001..100.0).contains(metres));
        sample.sigmas.vertical_m = number("RtkStdHgt").filter(|metres| (0.001..100.0).contains(metres));
    }
    let angles = |yaw: Option<f64>, pitch: Option<f64>, roll: Option<f64>| {
        checked_attitude(yaw?, pitch?, roll.unwrap_or(0.0))
    };
    let triple = |name: &str| {
        angles(
            number(&format!("{name}YawDegree")),
            number(&format!("{name}PitchDegree")),
            number(&format!("{name}RollDegree")),
        )
    };
    sample.platform = triple("Flight");
    let parrot = |name: &str| properties.number(&format!("drone-parrot:Camera{name}Degree"));
    let skydio = |name: &str| properties.number(&format!("drone-skydio:CameraOrientationNED/{name}"));
    sample.gimbal = triple("Gimbal")
        .or_else(|| angles(parrot("Yaw"), parrot("Pitch"), parrot("Roll")))
        .or_else(|| angles(skydio("Yaw"), skydio("Pitch"), skydio("Roll")))
        .map(|attitude| Gimbal {
            attitude,
            frame: GimbalFrame::Earth,
        });
    if sample.gimbal.is_none() && properties.number("Camera:Pitch").is_some() {
        log.notes.push(
            "the angles in `Camera:Pitch` count from the nadir on some devices and from the horizon on others: they are not used".into(),
        );
    }
    let focal_px = number("CalibratedFocalLength").filter(|px| (100.0..100_000.0).contains(px));
    if let (Some(focal_px), Some((width, _))) = (focal_px, log.picture_px) {
        sample.optics.hfov_deg = Some(2.0 * (f64::from(width) / 2.0 / focal_px).atan().to_degrees());
    }
    if word("LRFStatus").is_some_and(|status| status.eq_ignore_ascii_case("normal")) {
        let target = number("LRFTargetLat")
            .zip(number("LRFTargetLon"))
            .and_then(|(lat, lon)| place(lat, lon));
        sample.laser = number("LRFTargetDistance")
            .filter(|range| (0.5..=10_000.0).contains(range))
            .map(|range_m| LaserRange {
                range_m: Some(range_m),
                target,
                target_height: number("LRFTargetAbsAlt")
                    .and_then(checked_height_m)
                    .map(|metres| Height::new(metres, absolute_datum)),
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixture;

    #[test]
    fn a_photo_with_a_laser_is_read_whole() {
        let Some(bytes) = fixture::read("geo/M30T_xmp_with_LRF.xml") else {
            return;
        };
        let log = parse(&bytes).unwrap();
        assert_eq!(
            (log.device.as_deref(), log.lens.as_deref()),
            (Some("M30T"), Some("WideCamera"))
        );
        let sample = log.samples[0];
        let place = sample.position.unwrap();
        assert!((place.lat - 49.726_349_021).abs() < 1e-10 && (place.lon - 13.350_951_205).abs() < 1e-10);
        assert_eq!(sample.heights.ellipsoid_m, Some(431.531));
        assert_eq!(sample.heights.takeoff_m, Some(36.28));
        let looks = sample.camera_attitude().unwrap();
        assert_eq!((looks.yaw_deg, looks.pitch_deg), (84.1, -24.5));
        let laser = sample.laser.unwrap();
        assert_eq!(laser.range_m, Some(54.103));
        assert_eq!(
            laser.target_height,
            Some(Height::new(409.1, HeightDatum::Ellipsoid))
        );
        assert!(sample.flags.contains(PoseFlag::Rtk));
    }

    fn with(attributes: &str) -> TelemetrySample {
        let text = format!("<x:xmpmeta><rdf:RDF><rdf:Description {attributes}/></rdf:RDF></x:xmpmeta>");
        parse(text.as_bytes()).unwrap().samples[0]
    }

    #[test]
    fn without_rtk_the_absolute_height_is_doubtful() {
        let sample = with(
            r#"drone-dji:GpsLatitude="1.5" drone-dji:GpsLongtitude="2.5" drone-dji:AbsoluteAltitude="+100" drone-dji:RelativeAltitude="+50""#,
        );
        assert!(sample.position.is_some(), "the old spelling is read");
        assert_eq!(sample.heights.egm96_m, Some(100.0));
        assert_eq!(sample.heights.ellipsoid_m, None);
        assert!(sample.flags.contains(PoseFlag::AltitudeDoubtful));
        assert!(sample.camera_attitude().is_err());
    }

    #[test]
    fn an_invalid_fix_or_laser_is_none() {
        let sample = with(
            r#"drone-dji:GpsLatitude="1.5" drone-dji:GpsLongitude="2.5" drone-dji:GpsStatus="Invalid" drone-dji:LRFStatus="TooFar" drone-dji:LRFTargetDistance="100""#,
        );
        assert!(sample.position.is_none() && sample.flags.contains(PoseFlag::NoFix));
        assert!(sample.laser.is_none());
    }

    #[test]
    fn other_makes_are_read_in_their_own_words() {
        let parrot = with(
            r#"drone-parrot:CameraYawDegree="10" drone-parrot:CameraPitchDegree="-20" drone-parrot:CameraRollDegree="0""#,
        );
        assert!((parrot.camera_attitude().unwrap().pitch_deg + 20.0).abs() < 1e-9);
        assert!(
            with(r#"Camera:Pitch="30" Camera:Yaw="10" Camera:Roll="0""#)
                .gimbal
                .is_none()
        );
    }

    #[test]
    fn a_picture_without_metadata_says_so() {
        assert!(matches!(
            parse(&[0xFF, 0xD8, 0xFF, 0xD9]),
            Err(TelemetryError::NotFound { .. })
        ));
        assert!(parse(&[]).is_err());
    }
}
