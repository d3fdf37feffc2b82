//! The commands against a running program that uses the library.

mod support;

use std::process::{Command, Output};
use support::watched::{Watched, until};
use support::{Folder, PROFILE, expect, packed, selvedge, stderr, stdout};

fn signal(watched: &Watched, name: &str) {
    let pid = watched.child.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

#[track_caller]
fn holds(output: &Output, texts: &[&str]) {
    expect(output, 0);
    let told = stdout(output);
    for text in texts {
        assert!(told.contains(text), "{text} is missing: {told}");
    }
}

#[test]
fn ps_and_dump_tell_what_is_wrong() {
    let mut watched = Watched::start();
    watched.say("stop");
    until("the deadlock and the stop are told", || {
        let told = stdout(&watched.selvedge(&["ps"]));
        told.contains("deadlock: 2 threads wait for each other") && told.contains("after it was asked to stop")
    });
    let output = watched.selvedge(&["ps"]);
    holds(
        &output,
        &[
            "watched (pid ",
            "\"everyone\" is no address",
            "waits for lock \"savings\", held by main/withdrawals",
            "reader-* ×5",
            "5 wait for their please_stop",
            "asked to stop",
            "(the test wants it)",
            "<img id=markup src=x>",
            "größe 名前",
            "files: 3 of 3",
            "wait for room: main/walker",
        ],
    );
    assert_eq!(stderr(&output), "");
    holds(&watched.selvedge(&["ps", "--all"]), &["reader-3"]);
    // A thread that gets no processor is in a dump without its stack.
    until("a stack is in a dump", || {
        let output = watched.selvedge(&["dump"]);
        holds(&output, &["main/deposits"]);
        stdout(&output).contains("watched::deadlock")
    });
    let json: serde_json::Value = serde_json::from_str(&stdout(&watched.selvedge(&["dump", "--json"]))).unwrap();
    assert!(json["threads"].as_array().unwrap().len() > 10);
}

/// The share of `work` and what it calls in the later file, in a table of `diff`.
fn share_of_work(table: &str) -> f64 {
    let line = table.lines().find(|line| line.ends_with("watched::work")).expect(table);
    line.split_whitespace().nth(8).unwrap().parse().unwrap()
}

#[test]
fn record_writes_files_that_diff_reads() {
    let watched = Watched::start();
    let folder = Folder::new();
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    for name in ["a.folded", "b.pb.gz", "c.svg", "wall.folded"] {
        let clock = if name.starts_with("wall") { "wall" } else { "cpu" };
        let output = watched.selvedge(&["record", "--seconds", "1", "--clock", clock, "-o", &path(name)]);
        expect(&output, 0);
    }
    let read = |name: &str| std::fs::read(path(name)).unwrap();
    for name in ["d.json", "e.json.gz"] {
        expect(&watched.selvedge(&["record", "--seconds", "1", "-o", &path(name)]), 0);
    }
    let text: serde_json::Value = serde_json::from_slice(&read("d.json")).unwrap();
    let unpacked: serde_json::Value =
        serde_json::from_reader(flate2::read::GzDecoder::new(&read("e.json.gz")[..])).unwrap();
    for timeline in [text, unpacked] {
        let threads = timeline["threads"].as_array().unwrap();
        let reader = threads.iter().find(|thread| thread["name"] == "main/readers/reader-1").unwrap();
        assert_ne!(reader["markers"]["length"], 0, "it waits");
    }
    let folded = String::from_utf8(read("a.folded")).unwrap();
    assert!(folded.lines().any(|line| line.starts_with("main;deaf;") && line.contains("watched::work")), "{folded}");
    assert!(String::from_utf8(read("c.svg")).unwrap().contains("</svg>"));
    let wall = String::from_utf8(read("wall.folded")).unwrap();
    assert!(wall.lines().any(|line| line.starts_with("main;readers;reader-1;")), "{wall}");
    // Each kind of file tells the same functions and threads.
    std::fs::write(path("none.folded"), "main;nothing 1\n").unwrap();
    std::fs::write(path("none.pb.gz"), packed(PROFILE)).unwrap();
    for (none, name) in [("none.folded", "a.folded"), ("none.pb.gz", "b.pb.gz")] {
        let output = selvedge(&["diff", &path(none), &path(name), "--top", "1000"]);
        holds(&output, &["main", "deaf", "watched::work"]);
        // The rest is what the program does to answer.
        assert!(share_of_work(&stdout(&output)) > 10.0, "{name}: {}", stdout(&output));
    }
}

#[test]
fn a_halted_program_is_told_with_what_to_do() {
    let watched = Watched::start();
    signal(&watched, "-STOP");
    let output = watched.selvedge_once(&["ps"]);
    expect(&output, 4);
    assert!(stderr(&output).contains("kill -CONT"), "{}", stderr(&output));
    signal(&watched, "-CONT");
    until("it answers again", || watched.selvedge(&["ps"]).status.success());
}

#[test]
fn a_killed_program_is_not_found() {
    let mut watched = Watched::start();
    watched.kill();
    expect(&watched.selvedge(&["ps"]), 3);
}

#[test]
fn doctor_looks_into_a_program() {
    let watched = Watched::start();
    let output = watched.selvedge(&["doctor", &watched.child.id().to_string()]);
    let told = stdout(&output);
    assert!(told.contains("socket: watched answers at"), "{told}");
    assert!(told.contains("debug information:") && told.contains("has it"), "{told}");
}
