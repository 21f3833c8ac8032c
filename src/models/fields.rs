//! Reads a TOML table field by field and keeps every problem with its path, so that a person mends a file once.

use std::ops::RangeInclusive;

use toml::{Table, Value};

/// One thing that is wrong with a TOML file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a TOML path: `variant[0].width`.
    pub path: String,
    /// What was found, what was expected, what to do.
    pub message: String,
    /// The line of the file, from 1 on: of the field, or of the table in which it is missing.
    pub line: Option<usize>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "line {line}: ")?;
        }
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// A table whose fields are taken out one after another; what is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Fields<'p> {
    table: Table,
    path: String,
    problems: &'p mut Vec<Problem>,
    known: Vec<&'static str>,
}

impl<'p> Fields<'p> {
    pub(crate) fn new(table: Table, path: impl Into<String>, problems: &'p mut Vec<Problem>) -> Self {
        Self {
            table,
            path: path.into(),
            problems,
            known: Vec::new(),
        }
    }

    /// Notes a problem with a field of this table.
    pub(crate) fn problem(&mut self, field: &str, message: impl Into<String>) {
        let path = self.path_of(field);
        self.problems.push(Problem {
            path,
            message: message.into(),
            line: None,
        });
    }

    /// Takes a text that is not empty.
    pub(crate) fn text(&mut self, field: &'static str) -> String {
        self.fit(field, "a text that is not empty", |value| {
            value
                .as_str()
                .filter(|text| !text.trim().is_empty())
                .map(ToOwned::to_owned)
        })
        .unwrap_or_default()
    }

    /// Takes a text that is one of `choices`.
    pub(crate) fn choice<T: Copy>(&mut self, field: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        self.fit(field, &format!("one of {}", names.join(", ")), |value| {
            let text = value.as_str()?;
            choices
                .iter()
                .find(|(name, _)| *name == text)
                .map(|(_, choice)| *choice)
        })
    }

    /// Takes a finite number within the range, written with or without a decimal point.
    pub(crate) fn number(&mut self, field: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.fit(field, &expected, |value| {
            as_number(value).filter(|number| range.contains(number))
        })
    }

    /// Takes a number that may be left out.
    pub(crate) fn optional_number(&mut self, field: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        if self.table.contains_key(field) {
            self.number(field, range)
        } else {
            self.known.push(field);
            None
        }
    }

    /// Takes a whole number within the range.
    pub(crate) fn whole(&mut self, field: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.fit(field, &expected, |value| {
            let number = u32::try_from(value.as_integer()?).ok()?;
            range.contains(&number).then_some(number)
        })
    }

    /// Takes true or false.
    pub(crate) fn truth(&mut self, field: &'static str) -> Option<bool> {
        self.fit(field, "true or false", Value::as_bool)
    }

    /// Takes three finite numbers.
    pub(crate) fn triple(&mut self, field: &'static str) -> Option<[f32; 3]> {
        self.fit(field, "three numbers, one per channel", |value| {
            let numbers: Option<Vec<f32>> = value
                .as_array()?
                .iter()
                .map(|item| as_number(item).map(|number| number as f32))
                .collect();
            <[f32; 3]>::try_from(numbers?).ok()
        })
    }

    /// Takes a list of texts.
    pub(crate) fn texts(&mut self, field: &'static str) -> Vec<String> {
        self.fit(field, "a list of texts", |value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.as_str().map(ToOwned::to_owned))
                .collect()
        })
        .unwrap_or_default()
    }

    /// Takes a table and reads it with `read`.
    pub(crate) fn section<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        match self.take(field) {
            Some(Value::Table(table)) => {
                let mut fields = Fields::new(table, self.path_of(field), self.problems);
                let section = read(&mut fields);
                fields.finish();
                section
            }
            Some(other) => {
                self.unfit(field, &other, &format!("a table [{}]", self.path_of(field)));
                None
            }
            None => {
                self.missing(field, &format!("a table [{}]", self.path_of(field)));
                None
            }
        }
    }

    /// Takes a list of tables, at least one, and reads each with `read`.
    pub(crate) fn sections<T>(
        &mut self,
        field: &'static str,
        mut read: impl FnMut(&mut Fields<'_>) -> Option<T>,
    ) -> Vec<T> {
        let expected = format!("at least one [[{}]]", self.path_of(field));
        match self.take(field) {
            Some(Value::Array(items)) if !items.is_empty() => {
                let mut sections = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let path = format!("{}[{index}]", self.path_of(field));
                    let Value::Table(table) = item else {
                        self.problems.push(Problem {
                            path,
                            message: format!("found {item}, expected a table"),
                            line: None,
                        });
                        continue;
                    };
                    let mut fields = Fields::new(table, path, self.problems);
                    sections.extend(read(&mut fields));
                    fields.finish();
                }
                sections
            }
            Some(other) => {
                self.unfit(field, &other, &expected);
                Vec::new()
            }
            None => {
                self.missing(field, &expected);
                Vec::new()
            }
        }
    }

    /// Takes a table of numbers with any names; it may be left out.
    pub(crate) fn numbers(&mut self, field: &'static str) -> Vec<(String, f64)> {
        let Some(value) = self.take(field) else {
            return Vec::new();
        };
        let Value::Table(table) = value else {
            self.unfit(field, &value, "a table of numbers");
            return Vec::new();
        };
        let mut numbers = Vec::with_capacity(table.len());
        for (name, value) in table {
            match as_number(&value) {
                Some(number) => numbers.push((name, number)),
                None => self.problem(
                    &format!("{field}.{name}"),
                    format!("found {value}, expected a number"),
                ),
            }
        }
        numbers
    }

    /// Notes every field that nobody took.
    pub(crate) fn finish(mut self) {
        let unknown: Vec<String> = self.table.keys().cloned().collect();
        let known = self.known.join(", ");
        for field in unknown {
            self.problem(
                &field,
                format!("unknown field, expected one of {known}; remove it"),
            );
        }
    }

    /// Takes a value that must be there and that `read` must be able to read.
    fn fit<T>(
        &mut self,
        field: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let Some(value) = self.take(field) else {
            self.missing(field, expected);
            return None;
        };
        let found = read(&value);
        if found.is_none() {
            self.unfit(field, &value, expected);
        }
        found
    }

    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        self.table.remove(field)
    }

    fn missing(&mut self, field: &str, expected: &str) {
        self.problem(field, format!("missing, expected {expected}"));
    }

    fn unfit(&mut self, field: &str, found: &Value, expected: &str) {
        self.problem(field, format!("found {found}, expected {expected}"));
    }

    fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        }
    }
}

fn as_number(value: &Value) -> Option<f64> {
    value
        .as_float()
        .or_else(|| value.as_integer().map(|number| number as f64))
        .filter(|number| number.is_finite())
}
