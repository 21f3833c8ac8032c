//! `YOLOv8` and 11: one column per anchor; centre and size in input pixels, then classes; no objectness.

use super::{Candidate, Head, View, anchors, expect_shape, of_picture};
use crate::stages::preprocess::InputSpec;

#[derive(Debug)]
pub(super) struct Yolov8 {
    outputs: [String; 1],
    anchors: usize,
    classes: usize,
}

impl Yolov8 {
    pub(super) fn new(output: String, spec: &InputSpec, classes: usize) -> Self {
        Self {
            outputs: [output],
            anchors: anchors(spec),
            classes,
        }
    }
}

impl Head for Yolov8 {
    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn check(&self, shapes: &[&[i64]]) -> Result<(), String> {
        let [shape] = shapes else {
            return Err("expected one output".to_owned());
        };
        expect_shape(&self.outputs[0], shape, &[4 + self.classes, self.anchors])
    }

    fn decode(
        &self,
        views: &[View<'_>],
        index: usize,
        count: usize,
        floor: f32,
        candidates: &mut Vec<Candidate>,
    ) {
        let numbers = views
            .first()
            .and_then(|view| of_picture(view, index, count, (4 + self.classes) * self.anchors))
            .unwrap_or(&[]);
        let mut planes = numbers.chunks_exact(self.anchors.max(1));
        let (Some(xs), Some(ys), Some(widths), Some(heights)) =
            (planes.next(), planes.next(), planes.next(), planes.next())
        else {
            return;
        };
        for (class, scores) in planes.enumerate() {
            for (anchor, score) in scores.iter().enumerate() {
                if *score >= floor
                    && let (Some(cx), Some(cy), Some(w), Some(h)) = (
                        xs.get(anchor),
                        ys.get(anchor),
                        widths.get(anchor),
                        heights.get(anchor),
                    )
                {
                    candidates.extend(Candidate::sound(class, *score, [*cx, *cy, *w, *h]));
                }
            }
        }
    }
}
