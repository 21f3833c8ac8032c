//! How long a whole look at a frame takes, and what joining the looks of several tiles adds, on one thread.

#![expect(clippy::print_stderr, reason = "a bench says why it is skipped")]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use emberwatch::flow::detection::{BBox, Class, Detection};
use emberwatch::stages::infer::{Closer, Inferrer, Model, Runtime, SessionOptions};
use emberwatch::stages::preprocess::{Rect, rgb, tiles};

fn look(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fire-smoke-nano");
    let model = Model::load(&folder).expect("the shipped model should be sound");
    let Ok(runtime) = Runtime::load() else {
        eprintln!("skipped: no ONNX Runtime library, run `make deps`");
        return;
    };
    let pixels: Vec<u8> = (0..1920 * 1080 * 3).map(|at| (at * 31 % 253) as u8).collect();
    let picture = rgb::picture_from_rgb(&pixels, 1920, 1080).expect("the size should fit");
    let mut group = criterion.benchmark_group("look");
    // At the floor of an evaluation thousands of candidates reach the suppression, at the floor of a run hardly any.
    for (name, floor) in [("1080p_floor_0.1", 0.1), ("1080p_floor_0.001", 0.001)] {
        let options = SessionOptions {
            floor,
            ..SessionOptions::default()
        };
        let mut inferrer = Inferrer::new(model.clone(), runtime.clone(), options);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                inferrer
                    .detect(black_box(&picture), Closer::Never)
                    .expect("the model should run")
            });
        });
    }
    group.finish();
}

fn merge(criterion: &mut Criterion) {
    let detections = |seed: usize| -> Vec<Detection> {
        (0..50)
            .map(|index| {
                let place = ((index * 37 + seed * 11) % 300) as f32;
                Detection {
                    class: if index % 2 == 0 {
                        Class::Flame
                    } else {
                        Class::Smoke
                    },
                    score: 1.0 - index as f32 / 60.0,
                    bbox: BBox::new(700.0 + place, 400.0 + place / 2.0, 760.0 + place, 440.0 + place),
                }
            })
            .collect()
    };
    let looks: Vec<(Rect, Vec<Detection>)> = (0..4)
        .map(|index| {
            let tile = Rect {
                x: 700 + index * 300,
                y: 400,
                width: 416,
                height: 256,
            };
            (tile, detections(index as usize))
        })
        .collect();
    criterion.bench_function("merge_4_tiles_of_50", |bencher| {
        bencher.iter(|| tiles::merge(detections(9), black_box(&looks), (1920, 1080)));
    });
}

criterion_group!(benches, look, merge);
criterion_main!(benches);
