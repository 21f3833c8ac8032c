//! Says on which line a TOML file says something, so that whoever mends the file finds it.

use std::path::Path;

use toml::de::{DeTable, DeValue};

/// Returns the line, from 1 on, of what stands at a TOML path such as `variant[0].width`; where that is missing, the
/// line of the table that lacks it.
///
/// Nothing where the root lacks it, or where the text is not TOML.
pub(crate) fn line_of(text: &str, path: &str) -> Option<usize> {
    let root = DeValue::Table(DeTable::parse(text).ok()?.into_inner());
    let (mut here, mut start) = (&root, None);
    for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
        let next = match here {
            DeValue::Table(table) => table.get(step),
            DeValue::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        };
        let Some(next) = next else { break };
        start = Some(next.span().start);
        here = next.get_ref();
    }
    let before = text.get(..start?)?;
    Some(before.matches('\n').count() + 1)
}

/// Returns where a file says what stands at a TOML path: `models/probe/model.toml:12`, or the file alone where the line
/// cannot be told.
pub(crate) fn place_of(file: &Path, path: &str) -> String {
    let line = std::fs::read_to_string(file)
        .ok()
        .and_then(|text| line_of(&text, path));
    match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "schema = 1\n\n[[variant]]\nfile = \"a\"\n[[variant]]\n# the second\nfile = \"b\"\nmean = [\n1,\n\
                        2]\n[class.threshold]\nwatch = 0.3\n";

    #[test]
    fn a_field_is_found_on_its_line_and_a_missing_one_at_its_table() {
        for (path, line) in [
            ("schema", Some(1)),
            ("variant[0].file", Some(4)),
            ("variant[1].file", Some(7)),
            ("variant[1].mean", Some(8)),
            ("variant[1].mean[1]", Some(10)),
            ("class.threshold.watch", Some(12)),
            ("variant[1].width", Some(5)),
            ("class.threshold.alarm", Some(11)),
            ("version", None),
        ] {
            assert_eq!(line_of(TEXT, path), line, "{path}");
        }
        assert_eq!(line_of("schema = = 1", "schema"), None);
    }

    #[test]
    fn the_place_of_a_file_that_is_not_there_has_no_line() {
        assert_eq!(
            place_of(Path::new("/nowhere/model.toml"), "schema"),
            "/nowhere/model.toml"
        );
    }
}
