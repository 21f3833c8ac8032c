//! What the flow itself costs beside decoding and inference, on one thread: joining boxes in time, taking out the
//! camera's motion, and handing items from stage to stage.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use emberwatch::clock::{Clock, SystemClock};
use emberwatch::flow::detection::{BBox, Class, DetectedFrame, Detection};
use emberwatch::flow::frame::{
    ColourMatrix, ColourRange, FrameMeta, Gap, Picture, PixelFormat, PlanarBuffer,
};
use emberwatch::flow::source::{Duty, Mount, SourceId};
use emberwatch::flow::time::{MediaTime, MonotonicTime};
use emberwatch::pipeline::link::link;
use emberwatch::stages::track::motion::LumaGrid;
use emberwatch::stages::track::{TrackSettings, Tracker};

/// A picture of 1080p whose content lies `shift` pixels to the left.
fn picture(shift: usize) -> Picture {
    let (width, height) = (1920_usize, 1080_usize);
    let luma = (0..width * height)
        .map(|at| {
            let (x, y) = (at % width + shift, at / width);
            let value = 120.0 + 60.0 * (x as f32 / 37.0).sin() * (y as f32 / 23.0).cos();
            value as u8
        })
        .collect();
    Picture {
        format: PixelFormat::I420,
        width: width as u32,
        height: height as u32,
        matrix: ColourMatrix::Bt709,
        range: ColourRange::Limited,
        planes: Arc::new(PlanarBuffer::new(vec![
            (luma, width),
            (vec![128; width * height / 4], width / 2),
            (vec![128; width * height / 4], width / 2),
        ])),
    }
}

fn frame(picture: &Picture, number: u64, boxes: usize) -> DetectedFrame {
    let detections = (0..boxes)
        .map(|index| {
            let (x, y) = (
                (index * 173 % 1700) as f32,
                (index * 97 % 900) as f32 + (number % 5) as f32,
            );
            Detection {
                class: if index % 3 == 0 {
                    Class::Flame
                } else {
                    Class::Smoke
                },
                score: 0.3 + (index % 7) as f32 / 14.0,
                bbox: BBox::new(x, y, x + 120.0, y + 90.0),
            }
        })
        .collect();
    DetectedFrame {
        meta: FrameMeta {
            source: SourceId::new("bench"),
            sequence: number,
            pts: MediaTime::from_nanos(number as i64 * 200_000_000),
            captured: None,
            arrived: MonotonicTime::default(),
            is_key: true,
            gap: Gap::default(),
            duty: Duty::Watch,
        },
        picture: picture.clone(),
        detections,
        model: Arc::default(),
    }
}

fn track(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("track");
    let picture = picture(0);
    for (name, mount, boxes) in [
        ("fixed_no_box", Mount::Fixed, 0),
        ("fixed_4_boxes", Mount::Fixed, 4),
        ("moving_4_boxes", Mount::Moving, 4),
        ("moving_32_boxes", Mount::Moving, 32),
    ] {
        let mut tracker = Tracker::new(TrackSettings::default(), mount);
        let mut number = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    number += 1;
                    frame(&picture, number, boxes)
                },
                |frame| tracker.track(black_box(frame)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    let (before, after) = (LumaGrid::of(&picture), LumaGrid::of(&self::picture(23)));
    criterion.bench_function("grid_of_1080p", |bencher| {
        bencher.iter(|| LumaGrid::of(black_box(&picture)));
    });
    criterion.bench_function("motion_between_two", |bencher| {
        bencher.iter(|| after.motion_since(black_box(&before)));
    });
}

fn links(criterion: &mut Criterion) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (sender, receiver) = link::<u64>("bench", 4, clock);
    criterion.bench_function("link_there_and_out", |bencher| {
        bencher.iter(|| {
            let sent = sender.send(black_box(7)).is_ok();
            (sent, receiver.receive())
        });
    });
}

criterion_group!(benches, track, links);
criterion_main!(benches);
