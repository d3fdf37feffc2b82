//! The first example is a real program: it works, can be interrupted, and says what failed.

use crate::support::{Ended, Folder, Process, program, run, undisturbed, until};
use std::path::Path;
use std::process::Command;

/// Sources to index: enough words to be seen at work, a binary file, and a file that is no UTF-8.
fn sources(folder: &Folder, files: usize) {
    for file in 0..files {
        let text: String =
            (0..1500).map(|line| format!("fn line_{line}(word_{}: usize) {{ call() }}\n", line * file % 977)).collect();
        folder.write(&format!("src/crate-{}/file-{file}.rs", file % 10), &text);
    }
    std::fs::write(folder.path().join("src/picture"), b"GIF\0\0\x01\x02").unwrap();
    std::fs::write(folder.path().join("src/latin-1.txt"), b"caf\xe9 au lait").unwrap();
}

fn indexer(folder: &Folder, flags: &[&str]) -> Command {
    let profiles = folder.path().join("profiles");
    // Two signals of a test come sooner than two of a person.
    let more = format!("shutdown: {{ grace: 0s }}\nprofile: {{ enabled: true, output: {} }}", profiles.display());
    let mut command = Command::new(program("01_indexer"));
    command.arg(folder.path().join("src")).arg("--config").arg(folder.config(&more)).args(flags);
    command.current_dir(folder.path());
    command
}

/// All three files are there and whole.
fn check_profile(folder: &Folder) {
    if !cfg!(feature = "profiling") {
        assert!(!folder.path().join("profiles").exists(), "nothing records, so nothing is written");
        return;
    }
    let svg = folder.read("profiles/subject.svg");
    assert!(svg.contains("CPU time of all threads") && svg.trim_end().ends_with("</svg>"));
    for line in folder.read("profiles/subject.folded").lines() {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        assert!(weight.parse::<u64>().is_ok(), "{line}");
        assert!(stack == "main" || stack.starts_with("main;"), "{line}");
    }
    assert!(folder.path().join("profiles/subject.pb.gz").metadata().unwrap().len() > 100);
}

fn log_of(folder: &Folder) -> String {
    folder.read("app.log")
}

fn number_after<'a>(ended: &'a Ended, word: &str) -> &'a str {
    let line = ended.stdout.lines().find_map(|line| line.strip_prefix(word));
    line.unwrap_or_else(|| panic!("no line {word} in {}", ended.stdout)).split_whitespace().next().unwrap()
}

#[test]
fn each_thread_is_in_log_and_profile() {
    let folder = Folder::new("indexer");
    sources(&folder, 200);
    let ended = run(&mut indexer(&folder, &[]));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
    assert_eq!(number_after(&ended, "files "), "200");
    assert_eq!(number_after(&ended, "skipped "), "2");
    // fn, usize, call, 1500 lines, 977 words.
    assert_eq!(number_after(&ended, "words "), (3 + 1500 + 977).to_string());
    for path in ["main/merger", "main/readers", "main/walker", "main/readers/reader-1", "main/readers/reader-2"] {
        assert!(ended.stdout.lines().any(|line| line.starts_with(path)), "{path} is not in the table");
    }
    let log = log_of(&folder);
    for path in ["INFO main ", "INFO main/walker ", "INFO main/readers "] {
        assert!(log.contains(path), "{path} is not in {log}");
    }
    check_profile(&folder);
    if cfg!(feature = "profiling") {
        let folded = folder.read("profiles/subject.folded");
        let on_readers = |what: &str| folded.lines().any(|l| l.starts_with("main;readers;reader-") && l.contains(what));
        assert!(on_readers("tokenize"), "{folded}");
        assert!(!folded.contains("perf_signal_handler"), "{folded}");
        // The program's own call of spawn is a frame of its; how a thread comes to run its body is
        // not.
        let begins_with_machinery = |line: &str| {
            let mut frames = line.split(';').skip_while(|frame| !frame.starts_with("reader-")).skip(1);
            frames.next().is_some_and(|first| first.starts_with("selvedge::thread") || first.starts_with("std::"))
        };
        assert!(!folded.lines().any(begins_with_machinery), "{folded}");
    }
}

#[test]
fn a_panicking_reader_is_reported_once() {
    let once = || {
        let folder = Folder::new("indexer-panic");
        sources(&folder, 400);
        (run(&mut indexer(&folder, &["--panic-on", "1"])), folder)
    };
    // Its sibling may be done, where the reader that panics gets no processor for long.
    let sibling_stopped = "INFO main/readers/reader-1 stopped after";
    let (ended, folder) = undisturbed(once, |(_, folder)| !log_of(folder).contains(sibling_stopped));
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    let panicked = "main/readers/reader-2 panicked at examples/01_indexer.rs:";
    assert_eq!(ended.stderr.matches(panicked).count(), 1, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("told to panic on").count(), 1, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches(" failed: ").count(), 2, "main and readers: {}", ended.stderr);
    let log = log_of(&folder);
    assert_eq!(log.matches("told to panic on").count(), 1, "{log}");
    assert!(log.contains(sibling_stopped), "its sibling was stopped: {log}");
    check_profile(&folder);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_is_orderly_and_whole() {
    for (signal, name, code) in [(libc::SIGINT, "SIGINT", 130), (libc::SIGTERM, "SIGTERM", 0)] {
        let run = || {
            let folder = Folder::new(&format!("indexer-{name}"));
            sources(&folder, 2500);
            let mut process = Process::start(&mut indexer(&folder, &[]));
            until("the log tells of the indexing", || log_now(&folder).contains("indexing"));
            process.signal(signal);
            (process.end(), folder)
        };
        // It may be done, where this test gets no processor for long.
        let (ended, folder) = undisturbed(run, |(ended, _)| !ended.stdout.contains("interrupted; so far:"));
        assert_eq!(ended.code(), code, "{}", ended.stderr);
        assert!(ended.stdout.contains("interrupted; so far:"), "{}", ended.stdout);
        let (files, skipped) = (numbers(&ended, "files "), numbers(&ended, "skipped "));
        let sum = files[0] + skipped.iter().sum::<u64>() + numbers(&ended, "not read ").iter().sum::<u64>();
        assert_eq!(sum, files[1], "{}", ended.stdout);
        assert_eq!(ended.stderr, "", "what was not read is no loss that stderr must tell");
        let log = log_of(&folder);
        assert!(log.contains(&format!("interrupted by {name}: stopping")), "{log}");
        assert!(log.lines().last().unwrap().contains("has stopped in order"), "{log}");
        check_profile(&folder);
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_names_remaining_threads() {
    let run = || {
        let folder = Folder::new("indexer-twice");
        sources(&folder, 2500);
        let mut process = Process::start(&mut indexer(&folder, &["--slow-stop", "100"]));
        until("the log tells of the indexing", || log_now(&folder).contains("indexing"));
        process.signal(libc::SIGINT);
        until("the log tells of the slow end", || log_now(&folder).contains("ending slowly"));
        process.signal(libc::SIGINT);
        process.end()
    };
    let parts = ["not stopped:", "main/merger, waiting"];
    let ended = undisturbed(run, |ended| ended.is_slow_without(&[&ended.stderr], &parts));
    assert_eq!(ended.code(), 130);
    assert!(parts.iter().all(|part| ended.stderr.contains(part)), "{}", ended.stderr);
}

#[test]
fn bad_arguments_are_explained() {
    for (args, what) in [
        (&["/there/is/no/such/folder"][..], "is no folder"),
        (&["--panic-on"], "wants a value"),
        (&["--panic-on", "x"], "wants a number"),
        (&["--colour"], "there is no --colour"),
        (&["src", "tests"], "one DIR, not also tests"),
    ] {
        let ended = run(Command::new(program("01_indexer")).args(args));
        assert_eq!(ended.code(), 64);
        assert!(ended.stderr.contains(what) && ended.stderr.contains("usage:"), "{}", ended.stderr);
    }
}

#[test]
fn help_is_given_and_is_no_error() {
    for name in ["01_indexer", "02_checksums"] {
        let ended = run(Command::new(program(name)).arg("--help"));
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
        assert!(ended.stdout.starts_with("usage:"), "{}", ended.stdout);
    }
}

#[cfg(unix)]
#[test]
fn nontext_arguments_are_paths_or_errors() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new("latin-1");
    let no_text = folder.path().join(OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&no_text).unwrap();
    std::fs::write(no_text.join("menu"), "au lait").unwrap();
    let indexed = run(Command::new(program("01_indexer")).arg(&no_text).arg("--config").arg(folder.config("")));
    assert_eq!(number_after(&indexed, "files "), "1", "{}", indexed.stderr);
    let summed = run(Command::new(program("02_checksums")).arg(&no_text));
    assert!(summed.stderr.contains("complete: 1 files"), "{}", summed.stderr);
    for (name, flag) in [("01_indexer", "--panic-on"), ("02_checksums", "--seconds")] {
        let ended = run(Command::new(program(name)).arg(flag).arg(OsStr::from_bytes(b"\xff")));
        assert_eq!(ended.code(), 64, "{}", ended.stderr);
        assert!(ended.stderr.contains("number") && ended.stderr.contains("usage:"), "{}", ended.stderr);
    }
}

/// The numbers in a line of the summary, in their order; none if there is no such line.
fn numbers(ended: &Ended, word: &str) -> Vec<u64> {
    let line = ended.stdout.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_default();
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(unix)]
#[test]
fn the_summary_always_adds_up() {
    let folder = Folder::new("indexer-sum");
    sources(&folder, 5);
    // Its path is longer than the system takes, so it is found and cannot be listed, not even by
    // root. A shell makes it step by step, since no call takes the whole path.
    let name = "d".repeat(250);
    let script = format!("for level in $(seq 20); do mkdir {name} && cd -P {name} || exit 1; done");
    let made = Command::new("sh").args(["-c", &script]).current_dir(folder.path().join("src")).status().unwrap();
    assert!(made.success());
    let ended = run(&mut indexer(&folder, &[]));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let (files, skipped) = (numbers(&ended, "files "), numbers(&ended, "skipped "));
    assert_eq!((files.as_slice(), skipped.as_slice()), (&[5, 7][..], &[2, 0][..]), "{}", ended.stdout);
    assert_eq!(numbers(&ended, "not listed "), [1], "{}", ended.stdout);
}

fn log_now(folder: &Folder) -> String {
    std::fs::read_to_string(Path::new(folder.path()).join("app.log")).unwrap_or_default()
}
