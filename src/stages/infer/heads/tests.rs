use super::*;
use crate::models::manifest::{Anchor, ColourOrder};

fn spec() -> InputSpec {
    InputSpec {
        width: 64,
        height: 32,
        colour: ColourOrder::Bgr,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        padding: 114.0,
        anchor: Anchor::TopLeft,
    }
}

/// Anchors of a 64x32 input: 8·4 + 4·2 + 2·1.
const ANCHORS: usize = 42;

fn head(kind: HeadKind, output: &str) -> Box<dyn Head> {
    let manifest = HeadManifest {
        kind,
        output: output.to_owned(),
        nms_iou: 0.6,
    };
    of(&manifest, &spec(), 2)
}

fn decoded(
    head: &dyn Head,
    outputs: &[(Vec<usize>, Vec<f32>)],
    index: usize,
    count: usize,
) -> Vec<Candidate> {
    let views: Vec<_> = outputs
        .iter()
        .map(|(shape, numbers)| View {
            shape: shape.clone(),
            numbers,
        })
        .collect();
    let mut candidates = Vec::new();
    head.decode(&views, index, count, 0.1, &mut candidates);
    candidates
}

fn close(found: &[Candidate], class: usize, score: f32, bbox: BBox) {
    let [found] = found else {
        panic!("expected one candidate, found {found:?}");
    };
    assert_eq!(found.class, class);
    assert!((found.score - score).abs() < 1e-4, "{found:?}");
    assert!(found.bbox.iou(&bbox) > 0.999, "{found:?}");
}

#[test]
fn a_decoded_yolox_gives_objectness_times_class_in_input_pixels() {
    let head = head(HeadKind::YoloxDecoded, "dets");
    assert!(head.check(&[&[-1, 42, 7]]).is_ok());
    assert!(head.check(&[&[1, 42, 8]]).unwrap_err().contains("[N, 42, 7]"));
    let mut numbers = vec![0.0; 2 * ANCHORS * 7];
    let at = ANCHORS * 7 + 3 * 7;
    numbers[at..at + 7].copy_from_slice(&[30.0, 20.0, 10.0, 4.0, 0.8, 0.05, 0.5]);
    let outputs = [(vec![2, ANCHORS, 7], numbers)];
    assert!(decoded(head.as_ref(), &outputs, 0, 2).is_empty());
    let found = decoded(head.as_ref(), &outputs, 1, 2);
    close(&found, 1, 0.4, BBox::new(25.0, 18.0, 35.0, 22.0));
}

#[test]
fn a_raw_yolox_is_decoded_by_cell_and_stride() {
    let head = head(HeadKind::YoloxRaw, "out");
    let mut numbers = vec![0.0; ANCHORS * 7];
    // The second level (stride 16) starts after 32 cells; its cell 5 is column 1 of row 1.
    let at = (32 + 5) * 7;
    numbers[at..at + 7].copy_from_slice(&[0.5, 0.25, 0.5_f32.ln(), 0.25_f32.ln(), 0.9, 0.5, 0.0]);
    let found = decoded(head.as_ref(), &[(vec![1, ANCHORS, 7], numbers)], 0, 1);
    close(&found, 0, 0.45, BBox::from_centre(24.0, 20.0, 8.0, 4.0));
}

#[test]
fn a_yolov8_is_read_by_columns_without_objectness() {
    let head = head(HeadKind::Yolov8, "output0");
    assert!(head.check(&[&[1, 6, 42]]).is_ok());
    assert!(head.check(&[&[1, 42, 6]]).is_err());
    let mut numbers = vec![0.0; 6 * ANCHORS];
    for (plane, number) in [30.0, 20.0, 10.0, 4.0, 0.7, 0.0].into_iter().enumerate() {
        numbers[plane * ANCHORS + 11] = number;
    }
    let found = decoded(head.as_ref(), &[(vec![1, 6, ANCHORS], numbers)], 0, 1);
    close(&found, 0, 0.7, BBox::new(25.0, 18.0, 35.0, 22.0));
}

#[test]
fn a_detr_is_scaled_from_shares_of_the_input_in_both_its_forms() {
    let one = head(HeadKind::Detr, "out");
    assert!(one.check(&[&[1, 300, 6]]).is_ok());
    let found = decoded(
        one.as_ref(),
        &[(vec![1, 1, 6], vec![0.5, 0.5, 0.25, 0.5, 0.0, 0.6])],
        0,
        1,
    );
    close(&found, 1, 0.6, BBox::new(24.0, 8.0, 40.0, 24.0));
    let two = head(HeadKind::Detr, "pred_boxes, logits");
    assert_eq!(two.outputs(), ["pred_boxes", "logits"]);
    assert!(two.check(&[&[1, 300, 4], &[1, 300, 2]]).is_ok());
    assert!(two.check(&[&[1, 300, 4], &[1, 300, 80]]).is_err());
    let outputs = [
        (vec![1, 1, 4], vec![0.5, 0.5, 0.25, 0.5]),
        (vec![1, 1, 2], vec![-9.0, 0.0]),
    ];
    close(
        &decoded(two.as_ref(), &outputs, 0, 1),
        1,
        0.5,
        BBox::new(24.0, 8.0, 40.0, 24.0),
    );
}

#[test]
fn numbers_that_are_not_finite_never_become_boxes() {
    let head = head(HeadKind::YoloxDecoded, "dets");
    let mut numbers = vec![0.0; ANCHORS * 7];
    for (anchor, row) in [
        [f32::NAN, 1.0, 1.0, 1.0, 0.9, 0.9, 0.0],
        [1.0, 1.0, 1.0, 1.0, f32::NAN, 0.9, 0.0],
        [1.0, 1.0, 1.0, 1.0, 0.9, f32::NAN, f32::INFINITY],
        [1.0, 1.0, f32::INFINITY, 1.0, 0.9, 0.9, 0.0],
        [1.0, 1.0, -3.0, 1.0, 0.9, 0.9, 0.0],
    ]
    .into_iter()
    .enumerate()
    {
        numbers[anchor * 7..(anchor + 1) * 7].copy_from_slice(&row);
    }
    assert!(decoded(head.as_ref(), &[(vec![1, ANCHORS, 7], numbers)], 0, 1).is_empty());
}

#[test]
fn an_output_that_is_shorter_than_declared_gives_nothing() {
    let head = head(HeadKind::YoloxDecoded, "dets");
    assert!(decoded(head.as_ref(), &[(vec![1, 5, 7], vec![0.9; 35])], 0, 1).is_empty());
}
