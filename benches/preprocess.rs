//! How long it takes to turn a decoded frame into a model's input, on one thread.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use emberwatch::flow::frame::{ColourMatrix, ColourRange, Picture, PixelFormat, PlanarBuffer};
use emberwatch::models::manifest::Manifest;
use emberwatch::stages::preprocess::{InputSpec, Preparer, Rect};

fn picture(format: PixelFormat, width: u32, height: u32) -> Picture {
    let noise = |length: usize| -> Vec<u8> { (0..length).map(|at| (at * 7 % 251) as u8).collect() };
    let (across, down) = (width as usize, height as usize);
    let luma = (noise(across * down), across);
    let planes = match format {
        PixelFormat::I420 => vec![
            luma,
            (noise(across * down / 4), across / 2),
            (noise(across * down / 4), across / 2),
        ],
        PixelFormat::Nv12 => vec![luma, (noise(across * down / 2), across)],
    };
    Picture {
        format,
        width,
        height,
        matrix: ColourMatrix::Bt709,
        range: ColourRange::Limited,
        planes: Arc::new(PlanarBuffer::new(planes)),
    }
}

fn prepare(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fire-smoke-nano");
    let manifest = Manifest::read(&folder.join("model.toml")).expect("the shipped manifest should be sound");
    let mut group = criterion.benchmark_group("prepare");
    for (name, format, width, height) in [
        ("1080p_i420", PixelFormat::I420, 1920, 1080),
        ("1080p_nv12", PixelFormat::Nv12, 1920, 1080),
        ("4k_i420", PixelFormat::I420, 3840, 2160),
        ("360p_i420", PixelFormat::I420, 640, 360),
    ] {
        let picture = picture(format, width, height);
        let variant = manifest
            .variant_for(width, height)
            .expect("the shipped model should have a variant");
        let spec = InputSpec::new(&manifest, variant);
        let mut tensor = vec![0.0; spec.elements()];
        let mut preparer = Preparer::new(spec);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                preparer
                    .fill(
                        black_box(&picture),
                        Rect::whole(width, height),
                        black_box(&mut tensor),
                    )
                    .expect("the picture should fit")
            });
        });
    }
    let picture = picture(PixelFormat::I420, 1920, 1080);
    let variant = manifest
        .variant_for(1920, 1080)
        .expect("the shipped model should have a variant");
    let spec = InputSpec::new(&manifest, variant);
    let tile = Rect {
        x: 700,
        y: 400,
        width: spec.width,
        height: spec.height,
    };
    let mut tensor = vec![0.0; spec.elements()];
    let mut preparer = Preparer::new(spec);
    group.bench_function("tile_of_1080p", |bencher| {
        bencher.iter(|| {
            preparer
                .fill(black_box(&picture), tile, black_box(&mut tensor))
                .expect("the tile should fit")
        });
    });
    group.finish();
}

criterion_group!(benches, prepare);
criterion_main!(benches);
