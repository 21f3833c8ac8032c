//! `emberwatch models verify`: is this model what its manifest says, and does it run here?

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::flow::frame::Picture;
use crate::models::Catalogue;
use crate::models::catalogue::DEFAULT_MODEL;
use crate::models::manifest::Variant;
use crate::stages::infer::{Model, Provider, Runtime, SessionOptions};
use crate::stages::preprocess::rgb::picture_from_rgb;
use crate::stages::preprocess::{Preparer, Rect, TensorPool};

/// Names what to verify.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The model: a name, a folder or a model.toml.
    #[arg(default_value = DEFAULT_MODEL)]
    model: String,
    /// On what to run it: cpu, cuda, tensorrt, openvino, coreml or directml.
    #[arg(long, default_value_t)]
    provider: Provider,
}

/// How often a variant is run to see how long it takes.
const RUNS: u32 = 10;

pub(super) fn run(args: &VerifyArgs, catalogue: &Catalogue) -> anyhow::Result<ExitCode> {
    let model = Model::find(catalogue, &args.model)?;
    let runtime = Runtime::load()?;
    println!(
        "{} {} with {}",
        model.manifest().name,
        model.manifest().version,
        runtime.path().display()
    );
    let options = SessionOptions {
        provider: args.provider,
        ..SessionOptions::default()
    };
    let mut is_sound = true;
    for variant in &model.manifest().variants {
        match verify(&model, variant, &runtime, &options) {
            Ok(milliseconds) => println!(
                "  {}: hash, shapes and a run are sound, {milliseconds:.1} ms a picture",
                variant.file
            ),
            Err(error) => {
                is_sound = false;
                eprintln!("  {}: {error:#}", variant.file);
            }
        }
    }
    Ok(if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns how long a run takes, in milliseconds on the wall.
fn verify(
    model: &Model,
    variant: &Variant,
    runtime: &Runtime,
    options: &SessionOptions,
) -> anyhow::Result<f64> {
    let mut session = model.open(variant, runtime, options)?;
    let spec = session.spec().clone();
    let pool = TensorPool::new(spec.elements(), 1);
    let picture = generated().context("the generated picture should fit")?;
    let region = Rect::whole(picture.width, picture.height);
    let input = Preparer::new(spec).prepare(&picture, region, &pool)?;
    let first = session.run(std::slice::from_ref(&input))?;
    let clock = SystemClock::new();
    let start = clock.monotonic();
    for _ in 0..RUNS {
        let again = session.run(std::slice::from_ref(&input))?;
        anyhow::ensure!(
            again == first || options.provider != Provider::Cpu,
            "two runs on the same picture gave different detections, expected the same"
        );
    }
    Ok(clock.monotonic().since(start).as_secs_f64() * 1e3 / f64::from(RUNS))
}

/// A grey sky over green ground with a bright orange spot: no file is needed to see whether a model runs.
fn generated() -> Option<Picture> {
    const WIDTH: u32 = 1280;
    const HEIGHT: u32 = 720;
    let mut pixels = Vec::with_capacity((WIDTH * HEIGHT * 3) as usize);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (dx, dy) = (x.abs_diff(800), y.abs_diff(480));
            let grain = ((x * 7 + y * 13) % 16) as u8;
            let pixel = if dx * dx + dy * dy < 900 {
                [250, 140 + grain, 20]
            } else if y < 300 {
                [150 + grain, 160 + grain, 170 + grain]
            } else {
                [60 + grain, 90 + grain, 40 + grain]
            };
            pixels.extend(pixel);
        }
    }
    picture_from_rgb(&pixels, WIDTH, HEIGHT)
}
