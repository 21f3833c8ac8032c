//! Finds models by name or by path.

use std::path::{Path, PathBuf};

use super::manifest::{Manifest, ManifestError};

/// The file that makes a folder a model.
pub const MANIFEST: &str = "model.toml";

/// The model that is used when none is asked for.
pub const DEFAULT_MODEL: &str = "fire-smoke-nano";

/// The environment variable that names a further folder of models.
pub const MODELS_VARIABLE: &str = "EMBERWATCH_MODELS";

/// A model that cannot be found or read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// No folder of that name.
    #[error(
        "cannot find the model {name:?}: expected a folder with model.toml or one of [{known}]; looked in {looked_in}"
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that would do.
        known: String,
        /// The folders that were searched.
        looked_in: String,
    },
    /// The manifest does not fit.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The folders in which models are looked for, in this order.
#[derive(Clone, Debug)]
pub struct Catalogue {
    roots: Vec<PathBuf>,
}

impl Catalogue {
    /// Makes a catalogue of these folders.
    #[must_use]
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots }
    }

    /// Makes the catalogue of this machine: `$EMBERWATCH_MODELS`, `models/` of the current folder and of the
    /// folders above the program, and the system's.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let mut roots = Vec::new();
        roots.extend(std::env::var_os(MODELS_VARIABLE).map(PathBuf::from));
        roots.extend(std::env::current_dir().ok().map(|folder| folder.join("models")));
        if let Ok(program) = std::env::current_exe() {
            roots.extend(program.ancestors().skip(1).map(|folder| folder.join("models")));
        }
        roots.push(PathBuf::from("/usr/share/emberwatch/models"));
        let mut kept: Vec<PathBuf> = Vec::new();
        for root in roots {
            if root.is_dir() && !kept.contains(&root) {
                kept.push(root);
            }
        }
        Self::new(kept)
    }

    /// Returns the folders of all models, by name; the first folder of a name wins.
    #[must_use]
    pub fn folders(&self) -> Vec<(String, PathBuf)> {
        let mut found: Vec<(String, PathBuf)> = Vec::new();
        for root in &self.roots {
            let Ok(entries) = std::fs::read_dir(root) else {
                continue;
            };
            for folder in entries.filter_map(Result::ok).map(|entry| entry.path()) {
                let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
                    continue;
                };
                if folder.join(MANIFEST).is_file() && !found.iter().any(|(known, _)| known == name) {
                    found.push((name.to_owned(), folder.clone()));
                }
            }
        }
        found.sort();
        found
    }

    /// Returns the folder of a model, given by name, by its folder or by its manifest.
    pub fn find(&self, name: &str) -> Result<PathBuf, CatalogueError> {
        let path = Path::new(name);
        if path.file_name().is_some_and(|file| file == MANIFEST) && path.is_file() {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            return Ok(parent.unwrap_or(Path::new(".")).to_owned());
        }
        if path.join(MANIFEST).is_file() {
            return Ok(path.to_owned());
        }
        let folders = self.folders();
        if let Some((_, folder)) = folders.iter().find(|(known, _)| known == name) {
            return Ok(folder.clone());
        }
        let known: Vec<_> = folders.into_iter().map(|(name, _)| name).collect();
        let looked_in: Vec<_> = self.roots.iter().map(|root| root.display().to_string()).collect();
        Err(CatalogueError::Unknown {
            name: name.to_owned(),
            known: known.join(", "),
            looked_in: looked_in.join(", "),
        })
    }

    /// Reads the manifest of a model and returns it with its folder.
    pub fn manifest(&self, name: &str) -> Result<(Manifest, PathBuf), CatalogueError> {
        let folder = self.find(name)?;
        Ok((Manifest::read(&folder.join(MANIFEST))?, folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_by_name_by_folder_and_by_manifest() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("probe");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(MANIFEST), "").unwrap();
        let catalogue = Catalogue::new(vec![root.path().to_owned()]);
        assert_eq!(catalogue.find("probe").unwrap(), folder);
        assert_eq!(catalogue.find(folder.to_str().unwrap()).unwrap(), folder);
        let manifest = folder.join(MANIFEST);
        assert_eq!(catalogue.find(manifest.to_str().unwrap()).unwrap(), folder);
    }

    #[test]
    fn a_model_that_is_not_there_is_answered_with_those_that_are() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("probe")).unwrap();
        std::fs::write(root.path().join("probe").join(MANIFEST), "").unwrap();
        let error = Catalogue::new(vec![root.path().to_owned()])
            .find("other")
            .unwrap_err();
        assert!(error.to_string().contains("[probe]"), "{error}");
    }
}
