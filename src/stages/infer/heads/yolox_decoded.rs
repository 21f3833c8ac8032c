//! YOLOX whose graph decodes the boxes: centre and size in input pixels, objectness, classes.

use super::{Candidate, Head, View, anchors, expect_shape, of_picture, push_classes};
use crate::stages::preprocess::InputSpec;

#[derive(Debug)]
pub(super) struct YoloxDecoded {
    outputs: [String; 1],
    anchors: usize,
    classes: usize,
}

impl YoloxDecoded {
    pub(super) fn new(output: String, spec: &InputSpec, classes: usize) -> Self {
        Self {
            outputs: [output],
            anchors: anchors(spec),
            classes,
        }
    }
}

impl Head for YoloxDecoded {
    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn check(&self, shapes: &[&[i64]]) -> Result<(), String> {
        let [shape] = shapes else {
            return Err("expected one output".to_owned());
        };
        expect_shape(&self.outputs[0], shape, &[self.anchors, 5 + self.classes])
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
            .and_then(|view| of_picture(view, index, count, self.anchors * width))
            .unwrap_or(&[]);
        for row in numbers.chunks_exact(width) {
            if let [cx, cy, w, h, objectness, scores @ ..] = row
                && *objectness >= floor
            {
                push_classes(scores, *objectness, floor, [*cx, *cy, *w, *h], candidates);
            }
        }
    }
}
