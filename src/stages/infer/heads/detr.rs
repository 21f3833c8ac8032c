//! DETR family (RT-DETR, D-FINE): queries with boxes normalised to the input.
//!
//! The manifest names one output `N x Q x (4 + classes)` whose scores are probabilities, or two, `boxes,logits`, of
//! `N x Q x 4` and `N x Q x classes` whose scores still want a sigmoid.

use super::{Candidate, Head, View, expect_shape, of_picture, push_classes};
use crate::stages::preprocess::InputSpec;

#[derive(Debug)]
pub(super) struct Detr {
    outputs: Vec<String>,
    width: f32,
    height: f32,
    classes: usize,
}

impl Detr {
    pub(super) fn new(outputs: &str, spec: &InputSpec, classes: usize) -> Self {
        Self {
            outputs: outputs.split(',').map(|name| name.trim().to_owned()).collect(),
            width: spec.width as f32,
            height: spec.height as f32,
            classes,
        }
    }

    /// From a normalised box to input pixels.
    fn pixels(&self, [cx, cy, w, h]: [f32; 4]) -> [f32; 4] {
        [cx * self.width, cy * self.height, w * self.width, h * self.height]
    }

    /// How many queries an output of `columns` per query holds for each picture.
    fn queries(view: &View<'_>, count: usize, columns: usize) -> usize {
        view.numbers.len() / (count * columns).max(1)
    }
}

impl Head for Detr {
    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn check(&self, shapes: &[&[i64]]) -> Result<(), String> {
        // The number of queries is the model's own affair.
        let queries = |shape: &[i64]| {
            shape
                .get(1)
                .and_then(|side| usize::try_from(*side).ok())
                .unwrap_or(0)
        };
        match (shapes, self.outputs.as_slice()) {
            ([shape], [name]) => expect_shape(name, shape, &[queries(shape), 4 + self.classes]),
            ([boxes, logits], [boxes_name, logits_name]) => {
                expect_shape(boxes_name, boxes, &[queries(boxes), 4])?;
                expect_shape(logits_name, logits, &[queries(boxes), self.classes])
            }
            _ => Err(format!(
                "found head.output with {} names, expected one, or two as \"boxes,logits\"",
                self.outputs.len()
            )),
        }
    }

    fn decode(
        &self,
        views: &[View<'_>],
        index: usize,
        count: usize,
        floor: f32,
        candidates: &mut Vec<Candidate>,
    ) {
        match views {
            [view] => {
                let columns = 4 + self.classes;
                let size = Self::queries(view, count, columns) * columns;
                let numbers = of_picture(view, index, count, size).unwrap_or(&[]);
                for row in numbers.chunks_exact(columns) {
                    if let [cx, cy, w, h, scores @ ..] = row {
                        push_classes(scores, 1.0, floor, self.pixels([*cx, *cy, *w, *h]), candidates);
                    }
                }
            }
            [boxes, logits] => {
                let queries = Self::queries(boxes, count, 4);
                let boxes = of_picture(boxes, index, count, queries * 4).unwrap_or(&[]);
                let logits = of_picture(logits, index, count, queries * self.classes).unwrap_or(&[]);
                for (bbox, logits) in boxes
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .zip(logits.chunks_exact(self.classes.max(1)))
                {
                    for (class, logit) in logits.iter().enumerate() {
                        let score = 1.0 / (1.0 + (-logit).exp());
                        if score >= floor {
                            candidates.extend(Candidate::sound(class, score, self.pixels(*bbox)));
                        }
                    }
                }
            }
            _ => {}
        }
    }
}
