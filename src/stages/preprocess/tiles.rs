//! Where to look closer: overlapping tiles at native resolution around a suspicion, and what to make of boxes that
//! several looks at one picture gave.

use crate::flow::detection::{BBox, Detection};

use super::letterbox::Rect;

/// The most tiles of one picture: each costs an inference.
pub const MOST_TILES: usize = 6;

/// The share of a tile that the next one sees again, so that what the first cuts in two the second sees whole.
const OVERLAP: f32 = 0.25;

/// Room around a suspicion, as a share of its size: a plume is larger than what was first seen of it.
const MARGIN: f32 = 0.25;

/// Two boxes of one class are the same thing when this share of the smaller lies in the larger.
const SAME: f32 = 0.6;

/// Returns tiles of the input's size, in source pixels, around suspicions; the first suspicions are served first.
///
/// There are none when the picture is no larger than the input: the whole picture was already seen at full size.
#[must_use]
pub fn around(suspicions: &[BBox], picture: (u32, u32), input: (u32, u32)) -> Vec<Rect> {
    let (width, height) = (input.0.min(picture.0), input.1.min(picture.1));
    if width == 0 || height == 0 || (width, height) == picture {
        return Vec::new();
    }
    let mut tiles: Vec<Rect> = Vec::new();
    for suspicion in suspicions {
        let whole = suspicion.clipped(picture.0 as f32, picture.1 as f32);
        if whole.area().is_nan() || whole.area() <= 0.0 {
            continue;
        }
        let (dx, dy) = (whole.width() * MARGIN, whole.height() * MARGIN);
        let wanted = BBox::new(whole.x0 - dx, whole.y0 - dy, whole.x1 + dx, whole.y1 + dy)
            .clipped(picture.0 as f32, picture.1 as f32);
        let is_seen = tiles.iter().any(|tile| {
            let tile = tile.bbox();
            tile.intersection(&wanted) >= wanted.area() * 0.999
        });
        if is_seen {
            continue;
        }
        for y in starts(wanted.y0, wanted.y1, height, picture.1) {
            for x in starts(wanted.x0, wanted.x1, width, picture.0) {
                let tile = Rect { x, y, width, height };
                if !tiles.contains(&tile) {
                    tiles.push(tile);
                }
                if tiles.len() == MOST_TILES {
                    return tiles;
                }
            }
        }
    }
    tiles
}

/// Returns where tiles of `length` start so that together they cover `from..to`, overlapping, inside `0..limit`.
fn starts(from: f32, to: f32, length: u32, limit: u32) -> Vec<u32> {
    let (side, last) = (length as f32, limit.saturating_sub(length) as f32);
    let needed = to - from;
    let step = side * (1.0 - OVERLAP);
    let count = if needed <= side {
        1
    } else {
        1 + ((needed - side) / step).ceil() as u32
    };
    let span = side + (count - 1) as f32 * step;
    let first = (from + to - span) / 2.0;
    let mut starts: Vec<u32> = (0..count)
        .map(|index| (first + index as f32 * step).round().clamp(0.0, last) as u32)
        .collect();
    starts.dedup();
    starts
}

/// Joins detections of the whole picture and of its tiles: of those that show the same thing the surest stays,
/// grown to hold what a tile's edge had cut off. Sorted by falling score.
#[must_use]
pub fn merge(whole: Vec<Detection>, tiles: &[(Rect, Vec<Detection>)], picture: (u32, u32)) -> Vec<Detection> {
    let mut looks: Vec<Look> = whole
        .into_iter()
        .map(|detection| Look {
            detection,
            is_cut: false,
        })
        .collect();
    for (tile, detections) in tiles {
        looks.extend(detections.iter().map(|detection| Look {
            detection: *detection,
            is_cut: is_cut(&detection.bbox, tile, picture),
        }));
    }
    looks.sort_by(|one, other| other.detection.score.total_cmp(&one.detection.score));
    let mut kept: Vec<Look> = Vec::with_capacity(looks.len());
    for look in looks {
        let same = kept
            .iter_mut()
            .find(|known| is_same(&known.detection, &look.detection));
        match same {
            Some(known) if known.is_cut => {
                known.detection.bbox = known.detection.bbox.union(&look.detection.bbox);
                known.is_cut = look.is_cut;
            }
            Some(_) => {}
            None => kept.push(look),
        }
    }
    kept.into_iter().map(|look| look.detection).collect()
}

/// A detection with whether a tile's edge may have cut it off.
struct Look {
    detection: Detection,
    is_cut: bool,
}

fn is_same(one: &Detection, other: &Detection) -> bool {
    let smaller = one.bbox.area().min(other.bbox.area());
    one.class == other.class && smaller > 0.0 && one.bbox.intersection(&other.bbox) > SAME * smaller
}

/// Whether a box ends at an edge of its tile that is not an edge of the picture.
fn is_cut(bbox: &BBox, tile: &Rect, picture: (u32, u32)) -> bool {
    const NEAR: f32 = 2.0;
    let edge = tile.bbox();
    (edge.x0 > 0.0 && bbox.x0 - edge.x0 < NEAR)
        || (edge.y0 > 0.0 && bbox.y0 - edge.y0 < NEAR)
        || (edge.x1 < picture.0 as f32 && edge.x1 - bbox.x1 < NEAR)
        || (edge.y1 < picture.1 as f32 && edge.y1 - bbox.y1 < NEAR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::detection::Class;

    fn smoke(score: f32, bbox: BBox) -> Detection {
        Detection {
            class: Class::Smoke,
            score,
            bbox,
        }
    }

    #[test]
    fn a_small_suspicion_gets_one_tile_around_it() {
        let tiles = around(&[BBox::new(900.0, 500.0, 940.0, 540.0)], (1920, 1080), (416, 256));
        assert_eq!(
            tiles,
            [Rect {
                x: 712,
                y: 392,
                width: 416,
                height: 256
            }]
        );
    }

    #[test]
    fn a_picture_no_larger_than_the_input_gets_none() {
        let suspicion = [BBox::new(10.0, 10.0, 50.0, 50.0)];
        assert!(around(&suspicion, (416, 256), (416, 256)).is_empty());
        assert!(around(&suspicion, (300, 200), (416, 256)).is_empty());
        assert!(around(&[BBox::new(f32::NAN, 0.0, 5.0, 5.0)], (1920, 1080), (416, 256)).is_empty());
    }

    #[test]
    fn halves_of_a_plume_in_two_tiles_become_one_box() {
        let tile = |x| Rect {
            x,
            y: 0,
            width: 400,
            height: 256,
        };
        let merged = merge(
            vec![],
            &[
                (tile(0), vec![smoke(0.8, BBox::new(250.0, 50.0, 400.0, 100.0))]),
                (tile(300), vec![smoke(0.6, BBox::new(300.0, 52.0, 420.0, 101.0))]),
            ],
            (1920, 1080),
        );
        assert_eq!(merged, [smoke(0.8, BBox::new(250.0, 50.0, 420.0, 101.0))]);
    }

    #[test]
    fn a_second_look_at_the_same_thing_does_not_count_twice_and_another_class_does() {
        let whole = smoke(0.5, BBox::new(100.0, 100.0, 200.0, 200.0));
        let closer = smoke(0.7, BBox::new(110.0, 105.0, 198.0, 196.0));
        let mut flame = closer;
        flame.class = Class::Flame;
        let tile = Rect {
            x: 50,
            y: 50,
            width: 416,
            height: 256,
        };
        let merged = merge(vec![whole], &[(tile, vec![closer, flame])], (1920, 1080));
        assert_eq!(merged, [closer, flame]);
    }

    proptest! {
        #[test]
        fn tiles_lie_inside_and_cover_what_the_limit_allows(
            (x, y) in (0.0_f32..1900.0, 0.0_f32..1060.0), (width, height) in (1.0_f32..600.0, 1.0_f32..300.0),
        ) {
            let suspicion = BBox::new(x, y, (x + width).min(1920.0), (y + height).min(1080.0));
            let tiles = around(&[suspicion], (1920, 1080), (416, 256));
            prop_assert!(!tiles.is_empty() && tiles.len() <= MOST_TILES);
            for tile in &tiles {
                prop_assert!(tile.x + tile.width <= 1920 && tile.y + tile.height <= 1080);
            }
            if tiles.len() < MOST_TILES {
                for (px, py) in [(suspicion.x0, suspicion.y0), (suspicion.x1, suspicion.y1), suspicion.centre()] {
                    prop_assert!(tiles.iter().any(|tile| {
                        let tile = tile.bbox();
                        tile.x0 <= px && px <= tile.x1 && tile.y0 <= py && py <= tile.y1
                    }), "({px}, {py}) in {tiles:?}");
                }
            }
        }
    }
}
