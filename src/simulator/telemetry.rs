//! Telemetry as a drone or camera would state it: DJI subtitles and a flight log in CSV.

use std::fmt::Write;

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::camera::CameraPose;
use super::flight::WIDTH_35_MM;
use super::scene::{GROUND_HEIGHT_M, Scene};

/// Columns of the flight log.
const CSV_HEADER: &str = "time(millisecond),datetime(utc),latitude,longitude,height_ellipsoid(meters),\
    height_sea_level(meters),height_above_takeoff(meters),gimbal_heading(degrees),gimbal_pitch(degrees),\
    gimbal_roll(degrees),hfov(degrees)\n";

/// Returns the scene's subtitles as newer DJI drones write them: one cue a frame, angles to a tenth of a degree.
pub(super) fn dji_srt(scene: &Scene, started: Timestamp, undulation_m: f64) -> String {
    let mut text = String::new();
    // DJI writes the local time of the place and does not say which that is.
    let local = TimeZone::fixed(Offset::constant(8));
    for frame in 0..scene.frames() {
        let (from_s, to_s) = (scene.pts_s(frame), scene.pts_s(frame + 1));
        let pose = scene.reported_pose(from_s);
        let at = moment(started, from_s).to_zoned_datetime(local.clone());
        append(
            &mut text,
            format_args!(
                "{}\n{} --> {}\n<font size=\"28\">FrameCnt: {}, DiffTime: {:.0}ms\n{}\n[iso: 100] [shutter: 1/640.0] \
                 [fnum: 2.8] [ev: 0] [color_md: default] [focal_len: {:.2}] [dzoom_ratio: 1.00], [latitude: {:.6}] \
                 [longitude: {:.6}] [rel_alt: {:.3} abs_alt: {:.3}] [gb_yaw: {:.1} gb_pitch: {:.1} gb_roll: {:.1}] \
                 </font>\n\n",
                frame + 1,
                srt_time(from_s),
                srt_time(to_s),
                frame + 1,
                (to_s - from_s) * 1000.0,
                at.strftime("%Y-%m-%d %H:%M:%S%.3f"),
                focal_35_mm(&pose),
                pose.lat,
                pose.lon,
                pose.height_m - GROUND_HEIGHT_M,
                pose.height_m - undulation_m,
                pose.yaw_deg,
                pose.pitch_deg,
                pose.roll_deg,
            ),
        );
    }
    text
}

/// Returns the scene's flight log: one line a frame, precise enough to lose nothing.
pub(super) fn csv(scene: &Scene, started: Timestamp, undulation_m: f64) -> String {
    let mut text = CSV_HEADER.to_owned();
    for frame in 0..scene.frames() {
        let time_s = scene.pts_s(frame);
        let pose = scene.reported_pose(time_s);
        append(
            &mut text,
            format_args!(
                "{:.3},{},{:.9},{:.9},{:.3},{:.3},{:.3},{:.4},{:.4},{:.4},{:.4}\n",
                time_s * 1000.0,
                moment(started, time_s).strftime("%Y-%m-%d %H:%M:%S%.3f"),
                pose.lat,
                pose.lon,
                pose.height_m,
                pose.height_m - undulation_m,
                pose.height_m - GROUND_HEIGHT_M,
                pose.yaw_deg,
                pose.pitch_deg,
                pose.roll_deg,
                pose.hfov_deg,
            ),
        );
    }
    text
}

/// Returns the wall time of a media time, in seconds.
pub(super) fn moment(started: Timestamp, time_s: f64) -> Timestamp {
    let micros = SignedDuration::from_micros((time_s * 1e6).round() as i64);
    started.checked_add(micros).unwrap_or(started)
}

fn append(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a string should take any text");
}

fn focal_35_mm(pose: &CameraPose) -> f64 {
    WIDTH_35_MM / 2.0 / (pose.hfov_deg.to_radians() / 2.0).tan()
}

fn srt_time(time_s: f64) -> String {
    let millis = (time_s * 1000.0).round() as u64;
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, millis) = (millis / 1000 % 60, millis % 1000);
    format!("{hours:02}:{minutes:02}:{seconds:02},{millis:03}")
}

#[cfg(test)]
mod tests {
    use super::super::options::{SceneKind, SceneOptions};
    use super::*;

    fn scene() -> Scene {
        Scene::new(SceneOptions {
            seconds: 2.0,
            width: 128,
            height: 72,
            ..SceneOptions::new(SceneKind::Drone)
        })
        .unwrap()
    }

    #[test]
    fn there_is_a_cue_for_each_frame_and_it_starts_with_its_frame() {
        let scene = scene();
        let started: Timestamp = "2026-10-03T06:30:00Z".parse().unwrap();
        let text = dji_srt(&scene, started, -19.6);
        assert_eq!(text.matches(" --> ").count() as u64, scene.frames());
        assert!(text.contains("00:00:00,080 --> 00:00:00,160"));
        assert!(text.contains("2026-10-03 14:30:00.080"));
        assert!(text.contains("[focal_len: 24.00]"));
    }

    #[test]
    fn the_log_states_the_pose_without_loss() {
        let scene = scene();
        let started: Timestamp = "2026-10-03T06:30:00Z".parse().unwrap();
        let text = csv(&scene, started, -19.6);
        let columns: Vec<f64> = text
            .lines()
            .nth(8)
            .unwrap()
            .split(',')
            .map(|field| field.parse().unwrap_or(0.0))
            .collect();
        let pose = scene.pose(scene.pts_s(7));
        assert!((columns[2] - pose.lat).abs() < 1e-9 && (columns[7] - pose.yaw_deg).abs() < 1e-4);
        assert!((columns[5] - columns[4] - 19.6).abs() < 2e-3);
    }
}
