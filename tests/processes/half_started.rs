//! A runtime that could not start leaves no thread behind, and the next one can.
#![cfg(all(feature = "profiling", unix))]

use selvedge::{Config, Runtime, profile};

#[test]
fn what_was_started_before_the_fault_is_stopped() {
    if crate::support::in_own_process(module_path!(), "what_was_started_before_the_fault_is_stopped") {
        return;
    }
    // One recording at a time, and the runtime would make one: its log has a thread by then.
    let recording = profile::start(profile::Options::default()).unwrap();
    let refused = Runtime::start(Config::new("first").log_queued(true).profile_enabled(true));
    assert!(refused.is_err_and(|error| error.is_already_running()));
    drop(recording.finish());

    let runtime = Runtime::start(Config::new("second").log_queued(true)).unwrap();
    let dump = selvedge::dump().to_string();
    assert_eq!(dump.matches("main/selvedge/log-writer, ").count(), 1, "{dump}");
    runtime.shutdown().unwrap();
}
