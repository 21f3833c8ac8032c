//! A contact sheet of the worst misses and the worst false alarms, for the eyes of whoever owns the pictures.

use image::{Rgb, RgbImage, imageops};

use super::Look;
use crate::dataset::Labelled;
use crate::dataset::picture::open_rgb;
use crate::flow::detection::{BBox, Class};

/// Pictures a row.
const ACROSS: usize = 4;
/// Rows of misses, and as many of false alarms.
const ROWS: usize = 3;
const CELL_WIDTH: u32 = 320;
const CELL_HEIGHT: u32 = 240;
const GAP: u32 = 4;

/// Boxes that are there.
const THERE: Rgb<u8> = Rgb([64, 224, 64]);
const FLAME: Rgb<u8> = Rgb([255, 64, 0]);
const SMOKE: Rgb<u8> = Rgb([64, 160, 255]);

/// Draws the sheet: above, burning pictures that came closest to nothing; below, quiet pictures that scored highest.
/// Green is what is there, red and blue what was found as flame and smoke at `floor` or above.
#[must_use]
pub fn draw(pictures: &[(&Labelled, &Look)], floor: f32) -> RgbImage {
    let best = |look: &Look| look.detections.first().map_or(0.0, |detection| detection.score);
    let cells = ACROSS * ROWS;
    let mut misses: Vec<_> = pictures.iter().filter(|(_, look)| look.burns()).collect();
    misses.sort_by(|one, other| best(one.1).total_cmp(&best(other.1)));
    misses.truncate(cells);
    let mut alarms: Vec<_> = pictures
        .iter()
        .filter(|(_, look)| look.is_known_quiet())
        .collect();
    alarms.sort_by(|one, other| best(other.1).total_cmp(&best(one.1)));
    alarms.truncate(cells);
    let (step_x, step_y) = (CELL_WIDTH + GAP, CELL_HEIGHT + GAP);
    let rows = 2 * ROWS as u32;
    let mut sheet = RgbImage::from_pixel(ACROSS as u32 * step_x, rows * step_y, Rgb([24, 24, 24]));
    for (first_row, group) in [(0, misses), (ROWS, alarms)] {
        for (index, (labelled, look)) in group.into_iter().enumerate() {
            let Ok(picture) = open_rgb(&labelled.path) else {
                continue;
            };
            let cell = cell(&picture, look, floor);
            let (column, row) = ((index % ACROSS) as u32, (first_row + index / ACROSS) as u32);
            let x = column * step_x + (CELL_WIDTH - cell.width()) / 2;
            let y = row * step_y + (CELL_HEIGHT - cell.height()) / 2;
            imageops::replace(&mut sheet, &cell, i64::from(x), i64::from(y));
        }
    }
    sheet
}

fn cell(picture: &RgbImage, look: &Look, floor: f32) -> RgbImage {
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let scale = (f64::from(CELL_WIDTH) / width).min(f64::from(CELL_HEIGHT) / height);
    let side = |length: f64, most: u32| ((length * scale).round() as u32).clamp(1, most);
    let mut cell = imageops::resize(
        picture,
        side(width, CELL_WIDTH),
        side(height, CELL_HEIGHT),
        imageops::FilterType::Triangle,
    );
    for truth in &look.truths {
        outline(&mut cell, &truth.bbox, scale as f32, THERE);
    }
    for detection in look.detections.iter().filter(|found| found.score >= floor) {
        let colour = match detection.class {
            Class::Flame => FLAME,
            Class::Smoke => SMOKE,
        };
        outline(&mut cell, &detection.bbox, scale as f32, colour);
    }
    cell
}

fn outline(cell: &mut RgbImage, bbox: &BBox, scale: f32, colour: Rgb<u8>) {
    let (right, bottom) = (cell.width().saturating_sub(1), cell.height().saturating_sub(1));
    let at = |edge: f32, most: u32| ((edge * scale).max(0.0) as u32).min(most);
    let (x0, x1) = (at(bbox.x0, right), at(bbox.x1, right));
    let (y0, y1) = (at(bbox.y0, bottom), at(bbox.y1, bottom));
    for x in x0..=x1 {
        cell.put_pixel(x, y0, colour);
        cell.put_pixel(x, y1, colour);
    }
    for y in y0..=y1 {
        cell.put_pixel(x0, y, colour);
        cell.put_pixel(x1, y, colour);
    }
}
