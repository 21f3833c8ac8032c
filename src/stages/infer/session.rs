//! A session: prepared inputs in, detections in source pixels out.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::InferError;
use super::heads::{self, Candidate, Head};
use super::nms;
use super::ort::{Declared, Graph, Runtime};
use crate::flow::detection::{Class, Detection};
use crate::models::catalogue::MANIFEST;
use crate::models::lines::place_of;
use crate::models::manifest::{Manifest, Variant};
use crate::stages::preprocess::{Input, InputSpec};

/// On what a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// NVIDIA CUDA.
    Cuda,
    /// NVIDIA TensorRT.
    TensorRt,
    /// Intel OpenVINO.
    OpenVino,
    /// Apple CoreML.
    CoreMl,
    /// Microsoft DirectML.
    DirectMl,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 6] = [
        Self::Cpu,
        Self::Cuda,
        Self::TensorRt,
        Self::OpenVino,
        Self::CoreMl,
        Self::DirectMl,
    ];

    /// Returns the word used in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::OpenVino => "openvino",
            Self::CoreMl => "coreml",
            Self::DirectMl => "directml",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl std::str::FromStr for Provider {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.name() == name)
            .ok_or_else(|| {
                let known = Self::ALL.map(Self::name).join(", ");
                format!("unknown execution provider {name:?}, expected one of {known}")
            })
    }
}

/// How a session runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionOptions {
    /// On what it runs.
    pub provider: Provider,
    /// How many threads one run uses; on a processor several sessions of one thread each carry most.
    pub threads: usize,
    /// Detections below this score are not reported.
    pub floor: f32,
    /// At most this many detections of a class are reported for a picture.
    pub most: usize,
}

impl Default for SessionOptions {
    /// One thread of the processor; a floor of 0.1, which leaves the tracker's second association something to
    /// join; at most 100 detections of a class.
    fn default() -> Self {
        Self {
            provider: Provider::Cpu,
            threads: 1,
            floor: 0.1,
            most: 100,
        }
    }
}

/// Runs a model on prepared inputs. One session is used by one thread at a time.
pub trait Session: Send {
    /// Returns what its inputs must look like.
    fn spec(&self) -> &InputSpec;

    /// Returns the detections of each input in its order, in pixels of the picture that it was made from, sorted
    /// by falling score.
    fn run(&mut self, batch: &[Input]) -> Result<Vec<Vec<Detection>>, InferError>;
}

/// A session on an ONNX graph.
#[derive(Debug)]
pub(super) struct GraphSession {
    graph: Graph,
    head: Box<dyn Head>,
    spec: InputSpec,
    input: String,
    classes: Vec<Class>,
    nms_iou: f32,
    options: SessionOptions,
    takes_batches: bool,
    stacked: Vec<f32>,
    candidates: Vec<Candidate>,
}

impl GraphSession {
    pub(super) fn open(
        manifest: &Manifest,
        variant: &Variant,
        path: &Path,
        weights: &[u8],
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<Self, InferError> {
        let mut graph = Graph::open(runtime, weights, options.provider, options.threads).map_err(
            |error| match error {
                InferError::Graph { reason, .. } => InferError::Graph {
                    action: format!("open the weights {}", path.display()),
                    reason,
                },
                other => other,
            },
        )?;
        let spec = InputSpec::new(manifest, variant);
        let head = heads::of(&manifest.head, &spec, manifest.classes.len());
        let unfit = |(field, problem): Misfit| InferError::Shape {
            path: path.to_owned(),
            manifest: place_of(&path.with_file_name(MANIFEST), &field),
            problem,
        };
        let section = manifest.path_of(variant);
        check_input(&graph.inputs(), manifest, &section, &spec).map_err(unfit)?;
        check_outputs(&graph.outputs(), head.as_ref()).map_err(unfit)?;
        check_by_running(&mut graph, manifest, &section, &spec, head.as_ref()).map_err(unfit)?;
        Ok(Self {
            graph,
            head,
            input: manifest.input.name.clone(),
            classes: manifest.classes.iter().map(|class| class.class).collect(),
            nms_iou: manifest.head.nms_iou,
            options: *options,
            takes_batches: manifest.input.dynamic_batch,
            spec,
            stacked: Vec::new(),
            candidates: Vec::new(),
        })
    }

    /// Runs one graph call over inputs that lie one after another in `numbers`.
    fn run_stacked(&mut self, inputs: &[Input], numbers: &[f32]) -> Result<Vec<Vec<Detection>>, InferError> {
        let shape = [
            inputs.len(),
            3,
            self.spec.height as usize,
            self.spec.width as usize,
        ];
        let Self {
            graph,
            head,
            candidates,
            classes,
            options,
            nms_iou,
            ..
        } = self;
        graph.run(&self.input, shape, numbers, head.outputs(), |views| {
            inputs
                .iter()
                .enumerate()
                .map(|(index, input)| {
                    candidates.clear();
                    head.decode(views, index, inputs.len(), options.floor, candidates);
                    let kept = nms::keep_best(candidates, *nms_iou, options.most);
                    to_source(&kept, input, classes)
                })
                .collect()
        })
    }
}

impl Session for GraphSession {
    fn spec(&self) -> &InputSpec {
        &self.spec
    }

    fn run(&mut self, batch: &[Input]) -> Result<Vec<Vec<Detection>>, InferError> {
        // A processor gains nothing from batches, and pays for the copy: one run per input there.
        let size = if self.takes_batches && self.options.provider != Provider::Cpu {
            batch.len().max(1)
        } else {
            1
        };
        let mut found = Vec::with_capacity(batch.len());
        for inputs in batch.chunks(size) {
            if let [input] = inputs {
                found.extend(self.run_stacked(inputs, &input.tensor)?);
                continue;
            }
            let mut stacked = std::mem::take(&mut self.stacked);
            stacked.clear();
            for input in inputs {
                stacked.extend_from_slice(&input.tensor);
            }
            let result = self.run_stacked(inputs, &stacked);
            self.stacked = stacked;
            found.extend(result?);
        }
        Ok(found)
    }
}

/// Maps candidates to the picture; drops what has no area there.
fn to_source(kept: &[Candidate], input: &Input, classes: &[Class]) -> Vec<Detection> {
    let (width, height) = (input.picture_width as f32, input.picture_height as f32);
    let mut detections: Vec<Detection> = kept
        .iter()
        .filter_map(|candidate| {
            let bbox = input
                .letterbox
                .inverse_box(&candidate.bbox)
                .clipped(width, height);
            let class = *classes.get(candidate.class)?;
            (bbox.area() > 0.0).then_some(Detection {
                class,
                score: candidate.score,
                bbox,
            })
        })
        .collect();
    detections.sort_by(|one, other| other.score.total_cmp(&one.score));
    detections
}

/// A field of the manifest, by its TOML path, and what the graph has instead.
type Misfit = (String, String);

/// `section` is the TOML path of the variant.
fn check_input(
    inputs: &[Declared],
    manifest: &Manifest,
    section: &str,
    spec: &InputSpec,
) -> Result<(), Misfit> {
    let name = &manifest.input.name;
    let misfit = |field: &str, problem: String| Err((field.to_owned(), problem));
    let [input] = inputs else {
        let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
        return misfit(
            "input.name",
            format!(
                "found the inputs [{}], expected one called {name:?}",
                names.join(", ")
            ),
        );
    };
    if input.name != *name {
        return misfit(
            "input.name",
            format!("found the input {:?}, expected {name:?}", input.name),
        );
    }
    let Some((batch, sides)) = input.shape.split_first() else {
        return misfit("input.layout", "the input has no shape".to_owned());
    };
    let fits = |found: i64, wanted: u32| found == i64::from(wanted) || found == -1;
    let field = match sides {
        [_, _, 3] => Some("input.layout".to_owned()),
        [_, height, _] if !fits(*height, spec.height) => Some(format!("{section}.height")),
        [_, _, width] if !fits(*width, spec.width) => Some(format!("{section}.width")),
        [channels, _, _] if input.is_f32 && fits(*channels, 3) => None,
        _ => Some("input.layout".to_owned()),
    };
    if let Some(field) = field {
        return misfit(
            &field,
            format!(
                "found an input of shape {:?} (32-bit floating point: {}), expected [N, 3, {}, {}] of 32-bit floating \
                 point",
                input.shape, input.is_f32, spec.height, spec.width
            ),
        );
    }
    let problem = match (manifest.input.dynamic_batch, *batch) {
        (true, -1) | (false, -1 | 1) => return Ok(()),
        (true, found) => {
            format!(
                "found inputs of exactly {found} picture(s), expected any number: input.dynamic_batch is true"
            )
        }
        (false, found) => format!("found inputs of exactly {found} pictures, expected 1"),
    };
    misfit("input.dynamic_batch", problem)
}

/// Exporters leave sizes open that are fixed in truth, so the shapes are also taken from a run on an empty picture.
fn check_by_running(
    graph: &mut Graph,
    manifest: &Manifest,
    section: &str,
    spec: &InputSpec,
    head: &dyn Head,
) -> Result<(), Misfit> {
    let input = &manifest.input.name;
    let shape = [1, 3, spec.height as usize, spec.width as usize];
    let numbers = vec![0.0; spec.elements()];
    let shapes = graph
        .run(input, shape, &numbers, head.outputs(), |views| {
            views
                .iter()
                .map(|view| view.shape.iter().map(|side| *side as i64).collect())
                .collect::<Vec<Vec<i64>>>()
        })
        .map_err(|error| (section.to_owned(), error.to_string()))?;
    let shapes: Vec<&[i64]> = shapes.iter().map(Vec::as_slice).collect();
    check_head(head, &shapes)
}

fn check_head(head: &dyn Head, shapes: &[&[i64]]) -> Result<(), Misfit> {
    head.check(shapes)
        .map_err(|problem| ("head.kind".to_owned(), problem))
}

fn check_outputs(outputs: &[Declared], head: &dyn Head) -> Result<(), Misfit> {
    let misfit = |problem: String| Err(("head.output".to_owned(), problem));
    let mut shapes = Vec::new();
    for name in head.outputs() {
        let Some(output) = outputs.iter().find(|output| output.name == *name) else {
            let names: Vec<_> = outputs.iter().map(|output| output.name.as_str()).collect();
            return misfit(format!(
                "found the outputs [{}], expected {name:?} among them",
                names.join(", ")
            ));
        };
        if !output.is_f32 {
            return misfit(format!("expected the output {name:?} in 32-bit floating point"));
        }
        shapes.push(output.shape.as_slice());
    }
    check_head(head, &shapes)
}
