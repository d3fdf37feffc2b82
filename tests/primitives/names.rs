//! Names come from anywhere: whatever is in them, each stands on its line of a dump, a wait or a
//! report.

use crate::support::{until, until_waiting};
use selvedge::{Lock, Signal, spawn};
use std::sync::Arc;

/// The text of a dump, once `is_shown` holds for it. A dump leaves out what it cannot read in a moment.
fn dump_once(is_shown: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    until("the dump shows it", || {
        text = selvedge::dump().to_string();
        is_shown(&text)
    });
    text
}

#[test]
fn names_forge_no_line_of_a_dump() {
    const FORGED: &str = "x\nmain/fake, running\r\u{85}\u{2028}\u{202e}\u{1b}[2J";
    let gate = Signal::new(FORGED);
    let opens = gate.clone();
    let waiter = [spawn(FORGED, move |_| {
        let _context = selvedge::context(FORGED, FORGED);
        gate.wait_for_go();
    })];
    until_waiting("signal", &waiter);
    waiter[0].thread().stop_because(FORGED);
    let count = |dump: &str| dump.matches("\\nmain/fake, running").count();
    let dump = dump_once(|dump| count(dump) >= 4);
    let wait = waiter[0].thread().waiting_for().unwrap().to_string();
    opens.go();
    let [waiter] = waiter;
    waiter.join().unwrap();
    let is_odd = |c: char| c != '\n' && (c.is_control() || "\u{2028}\u{202e}".contains(c));
    assert!(!dump.contains(is_odd) && !wait.contains(is_odd) && !wait.contains('\n'), "{dump}\n{wait}");
    assert!(!dump.lines().any(|line| line.starts_with("main/fake")), "{dump}");
    assert_eq!(count(&dump), 4, "wait, context twice, reason: {dump}");
}

#[test]
fn a_holder_outside_of_the_tree_forges_no_line() {
    let lock = Arc::new(Lock::new("cache", 0));
    let (held, let_go) = (Signal::new("held"), Signal::new("let go"));
    let holder = std::thread::Builder::new().name("x\nmain/fake, running".into());
    let holder = {
        let (lock, held, let_go) = (lock.clone(), held.clone(), let_go.clone());
        holder.spawn(move || {
            let _guard = lock.lock();
            held.go();
            let_go.wait_for_go();
        })
    };
    held.wait_for_go();
    let waiter = [spawn("waiter", move |_| drop(lock.lock()))];
    until_waiting("lock", &waiter);
    // The system keeps 15 bytes of the name.
    let text = dump_once(|text| text.lines().any(|line| line.starts_with("other/x_main:fake, ru, ")));
    let wait = waiter[0].thread().waiting_for().unwrap().to_string();
    let_go.go();
    holder.unwrap().join().unwrap();
    let [waiter] = waiter;
    waiter.join().unwrap();
    assert!(wait.contains("held by other/x_main:fake, running since "), "{wait}");
    assert!(!text.lines().any(|line| line.starts_with("main/fake")), "{text}");
}
