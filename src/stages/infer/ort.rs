//! The edge to ONNX Runtime: finds the library, opens graphs, runs them. Nothing of `ort` is used elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ::ort::ep::{self, ExecutionProvider};
use ::ort::session::Session;
use ::ort::session::builder::SessionBuilder;
use ::ort::value::{TensorElementType, TensorRef, ValueType};

use super::InferError;
use super::session::Provider;

/// The environment variable that names the library.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// Where the build puts the library, below the folder of the project.
const BUILD_FOLDER: &str = "build/onnxruntime";

/// The ONNX Runtime library cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RuntimeError {
    /// It is nowhere.
    #[error(
        "cannot find the ONNX Runtime library: run `make deps`, or name it in ORT_DYLIB_PATH; looked in {looked_in}"
    )]
    Missing {
        /// The places that were searched.
        looked_in: String,
    },
    /// It is there and cannot be loaded.
    #[error(
        "cannot load the ONNX Runtime library: {reason}; expected version 1.24 or newer: run `make deps`, or name \
         another in ORT_DYLIB_PATH: {path}"
    )]
    Unfit {
        /// Which file.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
}

/// The loaded library. There is one per process; cloning is cheap.
#[derive(Clone)]
pub struct Runtime {
    environment: ::ort::environment::Environment,
    path: PathBuf,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Runtime({})", self.path.display())
    }
}

impl Runtime {
    /// Loads the library, once per process.
    ///
    /// It is looked for in `ORT_DYLIB_PATH`, then in `build/onnxruntime` below the current folder and below the
    /// folders above the program, then in `../lib/emberwatch` beside the program, then where the system looks.
    pub fn load() -> Result<Self, RuntimeError> {
        static LOADED: OnceLock<Result<Runtime, RuntimeError>> = OnceLock::new();
        LOADED
            .get_or_init(|| Self::load_from(&library(std::env::var_os(LIBRARY_VARIABLE).map(PathBuf::from))?))
            .clone()
    }

    fn load_from(path: &Path) -> Result<Self, RuntimeError> {
        let unfit = |reason: String| RuntimeError::Unfit {
            path: path.to_owned(),
            reason,
        };
        let environment = ::ort::init_from(path)
            .map_err(|error| unfit(error.to_string()))?
            .with_name("emberwatch")
            .with_telemetry(false)
            .build()
            .map_err(|error| unfit(error.to_string()))?;
        environment.set_log_level(::ort::logging::LogLevel::Error);
        Ok(Self {
            environment,
            path: path.to_owned(),
        })
    }

    /// Returns where the library was found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Finds the library's file.
fn library(named: Option<PathBuf>) -> Result<PathBuf, RuntimeError> {
    if let Some(path) = named {
        if path.is_file() {
            return Ok(path);
        }
        return Err(RuntimeError::Missing {
            looked_in: format!("{LIBRARY_VARIABLE}={}, which is not a file", path.display()),
        });
    }
    let mut folders = Vec::new();
    folders.extend(
        std::env::current_dir()
            .ok()
            .map(|folder| folder.join(BUILD_FOLDER)),
    );
    if let Ok(program) = std::env::current_exe() {
        folders.extend(
            program
                .ancestors()
                .skip(1)
                .map(|folder| folder.join(BUILD_FOLDER)),
        );
        folders.extend(program.parent().map(|folder| folder.join("../lib/emberwatch")));
    }
    #[cfg(test)]
    folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(BUILD_FOLDER));
    for folder in [
        "/usr/local/lib",
        "/usr/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ] {
        folders.push(PathBuf::from(folder));
    }
    if let Some(found) = folders.iter().find_map(|folder| newest_library(folder)) {
        return Ok(found);
    }
    folders.dedup();
    let looked_in: Vec<_> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    Err(RuntimeError::Missing {
        looked_in: format!("{LIBRARY_VARIABLE} (not set), {}", looked_in.join(", ")),
    })
}

/// Returns the library with the highest version in a folder.
fn newest_library(folder: &Path) -> Option<PathBuf> {
    let version = |name: &str| -> Vec<u32> {
        name.split(|sign: char| !sign.is_ascii_digit())
            .filter_map(|part| part.parse().ok())
            .collect()
    };
    std::fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name == "onnxruntime.dll"
                || name.starts_with("libonnxruntime.so")
                || name == "libonnxruntime.dylib"
        })
        .max_by_key(|name| version(name))
        .map(|name| folder.join(name))
}

/// A tensor that the graph declares; -1 stands for any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) is_f32: bool,
    pub(crate) shape: Vec<i64>,
}

/// One output of a run.
#[derive(Debug)]
pub(crate) struct View<'r> {
    pub(crate) shape: Vec<usize>,
    pub(crate) numbers: &'r [f32],
}

/// An opened graph.
pub(crate) struct Graph {
    session: Session,
}

impl fmt::Debug for Graph {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Graph")
    }
}

impl Graph {
    /// Opens a graph from its bytes on `threads` threads that do not spin.
    pub(crate) fn open(
        runtime: &Runtime,
        weights: &[u8],
        provider: Provider,
        threads: usize,
    ) -> Result<Self, InferError> {
        let failed = |reason: String| InferError::Graph {
            action: "open the graph".to_owned(),
            reason,
        };
        let builder = Session::builder(&runtime.environment).map_err(|error| failed(error.to_string()))?;
        let builder = builder
            .with_intra_threads(threads.max(1))
            .map_err(|error| failed(error.to_string()))?;
        let builder = builder
            .with_inter_threads(1)
            .map_err(|error| failed(error.to_string()))?;
        let mut builder = builder
            .with_intra_op_spinning(false)
            .map_err(|error| failed(error.to_string()))?;
        register(&mut builder, provider)?;
        let session = builder
            .commit_from_memory(weights)
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { session })
    }

    /// Returns the declared inputs.
    pub(crate) fn inputs(&self) -> Vec<Declared> {
        self.session
            .inputs()
            .iter()
            .map(|outlet| declared(outlet.name(), outlet.dtype()))
            .collect()
    }

    /// Returns the declared outputs.
    pub(crate) fn outputs(&self) -> Vec<Declared> {
        self.session
            .outputs()
            .iter()
            .map(|outlet| declared(outlet.name(), outlet.dtype()))
            .collect()
    }

    /// Runs the graph on one input and hands the named outputs to `read`.
    pub(crate) fn run<T>(
        &mut self,
        input: &str,
        shape: [usize; 4],
        numbers: &[f32],
        outputs: &[String],
        read: impl FnOnce(&[View<'_>]) -> T,
    ) -> Result<T, InferError> {
        let failed = |reason: String| InferError::Graph {
            action: "run the graph".to_owned(),
            reason,
        };
        let tensor =
            TensorRef::from_array_view((shape, numbers)).map_err(|error| failed(error.to_string()))?;
        let results = self
            .session
            .run(::ort::inputs![input => tensor])
            .map_err(|error| failed(error.to_string()))?;
        let mut views = Vec::with_capacity(outputs.len());
        for name in outputs {
            let Some(value) = results.get(name) else {
                return Err(failed(format!("there is no output {name:?}")));
            };
            let (shape, numbers) = value
                .try_extract_tensor::<f32>()
                .map_err(|error| failed(error.to_string()))?;
            views.push(View {
                shape: shape
                    .iter()
                    .map(|side| usize::try_from(*side).unwrap_or(0))
                    .collect(),
                numbers,
            });
        }
        Ok(read(&views))
    }
}

fn declared(name: &str, value: &ValueType) -> Declared {
    Declared {
        name: name.to_owned(),
        is_f32: value.tensor_type() == Some(TensorElementType::Float32),
        shape: value
            .tensor_shape()
            .map(|shape| shape.to_vec())
            .unwrap_or_default(),
    }
}

fn register(builder: &mut SessionBuilder, provider: Provider) -> Result<(), InferError> {
    fn with(
        builder: &mut SessionBuilder,
        provider: Provider,
        execution: &impl ExecutionProvider,
        is_built_in: ::ort::Result<bool>,
    ) -> Result<(), InferError> {
        let missing = |reason: String| InferError::Provider { provider, reason };
        if !is_built_in.map_err(|error| missing(error.to_string()))? {
            return Err(missing("the library was built without it".to_owned()));
        }
        execution
            .register(builder)
            .map_err(|error| missing(error.to_string()))
    }
    match provider {
        Provider::Cpu => Ok(()),
        Provider::Cuda => with(builder, provider, &ep::CUDA::default(), ep::CUDA::is_available()),
        Provider::TensorRt => with(
            builder,
            provider,
            &ep::TensorRT::default(),
            ep::TensorRT::is_available(),
        ),
        Provider::OpenVino => with(
            builder,
            provider,
            &ep::OpenVINO::default(),
            ep::OpenVINO::is_available(),
        ),
        Provider::CoreMl => with(
            builder,
            provider,
            &ep::CoreML::default(),
            ep::CoreML::is_available(),
        ),
        Provider::DirectMl => with(
            builder,
            provider,
            &ep::DirectML::default(),
            ep::DirectML::is_available(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_was_named_and_is_not_there_is_not_replaced_by_another() {
        let error = library(Some(PathBuf::from("/nowhere/libonnxruntime.so"))).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/nowhere/libonnxruntime.so") && text.contains("make deps"),
            "{text}"
        );
    }

    #[test]
    fn the_newest_library_of_a_folder_is_taken_and_its_helpers_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime_providers_shared.so",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = newest_library(folder.path()).unwrap();
        assert_eq!(found.file_name().unwrap(), "libonnxruntime.so.1.31.1");
    }
}
