//! The manifest `model.toml`: what a model is, how its input is made and how its output is read.

use std::path::{Path, PathBuf};

use crate::flow::detection::Class;
use crate::flow::source::Duty;

use super::fields::{Fields, Problem};
use super::lines::line_of;

/// The version of the manifest that this program reads.
pub const SCHEMA: u32 = 1;

/// The longest side of a model's input, in pixels.
const LONGEST_SIDE: u32 = 4096;

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read the model manifest {path}: is this the folder of a model?")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the model manifest {path} is not TOML")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// Fields are missing, unknown or unfit.
    #[error("the model manifest {path} has {} problem(s):{}", .problems.len(), list(.problems))]
    Unfit {
        /// Which file.
        path: PathBuf,
        /// Every problem, with its TOML path and, where it has one, its line.
        problems: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    lines.concat()
}

/// How the weights of a variant are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floating point.
    Fp32,
    /// 8-bit integers with quantise and dequantise nodes.
    Int8,
}

impl Precision {
    /// Returns the word used in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
        }
    }
}

/// One file of weights for one input size.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The file, relative to the manifest.
    pub file: String,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// How the weights are stored.
    pub precision: Precision,
    /// Width of the input in pixels.
    pub width: u32,
    /// Height of the input in pixels.
    pub height: u32,
    /// Measured CPU time a frame on one thread, in milliseconds.
    pub cpu_ms: f64,
}

/// The order of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourOrder {
    /// Blue first.
    Bgr,
    /// Red first.
    Rgb,
}

/// Where the picture lies in a letterbox that is larger than it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// In the corner: padding to the right and below.
    TopLeft,
    /// In the middle: padding on both sides.
    Centre,
}

/// How a picture becomes the model's input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputManifest {
    /// Name of the input in the graph.
    pub name: String,
    /// The order of the channels.
    pub colour: ColourOrder,
    /// Factor from codes of 0 to 255 to what the mean is taken from.
    pub scale: f32,
    /// Taken from each channel after scaling, in the order of the channels.
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
    /// The code of the padding, 0 to 255, before scaling.
    pub padding: f32,
    /// Where the picture lies.
    pub anchor: Anchor,
    /// Whether the graph takes any number of pictures at once.
    pub dynamic_batch: bool,
}

/// How the output is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// YOLOX with boxes in input pixels: `N x A x (5 + classes)`.
    YoloxDecoded,
    /// YOLOX with boxes relative to the cells of strides 8, 16 and 32: `N x A x (5 + classes)`.
    YoloxRaw,
    /// `YOLOv8` and 11: `N x (4 + classes) x A`, no objectness.
    Yolov8,
    /// DETR family: normalised boxes of queries.
    Detr,
}

impl HeadKind {
    /// Returns the word used in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::YoloxDecoded => "yolox-decoded",
            Self::YoloxRaw => "yolox-raw",
            Self::Yolov8 => "yolov8",
            Self::Detr => "detr",
        }
    }
}

/// How the output becomes boxes.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadManifest {
    /// How it is laid out.
    pub kind: HeadKind,
    /// Name of the output in the graph; for a DETR with two outputs `boxes,logits` by their names.
    pub output: String,
    /// Intersection over union above which the weaker of two boxes of a class goes; 1 keeps all.
    pub nms_iou: f32,
}

/// The least score at which a detection counts, by duty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Under patrol.
    pub patrol: f32,
    /// Under watch.
    pub watch: f32,
    /// Under alarm.
    pub alarm: f32,
}

impl Thresholds {
    /// Returns the threshold of a duty level.
    #[must_use]
    pub const fn at(&self, duty: Duty) -> f32 {
        match duty {
            Duty::Patrol => self.patrol,
            Duty::Watch => self.watch,
            Duty::Alarm => self.alarm,
        }
    }
}

/// One class of the model's output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassManifest {
    /// What it is.
    pub class: Class,
    /// From which score on it counts.
    pub thresholds: Thresholds,
}

/// A manifest whose fields all fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The model's name, as the folder's.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// What it is, in a sentence.
    pub description: String,
    /// Under which licence it may be used.
    pub licence: String,
    /// Where the weights come from.
    pub origin: String,
    /// For which duty levels it is meant.
    pub duty: Vec<Duty>,
    /// The files of weights, the one of choice first.
    pub variants: Vec<Variant>,
    /// How the input is made.
    pub input: InputManifest,
    /// How the output is read.
    pub head: HeadManifest,
    /// The classes by their number in the output.
    pub classes: Vec<ClassManifest>,
    /// Measured figures by name.
    pub quality: Vec<(String, f64)>,
}

impl Manifest {
    /// Reads the manifest at `path`.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path).map_err(|source| ManifestError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Reads a manifest from text; `path` only names it in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ManifestError> {
        let table: toml::Table = text.parse().map_err(|source| ManifestError::Syntax {
            path: path.to_owned(),
            source,
        })?;
        let mut problems = Vec::new();
        let mut fields = Fields::new(table, "", &mut problems);
        let manifest = read_manifest(&mut fields);
        fields.finish();
        for problem in &mut problems {
            problem.line = line_of(text, &problem.path);
        }
        match manifest {
            Some(manifest) if problems.is_empty() => Ok(manifest),
            _ => Err(ManifestError::Unfit {
                path: path.to_owned(),
                problems,
            }),
        }
    }

    /// Returns the threshold of a class under a duty level; a class that the model does not know never counts.
    #[must_use]
    pub fn threshold(&self, class: Class, duty: Duty) -> f32 {
        self.classes
            .iter()
            .find(|known| known.class == class)
            .map_or(f32::INFINITY, |known| known.thresholds.at(duty))
    }

    /// Returns the TOML path of one of its variants: `variant[1]`.
    pub(crate) fn path_of(&self, variant: &Variant) -> String {
        match self.variants.iter().position(|known| known == variant) {
            Some(index) => format!("variant[{index}]"),
            None => "variant".to_owned(),
        }
    }

    /// Returns the variant that shows a picture of this size largest; among equals the cheapest.
    ///
    /// Only variants whose longer side is that of the first variant are candidates: a model's resolution is what
    /// its first variant says, others are used when they are asked for by their file name.
    #[must_use]
    pub fn variant_for(&self, width: u32, height: u32) -> Option<&Variant> {
        let side = |variant: &Variant| variant.width.max(variant.height);
        let first = self.variants.first()?;
        let scale = |variant: &Variant| {
            let across = f64::from(variant.width) / f64::from(width.max(1));
            let down = f64::from(variant.height) / f64::from(height.max(1));
            across.min(down)
        };
        let mut best = first;
        for variant in self.variants.iter().filter(|v| side(v) == side(first)) {
            let (new, old) = (scale(variant), scale(best));
            // One part in fifty is less than a pixel row of padding; the cheaper variant wins there.
            let is_larger = new > old * 1.02;
            let is_cheaper = new * 1.02 >= old && variant.cpu_ms < best.cpu_ms;
            if is_larger || is_cheaper {
                best = variant;
            }
        }
        Some(best)
    }
}

fn read_manifest(fields: &mut Fields<'_>) -> Option<Manifest> {
    let schema = fields.whole("schema", SCHEMA..=SCHEMA);
    let name = fields.text("name");
    let version = fields.text("version");
    let description = fields.text("description");
    let licence = fields.text("licence");
    let origin = fields.text("origin");
    let duty = read_duty(fields);
    let variants = fields.sections("variant", read_variant);
    let input = fields.section("input", read_input);
    let head = fields.section("head", read_head);
    let classes = read_classes(fields);
    let quality = fields.numbers("quality");
    schema?;
    Some(Manifest {
        name,
        version,
        description,
        licence,
        origin,
        duty,
        variants,
        input: input?,
        head: head?,
        classes,
        quality,
    })
}

fn read_duty(fields: &mut Fields<'_>) -> Vec<Duty> {
    let mut duty = Vec::new();
    for name in fields.texts("duty") {
        match Duty::ALL.into_iter().find(|level| level.name() == name) {
            Some(level) => duty.push(level),
            None => fields.problem(
                "duty",
                format!("found {name:?}, expected \"patrol\", \"watch\" or \"alarm\""),
            ),
        }
    }
    duty
}

fn read_variant(fields: &mut Fields<'_>) -> Option<Variant> {
    let file = fields.text("file");
    if file.contains(['/', '\\']) || file == ".." {
        fields.problem(
            "file",
            format!("found {file:?}, expected the name of a file beside the manifest"),
        );
    }
    let sha256 = fields.text("sha256").to_lowercase();
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        fields.problem(
            "sha256",
            "expected 64 hexadecimal digits, as sha256sum prints them",
        );
    }
    let precision = fields.choice(
        "precision",
        &[("fp32", Precision::Fp32), ("int8", Precision::Int8)],
    );
    let width = fields.whole("width", 32..=LONGEST_SIDE);
    let height = fields.whole("height", 32..=LONGEST_SIDE);
    let cpu_ms = fields.number("cpu_ms", 0.0..=1e6);
    Some(Variant {
        file,
        sha256,
        precision: precision?,
        width: width?,
        height: height?,
        cpu_ms: cpu_ms?,
    })
}

fn read_input(fields: &mut Fields<'_>) -> Option<InputManifest> {
    let name = fields.text("name");
    let layout = fields.choice("layout", &[("NCHW", ())]);
    let colour = fields.choice("colour", &[("BGR", ColourOrder::Bgr), ("RGB", ColourOrder::Rgb)]);
    let scale = fields.number("scale", 1e-6..=1e6);
    let mean = fields.triple("mean");
    let std = fields.triple("std");
    if std.is_some_and(|std| std.iter().any(|part| part.abs() < 1e-6)) {
        fields.problem("std", "expected three numbers that are not zero");
    }
    let padding = fields.number("padding", 0.0..=255.0);
    let anchor = fields.choice(
        "anchor",
        &[("top-left", Anchor::TopLeft), ("centre", Anchor::Centre)],
    );
    let dynamic_batch = fields.truth("dynamic_batch");
    layout?;
    Some(InputManifest {
        name,
        colour: colour?,
        scale: scale? as f32,
        mean: mean?,
        std: std?,
        padding: padding? as f32,
        anchor: anchor?,
        dynamic_batch: dynamic_batch?,
    })
}

fn read_head(fields: &mut Fields<'_>) -> Option<HeadManifest> {
    let kinds = [
        HeadKind::YoloxDecoded,
        HeadKind::YoloxRaw,
        HeadKind::Yolov8,
        HeadKind::Detr,
    ];
    let kind = fields.choice("kind", &kinds.map(|kind| (kind.name(), kind)));
    let output = fields.text("output");
    let nms_iou = if kind == Some(HeadKind::Detr) {
        Some(fields.optional_number("nms_iou", 0.0..=1.0).unwrap_or(1.0))
    } else {
        fields.number("nms_iou", 0.0..=1.0)
    };
    Some(HeadManifest {
        kind: kind?,
        output,
        nms_iou: nms_iou? as f32,
    })
}

fn read_classes(fields: &mut Fields<'_>) -> Vec<ClassManifest> {
    let mut ids = Vec::new();
    let classes = fields.sections("class", |fields| {
        let id = fields.whole("id", 0..=999);
        let class = fields.choice("name", &Class::ALL.map(|class| (class.name(), class)));
        let thresholds = fields.section("threshold", |fields| {
            let patrol = fields.number("patrol", 0.0..=1.0);
            let watch = fields.number("watch", 0.0..=1.0);
            let alarm = fields.number("alarm", 0.0..=1.0);
            Some(Thresholds {
                patrol: patrol? as f32,
                watch: watch? as f32,
                alarm: alarm? as f32,
            })
        });
        ids.extend(id);
        Some(ClassManifest {
            class: class?,
            thresholds: thresholds?,
        })
    });
    if ids.iter().enumerate().any(|(place, id)| place != *id as usize) {
        fields.problem(
            "class",
            format!("found the ids {ids:?}, expected 0, 1, … in this order"),
        );
    }
    for class in Class::ALL {
        if classes.iter().filter(|known| known.class == class).count() > 1 {
            fields.problem(
                "class",
                format!("{class} stands there twice, expected each name once"),
            );
        }
    }
    classes
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
