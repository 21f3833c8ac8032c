//! Heads: how the numbers of an output become boxes in input pixels. One file each; adding one is adding a file.

mod detr;

mod yolov8;

mod yolox_decoded;

mod yolox_raw;

use std::fmt;

use super::ort::View;
use crate::flow::detection::BBox;
use crate::models::manifest::{HeadKind, HeadManifest};
use crate::stages::preprocess::InputSpec;

/// A box in input pixels, before suppression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// Number of the class in the output.
    pub(crate) class: usize,
    /// 0 to 1.
    pub(crate) score: f32,
    /// In input pixels.
    pub(crate) bbox: BBox,
}

impl Candidate {
    /// Makes a candidate from the centre and size of its box, unless a number is not finite or the box is empty.
    fn sound(class: usize, score: f32, [cx, cy, width, height]: [f32; 4]) -> Option<Self> {
        let is_sound = score.is_finite()
            && [cx, cy, width, height].iter().all(|number| number.is_finite())
            && width > 0.0
            && height > 0.0;
        is_sound.then(|| Self {
            class,
            score: score.min(1.0),
            bbox: BBox::from_centre(cx, cy, width, height),
        })
    }
}

/// Reads an output.
pub(crate) trait Head: Send + fmt::Debug {
    /// Returns the names of the outputs that it reads.
    fn outputs(&self) -> &[String];

    /// Checks the declared shapes of these outputs, -1 being any size; says what was found and expected.
    fn check(&self, shapes: &[&[i64]]) -> Result<(), String>;

    /// Appends the candidates of picture `index` of `count` whose score is at least `floor`.
    fn decode(
        &self,
        views: &[View<'_>],
        index: usize,
        count: usize,
        floor: f32,
        candidates: &mut Vec<Candidate>,
    );
}

/// Makes the head that a manifest asks for.
pub(crate) fn of(manifest: &HeadManifest, spec: &InputSpec, classes: usize) -> Box<dyn Head> {
    let output = manifest.output.clone();
    match manifest.kind {
        HeadKind::YoloxDecoded => Box::new(yolox_decoded::YoloxDecoded::new(output, spec, classes)),
        HeadKind::YoloxRaw => Box::new(yolox_raw::YoloxRaw::new(output, spec, classes)),
        HeadKind::Yolov8 => Box::new(yolov8::Yolov8::new(output, spec, classes)),
        HeadKind::Detr => Box::new(detr::Detr::new(&output, spec, classes)),
    }
}

/// The strides of the three levels of a YOLO.
const STRIDES: [u32; 3] = [8, 16, 32];

/// Returns how many anchors three levels have.
fn anchors(spec: &InputSpec) -> usize {
    STRIDES
        .iter()
        .map(|stride| (spec.width / stride) as usize * (spec.height / stride) as usize)
        .sum()
}

/// Says whether a declared shape fits, the first side being the batch; `-1` fits anything.
fn expect_shape(name: &str, found: &[i64], expected: &[usize]) -> Result<(), String> {
    let fits = found.len() == expected.len() + 1
        && found
            .iter()
            .skip(1)
            .zip(expected)
            .all(|(side, wanted)| *side == -1 || usize::try_from(*side) == Ok(*wanted));
    if fits {
        return Ok(());
    }
    let wanted: Vec<_> = expected.iter().map(ToString::to_string).collect();
    Err(format!(
        "found the output {name:?} of shape {found:?}, expected [N, {}]",
        wanted.join(", ")
    ))
}

/// Returns the numbers of one picture of a batch, if the output has as many as it should.
fn of_picture<'v>(view: &View<'v>, index: usize, count: usize, expected: usize) -> Option<&'v [f32]> {
    let is_whole = view.shape.first() == Some(&count) && view.numbers.len() == expected.checked_mul(count)?;
    is_whole.then(|| view.numbers.get(index * expected..(index + 1) * expected))?
}

/// Appends a candidate for each class whose score (`gain` times the class's) reaches the floor; not a number never does.
fn push_classes(
    scores: &[f32],
    gain: f32,
    floor: f32,
    centre_and_size: [f32; 4],
    candidates: &mut Vec<Candidate>,
) {
    for (class, score) in scores.iter().enumerate() {
        let score = gain * score;
        if score >= floor {
            candidates.extend(Candidate::sound(class, score, centre_and_size));
        }
    }
}

#[cfg(test)]
mod tests;
