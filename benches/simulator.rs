//! How fast scenes render: one frame, one core.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use emberwatch::simulator::{Scene, SceneKind, SceneOptions};

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulator/frame");
    group.sample_size(20).throughput(Throughput::Elements(1));
    for (width, height) in [(960, 540), (1280, 720), (1920, 1080)] {
        for kind in [SceneKind::Drone, SceneKind::Tower] {
            let scene = Scene::new(SceneOptions {
                width,
                height,
                seconds: 60.0,
                ..SceneOptions::new(kind)
            })
            .expect("the options should be in range");
            let mut frame = 300;
            group.bench_function(format!("{}/{width}x{height}", kind.name()), |bencher| {
                bencher.iter(|| {
                    frame = 300 + (frame + 1) % 300;
                    scene.frame(frame)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
