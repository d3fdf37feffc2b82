//! The context of a thread: one map for the log, dumps and failure reports, restored and inherited.

use crate::support::until;
use selvedge::{Signal, context, dump, mdc, register, spawn};

/// The lines of the thread in a dump, as far as its stack.
fn entry(path: &str) -> String {
    let text = dump().to_string();
    let lines = text.lines().skip_while(|line| !line.starts_with(&format!("{path}, ")));
    // Another thread's entry follows behind an empty line.
    lines.take_while(|line| !line.is_empty()).take(4).collect::<Vec<_>>().join("\n")
}

/// The entry of the thread, once `is_shown` holds for it. A dump leaves out what it cannot read in a moment.
fn entry_once(path: &str, is_shown: impl Fn(&str) -> bool) -> String {
    let mut found = String::new();
    until(&format!("the dump shows {path}"), || {
        found = entry(path);
        is_shown(&found)
    });
    found
}

/// Returns once the entry of the thread in a dump has this text.
fn until_shown(path: &str, text: &str) {
    entry_once(path, |entry| entry.contains(text));
}

fn assert_no_context(path: &str) {
    let entry = entry_once(path, |entry| !entry.is_empty());
    assert!(!entry.contains("context:"), "{entry}");
}

#[test]
fn the_context_and_the_mdc_are_one_map() {
    let user = context("user", "ann");
    assert_eq!(mdc::get("user").as_deref(), Some("ann"));
    assert_eq!(log_mdc::get("user", |value| value.map(str::to_owned)).as_deref(), Some("ann"));
    mdc::insert("user", "ben");
    {
        let _inner = context("user", "cleo");
        assert_eq!(mdc::get("user").as_deref(), Some("cleo"));
    }
    assert_eq!(mdc::get("user").as_deref(), Some("ben"));
    drop(user);
    assert_eq!(mdc::get("user"), None);
}

#[test]
fn dumps_show_the_present_context() {
    let _named = register("shown-in-dumps");
    let path = selvedge::Thread::current().path().to_owned();
    assert_no_context(&path);
    let user = context("user", "ann");
    let request = context("request", "line\nbreak");
    until_shown(&path, r"    context: request=line\nbreak, user=ann");
    let expected = serde_json::json!({ "request": "line\nbreak", "user": "ann" });
    until("the dump as JSON shows it", || {
        let json: serde_json::Value = serde_json::from_str(&dump().to_json()).unwrap();
        let threads = json["threads"].as_array().unwrap();
        threads.iter().any(|thread| thread["path"] == *path && thread["context"] == expected)
    });
    drop(request);
    until_shown(&path, "    context: user=ann");
    mdc::clear();
    assert_no_context(&path);
    drop(user);
}

#[test]
fn threads_inherit_the_context_of_the_thread_that_spawns_them() {
    let _named = register("parent-of-contexts");
    let go = Signal::new("go");
    let guard = context("request", "17");
    let child = spawn("child", {
        let go = go.clone();
        move |_| {
            let grandchild = spawn("grandchild", {
                let go = go.clone();
                move |_| go.wait_for_go()
            });
            let _own = context("request", "18");
            go.wait_for_go();
            grandchild.join().unwrap();
        }
    });
    drop(guard);
    let path = child.thread().path().to_owned();
    until_shown(&path, "context: request=18");
    let grandchild = format!("{path}/grandchild");
    until_shown(&grandchild, "context: request=17");
    go.go();
    child.join().unwrap();
}

#[test]
fn the_context_stays_where_a_thread_gets_another_name() {
    let _first = register("first-name");
    let first = selvedge::Thread::current().path().to_owned();
    let _request = context("request", "17");
    {
        let _second = register("second-name");
        let second = selvedge::Thread::current().path().to_owned();
        until_shown(&second, "context: request=17");
        mdc::insert("request", "18");
    }
    until_shown(&first, "context: request=18");
}

#[test]
fn the_report_of_a_failure_has_the_context() {
    let failing = spawn("failing-in-a-context", |_| {
        let _request = context("request", "17");
        panic!("on purpose");
    });
    let failure: selvedge::Failure = failing.join().unwrap_err();
    assert_eq!(failure.context(), [("request".to_owned(), "17".to_owned())]);
}
