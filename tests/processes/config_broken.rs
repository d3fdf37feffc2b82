//! Each broken configuration in tests/broken is refused with a message that names the place and
//! says what to do.
//!
//! `tests/broken/expected.txt` has one line for each folder: its name, and what the message must
//! contain, parted by ` | `. The first of these begins with the file and, where there is one, the
//! line and the key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use selvedge::Config;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken")
}

/// Folder to fragments.
fn expected() -> BTreeMap<String, Vec<String>> {
    let table = fs::read_to_string(corpus().join("expected.txt")).unwrap();
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut cases = BTreeMap::new();
    for line in lines {
        let mut columns = line.split(" | ").map(|column| column.trim().to_owned());
        let case = columns.next().unwrap();
        assert!(cases.insert(case, columns.collect::<Vec<_>>()).is_none(), "twice: {line}");
    }
    cases
}

#[test]
fn the_table_and_the_folders_are_the_same() {
    let folders = fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap()).filter(|e| e.path().is_dir());
    let mut folders: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    folders.sort();
    let cases: Vec<String> = expected().into_keys().collect();
    assert_eq!(folders, cases);
    let of_log4rs = cases.iter().filter(|case| case.starts_with("log_")).count();
    assert!(of_log4rs >= 15 && cases.len() - of_log4rs >= 15);
}

#[test]
fn each_is_refused_with_place_and_remedy() {
    let mut failures = Vec::new();
    for (case, fragments) in expected() {
        let file = corpus().join(&case).join("selvedge.yaml");
        let Err(error) = Config::from(file).check() else {
            failures.push(format!("{case}: no error"));
            continue;
        };
        let message = error.to_string();
        let missing: Vec<_> = fragments.iter().filter(|fragment| !message.contains(*fragment)).collect();
        if !missing.is_empty() {
            failures.push(format!("{case}: {message}\n    lacks {missing:?}"));
        }
        // The place in the message is the place in the error.
        let name = error.file().unwrap().file_name().unwrap().to_str().unwrap();
        let line = error.line().map_or(String::new(), |line| format!("{line}:"));
        let key = error.key().map_or(String::new(), |key| format!("{key}: "));
        let place = format!("{name}:{line} {key}");
        if !error.is_config() || !fragments.first().is_some_and(|first| first.starts_with(place.trim_end())) {
            failures.push(format!("{case}: {place} is not how the table begins"));
        }
        if message.contains('\n') || message.chars().any(char::is_control) {
            failures.push(format!("{case}: not one line of plain text: {message:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_broken_config_ends_with_78() {
    for (case, fragments) in expected() {
        let folder = crate::support::Folder::new(&format!("broken-{case}"));
        let mut program = crate::support::subject("ok", &corpus().join(&case).join("selvedge.yaml"));
        let ended = crate::support::run(program.current_dir(folder.path()));
        assert_eq!(ended.code(), 78, "{case}: {}", ended.stderr);
        assert!(
            ended.stderr.starts_with("selvedge: ") && ended.stderr.lines().count() == 1,
            "{case}: {}",
            ended.stderr
        );
        assert!(fragments.iter().all(|fragment| ended.stderr.contains(fragment)), "{case}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{case}");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{case} has left {left:?}");
    }
}
