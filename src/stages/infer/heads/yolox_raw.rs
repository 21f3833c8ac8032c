//! YOLOX as it leaves the network: boxes relative to the cells of the strides 8, 16 and 32.

use super::{Candidate, Head, STRIDES, View, expect_shape, of_picture, push_classes};
use crate::stages::preprocess::InputSpec;

/// Sizes are exponentials; beyond this one is larger than any input.
const LARGEST_EXPONENT: f32 = 10.0;

#[derive(Debug)]
pub(super) struct YoloxRaw {
    outputs: [String; 1],
    /// Column, row and stride of each anchor's cell.
    cells: Vec<(f32, f32, f32)>,
    classes: usize,
}

impl YoloxRaw {
    pub(super) fn new(output: String, spec: &InputSpec, classes: usize) -> Self {
        let mut cells = Vec::with_capacity(super::anchors(spec));
        for stride in STRIDES {
            for row in 0..spec.height / stride {
                for column in 0..spec.width / stride {
                    cells.push((column as f32, row as f32, stride as f32));
                }
            }
        }
        Self {
            outputs: [output],
            cells,
            classes,
        }
    }
}

impl Head for YoloxRaw {
    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn check(&self, shapes: &[&[i64]]) -> Result<(), String> {
        let [shape] = shapes else {
            return Err("expected one output".to_owned());
        };
        expect_shape(&self.outputs[0], shape, &[self.cells.len(), 5 + self.classes])
    }

    fn decode(
        &self,
        views: &[View<'_>],
        index: usize,
        count: usize,
        floor: f32,
        candidates: &mut Vec<Candidate>,
    ) {
        let width = 5 + self.classes;
        let numbers = views
            .first()
            .and_then(|view| of_picture(view, index, count, self.cells.len() * width))
            .unwrap_or(&[]);
        for (row, (column, line, stride)) in numbers.chunks_exact(width).zip(&self.cells) {
            if let [dx, dy, w, h, objectness, scores @ ..] = row
                && *objectness >= floor
            {
                let side = |exponent: f32| exponent.min(LARGEST_EXPONENT).exp() * stride;
                let bbox = [(dx + column) * stride, (dy + line) * stride, side(*w), side(*h)];
                push_classes(scores, *objectness, floor, bbox, candidates);
            }
        }
    }
}
