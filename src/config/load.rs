//! Reads a pipeline file and collects every problem with it.

use std::path::Path;

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::file::PipelineFile;
use super::problem::{Problem, Problems};

/// A pipeline file of more bytes than this is not one.
const MOST_BYTES: u64 = 4 << 20;

/// Returns the JSON schema of pipeline files.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(PipelineFile);
    schema.insert("title".to_owned(), "Emberwatch pipeline".into());
    schema.to_value()
}

/// Reads and checks a pipeline file.
pub fn read(path: &Path) -> Result<PipelineFile, Problems> {
    let length = std::fs::metadata(path)
        .map_err(|error| unreadable(path, &error))?
        .len();
    if length > MOST_BYTES {
        return Err(Problems::whole(
            path,
            format!("the file has {length} bytes, at most {MOST_BYTES} were expected"),
            "give the path of a pipeline file",
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    parse(path, &text)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problems {
    Problems::whole(
        path,
        format!("the file cannot be read: {error}"),
        "give the path of a pipeline file",
    )
}

/// Checks the text of a pipeline file; `path` is used in messages alone.
pub fn parse(path: &Path, text: &str) -> Result<PipelineFile, Problems> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        Problems::whole(
            path,
            format!("not TOML: {}", error.to_string().trim_end()),
            "mend the syntax",
        )
    })?;
    let mut value = serde_json::to_value(table).map_err(|error| {
        Problems::whole(path, format!("not a pipeline: {error}"), "use plain TOML values")
    })?;
    fill_defaults(&mut value);
    settle_tls(&mut value, path);
    let mut problems = mistakes(&value);
    // What is left without the mistakes may hold further ones that only reading or the meaning shows.
    for problem in &problems {
        remove(&mut value, &problem.at);
    }
    loop {
        match serde_path_to_error::deserialize::<_, PipelineFile>(&value) {
            Ok(file) => {
                super::plan::find_problems(&file, path, &mut problems);
                return if problems.is_empty() {
                    Ok(file)
                } else {
                    Err(Problems {
                        path: path.to_owned(),
                        problems,
                    })
                };
            }
            Err(error) => {
                let (at, what) = (error.path().to_string(), error.inner().to_string());
                // A field that was taken out above is missed here: it was reported already.
                let is_echo = what.starts_with("missing field") && !problems.is_empty();
                if !is_echo {
                    problems.push(Problem::new(at.clone(), what, "write what is expected"));
                }
                if is_echo || !remove(&mut value, &at) {
                    return Err(Problems {
                        path: path.to_owned(),
                        problems,
                    });
                }
            }
        }
    }
}

/// Copies `source_defaults` into every source that does not say otherwise.
fn fill_defaults(value: &mut Value) {
    let Some(defaults) = value.get("source_defaults").and_then(Value::as_object).cloned() else {
        return;
    };
    let Some(sources) = value.get_mut("source").and_then(Value::as_array_mut) else {
        return;
    };
    for source in sources.iter_mut().filter_map(Value::as_object_mut) {
        for (key, default) in &defaults {
            source.entry(key.clone()).or_insert_with(|| default.clone());
        }
    }
}

/// Makes the paths of certificates and keys count from the folder of the pipeline file, wherever a `tls` stands.
fn settle_tls(value: &mut Value, pipeline: &Path) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key != "tls" {
                    settle_tls(value, pipeline);
                    continue;
                }
                for field in ["ca", "certificate", "key"] {
                    if let Some(Value::String(file)) = value.get_mut(field) {
                        *file = super::plan::beside(pipeline, Path::new(file))
                            .to_string_lossy()
                            .into_owned();
                    }
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| settle_tls(item, pipeline)),
        _ => {}
    }
}

/// Returns what the schema objects to.
fn mistakes(value: &Value) -> Vec<Problem> {
    let schema = schema();
    let validator = match jsonschema::validator_for(&schema) {
        Ok(validator) => validator,
        Err(error) => {
            return vec![Problem::new(
                "",
                format!("the schema is broken: {error}"),
                "report this",
            )];
        }
    };
    let mut problems = Vec::new();
    for error in validator.iter_errors(value) {
        let at = toml_path(error.instance_path().as_str());
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                for field in unexpected {
                    let at = if at.is_empty() {
                        field.clone()
                    } else {
                        format!("{at}.{field}")
                    };
                    problems.push(Problem::new(
                        at,
                        "unknown field",
                        "remove it or mend its spelling",
                    ));
                }
            }
            ValidationErrorKind::Required { property } => {
                let field = property.as_str().unwrap_or_default();
                let place = if at.is_empty() { "the file" } else { at.as_str() };
                problems.push(Problem::new(
                    at.clone(),
                    format!("`{field}` is missing"),
                    format!("add `{field} = …` to {place}"),
                ));
            }
            // Reading says it better: it lists the choices.
            ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::AnyOf { .. } => {}
            _ => problems.push(Problem::new(at, error.to_string(), "write what is expected")),
        }
    }
    problems.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.what.cmp(&b.what)));
    problems.dedup();
    problems
}

/// Turns `/source/0/rate` into `source[0].rate`.
fn toml_path(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push('[');
            path.push_str(part);
            path.push(']');
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&part.replace("~1", "/").replace("~0", "~"));
        }
    }
    path
}

/// Removes what stands at a TOML path; returns whether it was there and a field of a table.
fn remove(value: &mut Value, at: &str) -> bool {
    let pointer = format!("/{}", at.replace('[', "/").replace(']', "").replace('.', "/"));
    let Some((parent, field)) = pointer.rsplit_once('/') else {
        return false;
    };
    value
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .is_some_and(|table| table.remove(field).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match parse(Path::new("test.toml"), text) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.problems.iter().map(ToString::to_string).collect(),
        }
    }

    const GOOD: &str = r#"
        [[source]]
        id = "tower-1"
        url = "rtsp://127.0.0.1:8554/one"
        kind = "live"
        mount = "fixed"
    "#;

    #[test]
    fn a_small_file_is_enough() {
        let file = parse(Path::new("test.toml"), GOOD).unwrap();
        assert_eq!(file.source.len(), 1);
        assert_eq!(file.model, super::super::file::ModelSection::default());
    }

    #[test]
    fn ten_mistakes_are_reported_at_once_each_with_its_place() {
        let text = r#"
            colour = "red"
            [model]
            provider = "abacus"
            batch = 0
            [console]
            listen = "somewhere"
            [evidence]
            before_s = -1
            [[source]]
            id = "a b"
            url = "rtsp://127.0.0.1/one"
            kind = "alive"
            mount = "fixed"
            speed = 3
            [[source]]
            id = "two"
            url = "rtsp://user:secret@127.0.0.1/two"
            kind = "live"
            mount = "fixed"
            rate = 0
            [[source]]
            id = "two"
            kind = "recorded"
            mount = "fixed"
        "#;
        let found = problems(text);
        for place in [
            "colour",
            "model.provider",
            "model.batch",
            "console.listen",
            "evidence.before_s",
            "source[0].kind",
            "source[0].speed",
            "source[1].rate",
            "source[2]: `url` is missing",
        ] {
            assert!(
                found.iter().any(|line| line.starts_with(place)),
                "{place} in {found:#?}"
            );
        }
        assert!(!found.iter().any(|line| line.contains("secret")), "{found:#?}");
    }

    #[test]
    fn what_only_the_meaning_shows_is_reported_too() {
        let text = format!("{GOOD}{GOOD}").replace("rtsp://127.0.0.1:8554/one", "rtsp://me:word@camera/one");
        let found = problems(&text);
        assert!(
            found
                .iter()
                .any(|line| line.contains("source[1].id") && line.contains("twice")),
            "{found:#?}"
        );
        assert!(
            found
                .iter()
                .any(|line| line.contains("source[0].url") && line.contains("password")),
            "{found:#?}"
        );
        assert!(!found.iter().any(|line| line.contains("word@")), "{found:#?}");
    }

    #[test]
    fn defaults_are_filled_into_every_source_that_does_not_say_otherwise() {
        let text = r#"
            [source_defaults]
            kind = "live"
            mount = "fixed"
            rate = 3
            [[source]]
            id = "one"
            url = "rtsp://127.0.0.1/one"
            [[source]]
            id = "two"
            url = "rtsp://127.0.0.1/two"
            rate = 7
        "#;
        let file = parse(Path::new("test.toml"), text).unwrap();
        assert_eq!(file.source[0].rate, Some(3.0));
        assert_eq!(file.source[1].rate, Some(7.0));
    }

    #[test]
    fn text_that_is_not_toml_is_named_with_its_line() {
        assert!(problems("[[source]\nid = 1")[0].contains("line 1"));
    }
}
