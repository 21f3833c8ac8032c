use std::sync::Arc;

use proptest::prelude::*;

use crate::flow::frame::PlanarBuffer;
use crate::models::manifest::{Anchor, ColourOrder};

use super::*;

fn spec(width: u32, height: u32) -> InputSpec {
    InputSpec {
        width,
        height,
        colour: ColourOrder::Rgb,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        padding: 114.0,
        anchor: Anchor::TopLeft,
    }
}

/// A picture whose samples follow functions of their place, in the given format, with padding between rows.
fn picture(
    format: PixelFormat,
    (width, height): (u32, u32),
    slack: usize,
    luma: impl Fn(usize, usize) -> u8,
    chroma: impl Fn(usize, usize, usize) -> u8,
) -> Picture {
    let plane = |across: usize, down: usize, sample: &dyn Fn(usize, usize) -> u8| {
        let stride = across + slack;
        let samples = (0..stride * down)
            .map(|at| {
                if at % stride < across {
                    sample(at % stride, at / stride)
                } else {
                    255
                }
            })
            .collect();
        (samples, stride)
    };
    let (across, down) = (width as usize, height as usize);
    let (half_across, half_down) = (across.div_ceil(2), down.div_ceil(2));
    let mut planes = vec![plane(across, down, &luma)];
    match format {
        PixelFormat::I420 => {
            planes.push(plane(half_across, half_down, &|x, y| chroma(0, x, y)));
            planes.push(plane(half_across, half_down, &|x, y| chroma(1, x, y)));
        }
        PixelFormat::Nv12 => planes.push(plane(half_across * 2, half_down, &|x, y| chroma(x % 2, x / 2, y))),
    }
    Picture {
        format,
        width,
        height,
        matrix: ColourMatrix::Bt601,
        range: ColourRange::Full,
        planes: Arc::new(PlanarBuffer::new(planes)),
    }
}

/// The mean over the area that an input pixel covers, worked out slowly in 64-bit floating point.
fn slow_mean(letterbox: &Letterbox, x: usize, y: usize, luma: impl Fn(usize, usize) -> u8) -> f64 {
    let (across, down) = (
        f64::from(letterbox.region.width) / f64::from(letterbox.content.width),
        f64::from(letterbox.region.height) / f64::from(letterbox.content.height),
    );
    let (left, top) = (
        f64::from(letterbox.region.x) + x as f64 * across,
        f64::from(letterbox.region.y) + y as f64 * down,
    );
    let (mut sum, mut area) = (0.0, 0.0);
    for row in top.floor() as usize..(top + down).ceil() as usize {
        let high = (top + down).min(row as f64 + 1.0) - top.max(row as f64);
        for column in left.floor() as usize..(left + across).ceil() as usize {
            let wide = (left + across).min(column as f64 + 1.0) - left.max(column as f64);
            if high > 0.0 && wide > 0.0 {
                sum += f64::from(luma(column, row)) * high * wide;
                area += high * wide;
            }
        }
    }
    sum / area
}

#[test]
fn shrinking_averages_over_the_covered_area() {
    let luma = |x: usize, y: usize| ((x * 37 + y * 91 + x * y) % 251) as u8;
    let picture = picture(PixelFormat::I420, (1920, 1080), 0, luma, |_, _, _| 128);
    let spec = spec(416, 256);
    let mut tensor = vec![0.0; spec.elements()];
    let letterbox = fill(&picture, Rect::whole(1920, 1080), &spec, &mut tensor).unwrap();
    for (x, y) in [(0, 0), (1, 1), (207, 100), (415, 233), (400, 3)] {
        let wanted = slow_mean(&letterbox, x, y, luma);
        let found = f64::from(tensor[y * 416 + x]);
        assert!((found - wanted).abs() < 1.0, "({x}, {y}): {found} for {wanted}");
    }
    assert!((tensor[255 * 416] - 114.0).abs() < 1e-6, "below lies padding");
}

#[test]
fn both_formats_give_the_same_numbers() {
    let luma = |x: usize, y: usize| (x * 3 + y * 5) as u8;
    let chroma = |plane: usize, x: usize, y: usize| (x * 2 + y + plane * 90) as u8;
    let spec = spec(96, 64);
    for size in [(200, 120), (33, 17), (64, 64)] {
        let of = |format, slack| {
            let mut tensor = vec![0.0; spec.elements()];
            let picture = picture(format, size, slack, luma, chroma);
            fill(&picture, Rect::whole(size.0, size.1), &spec, &mut tensor).unwrap();
            tensor
        };
        assert_eq!(of(PixelFormat::I420, 0), of(PixelFormat::Nv12, 13));
    }
}

#[test]
fn a_tile_at_native_resolution_is_the_pixels_themselves() {
    let luma = |x: usize, y: usize| (x * 7 + y * 13) as u8;
    let picture = picture(PixelFormat::I420, (300, 200), 4, luma, |_, _, _| 128);
    let spec = spec(64, 32);
    let region = Rect {
        x: 101,
        y: 77,
        width: 64,
        height: 32,
    };
    let mut tensor = vec![0.0; spec.elements()];
    fill(&picture, region, &spec, &mut tensor).unwrap();
    for (x, y) in [(0, 0), (63, 31), (20, 11)] {
        assert!((tensor[y * 64 + x] - f32::from(luma(101 + x, 77 + y))).abs() < 1e-3);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let spec = spec(64, 32);
    let mut tensor = vec![0.0; spec.elements()];
    let sound = picture(PixelFormat::I420, (8, 8), 0, |_, _| 0, |_, _, _| 0);
    let outside = Rect {
        x: 4,
        y: 0,
        width: 5,
        height: 8,
    };
    let refused =
        |picture: &Picture, region, tensor: &mut [f32]| fill(picture, region, &spec, tensor).unwrap_err();
    assert!(matches!(
        refused(&sound, outside, &mut tensor),
        PreprocessError::Region { .. }
    ));
    assert!(matches!(
        refused(&sound, Rect::whole(8, 8), &mut [0.0; 5]),
        PreprocessError::Tensor { found: 5, .. }
    ));
    let mut short = sound.clone();
    short.planes = Arc::new(PlanarBuffer::new(vec![
        (vec![0; 64], 8),
        (vec![0; 15], 4),
        (vec![0; 16], 4),
    ]));
    assert!(matches!(
        refused(&short, Rect::whole(8, 8), &mut tensor),
        PreprocessError::Plane { plane: 1, row: 3, .. }
    ));
    let mut empty = sound;
    empty.width = 0;
    assert!(matches!(
        refused(&empty, Rect::whole(0, 8), &mut tensor),
        PreprocessError::Size { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_size_and_stride_gives_numbers_between_black_and_white(
        size in (1_u32..200, 1_u32..200), slack in 0_usize..9, is_nv12 in any::<bool>(),
        input in (32_u32..100, 32_u32..100), seed in any::<u8>(),
    ) {
        let format = if is_nv12 { PixelFormat::Nv12 } else { PixelFormat::I420 };
        let luma = |x: usize, y: usize| (x * 31 + y * 17 + usize::from(seed)) as u8;
        let picture = picture(format, size, slack, luma, |plane, x, y| (x + y * 3 + plane * 50) as u8);
        let spec = spec(input.0, input.1);
        let mut tensor = vec![f32::NAN; spec.elements()];
        fill(&picture, Rect::whole(size.0, size.1), &spec, &mut tensor).unwrap();
        prop_assert!(tensor.iter().all(|number| (0.0..=255.0).contains(number)));
    }

    #[test]
    fn a_flat_picture_stays_flat(
        size in (1_u32..300, 1_u32..300), code in any::<u8>(), input in (32_u32..100, 32_u32..100),
    ) {
        let picture = picture(PixelFormat::I420, size, 0, |_, _| code, |_, _, _| 128);
        let spec = spec(input.0, input.1);
        let mut tensor = vec![f32::NAN; spec.elements()];
        let letterbox = fill(&picture, Rect::whole(size.0, size.1), &spec, &mut tensor).unwrap();
        for y in 0..letterbox.content.height as usize {
            for x in 0..letterbox.content.width as usize {
                prop_assert!((tensor[y * input.0 as usize + x] - f32::from(code)).abs() < 1e-3);
            }
        }
    }
}
