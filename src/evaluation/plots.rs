//! Draws curves and histograms as SVG, which needs no font and no library to write.

use std::fmt::Write as _;

use super::curve::{Curve, Operating, Tally};
use crate::flow::detection::Class;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 420.0;
const MARGIN: f64 = 50.0;

/// Histograms have this many bins over scores of 0 to 1.
const BINS: usize = 20;

/// The colour of a class.
const fn colour(class: Class) -> &'static str {
    match class {
        Class::Flame => "#d9480f",
        Class::Smoke => "#1c7ed6",
    }
}

/// Draws precision against recall at an overlap of one half, with a dot at the shipped threshold.
#[must_use]
pub fn precision_against_recall(title: &str, classes: [(Class, &Curve, Operating); 2]) -> String {
    let mut body = String::new();
    for (row, (class, curve, at)) in classes.into_iter().enumerate() {
        let weights = vec![1; curve.positives.len()];
        let mut points = String::new();
        let mut last = (-1.0, -1.0);
        for (recall, precision) in curve.points(&weights) {
            let point = place(recall, precision);
            // A step smaller than a pixel does not show.
            if (point.0 - last.0).abs() + (point.1 - last.1).abs() >= 0.7 {
                append(&mut points, format_args!("{:.1},{:.1} ", point.0, point.1));
                last = point;
            }
        }
        append(
            &mut body,
            format_args!(
                "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" points=\"{points}\"/>\n",
                colour(class)
            ),
        );
        if let (Some(recall), Some(precision)) = (at.recall, at.precision) {
            let (x, y) = place(recall, precision);
            append(
                &mut body,
                format_args!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{}\"/>\n",
                    colour(class)
                ),
            );
        }
        let average = curve
            .average_precision(&weights)
            .map_or_else(|| "no boxes".to_owned(), |average| format!("AP50 {average:.3}"));
        legend(
            &mut body,
            row,
            colour(class),
            &format!("{class}: {average}, dot at ≥ {:.2}", at.threshold),
        );
    }
    frame(title, "recall", "precision", "1", &body)
}

/// Draws how many detections found something (full) and how many did not (pale), by score, for each class.
#[must_use]
pub fn scores(title: &str, floor: f64, classes: [(Class, &Tally); 2]) -> String {
    let mut bins = [[[0_u32; BINS]; 2]; 2];
    for ((_, tally), bins) in classes.iter().zip(&mut bins) {
        for (score, _, is_true) in tally.entries.iter().filter(|entry| f64::from(entry.0) >= floor) {
            let bin = ((f64::from(*score) * BINS as f64) as usize).min(BINS - 1);
            if let Some(count) = bins[usize::from(*is_true)].get_mut(bin) {
                *count += 1;
            }
        }
    }
    let highest = bins.iter().flatten().flatten().copied().max().unwrap_or(0).max(1);
    let mut body = String::new();
    let slot = 1.0 / BINS as f64;
    for (row, ((class, _), bins)) in classes.iter().zip(&bins).enumerate() {
        for (is_true, counts) in bins.iter().enumerate() {
            for (bin, count) in counts.iter().enumerate() {
                let column = (row * 2 + is_true) as f64;
                let (x, y) = place(
                    bin as f64 * slot + column * slot / 4.4,
                    f64::from(*count) / f64::from(highest),
                );
                append(
                    &mut body,
                    format_args!(
                        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\" \
                         fill-opacity=\"{}\"/>\n",
                        (WIDTH - 2.0 * MARGIN) * slot / 4.8,
                        HEIGHT - MARGIN - y,
                        colour(*class),
                        if is_true == 1 { "1" } else { "0.35" },
                    ),
                );
            }
        }
        legend(
            &mut body,
            row,
            colour(*class),
            &format!("{class}: right full, wrong pale"),
        );
    }
    frame(
        title,
        "score",
        &format!("detections from {floor} on"),
        &highest.to_string(),
        &body,
    )
}

/// From shares of the axes to pixels of the drawing.
fn place(x: f64, y: f64) -> (f64, f64) {
    (
        MARGIN + x * (WIDTH - 2.0 * MARGIN),
        HEIGHT - MARGIN - y * (HEIGHT - 2.0 * MARGIN),
    )
}

/// Appends text; writing to a string cannot fail.
fn append(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).unwrap_or_default();
}

fn legend(body: &mut String, row: usize, colour: &str, text: &str) {
    append(
        body,
        format_args!(
            "<text x=\"{}\" y=\"{}\" fill=\"{colour}\" text-anchor=\"end\">{}</text>\n",
            WIDTH - MARGIN,
            MARGIN + 16.0 * row as f64 - 6.0,
            escape(text)
        ),
    );
}

fn frame(title: &str, across: &str, up: &str, top: &str, body: &str) -> String {
    let mut lines = String::new();
    for tick in 0..=10 {
        let share = f64::from(tick) / 10.0;
        let (x, y) = place(share, share);
        append(
            &mut lines,
            format_args!(
                "<path d=\"M{x:.1} {MARGIN}V{}M{MARGIN} {y:.1}H{}\" stroke=\"#ddd\"/>\n\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{share}</text>\n",
                HEIGHT - MARGIN,
                WIDTH - MARGIN,
                HEIGHT - MARGIN + 16.0,
            ),
        );
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{lines}{body}\
         <text x=\"{MARGIN}\" y=\"20\" font-size=\"14\">{}</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
         <text x=\"14\" y=\"{}\" transform=\"rotate(-90 14 {})\" text-anchor=\"middle\">{}</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n</svg>\n",
        escape(title),
        WIDTH / 2.0,
        HEIGHT - 10.0,
        escape(across),
        HEIGHT / 2.0,
        HEIGHT / 2.0,
        escape(up),
        MARGIN - 6.0,
        MARGIN + 4.0,
        escape(top),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
