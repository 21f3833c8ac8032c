//! Secrets are named in the configuration, never written there: an environment variable or a file holds the text.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Largest secret file that is read, in bytes: a key ring, not a picture.
const LARGEST_BYTES: u64 = 64 * 1024;

/// Looks up an environment variable; a parameter so that tests need no process environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Looks up a variable of this process.
#[must_use]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Names where a secret is kept: `"${NAME}"` or `{ env = "NAME" }`, `"file:/path"` or `{ file = "/path" }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(try_from = "Written", into = "String")]
#[schemars(with = "String")]
pub enum Secret {
    /// An environment variable.
    Environment(String),
    /// A file whose text, without the line end, is the secret.
    File(PathBuf),
}

/// The text of a secret. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

/// Says why a secret could not be read; never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It was written in clear.
    #[error("a secret may not be written into the configuration: expected \"${{NAME}}\" or \"file:/path\"")]
    InClear,
    /// The variable is not set, or empty.
    #[error("environment variable {name:?} is not set or empty: set it, or name another one")]
    Unset {
        /// The variable.
        name: String,
    },
    /// The file could not be read.
    #[error("secret file could not be read, expected a small text file: {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is empty or too large.
    #[error("secret file holds no text of at most {LARGEST_BYTES} bytes: {}", path.display())]
    NotASecret {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a secret is written as \"${NAME}\", \"file:/path\", { env = … } or { file = … }"
)]
enum Written {
    Text(String),
    Environment(InEnvironment),
    File(InFile),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InEnvironment {
    env: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InFile {
    file: PathBuf,
}

impl TryFrom<Written> for Secret {
    type Error = SecretError;

    fn try_from(written: Written) -> Result<Self, SecretError> {
        match written {
            Written::Environment(InEnvironment { env }) => Ok(Self::Environment(env)),
            Written::File(InFile { file }) => Ok(Self::File(file)),
            Written::Text(text) => {
                if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                    return Ok(Self::Environment(name.to_owned()));
                }
                text.strip_prefix("file:")
                    .map(|path| Self::File(PathBuf::from(path)))
                    .ok_or(SecretError::InClear)
            }
        }
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        match secret {
            Secret::Environment(name) => format!("${{{name}}}"),
            Secret::File(path) => format!("file:{}", path.display()),
        }
    }
}

impl Secret {
    /// Reads the secret.
    pub fn resolve(&self, environment: Environment<'_>) -> Result<SecretText, SecretError> {
        match self {
            Self::Environment(name) => environment(name)
                .filter(|text| !text.is_empty())
                .map(SecretText)
                .ok_or_else(|| SecretError::Unset { name: name.clone() }),
            Self::File(path) => read_file(path),
        }
    }
}

fn read_file(path: &Path) -> Result<SecretText, SecretError> {
    let unreadable = |source| SecretError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let not_a_secret = || SecretError::NotASecret {
        path: path.to_owned(),
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.len() > LARGEST_BYTES {
        return Err(not_a_secret());
    }
    warn_if_everybody_may_read(path, &metadata);
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(not_a_secret());
    }
    Ok(SecretText(text.to_owned()))
}

#[cfg(unix)]
fn warn_if_everybody_may_read(path: &Path, metadata: &std::fs::Metadata) {
    use std::os::unix::fs::PermissionsExt as _;

    if metadata.permissions().mode() & 0o004 != 0 {
        tracing::warn!(path = %path.display(), "everybody on this machine can read this secret: chmod 600");
    }
}

#[cfg(not(unix))]
fn warn_if_everybody_may_read(_path: &Path, _metadata: &std::fs::Metadata) {}

impl SecretText {
    /// Makes a secret of a text that is already in memory.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, to be handed to whoever must know it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretText(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        secret: Secret,
    }

    fn written(toml: &str) -> Result<Secret, toml::de::Error> {
        toml::from_str::<Holder>(toml).map(|holder| holder.secret)
    }

    #[test]
    fn a_secret_is_named_by_variable_or_file() {
        let environment = Secret::Environment("TOKEN".into());
        let file = Secret::File("/run/token".into());
        assert_eq!(written("secret = '${TOKEN}'").unwrap(), environment);
        assert_eq!(written("secret = { env = 'TOKEN' }").unwrap(), environment);
        assert_eq!(written("secret = 'file:/run/token'").unwrap(), file);
        assert_eq!(written("secret = { file = '/run/token' }").unwrap(), file);
    }

    #[test]
    fn a_secret_in_clear_is_refused_and_not_repeated() {
        let error = written("secret = 'hunter2'").unwrap_err();
        assert!(error.message().contains("may not be written"), "{error}");
        assert!(!error.message().contains("hunter2"));
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = Secret::Environment("TOKEN".into())
            .resolve(&|_| None)
            .unwrap_err();
        assert!(error.to_string().contains("TOKEN"));
    }

    #[test]
    fn a_secret_file_loses_its_line_end_and_the_text_does_not_print() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        let text = Secret::File(path).resolve(&|_| None).unwrap();
        assert_eq!(text.expose(), "hunter2");
        assert!(!format!("{text:?}").contains("hunter2"));
    }

    #[test]
    fn an_empty_or_absent_file_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let absent = Secret::File(path.clone()).resolve(&|_| None).unwrap_err();
        assert!(matches!(absent, SecretError::Unreadable { .. }));
        std::fs::write(&path, "\n").unwrap();
        let empty = Secret::File(path).resolve(&|_| None).unwrap_err();
        assert!(matches!(empty, SecretError::NotASecret { .. }));
    }
}
