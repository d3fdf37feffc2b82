//! Threads that wait for each other, and waits that no thread can end, are reported once, with all
//! that is known of them; what can still end is not.
#![cfg(target_os = "linux")]

use crate::support::{ALARM, Folder, program, run};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Many times the time after which a search comes.
const SEARCHES: Duration = Duration::from_millis(1000);

struct Hanging(Child);

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(scenario: &str, folder: &Folder) -> Command {
    let mut command = Command::new(program("deadlock"));
    command.arg(scenario).arg(folder.config("deadlocks: { after: 100ms }"));
    command
}

/// The records of all that is found in this program, which hangs: each with its lines.
fn found(scenario: &str, count: usize) -> Vec<String> {
    let folder = Folder::new(&format!("deadlock-{scenario}"));
    let mut command = command(scenario, &folder);
    let _hanging = Hanging(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    let deadline = Instant::now() + ALARM;
    while reports(&folder).len() < count {
        assert!(Instant::now() < deadline, "{scenario}: {}", folder.read("app.log"));
        std::thread::sleep(Duration::from_millis(10));
    }
    // Many more searches find the same.
    std::thread::sleep(SEARCHES);
    let reports = reports(&folder);
    assert_eq!(reports.len(), count, "{reports:#?}");
    reports
}

fn reports(folder: &Folder) -> Vec<String> {
    let log = std::fs::read_to_string(folder.path().join("app.log")).unwrap_or_default();
    let mut records: Vec<String> = Vec::new();
    for line in log.lines() {
        match records.last_mut() {
            Some(record) if line.starts_with("  ") => record.extend(["\n", line]),
            _ => records.push(line.to_owned()),
        }
    }
    records.retain(|record| record.contains(" main/selvedge/watcher "));
    records
}

fn line<'a>(report: &'a str, begin: &str) -> &'a str {
    let found = report.lines().find(|line| line.trim_start().starts_with(begin));
    found.unwrap_or_else(|| panic!("no line begins with {begin}: {report}"))
}

#[test]
fn two_threads_with_each_others_locks() {
    let stacks = if cfg!(feature = "profiling") { 2 } else { 0 };
    let count = |report: &str| {
        report.lines().filter(|line| line.starts_with("    at ") && line.contains("locks_called")).count()
    };
    // On a busy machine a thread may not answer in time, and its stack is missing.
    let report = (0..5).map(|_| found("locks", 1).remove(0)).find(|report| count(report) == stacks);
    let report = &report.expect("each with its stack");
    assert!(report.starts_with("ERROR main/selvedge/watcher deadlock: 2 threads wait for each other\n"), "{report}");
    let ada = line(report, "main/ada is waiting ");
    assert!(ada.contains(" for lock \"right\" at tests/programs/deadlock.rs:"), "{ada}");
    assert!(ada.contains(", held by main/bob since tests/programs/deadlock.rs:"), "{ada}");
    let bob = line(report, "main/bob is waiting ");
    assert!(bob.contains(" for lock \"left\" at ") && bob.contains(", held by main/ada since "), "{bob}");
    assert_eq!(report.lines().filter(|line| line.contains(" is waiting ")).count(), 2, "{report}");
    // The place where it was taken is above that where the other is waited for.
    let number = |text: &str| {
        text.split("deadlock.rs:")
            .map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("").parse().unwrap_or(0))
            .collect::<Vec<u32>>()
    };
    assert_eq!(number(ada)[1], number(ada)[2] + 2, "{ada}");
}

#[test]
fn each_deadlock_is_reported_by_itself() {
    let reports = found("two", 2);
    // In either order: a search leaves out a thread that it cannot read in a moment.
    let count = |lock: &str, other: &str| {
        reports.iter().filter(|report| report.contains(lock) && !report.contains(other)).count()
    };
    assert_eq!((count("\"first\"", "\"third\""), count("\"third\"", "\"first\"")), (1, 1), "{reports:#?}");
}

#[test]
fn a_circle_is_reported_with_threads_behind_it() {
    let reports = found("three-kinds", 1);
    let report = &reports[0];
    assert!(report.contains("ERROR main/selvedge/watcher deadlock: 3 threads wait for each other\n"), "{report}");
    assert!(line(report, "main/ada is ").contains("for monitor \"stock\""), "{report}");
    assert!(line(report, "main/bob is ").contains("for thread \"main/eve\""), "{report}");
    assert!(line(report, "main/eve is ").contains("for lock \"ledger\""), "{report}");
    // dan comes later, perhaps after the report.
    assert!(!report.contains("main/dan is") || line(report, "and behind them main/dan is ").contains("\"ledger\""));
}

#[test]
fn a_parent_ends_holding_its_childs_lock() {
    let reports = found("parents-end", 1);
    let report = &reports[0];
    assert!(report.contains("ERROR main/selvedge/watcher deadlock: 2 threads wait for each other\n"), "{report}");
    assert!(line(report, "main is ").contains("for thread \"main/clerk\""), "{report}");
    assert!(line(report, "main/clerk is ").contains("for lock \"ledger\""), "{report}");
}

#[test]
fn a_turn_awaiting_the_next_is_probable() {
    let reports = found("turn", 1);
    let report = &reports[0];
    assert!(
        report.contains("WARN main/selvedge/watcher probable deadlock: 2 threads wait for each other\n"),
        "{report}"
    );
    assert!(line(report, "main/bob is ").contains("for turn \"frames #1\""), "{report}");
    assert!(line(report, "unless ").contains("passed on"), "{report}");
}

#[test]
fn two_full_queues_are_probable() {
    let reports = found("full-queues", 1);
    let report = &reports[0];
    assert!(
        report.contains("WARN main/selvedge/watcher probable deadlock: 2 threads wait for each other\n"),
        "{report}"
    );
    assert!(line(report, "main/ada is ").contains("for room in queue \"there\""), "{report}");
    assert!(line(report, "main/bob is ").contains("for room in queue \"back\""), "{report}");
    assert!(line(report, "unless ").contains("other threads take from"), "{report}");
}

#[test]
fn a_lock_whose_holder_has_ended() {
    let reports = found("holder-ended", 1);
    let report = &reports[0];
    assert!(
        report
            .contains("ERROR main/selvedge/watcher deadlock: what is waited for is held by a thread that has ended\n")
    );
    let waiter = line(report, "main/waiter is ");
    assert!(waiter.contains("held by a thread that has ended since tests/programs/deadlock.rs:"), "{report}");
}

#[test]
fn a_wait_that_nobody_can_end() {
    for (scenario, what) in [
        ("signal", "main is waiting .* for signal \"unowned\""),
        ("composite", "main is waiting .* for signal \"(this | that)\""),
        ("pop", "main is waiting .* for queue \"jobs\""),
        ("add", "main is waiting .* for room in queue \"jobs\""),
        ("promise", "main is waiting .* for promise \"answer\""),
    ] {
        let reports = found(scenario, 1);
        let report = &reports[0];
        let begin =
            "ERROR main/selvedge/watcher wait without end: no other thread has a handle to what is waited for\n";
        assert!(report.starts_with(begin), "{report}");
        let (begin, end) = what.split_once(".*").unwrap();
        assert!(line(report, begin).ends_with(end), "{scenario}: {report}");
    }
}

#[test]
fn all_who_have_a_handle_wait() {
    let reports = found("both-wait", 1);
    line(&reports[0], "main is waiting ");
    line(&reports[0], "main/waiter is waiting ");
}

#[test]
fn what_can_still_end_is_not_reported() {
    ["endable", "never", "lent", "lent-by-std", "lent-in-pool"].into_iter().for_each(nothing_is_found);
}

#[test]
fn a_lock_that_a_destructor_holds_is_no_deadlock() {
    nothing_is_found("held-at-the-end");
}

fn nothing_is_found(scenario: &str) {
    let folder = Folder::new(&format!("no-deadlock-{scenario}"));
    let ended = run(&mut command(scenario, &folder));
    assert_eq!(ended.code(), 0, "{scenario}: {}", ended.stderr);
    assert_eq!(reports(&folder), Vec::<String>::new(), "{scenario}");
}

#[test]
fn a_dump_ends_with_what_was_found() {
    let folder = Folder::new("deadlock-dump");
    let ended = run(&mut command("dump", &folder));
    let (text, json) = ended.stdout.split_once("\nJSON\n").unwrap_or_else(|| panic!("{}", ended.stderr));
    let found = text.split_once("\ndeadlock: 2 threads wait for each other\n").unwrap_or_else(|| panic!("{text}")).1;
    line(found, "main/ada is waiting ");
    line(found, "main/bob is waiting ");
    // Each once: that one is certain, and this one is not.
    assert_eq!(found.matches("deadlock: ").count(), 1, "{found}");
    let probable =
        found.split_once("\nprobable deadlock: 2 threads wait for each other\n").unwrap_or_else(|| panic!("{text}")).1;
    line(probable, "main/eve is waiting ");
    line(probable, "main/dan is waiting ");
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["deadlocks"].as_array().map(Vec::len), Some(2));
    let deadlock = &json["deadlocks"][0];
    assert_eq!((&deadlock["kind"], &deadlock["unless"]), (&"circle".into(), &serde_json::Value::Null));
    let threads = json["threads"].as_array().unwrap();
    let path =
        |id: &serde_json::Value| threads.iter().find(|thread| thread["id"] == *id).unwrap()["path"].as_str().unwrap();
    let mut paths: Vec<_> = deadlock["threads"].as_array().unwrap().iter().map(path).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["main/ada", "main/bob"]);
}
