//! How the sources are written: files, imports, widths and words.

mod guide;
mod imports;
mod tokens;
mod words;

use std::path::{Path, PathBuf};

/// Lowest first; rooms in one line may not name each other. A room may name those in earlier lines
/// and itself.
const ROOMS: [&[&str]; 13] = [
    &["error", "os", "model"],
    &["record"],
    &["wait", "yaml"],
    &["signal"],
    &["sync", "queue", "input", "net"],
    &["thread"],
    &["actor"],
    &["log", "flame"],
    &["profile"],
    &["dump"],
    &["inspect", "push"],
    &["runtime"],
    &["guide", "unwind_safety"],
];

/// A file that is longer has more than one purpose.
const LINES: usize = 500;

/// A function that is longer does more than one thing. Of src alone, without its tests.
const FUNCTION_LINES: usize = 60;

/// Characters in a line. A row of a table in a comment may have more, since it cannot be wrapped.
const WIDTH: usize = 120;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Folders with Rust files. The command is a package of its own, so it is not in the library's.
fn folders() -> Vec<&'static str> {
    let mut all = vec!["src", "tests", "benches", "examples"];
    if root().join("cli").exists() {
        all.extend(["cli/src", "cli/tests"]);
    }
    all
}

/// All files below a folder, but for hidden folders and what is built.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !path.is_dir() {
            found.push(path);
        } else if !name.starts_with("target") && (!name.starts_with('.') || name == ".ci") {
            files(&path, found);
        }
    }
}

/// The Rust files below these folders of the package: names within the package, and texts.
fn rust_files(folders: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    folders.iter().for_each(|folder| files(&root().join(folder), &mut found));
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    found.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// The files of `src`, named within it.
fn sources() -> Vec<(String, String)> {
    rust_files(&["src"]).into_iter().map(|(name, text)| (name["src/".len()..].to_owned(), text)).collect()
}

fn level(room: &str) -> Option<usize> {
    ROOMS.iter().position(|rooms| rooms.contains(&room))
}

#[test]
fn each_file_says_what_it_is_for() {
    for (name, text) in rust_files(&folders()) {
        assert!(text.starts_with("//! "), "{name} does not begin with a //! line");
    }
}

#[test]
fn files_and_lines_are_short() {
    let mut long = Vec::new();
    for (name, text) in rust_files(&folders()) {
        let lines = text.lines().count();
        if lines > LINES {
            long.push(format!("{name} has {lines} lines; at most {LINES}"));
        }
        for (number, line) in text.lines().enumerate() {
            let width = line.chars().count();
            let is_row = ["//! |", "/// |", "// |"].iter().any(|row| line.trim_start().starts_with(row));
            if width > WIDTH && !is_row {
                long.push(format!("{name}:{} has {width} characters; at most {WIDTH}", number + 1));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// By rustfmt's layout: a function ends with the line that closes its brace at the same indent.
#[test]
fn functions_are_short() {
    let (mut long, mut seen) = (Vec::new(), 0);
    for (name, text) in sources() {
        if name.ends_with("tests.rs") {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let item = match code.strip_prefix("pub(") {
                Some(rest) => rest.split_once(") ").map_or("", |(_, item)| item),
                None => code,
            };
            let qualifiers = ["pub", "const", "unsafe", "async", "extern", "\"C\""];
            if item.split(' ').find(|word| !qualifiers.contains(word)) != Some("fn") {
                continue;
            }
            let close = format!("{}}}", &line[..line.len() - code.len()]);
            let is_declaration = |line: &&str| line.ends_with(';') && !line.starts_with(&format!("{close} "));
            let rest = &lines[number..];
            let body = rest.iter().position(|line| line.ends_with('{'));
            if body.is_none_or(|body| rest[..=body].iter().any(is_declaration)) {
                continue;
            }
            let length = rest.iter().position(|line| *line == close).map_or(1, |last| last + 1);
            seen += 1;
            if length > FUNCTION_LINES {
                long.push(format!("src/{name}:{} has {length} lines; at most {FUNCTION_LINES}", number + 1));
            }
        }
    }
    assert!(seen > 2_000, "the test no longer sees the functions: {seen}");
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// What counts as an import is said in `imports.rs`.
#[test]
fn files_import_each_other_in_no_circle() {
    let edges = imports::edges(&root().join("src"));
    let seen: usize = edges.values().map(|named| named.len()).sum();
    assert!(seen > 500, "the test no longer sees the imports: {seen}");
    let mut told = String::new();
    for circle in imports::circles(&edges) {
        told += &format!("\n{} files import each other:\n", circle.len());
        for from in &circle {
            for (to, (line, name)) in edges[*from].iter().filter(|(to, _)| circle.contains(&to.as_str())) {
                told += &format!("  src/{from}:{line} names {name}, of src/{to}\n");
            }
        }
    }
    assert!(told.is_empty(), "{told}");
}

#[test]
fn words_are_plain() {
    words::are_plain();
}

#[test]
fn no_room_names_a_higher_one() {
    let mut seen = 0;
    for (name, text) in sources() {
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
    for (name, text) in sources() {
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
    for (name, text) in sources() {
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

/// Beside busy threads, a kernel since 6.6 lets a thread that yields wait for a whole time slice of theirs. What waits
/// sleeps, or backs off by `model::back_off`. Only the model checks yield, to their own scheduler.
#[test]
fn no_wait_yields() {
    for (name, text) in sources() {
        let code = text.split("\nmod tests {").next().unwrap();
        let may = name.starts_with("model/") || name == "log/seam.rs" || name.ends_with("tests.rs");
        let yields =
            tokens::tokens(code).iter().any(|token| ["yield_now", "sched_yield"].contains(&token.text.as_str()));
        assert!(may || !yields, "src/{name} yields");
    }
}
