//! Without the feature `log4rs` the log is the program's own: records of the runtime reach it
//! through the facade, and what only log4rs can follow is refused with its place.
#![cfg(not(feature = "log4rs"))]

#[path = "support/mod.rs"]
mod support;

use log::LevelFilter;
use selvedge::{Config, Runtime, Signal};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use support::{Folder, Process, in_own_process};

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {
        LOGGED.lock().unwrap().push("flushed".to_owned());
    }
}

fn logged(part: &str) -> bool {
    LOGGED.lock().unwrap().iter().any(|line| line.contains(part))
}

#[test]
fn records_reach_the_programs_logger_from_the_level_on() {
    if in_own_process(module_path!(), "records_reach_the_programs_logger_from_the_level_on") {
        return;
    }
    log::set_logger(&Capture).unwrap();
    let folder = Folder::new("facade-level");
    let config = folder.write("selvedge.yaml", "name: facade\nlog: { level: debug }\n");
    let runtime = Runtime::start(config).unwrap();
    log::debug!("a debug");
    log::trace!("a trace");
    runtime.shutdown().unwrap();
    assert!(logged("DEBUG a debug") && !logged("a trace"), "{LOGGED:?}");
    assert!(logged("INFO facade has started; its log goes where the program's own logger writes it"), "{LOGGED:?}");
    assert!(logged("INFO facade has ended") && logged("flushed"), "{LOGGED:?}");
    // A setter goes before the file.
    Runtime::start(Config::new("quiet").log_level(LevelFilter::Error)).unwrap().shutdown().unwrap();
    assert!(!logged("quiet has started"), "{LOGGED:?}");
}

#[test]
fn each_word_of_the_yaml_starts_and_says_nothing() {
    const CHILD: &str = "SELVEDGE_TEST_CONFIG";
    if let Ok(config) = std::env::var(CHILD) {
        let ended = selvedge::run(config.as_str(), |_: &Signal| {
            log::error!("there is no logger");
            Ok::<(), String>(())
        });
        assert_eq!(format!("{ended:?}"), format!("{:?}", ExitCode::SUCCESS));
        return;
    }
    let folder = Folder::new("facade-words");
    for log in ["", "log: own", "log: off", "log: { level: trace }", "log: {}"] {
        let config = folder.write("selvedge.yaml", log);
        let ended = run_this("each_word_of_the_yaml_starts_and_says_nothing", CHILD, &config);
        assert!(ended.status.success() && ended.stderr.is_empty(), "{log}: {}\n{}", ended.status, ended.stderr);
    }
}

#[test]
fn what_only_log4rs_can_follow_is_refused_with_its_line() {
    const CHILD: &str = "SELVEDGE_TEST_REFUSED";
    if let Ok(config) = std::env::var(CHILD) {
        let ended = selvedge::run(config.as_str(), |_: &Signal| Ok::<(), String>(()));
        assert_eq!(format!("{ended:?}"), format!("{:?}", ExitCode::from(78)));
        return;
    }
    let folder = Folder::new("facade-refused");
    // Whether the file is there makes no difference.
    folder.write("log4rs.yaml", "root: { level: off }\n");
    for (log, key) in [
        ("log: log4rs.yaml", "log"),
        ("log: missing.yaml", "log"),
        ("log: { file: log4rs.yaml, level: debug }", "log.file"),
        ("log: { queued: false }", "log.queued"),
        ("log: { capacity: 5 }", "log.capacity"),
        ("log: { overflow: block }", "log.overflow"),
        ("log: { tail: 5 }", "log.tail"),
    ] {
        let config = folder.write("selvedge.yaml", &format!("name: refused\n{log}\n"));
        let error = Config::from(config.as_path()).check().unwrap_err();
        assert_eq!((error.line(), error.key(), error.is_config()), (Some(2), Some(key), true), "{error}");
        let ended = run_this("what_only_log4rs_can_follow_is_refused_with_its_line", CHILD, &config);
        let expected = format!("selvedge.yaml:2: {key}: needs selvedge's feature `log4rs`");
        let advice = "enable the feature in Cargo.toml, or write `log: own`";
        assert!(ended.status.success(), "{log}: {}\n{}", ended.status, ended.stdout);
        assert!(ended.stderr.contains(&expected) && ended.stderr.contains(advice), "{log}: {}", ended.stderr);
    }
}

/// The test of this name in a process of its own, which finds the configuration in `variable`.
fn run_this(test: &str, variable: &str, config: &std::path::Path) -> support::Ended {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=2"]).env(variable, config);
    Process::start(&mut command).end_within(support::ALARM)
}
