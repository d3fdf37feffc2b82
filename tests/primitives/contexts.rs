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
    assert!(!entry(&path).contains("context:"), "{}", entry(&path));
    let user = context("user", "ann");
    let request = context("request", "line\nbreak");
    assert!(entry(&path).contains(r"    context: request=line\nbreak, user=ann"), "{}", entry(&path));
    let json: serde_json::Value = serde_json::from_str(&dump().to_json()).unwrap();
    let threads = json["threads"].as_array().unwrap();
    let thread = threads.iter().find(|thread| thread["path"] == *path).unwrap();
    assert_eq!(thread["context"], serde_json::json!({ "request": "line\nbreak", "user": "ann" }));
    drop(request);
    assert!(entry(&path).contains("    context: user=ann"), "{}", entry(&path));
    mdc::clear();
    assert!(!entry(&path).contains("context:"), "{}", entry(&path));
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
    until("the dump shows it", || entry(&path).contains("context: request=18"));
    let grandchild = format!("{path}/grandchild");
    until("the dump shows it", || entry(&grandchild).contains("context: request=17"));
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
        assert!(entry(&second).contains("context: request=17"), "{}", entry(&second));
        mdc::insert("request", "18");
    }
    assert!(entry(&first).contains("context: request=18"), "{}", entry(&first));
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
