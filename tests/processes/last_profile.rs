//! An end of the process that is no return from `main` leaves a profile, and under an abort a
//! report on stderr.

use crate::support::{Ended, Folder, Process, aborting_program, program};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A config whose profile and log are in the folder.
fn config(folder: &Folder) -> PathBuf {
    folder.config("profile: { enabled: true, output: ., formats: [svg, folded, pprof] }")
}

fn start(program: &Path, scenario: &str, folder: &Folder) -> Process {
    Process::start(Command::new(program).arg(scenario).arg(config(folder)))
}

/// All files are whole, and show the work.
fn assert_profile(folder: &Folder, ended: &Ended) {
    let files = ["subject.svg", "subject.folded", "subject.pb.gz"].map(|name| folder.path().join(name));
    for file in &files {
        assert!(file.metadata().is_ok_and(|file| file.len() > 0), "no {}: {}", file.display(), ended.stderr);
    }
    let all = std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.path());
    let parts: Vec<_> = all.filter(|path| path.extension().is_some_and(|ending| ending == "part")).collect();
    assert!(parts.is_empty(), "{parts:?}");
    let folded = folder.read("subject.folded");
    assert!(folded.contains("main;") && folded.contains("burn"), "{folded}");
    assert!(folder.read("subject.svg").trim_end().ends_with("</svg>"));
}

#[test]
fn an_exit_on_any_thread_writes_the_profile() {
    for (scenario, path) in [("exit-main", "main"), ("exit", "main/worker"), ("exit-outside", "other/")] {
        let folder = Folder::new(scenario);
        let ended = start(&program("ending"), scenario, &folder).end();
        assert_eq!((ended.code(), ended.stderr.as_str()), (3, ""), "{scenario}");
        assert_profile(&folder, &ended);
        let log = folder.read("app.log");
        assert!(log.contains(&format!("exit was called on {path}")), "{scenario}: {log}");
        assert_eq!(log.matches("profile of ").count(), 3, "{scenario}: {log}");
    }
}

#[test]
fn an_exit_waits_for_the_profile() {
    let folder = Folder::new("exit-at-the-end");
    let ended = start(&program("ending"), "exit-at-the-end", &folder).end();
    assert_eq!(ended.code(), 3, "{}", ended.stderr);
    assert_profile(&folder, &ended);
}

#[test]
fn a_file_size_limit_costs_the_profile_alone() {
    use std::os::unix::process::CommandExt;
    let folder = Folder::new("size-limit");
    // Without a log of the runtime's.
    let config = folder.write("limited.yaml", "name: subject\nlog: off\nprofile: { enabled: true, output: . }\n");
    let mut command = Command::new(program("ending"));
    command.arg("exit-main").arg(config);
    // SAFETY: between fork and exec it only makes a system call, with a value that is on its stack.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 512, rlim_max: 512 };
            if libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
    let ended = Process::start(&mut command).end();
    assert_eq!(ended.code(), 3, "{}", ended.stderr);
    let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.filter(|name| name.ends_with(".part")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_profile_writer_may_call_exit() {
    let folder = Folder::new("exit-in-logger");
    let config = folder.write("own.yaml", "name: subject\nprofile: { enabled: true, output: . }\n");
    let mut command = Command::new(program("ending"));
    let ended = Process::start(command.arg("exit-in-logger").arg(config)).end();
    assert_eq!(ended.code(), 3, "{}", ended.stderr);
    // An exit that waits for its own thread waits for thirty seconds.
    assert!(ended.took < Duration::from_secs(30), "it took {:?}", ended.took);
    assert_profile(&folder, &ended);
}

#[test]
fn exit_130_after_sigint_dies_of_sigint() {
    let folder = Folder::new("exit-interrupted");
    let mut process = start(&program("ending"), "exit-interrupted", &folder);
    process.wait_for("ready").signal(libc::SIGINT);
    let ended = process.end();
    assert_eq!(ended.status.signal(), Some(libc::SIGINT), "{}", ended.stderr);
    assert_profile(&folder, &ended);
    assert!(folder.read("app.log").contains("exit was called on main"));
}

#[test]
fn an_aborting_panic_leaves_report_profile_and_log() {
    let cases = [("panic", "main/worker", "told to fail"), ("panic-outside", "other/plain", "told to fail")];
    for (scenario, path, text) in cases {
        let folder = Folder::new(scenario);
        let ended = start(&aborting_program("ending"), scenario, &folder).end();
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
        let report = &ended.stderr;
        assert!(report.contains("selvedge: a panic aborts the process\n"), "{report}");
        assert!(report.contains(&format!("{path} panicked at tests/programs/ending.rs:")), "{report}");
        assert!(report.contains("at programs::ending::fail") || report.contains("at ending::fail"), "{report}");
        assert_eq!(report.matches(text).count(), 1, "told once: {report}");
        assert_profile(&folder, &ended);
        assert!(folder.read("app.log").contains("INFO main has worked"));
    }
}

#[test]
fn a_second_panic_leaves_the_same_too() {
    let folder = Folder::new("double-panic");
    let ended = start(&program("ending"), "double-panic", &folder).end();
    assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
    let report = &ended.stderr;
    let after = report.find("selvedge: a panic aborts the process\n").expect(report);
    for text in ["told to fail", "the second", "spawned by main at tests/programs/ending.rs:"] {
        assert!(report[after..].contains(text), "\"{text}\": {report}");
    }
    assert_profile(&folder, &ended);
}
