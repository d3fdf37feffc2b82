//! What can only be seen from inside: that the tree forgets, and that backtraces are trimmed.

use super::*;
use std::time::{Duration, Instant};

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn threads_that_nobody_asks_about_leave_the_tree_when_they_end() {
    let parent = Builder::new("forgetful").spawn(|please_stop| please_stop.wait_for_go()).unwrap();
    for _ in 0..50 {
        drop(Builder::new("short").parent(parent.thread()).spawn(|_| ()).unwrap());
    }
    until("ended children are still listed", || parent.thread().children().is_empty());
    let kept = Builder::new("kept").parent(parent.thread()).spawn(|_| 7).unwrap();
    assert!(kept.thread().stopped().wait_for_go_timeout(Duration::from_secs(20)));
    assert_eq!(parent.thread().children().len(), 1, "a child whose handle is held can still be joined");
    assert_eq!(kept.join().unwrap(), 7);
    assert!(parent.thread().children().is_empty());
    parent.stop();
    parent.join().unwrap();
}

#[test]
fn a_report_has_colours_if_asked_and_shows_control_characters() {
    let failure = spawn("painter", |_| panic!("red \x1b[31m and\tblack\u{7}")).join().unwrap_err();
    let plain = failure.report(false).to_string();
    assert!(plain.contains("red \\u{1b}[31m and\tblack\\u{7}"), "{plain}");
    assert!(!plain.contains('\x1b'), "{plain}");
    let coloured = failure.report(true).to_string();
    assert!(coloured.starts_with("\x1b[1m") && coloured.contains("\x1b[31m panicked at "), "{coloured}");
    let mut stripped = coloured;
    for code in ["\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m"] {
        stripped = stripped.replace(code, "");
    }
    assert_eq!(stripped, plain, "colours change nothing else");
}

#[test]
fn a_backtrace_is_trimmed_to_the_own_frames() {
    #[inline(never)]
    fn unlucky() {
        panic!("on purpose");
    }
    let failure = spawn("tracer", |_| unlucky()).join().unwrap_err();
    let lines = panic::own_frames(failure.backtrace().unwrap());
    assert!(lines[0].contains("unlucky"), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("panicking") || line.contains("short_backtrace")), "{lines:#?}");
    assert!(lines.len() <= 6, "{lines:#?}");
}
