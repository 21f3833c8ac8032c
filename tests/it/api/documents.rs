//! The documents that describe the interface.

use super::*;

/// Compares a document with the file that is checked in; `UPDATE_GOLDEN=1` writes it.
fn assert_current(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("api").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = known.lines().zip(text.lines()).find(|(known, now)| known != now);
    assert!(
        known == text,
        "api/{name} is out of date (UPDATE_GOLDEN=1 writes it), first difference: {differs:?}"
    );
}

#[test]
fn the_openapi_document_is_current_and_every_reference_in_it_leads_somewhere() {
    let document = emberwatch::console::openapi();
    assert_references(&document);
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    assert_current("openapi.json", &text);
}

#[test]
fn the_asyncapi_document_is_current_and_every_reference_in_it_leads_somewhere() {
    let document = emberwatch::console::asyncapi();
    assert_references(&document);
    let mut text = String::new();
    write_yaml(&document, 0, &mut text);
    assert_current("asyncapi.yaml", &text);
}

fn assert_references(document: &Value) {
    fn walk(document: &Value, at: &Value) {
        match at {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                object.values().for_each(|value| walk(document, value));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(document, value)),
            _ => {}
        }
    }
    walk(document, document);
}

/// Writes JSON as YAML: keys and texts as JSON writes them, which YAML reads.
fn write_yaml(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let nested = |value: &Value| match value {
        Value::Object(object) => !object.is_empty(),
        Value::Array(values) => !values.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                let key = if plain { key.clone() } else { format!("{key:?}") };
                if nested(value) {
                    writeln!(text, "{indent}{key}:").unwrap();
                    write_yaml(value, depth + 1, text);
                } else {
                    writeln!(text, "{indent}{key}: {value}").unwrap();
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                if nested(value) {
                    writeln!(text, "{indent}-").unwrap();
                    write_yaml(value, depth + 1, text);
                } else {
                    writeln!(text, "{indent}- {value}").unwrap();
                }
            }
        }
        _ => writeln!(text, "{indent}{value}").unwrap(),
    }
}
