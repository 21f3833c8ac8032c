//! The figures of a model on a dataset, as JSON with stable keys and as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::Look;
use super::bootstrap::{draw, interval};
use super::curve::{Curve, Operating, Tally, at_all_overlaps, pairs_of};
use super::matching::{ANY_SIZE, Pairs, SIZES};
use crate::dataset::Problem;
use crate::flow::detection::Class;

/// Figures by class name, and `all` for their mean; absent where a class has no box to find.
pub type ByClass = BTreeMap<&'static str, Option<f64>>;

/// Intervals that hold a figure with 95 %, by class name and `all`.
pub type Intervals = BTreeMap<&'static str, Option<[f64; 2]>>;

/// Which model was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasuredModel {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the weights of the first variant that was used.
    pub sha256: String,
    /// The files of the variants that were used.
    pub variant: Vec<String>,
}

/// Figures of boxes of one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BySize {
    /// How many boxes there are.
    pub boxes: BTreeMap<&'static str, u64>,
    /// Average precision at an overlap of one half.
    pub map50: ByClass,
    /// Average precision over overlaps of 0.50 to 0.95.
    pub map50_95: ByClass,
}

/// Figures of whole pictures: does it alarm or not?
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ImageLevel {
    /// Share of the pictures in which something burns that alarm.
    pub recall: Option<f64>,
    /// Share of the pictures in which nothing burns that alarm.
    pub false_alarm_rate: Option<f64>,
    /// How many pictures something burns in.
    pub pictures_with: usize,
    /// How many pictures nothing burns in, smoke being labelled.
    pub pictures_without: usize,
}

/// How sure the figures of boxes of one size are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeConfidence {
    /// Of `map50`.
    pub map50: Intervals,
}

/// How sure the figures are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confidence {
    /// The probability that an interval holds.
    pub level: f64,
    /// How often pictures were drawn again.
    pub replicates: u64,
    /// What the draws start from.
    pub seed: u64,
    /// Of `map50`.
    pub map50: Intervals,
    /// Of `map50_95`.
    pub map50_95: Intervals,
    /// Of the precision at the threshold.
    pub precision: Intervals,
    /// Of the recall at the threshold.
    pub recall: Intervals,
    /// Of F1 at the threshold.
    pub f1: Intervals,
    /// Of the figures by size.
    pub by_size: BTreeMap<&'static str, SizeConfidence>,
    /// Of the share of burning pictures that alarm.
    pub image_recall: Option<[f64; 2]>,
    /// Of the share of quiet pictures that alarm.
    pub false_alarm_rate: Option<[f64; 2]>,
}

/// All figures. The keys of its JSON are stable: new ones may come, none goes or changes its meaning.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Where the dataset lies.
    pub dataset: String,
    /// Which split of it.
    pub split: String,
    /// How many pictures were looked at.
    pub images: usize,
    /// How many boxes they have.
    pub boxes: BTreeMap<&'static str, u64>,
    /// With which model.
    pub model: MeasuredModel,
    /// At which duty level's thresholds.
    pub duty: String,
    /// Whether tiles were looked at.
    pub tiles: bool,
    /// Average precision at an overlap of one half.
    pub map50: ByClass,
    /// Average precision over overlaps of 0.50 to 0.95.
    pub map50_95: ByClass,
    /// Figures by the boxes' share of the picture: tiny under 1 %, small 1 to 5 %, large above.
    pub by_size: BTreeMap<&'static str, BySize>,
    /// Precision, recall and F1 at the shipped threshold, by class.
    pub at_threshold: BTreeMap<&'static str, Operating>,
    /// Figures of whole pictures.
    pub image_level: ImageLevel,
    /// How sure all that is.
    pub ci: Confidence,
    /// What is wrong with the dataset.
    pub problems: Vec<Problem>,
    /// What was assumed about the dataset.
    pub notes: Vec<String>,
}

/// What a report is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Where the dataset lies.
    pub dataset: String,
    /// Which split of it.
    pub split: String,
    /// Which model.
    pub model: MeasuredModel,
    /// At which duty level's thresholds.
    pub duty: String,
    /// The thresholds, in the order of [`Class::ALL`].
    pub thresholds: [f64; 2],
    /// Whether tiles were looked at.
    pub tiles: bool,
    /// What is wrong with the dataset.
    pub problems: Vec<Problem>,
    /// What was assumed about it.
    pub notes: Vec<String>,
    /// How often to draw pictures again.
    pub replicates: u64,
    /// What the draws start from.
    pub seed: u64,
}

/// The word for the mean over classes.
const ALL: &str = "all";

/// Curves over all overlaps by size, in the order of [`SIZES`], and by class.
type SizedCurves = [[Vec<Curve>; 2]; SIZES.len()];

/// What the figures are worked out from, for one class.
#[derive(Debug)]
pub struct Measured {
    /// The detections and boxes by picture.
    pub pairs: Vec<Option<Pairs>>,
    /// Curves over all overlaps, the first at one half.
    pub curves: Vec<Curve>,
    /// What became of each detection at an overlap of one half.
    pub tally: Tally,
}

impl Measured {
    /// Compares detections with boxes for each class.
    #[must_use]
    pub fn of_classes(looks: &[Look]) -> [Self; 2] {
        Class::ALL.map(|class| {
            let pairs = pairs_of(looks, class);
            Self {
                curves: at_all_overlaps(&pairs, &ANY_SIZE),
                tally: Tally::new(&pairs),
                pairs,
            }
        })
    }
}

impl Report {
    /// Works out all figures.
    #[must_use]
    pub fn new(looks: &[Look], measured: &[Measured; 2], subject: Subject) -> Self {
        let once = vec![1; looks.len()];
        let sized: SizedCurves = SIZES.map(|range| {
            measured
                .each_ref()
                .map(|class| at_all_overlaps(&class.pairs, &range))
        });
        let by_size = SIZES
            .iter()
            .zip(&sized)
            .map(|(range, curves)| {
                let curves = curves.each_ref().map(Vec::as_slice);
                let boxes = Class::ALL
                    .iter()
                    .zip(curves)
                    .map(|(class, curves)| {
                        (class.name(), curves.first().map_or(0, |curve| curve.boxes(&once)))
                    })
                    .collect();
                let figures = BySize {
                    boxes,
                    map50: by_class(curves.map(|curves| half(curves, &once))),
                    map50_95: by_class(curves.map(|curves| mean(curves, &once))),
                };
                (range.name, figures)
            })
            .collect();
        let curves = measured.each_ref().map(|class| class.curves.as_slice());
        let at_threshold = Class::ALL
            .iter()
            .zip(measured.iter().zip(subject.thresholds))
            .map(|(class, (measured, threshold))| (class.name(), measured.tally.at(threshold, &once)))
            .collect();
        Self {
            images: looks.len(),
            boxes: Class::ALL
                .iter()
                .zip(curves)
                .map(|(class, curves)| (class.name(), curves.first().map_or(0, |curve| curve.boxes(&once))))
                .collect(),
            map50: by_class(curves.map(|curves| half(curves, &once))),
            map50_95: by_class(curves.map(|curves| mean(curves, &once))),
            by_size,
            at_threshold,
            image_level: image_level(looks, &subject.thresholds, &once),
            ci: confidence(looks, measured, &sized, &subject),
            dataset: subject.dataset,
            split: subject.split,
            model: subject.model,
            duty: subject.duty,
            tiles: subject.tiles,
            problems: subject.problems,
            notes: subject.notes,
        }
    }

    /// Returns the figures as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        self.write_table(&mut text).unwrap_or_default();
        text
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        let figure = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
        let range = |range: Option<[f64; 2]>| {
            range.map_or_else(String::new, |[low, high]| format!("({low:.3}–{high:.3})"))
        };
        let names = [Class::Flame.name(), Class::Smoke.name(), ALL];
        writeln!(
            text,
            "{} {} on {} [{}]: {} pictures, {} flame and {} smoke boxes{}",
            self.model.name,
            self.model.version,
            self.dataset,
            self.split,
            self.images,
            self.boxes.get("flame").unwrap_or(&0),
            self.boxes.get("smoke").unwrap_or(&0),
            if self.tiles { ", with tiles" } else { "" }
        )?;
        writeln!(
            text,
            "\n{:<16} {:>22} {:>22} {:>22}",
            "", names[0], names[1], names[2]
        )?;
        let sure = |figures: &ByClass, ranges: &Intervals| {
            names.map(|name| {
                let value = figure(figures.get(name).copied().flatten());
                format!("{value} {}", range(ranges.get(name).copied().flatten()))
            })
        };
        write_row(text, "mAP50", sure(&self.map50, &self.ci.map50))?;
        write_row(text, "mAP50-95", sure(&self.map50_95, &self.ci.map50_95))?;
        for (name, size) in SIZES
            .iter()
            .filter_map(|size| self.by_size.get_key_value(size.name))
        {
            if let Some(ci) = self.ci.by_size.get(name) {
                write_row(text, &format!("mAP50 {name}"), sure(&size.map50, &ci.map50))?;
            }
            let counted = names.map(|class| {
                let value = figure(size.map50_95.get(class).copied().flatten());
                let boxes = size.boxes.get(class);
                value + &boxes.map_or_else(String::new, |boxes| format!(" [{boxes} boxes]"))
            });
            write_row(text, &format!("mAP50-95 {name}"), counted)?;
        }
        writeln!(text, "\nat the thresholds for {}:", self.duty)?;
        for (class, at) in &self.at_threshold {
            writeln!(
                text,
                "  {class} ≥ {:.2}: precision {} {}, recall {} {}, F1 {} {}",
                at.threshold,
                figure(at.precision),
                range(self.ci.precision.get(class).copied().flatten()),
                figure(at.recall),
                range(self.ci.recall.get(class).copied().flatten()),
                figure(at.f1),
                range(self.ci.f1.get(class).copied().flatten()),
            )?;
        }
        writeln!(
            text,
            "  {} pictures with fire, of which alarm: {} {}\n  {} pictures without, of which alarm: {} {}",
            self.image_level.pictures_with,
            figure(self.image_level.recall),
            range(self.ci.image_recall),
            self.image_level.pictures_without,
            figure(self.image_level.false_alarm_rate),
            range(self.ci.false_alarm_rate),
        )?;
        writeln!(
            text,
            "\nin brackets: 95 % intervals over {} draws of the pictures",
            self.ci.replicates
        )
    }
}

/// Writes a row of figures: flame, smoke and the mean of both.
fn write_row(text: &mut String, label: &str, cells: [String; 3]) -> std::fmt::Result {
    write!(text, "{label:<16}")?;
    for cell in cells {
        write!(text, " {:>22}", cell.trim_end())?;
    }
    writeln!(text)
}

/// Returns the average precision at an overlap of one half.
fn half(curves: &[Curve], weights: &[u32]) -> Option<f64> {
    curves.first()?.average_precision(weights)
}

/// Returns the average precisions at all overlaps, the first at one half; nothing where there is no box to find.
fn precisions(curves: &[Curve], weights: &[u32]) -> Option<Vec<f64>> {
    let figures: Option<Vec<f64>> = curves
        .iter()
        .map(|curve| curve.average_precision(weights))
        .collect();
    figures.filter(|figures| !figures.is_empty())
}

/// Returns the mean of the average precisions over all overlaps.
fn mean(curves: &[Curve], weights: &[u32]) -> Option<f64> {
    precisions(curves, weights).as_deref().map(average)
}

fn average(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}

fn mean_of_classes(figures: [Option<f64>; 2]) -> Option<f64> {
    let known: Vec<f64> = figures.into_iter().flatten().collect();
    (!known.is_empty()).then(|| average(&known))
}

fn by_class(figures: [Option<f64>; 2]) -> ByClass {
    let mut named: ByClass = Class::ALL.iter().map(|class| class.name()).zip(figures).collect();
    named.insert(ALL, mean_of_classes(figures));
    named
}

fn image_level(looks: &[Look], thresholds: &[f64; 2], weights: &[u32]) -> ImageLevel {
    let (mut with, mut without, mut found, mut wrong) = (0_u64, 0_u64, 0_u64, 0_u64);
    for (look, weight) in looks.iter().zip(weights) {
        let weight = u64::from(*weight);
        let alarm = if look.alarms(thresholds) { weight } else { 0 };
        if look.burns() {
            with += weight;
            found += alarm;
        } else if look.is_known_quiet() {
            without += weight;
            wrong += alarm;
        }
    }
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    ImageLevel {
        recall: share(found, with),
        false_alarm_rate: share(wrong, without),
        pictures_with: with as usize,
        pictures_without: without as usize,
    }
}

/// The figures of one draw, in the order in which [`confidence`] takes them apart.
struct Replicate {
    half: [Option<f64>; 2],
    mean: [Option<f64>; 2],
    /// At an overlap of one half, by size.
    sizes: [[Option<f64>; 2]; SIZES.len()],
    at: [Operating; 2],
    image: ImageLevel,
}

fn confidence(
    looks: &[Look],
    measured: &[Measured; 2],
    sized: &SizedCurves,
    subject: &Subject,
) -> Confidence {
    let replicate = |number: u64| {
        let weights = draw(looks.len(), subject.seed, number);
        let [flame, smoke] = measured;
        let at = |class: &Measured, threshold| class.tally.at(threshold, &weights);
        let found = [flame, smoke].map(|class| precisions(&class.curves, &weights));
        Replicate {
            half: found.each_ref().map(|found| found.as_ref()?.first().copied()),
            mean: found.each_ref().map(|found| found.as_deref().map(average)),
            sizes: sized
                .each_ref()
                .map(|classes| classes.each_ref().map(|curves| half(curves, &weights))),
            at: [at(flame, subject.thresholds[0]), at(smoke, subject.thresholds[1])],
            image: image_level(looks, &subject.thresholds, &weights),
        }
    };
    let replicates = if looks.is_empty() { 0 } else { subject.replicates };
    // Each draw has its own stream of random numbers, so that the threads share nothing and change nothing.
    let (even, odd): (Vec<Replicate>, Vec<Replicate>) = std::thread::scope(|scope| {
        let even = scope.spawn(|| (0..replicates).step_by(2).map(replicate).collect::<Vec<_>>());
        let odd: Vec<_> = (1..replicates).step_by(2).map(replicate).collect();
        (even.join().unwrap_or_default(), odd)
    });
    let drawn: Vec<Replicate> = even.into_iter().chain(odd).collect();
    let of =
        |figure: &dyn Fn(&Replicate) -> Option<f64>| interval(&drawn.iter().map(figure).collect::<Vec<_>>());
    let classes = |figure: &dyn Fn(&Replicate, usize) -> Option<f64>| -> Intervals {
        let mut named = Intervals::new();
        for (place, class) in Class::ALL.iter().enumerate() {
            named.insert(class.name(), of(&|replicate| figure(replicate, place)));
        }
        named
    };
    let with_mean = |figures: &dyn Fn(&Replicate) -> [Option<f64>; 2]| -> Intervals {
        let mut named = classes(&|replicate, place| figures(replicate).get(place).copied().flatten());
        named.insert(ALL, of(&|replicate| mean_of_classes(figures(replicate))));
        named
    };
    Confidence {
        level: 0.95,
        replicates,
        seed: subject.seed,
        map50: with_mean(&|replicate| replicate.half),
        map50_95: with_mean(&|replicate| replicate.mean),
        precision: classes(&|replicate, place| replicate.at.get(place)?.precision),
        recall: classes(&|replicate, place| replicate.at.get(place)?.recall),
        f1: classes(&|replicate, place| replicate.at.get(place)?.f1),
        by_size: SIZES
            .iter()
            .enumerate()
            .map(|(place, size)| {
                let figures = |replicate: &Replicate| replicate.sizes.get(place).copied().unwrap_or_default();
                let map50 = with_mean(&figures);
                (size.name, SizeConfidence { map50 })
            })
            .collect(),
        image_recall: of(&|replicate| replicate.image.recall),
        false_alarm_rate: of(&|replicate| replicate.image.false_alarm_rate),
    }
}
