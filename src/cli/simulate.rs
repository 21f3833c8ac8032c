//! `emberwatch simulate`: renders a scene with its truth and its telemetry.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::flow::pose::Wgs84;
use crate::simulator::{
    Codec, FirePlace, OutputOptions, SceneKind, SceneOptions, TelemetryErrors, Weather, demo_patrol, write,
};

/// Renders a scene of farmland with a fire, or with what only looks like one.
///
/// Writes NAME.mp4, NAME.truth.jsonl (boxes, fire and camera of each frame), NAME.scene.json (all parameters) and the
/// camera's telemetry as NAME.SRT (DJI), NAME.klv (MISB ST 0601) and NAME.csv. The same options give the same pixels.
#[derive(Debug, clap::Args)]
pub struct SimulateArgs {
    /// What is shown and from where.
    #[arg(long, value_enum, default_value = "drone")]
    scene: SceneKind,

    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Length in seconds.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,

    /// Size of the picture.
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = parse_size)]
    size: (u32, u32),

    /// Frames a second.
    #[arg(long, default_value_t = 12.5)]
    fps: f64,

    /// The weather and the hour; each scene has its own default.
    #[arg(long, value_enum)]
    weather: Option<Weather>,

    /// Where it burns: LAT,LON in WGS 84 degrees, or none.
    #[arg(long, value_name = "LAT,LON|none", value_parser = parse_fire)]
    fire: Option<FirePlace>,

    /// When the fire starts, in seconds from the first frame; negative where it burns already.
    #[arg(long, default_value_t = 3.0, allow_negative_numbers = true)]
    fire_start: f64,

    /// How long the fire burns before it fades, in seconds.
    #[arg(long, default_value_t = 600.0)]
    fire_lasts: f64,

    /// Size of the fire: 1 is a heap of straw a few metres across.
    #[arg(long, default_value_t = 1.0)]
    fire_size: f64,

    /// From the camera to the fire over ground, in metres; each scene has its own.
    #[arg(long, value_name = "METRES")]
    range: Option<f64>,

    /// How the video is encoded.
    #[arg(long, value_enum, default_value = "h264")]
    codec: Codec,

    /// Seconds from one key frame to the next.
    #[arg(long, default_value_t = 2.0)]
    key_interval: f64,

    /// Gives the telemetry the errors of a drone without RTK (1.5 m, 3 m up, 1° yaw, 0.3° pitch); truth stays true.
    #[arg(long)]
    telemetry_errors: bool,

    /// The files' common name; default: scene, weather and seed.
    #[arg(long)]
    name: Option<String>,

    /// Renders the demo's patrol instead: a drone and two masts around one fire.
    #[arg(long)]
    demo: bool,

    /// The folder to write into; made if need be.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Renders what was asked for.
pub fn run(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} frames, {eta} left")
        .context("the progress bar's template should be right")?;
    if args.demo {
        let bar = ProgressBar::new(0).with_style(style);
        let written = demo_patrol(&args.out, &|done, all| {
            bar.set_length(all);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        for files in written {
            println!("{}", files.video.display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let defaults = SceneOptions::new(args.scene);
    let options = SceneOptions {
        seed: args.seed,
        seconds: args.seconds,
        width: args.size.0,
        height: args.size.1,
        frames_per_second: args.fps,
        weather: args.weather.unwrap_or(defaults.weather),
        fire: args.fire.unwrap_or(defaults.fire),
        fire_start_s: args.fire_start,
        fire_lasts_s: args.fire_lasts,
        fire_size: args.fire_size,
        range_m: args.range,
        telemetry_errors: if args.telemetry_errors {
            TelemetryErrors::DRONE
        } else {
            TelemetryErrors::default()
        },
        ..defaults
    };
    let output = OutputOptions {
        name: args.name,
        codec: args.codec,
        key_interval_s: args.key_interval,
    };
    let bar = ProgressBar::new((args.seconds * args.fps).round() as u64).with_style(style);
    let written = write(&options, &output, &args.out, &mut |done| bar.set_position(done))?;
    bar.finish_and_clear();
    println!("{}", written.video.display());
    Ok(ExitCode::SUCCESS)
}

fn parse_size(text: &str) -> anyhow::Result<(u32, u32)> {
    let Some((width, height)) = text.split_once('x') else {
        bail!("size {text:?} is not WIDTHxHEIGHT, for example 1280x720");
    };
    let number = |part: &str| {
        part.parse::<u32>()
            .with_context(|| format!("size {text:?} is not WIDTHxHEIGHT, for example 1280x720"))
    };
    Ok((number(width)?, number(height)?))
}

fn parse_fire(text: &str) -> anyhow::Result<FirePlace> {
    if text == "none" {
        return Ok(FirePlace::None);
    }
    let Some((lat, lon)) = text.split_once(',') else {
        bail!("fire {text:?} is neither LAT,LON (for example 35.2154,113.2418) nor none");
    };
    let degrees = |part: &str| {
        part.trim().parse::<f64>().with_context(|| {
            format!("fire {text:?} is neither LAT,LON (for example 35.2154,113.2418) nor none")
        })
    };
    Ok(FirePlace::At(Wgs84 {
        lat: degrees(lat)?,
        lon: degrees(lon)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_places_are_read_as_written() {
        assert_eq!(parse_size("960x540").unwrap(), (960, 540));
        assert!(parse_size("960").is_err() && parse_size("ax5").is_err());
        assert_eq!(parse_fire("none").unwrap(), FirePlace::None);
        assert_eq!(
            parse_fire("35.5, 113.25").unwrap(),
            FirePlace::At(Wgs84 {
                lat: 35.5,
                lon: 113.25
            })
        );
        assert!(parse_fire("here").is_err());
    }
}
