//! The example of an outage: what the runtime prints names the deadlock, the panic and the thread
//! that does not stop, each with its place in the code.
#![cfg(all(feature = "profiling", target_os = "linux"))]

use crate::support::{Ended, program, run, undisturbed};
use std::path::Path;
use std::process::Command;

#[test]
fn the_three_culprits_are_named_with_their_places() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let once = || run(Command::new(program("03_outage")).current_dir(root));
    // A thread that gets no processor cannot tell its stack. The dump says so.
    let is_silent = |text: &str| text.contains("no processor") || text.contains("stacks were not found in time");
    let ended = undisturbed(once, |ended: &Ended| is_silent(&ended.stderr));
    assert_eq!(ended.code(), 70, "{}", ended.stderr);
    let text = &ended.stderr;
    let line_with = |parts: &[&str]| {
        let found = text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "no line with {parts:?} in:\n{text}");
    };
    line_with(&["main/selvedge/watcher", "deadlock: 2 threads wait for each other"]);
    let place = "at examples/03_outage.rs:";
    line_with(&["main/deposits is waiting", "for lock \"savings\"", place, "held by main/withdrawals since", place]);
    line_with(&["main/withdrawals is waiting", "for lock \"checking\"", place, "held by main/deposits since", place]);
    line_with(&["main/mailer panicked at examples/03_outage.rs:", "\"everyone\" is no address"]);
    line_with(&["selvedge: main/reindexer does not stop, and shutdown.on_stuck is abort"]);
    line_with(&["main/reindexer, running"]);
    line_with(&["_03_outage::reindex"]);
    // The failure that no thread has joined yet is told before it is too late.
    line_with(&["main/mailer", "panicked"]);

    let picture = std::fs::read_to_string(root.join("flamegraphs/outage.shutdown.svg")).expect("drawn");
    for part in ["reindex", "[waiting for lock &quot;savings&quot;]", "[held by main/withdrawals]", "Bank::withdraw"] {
        assert!(picture.contains(part), "no {part} in the picture");
    }
}
