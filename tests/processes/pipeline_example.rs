//! The fifth example is a slow pipeline: the tables at its end name the culprit first, and after
//! the cure something else.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::support::{Folder, program, run, undisturbed};
use std::process::Command;

const CONFIG: &str = "\
name: pipeline
log: { level: info }
profile: { enabled: true, clock: wall, frequency: 250, accounts: true, output: profiles, formats: [svg, waits, blame] }
";

/// The lines of its log.
fn log_of(arguments: &[&str]) -> String {
    let folder = Folder::new("pipeline-example");
    let config = folder.write("config.yaml", CONFIG);
    let mut command = Command::new(program("05_pipeline"));
    command.args(arguments).arg("--config").arg(config).current_dir(folder.path());
    let ended = run(&mut command);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    for picture in ["pipeline.svg", "pipeline.waits.svg", "pipeline.blame.svg"] {
        assert!(folder.path().join("profiles").join(picture).exists(), "{picture}");
    }
    ended.stderr.clone()
}

/// The first lines of a table, below the line with its columns. What threads were kept from a
/// processor on a busy machine is no part of the pipeline.
fn rows<'a>(log: &'a str, columns: &str) -> Vec<&'a str> {
    let table = log.lines().skip_while(|line| !line.contains(columns)).skip(1);
    table.take_while(|line| line.contains('%')).filter(|line| !line.contains("runnable")).collect()
}

/// The first of them.
fn first_row<'a>(log: &'a str, columns: &str) -> &'a str {
    rows(log, columns).first().copied().unwrap_or_else(|| panic!("{columns}: {log}"))
}

// Threads that are kept from a processor may change the order. So an order is one of one run among five.

#[test]
fn the_tables_of_the_pipeline_name_the_culprit_first() {
    let all = ["at least, if", "while other threads waited"];
    let names_it = |log: &String| all.iter().all(|columns| first_row(log, columns).contains("ask_rate"));
    let log = undisturbed(|| log_of(&[]), |log| !names_it(log));
    assert!(names_it(&log), "{log}");
    // The longest waits are symptoms.
    assert!(log.contains("main/heartbeat") && log.contains("for lock \"rates\""), "{log}");
}

#[test]
fn the_tables_of_the_cured_pipeline_name_what_is_left() {
    // `parse`, or on a busy machine `write`, whose many short sleeps become long there.
    let is_other = |log: &String| {
        let first = first_row(log, "at least, if");
        first.contains("_05_pipeline::") && !first.contains("ask_rate")
    };
    let log = undisturbed(|| log_of(&["--cured"]), |log| !is_other(log));
    assert!(is_other(&log), "{log}");
}
