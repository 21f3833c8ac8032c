//! From the names that datasets give their classes to ours.

use std::path::{Path, PathBuf};

use crate::flow::detection::Class;

/// What a number in a label file stands for: a class of ours, or one that is left aside.
pub(crate) type Names = Vec<(String, Option<Class>)>;

/// Returns our class for a dataset's word, if it means one.
pub(crate) fn class_of(name: &str) -> Option<Class> {
    const FLAME: [&str; 10] = [
        "flame",
        "flames",
        "fire",
        "fires",
        "openfire",
        "openflame",
        "wildfire",
        "forestfire",
        "火焰",
        "火",
    ];
    const SMOKE: [&str; 7] = ["smoke", "smokes", "plume", "smog", "wildfiresmoke", "烟雾", "烟"];
    let plain: String = name
        .to_lowercase()
        .chars()
        .filter(|sign| sign.is_alphanumeric())
        .collect();
    if FLAME.contains(&plain.as_str()) {
        Some(Class::Flame)
    } else if SMOKE.contains(&plain.as_str()) {
        Some(Class::Smoke)
    } else {
        None
    }
}

/// The order of the labels of this project.
pub(crate) fn of_this_project() -> Names {
    Class::ALL
        .iter()
        .map(|class| (class.name().to_owned(), Some(*class)))
        .collect()
}

/// Looks up what each word means.
pub(crate) fn of_words(words: &[String]) -> Names {
    words.iter().map(|word| (word.clone(), class_of(word))).collect()
}

/// Finds the list of names of a YOLO dataset and returns it with the file that holds it and the line where it begins.
pub(crate) fn find(root: &Path) -> Option<(Names, PathBuf, usize)> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in [root.to_owned(), root.join("labels")] {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        files.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    files.sort();
    for file in files {
        let ending = file
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        let is_list = ending == "names" || file.file_name().is_some_and(|name| name == "classes.txt");
        let is_yaml = ending == "yaml" || ending == "yml";
        if !is_list && !is_yaml {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let words = if is_list {
            text.lines().map(|line| line.trim().to_owned()).collect()
        } else {
            yaml_names(&text)
        };
        let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let names = of_words(&words);
        if !names.is_empty() {
            let begins = text
                .lines()
                .position(|line| is_list || line.starts_with("names:"));
            return Some((names, file, begins.unwrap_or(0) + 1));
        }
    }
    None
}

/// Returns the list under `names:` of a YOLO `data.yaml`, in any of the three ways in which it is written.
fn yaml_names(text: &str) -> Vec<String> {
    let bare = |word: &str| {
        let word = word.split(" #").next().unwrap_or_default().trim();
        word.trim_matches(|sign| sign == '\'' || sign == '"').to_owned()
    };
    let mut lines = text.lines();
    let Some(rest) = lines.find_map(|line| line.strip_prefix("names:")) else {
        return Vec::new();
    };
    let rest = rest.trim();
    if let Some(inline) = rest.strip_prefix(['[', '{']) {
        let mut inline = inline.to_owned();
        for line in lines {
            if inline.contains([']', '}']) {
                break;
            }
            inline.push_str(line.trim());
        }
        let inline = inline.split([']', '}']).next().unwrap_or_default();
        return inline
            .split(',')
            .map(|item| bare(item.rsplit(':').next().unwrap_or(item)))
            .collect();
    }
    let mut names: Vec<(usize, String)> = Vec::new();
    for line in lines {
        let item = line.trim();
        if item.is_empty() || item.starts_with('#') {
            continue;
        }
        if let Some(word) = item.strip_prefix("- ") {
            names.push((names.len(), bare(word)));
        } else if let Some((number, word)) = item.split_once(':')
            && let Ok(number) = number.trim().parse::<usize>()
        {
            names.push((number, bare(word)));
        } else {
            break;
        }
    }
    names.sort();
    names.into_iter().map(|(_, word)| word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_each_of_the_three_ways() {
        for text in [
            "train: a\nnames: ['smoke', \"fire\"]\n",
            "names:\n  - smoke # first\n  - fire\nnc: 2\n",
            "nc: 2\nnames:\n  1: fire\n  0: smoke\n",
            "names: {0: smoke,\n  1: fire}\n",
        ] {
            assert_eq!(yaml_names(text), ["smoke", "fire"], "{text}");
        }
    }

    #[test]
    fn the_usual_words_are_known_and_others_are_not_taken_for_them() {
        assert_eq!(class_of("Fire"), Some(Class::Flame));
        assert_eq!(class_of("open_fire"), Some(Class::Flame));
        assert_eq!(class_of("SMOKE "), Some(Class::Smoke));
        assert_eq!(class_of("no fire"), None);
        assert_eq!(class_of("fire hydrant"), None);
    }
}
