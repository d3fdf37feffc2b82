//! Words that make a sentence hard to read, counted in comments, strings, documents and scripts.

use super::{files, root};
use std::path::PathBuf;

/// Each hides the subject of its sentence. The noun itself is plainer.
const WORDS: [&[&str]; 7] =
    [&["who"], &["whoever"], &["somebody"], &["nobody"], &["one", "that"], &["those", "that"], &["of", "what"]];

/// Where these words are the plain ones.
const MOST: usize = 20;

pub(super) fn are_plain() {
    let mut found = Vec::new();
    for (name, text) in texts() {
        let prose = match name.ends_with(".rs") {
            true => super::tokens::prose(&text),
            false => text.lines().enumerate().map(|(number, line)| (number + 1, line.to_owned())).collect(),
        };
        // Pairs of words also count where a line ends between them.
        let words: Vec<(usize, String)> = prose.iter().flat_map(|(line, text)| words(*line, text)).collect();
        for at in 0..words.len() {
            let matches = |wanted: &&[&str]| {
                wanted
                    .iter()
                    .enumerate()
                    .all(|(next, wanted)| words.get(at + next).is_some_and(|word| word.1 == *wanted))
            };
            if let Some(wanted) = WORDS.iter().copied().find(|wanted| matches(wanted)) {
                found.push(format!("{name}:{}: {}", words[at].0, wanted.join(" ")));
            }
        }
    }
    assert!(found.len() <= MOST, "{} places, at most {MOST}:\n{}", found.len(), found.join("\n"));
}

/// The words of a text in lower case, with the line of each. Signs other than quotes and stars are
/// words of their own.
fn words(line: usize, text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (offset, text) in text.lines().enumerate() {
        let mut word = String::new();
        for c in text.chars().chain([' ']) {
            if c.is_alphanumeric() || c == '_' {
                word.extend(c.to_lowercase());
                continue;
            }
            if !word.is_empty() {
                words.push((line + offset, std::mem::take(&mut word)));
            }
            if !c.is_whitespace() && !"*`\"\\#".contains(c) {
                words.push((line + offset, c.to_string()));
            }
        }
    }
    words
}

/// All files that people read, by their names in the package. Not this one, which lists the words;
/// no licence; nothing generated.
fn texts() -> Vec<(String, String)> {
    let mut found: Vec<PathBuf> = Vec::new();
    files(root(), &mut found);
    let name = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    let read = |path: &PathBuf| {
        let is_read = path
            .extension()
            .is_none_or(|kind| ["rs", "md", "toml", "yaml", "sh", "txt"].contains(&kind.to_str().unwrap()));
        let name = name(path);
        let is_ours =
            !name.starts_with("LICENSE") && name != "tests/processes/tidy/words.rs" && !name.starts_with("logs/");
        if is_read && is_ours { Some((name, std::fs::read_to_string(path).ok()?)) } else { None }
    };
    found.sort();
    found.iter().filter_map(read).collect()
}
