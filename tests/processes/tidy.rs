//! The rooms of the crate know only the rooms below them, and each file says what it is for.

use std::path::{Path, PathBuf};

/// Lowest first; rooms in one line may not name each other. A room may name those in earlier lines
/// and itself.
const ROOMS: [&[&str]; 10] = [
    &["error", "os", "model"],
    &["wait", "yaml"],
    &["signal"],
    &["sync", "queue", "input", "net"],
    &["thread"],
    &["actor"],
    &["log", "flame"],
    &["profile"],
    &["dump"],
    &["runtime"],
];

/// Files may be longer than this only if somebody has looked at their design again, here.
const LINES: usize = 600;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found.sort();
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
    found.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

fn level(room: &str) -> Option<usize> {
    ROOMS.iter().position(|rooms| rooms.contains(&room))
}

#[test]
fn each_file_says_its_purpose_and_is_short() {
    for (name, text) in all() {
        assert!(text.starts_with("//! "), "src/{name} does not begin with a //! line");
        let lines = text.lines().count();
        assert!(lines <= LINES, "src/{name} has {lines} lines: look at its design again");
    }
}

#[test]
fn no_room_names_a_higher_one() {
    let mut seen = 0;
    for (name, text) in all() {
        let room = name.split(['/', '.']).next().unwrap();
        if room == "lib" || name.ends_with("tests.rs") {
            continue;
        }
        let Some(own) = level(room) else { panic!("src/{name}: the room {room} has no place in the order") };
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for (at, _) in code.match_indices("crate::") {
                let named: String =
                    code[at + 7..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                if let Some(other) = level(&named) {
                    seen += 1;
                    let allowed = named == room || other < own;
                    assert!(allowed, "src/{name}:{}: {room} names {named}, which is not below it", number + 1);
                }
            }
        }
    }
    assert!(seen > 20, "the test no longer sees the imports");
}

#[test]
fn only_os_and_profile_name_libc() {
    for (name, text) in all() {
        let may = name.starts_with("os/") || name.starts_with("profile/");
        let names = text.lines().any(|line| line.split("//").next().unwrap().contains("libc::"));
        assert!(may || !names, "src/{name} names libc");
    }
}

/// parking_lot keeps all waiting threads of a process in one table. A fork copies it with the locks
/// that other threads had taken in it, so a child that wakes a thread through it may hang. Only the
/// sampler's lock is of that kind: it is handed over fairly, and a child has it only with a
/// recording of its own.
#[test]
fn forked_children_use_no_parking_lot() {
    let tests = ["profile/tests.rs", "dump/frames.rs"];
    for (name, text) in all() {
        let may = name.starts_with("profile/engines/") || tests.contains(&name.as_str());
        let names = text.lines().any(|line| line.split("//").next().unwrap().contains("parking_lot::"));
        assert!(may || !names, "src/{name} names parking_lot");
        let forks = text.contains("at_fork(") || text.contains("PerProcess<");
        assert!(
            !(forks && text.contains("use parking_lot")),
            "src/{name} is for forked children, and names parking_lot"
        );
    }
}
