//! What a log can do while the program runs: other levels, another file, context that is inherited,
//! errors with what led to them, records of `tracing`; and that each record shows what was so when
//! it was made.

use crate::support::until;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::LevelFilter;
use selvedge::{Config, Runtime, logging, spawn};

/// A process has one logger and one runtime: the tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Log {
    folder: PathBuf,
    file: PathBuf,
    yaml: PathBuf,
}

impl Log {
    fn new(test: &str, pattern: &str, more: &str) -> Log {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("live-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let log = Log { file: folder.join("app.log"), yaml: folder.join("log4rs.yaml"), folder };
        log.configure("app.log", pattern, more);
        log
    }

    fn configure(&self, file: &str, pattern: &str, more: &str) {
        let path = self.folder.join(file);
        let text = format!(
            "appenders:\n  out:\n    kind: file\n    path: '{}'\n    append: false\
             \n    encoder: {{ pattern: '{pattern}' }}\n\
             root: {{ level: info, appenders: [out] }}\n{more}\n",
            path.display()
        );
        // Whole at once, for the thread that reads it again.
        let new = self.folder.join("new.yaml");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.yaml).unwrap();
    }

    fn config(&self) -> Config {
        Config::new("live").log_file(&self.yaml)
    }

    fn read(&self) -> String {
        logging::flush();
        fs::read_to_string(&self.file).unwrap()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.folder).unwrap();
        }
    }
}

#[test]
fn a_record_shows_the_state_of_its_call() {
    if crate::support::in_own_process(module_path!(), "a_record_shows_the_state_of_its_call") {
        return;
    }
    let _turn = alone();
    let log = Log::new("true", "{d(%s.%f)(utc)} {T} {I} {X(request)(none)} {K(size)(none)} {m}{n}", "");
    let runtime = Runtime::start(log.config()).unwrap();
    let (id, before, after) = spawn("maker", |_| {
        log_mdc::insert("request", "r-7");
        let before = chrono::Utc::now();
        log::info!(size = 12; "made");
        let after = chrono::Utc::now();
        // Neither of these is what the line shall show.
        log_mdc::insert("request", "r-8");
        (thread_id::get(), before, after)
    })
    .join()
    .unwrap();
    runtime.shutdown().unwrap();
    let text = log.read();
    let line = text.lines().find(|line| line.ends_with(" made")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[1..], ["main/maker", &id.to_string(), "r-7", "12", "made"]);
    let (seconds, nanos) = words[0].split_once('.').unwrap();
    let time = chrono::DateTime::from_timestamp(seconds.parse().unwrap(), nanos.parse().unwrap()).unwrap();
    assert!(before <= time && time <= after, "{before} {time} {after}");
}

#[test]
fn children_begin_with_their_parents_context() {
    if crate::support::in_own_process(module_path!(), "children_begin_with_their_parents_context") {
        return;
    }
    let _turn = alone();
    let log = Log::new("mdc", "{X(request)(none)} {m}{n}", "");
    let runtime = Runtime::start(log.config()).unwrap();
    log_mdc::insert("request", "r-1");
    let child = spawn("child", |_| {
        log::info!("of the child");
        log_mdc::insert("request", "own");
        selvedge::scope(|s| s.spawn("grandchild", |_| log::info!("of the grandchild")).join().unwrap());
    });
    child.join().unwrap();
    log::info!("of main");
    log_mdc::remove("request");
    spawn("later", |_| log::info!("of a later one")).join().unwrap();
    runtime.shutdown().unwrap();
    let text = log.read();
    for line in ["r-1 of the child", "own of the grandchild", "r-1 of main", "none of a later one"] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}

#[test]
fn levels_can_be_set_while_it_runs() {
    if crate::support::in_own_process(module_path!(), "levels_can_be_set_while_it_runs") {
        return;
    }
    let _turn = alone();
    let log = Log::new("levels", "{l} {m}{n}", "");
    let runtime = Runtime::start(log.config()).unwrap();
    let all = |round: u32| {
        log::debug!(target: "a::b", "a::b {round}");
        log::debug!(target: "c", "c {round}");
    };
    all(1);
    logging::set_level("a", LevelFilter::Debug).unwrap();
    all(2);
    logging::set_root_level(LevelFilter::Debug).unwrap();
    all(3);
    logging::set_level("a", LevelFilter::Off).unwrap();
    all(4);
    assert!(logging::set_level(":", LevelFilter::Off).unwrap_err().is_config());
    all(5);
    logging::set_level("c", LevelFilter::Info).unwrap();
    all(6);
    runtime.shutdown().unwrap();
    let text = log.read();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("DEBUG ") && line.len() < 13).collect();
    assert_eq!(lines, ["DEBUG a::b 2", "DEBUG a::b 3", "DEBUG c 3", "DEBUG c 4", "DEBUG c 5"]);
}

#[test]
fn an_error_brings_its_threads_filtered_records() {
    if crate::support::in_own_process(module_path!(), "an_error_brings_its_threads_filtered_records") {
        return;
    }
    let _turn = alone();
    let log = Log::new("tail", "{l} {T} {m}{n}", "");
    let runtime = Runtime::start(log.config().log_tail(3)).unwrap();
    spawn("other", |_| log::debug!("not of this thread")).join().unwrap();
    spawn("worker", |_| {
        for step in 0..10 {
            log::debug!("step {step}");
        }
        log::info!("goes on");
        log::error!("broke");
        log::error!("broke again");
    })
    .join()
    .unwrap();
    runtime.shutdown().unwrap();
    let text = log.read();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("main/worker")).collect();
    assert_eq!(
        lines,
        [
            "INFO main/worker goes on",
            "DEBUG main/worker (tail, DEBUG) step 7",
            "DEBUG main/worker (tail, DEBUG) step 8",
            "DEBUG main/worker (tail, DEBUG) step 9",
            "ERROR main/worker broke",
            "ERROR main/worker broke again",
        ]
    );
    assert!(!text.contains("not of this thread"), "{text}");
}

#[test]
fn a_tail_record_shows_its_own_context() {
    if crate::support::in_own_process(module_path!(), "a_tail_record_shows_its_own_context") {
        return;
    }
    let _turn = alone();
    for queued in [true, false] {
        let log = Log::new(&format!("tail-mdc-{queued}"), "{X(request)(none)} {X(user)(none)} {m}{n}", "");
        let runtime = Runtime::start(log.config().log_queued(queued).log_tail(50)).unwrap();
        spawn("worker", |_| {
            log::debug!("early");
            log_mdc::insert("request", "r-1");
            log_mdc::insert("user", "u-1");
            log::debug!("step");
            log_mdc::remove("user");
            log_mdc::insert("request", "r-2");
            log::error!("broke");
            log::info!("after");
        })
        .join()
        .unwrap();
        runtime.shutdown().unwrap();
        let text = log.read();
        let own = ["early", "step", "broke", "after"];
        let lines: Vec<&str> = text.lines().filter(|line| own.iter().any(|own| line.ends_with(own))).collect();
        assert_eq!(
            lines,
            ["none none (tail, DEBUG) early", "r-1 u-1 (tail, DEBUG) step", "r-2 none broke", "r-2 none after",],
            "queued: {queued}"
        );
    }
}

#[test]
fn reloading_under_load_keeps_good_files() {
    if crate::support::in_own_process(module_path!(), "reloading_under_load_keeps_good_files") {
        return;
    }
    let _turn = alone();
    let rate = "refresh_rate: 20ms";
    let log = Log::new("reload", "a {m}{n}", rate);
    let runtime = Runtime::start(log.config()).unwrap();
    let writers: Vec<_> = (0..3)
        .map(|name| {
            spawn(format!("writer-{name}"), move |please_stop| {
                let mut number = 0_u32;
                while !please_stop.is_go() {
                    log::info!("record {name} {number} end");
                    number += 1;
                }
                number
            })
        })
        .collect();
    let text = |file: &str| fs::read_to_string(log.folder.join(file)).unwrap_or_default();
    until("it runs", || text("app.log").contains("record 2 "));
    log.configure("app.log", "b {m}{n}", rate);
    until("the second pattern is used", || text("app.log").contains("b record 2 "));
    log.configure("app.log", "{oops} {m}{n}", rate);
    until("the broken one is told of", || text("app.log").contains("the changed file is not used"));
    assert!(text("app.log").contains("log4rs.yaml:6: appenders.out.encoder.pattern"), "with its place");
    log.configure("second.log", "c {m}{n}", rate);
    until("the other file is used", || text("second.log").contains("c record 2 "));
    let totals: Vec<u32> = writers
        .into_iter()
        .map(|writer| {
            writer.stop();
            writer.join().unwrap()
        })
        .collect();
    runtime.shutdown().unwrap();
    // `append: false` has not emptied the file that was gone on with, and the order of each thread
    // is kept across all.
    let all = text("app.log") + &text("second.log");
    for (name, total) in totals.iter().enumerate() {
        let part = format!(" record {name} ");
        let numbers: Vec<u32> =
            all.lines().filter_map(|line| line.split_once(&part)?.1.strip_suffix(" end")?.parse().ok()).collect();
        assert_eq!(numbers.len(), *total as usize, "of thread {name}");
        assert!(numbers.iter().enumerate().all(|(at, number)| at as u32 == *number), "thread {name} out of order");
    }
}

#[test]
fn what_tracing_says_is_in_the_log() {
    if crate::support::in_own_process(module_path!(), "what_tracing_says_is_in_the_log") {
        return;
    }
    let _turn = alone();
    let log = Log::new("tracing", "{l} {T} {t} {m}{n}", "");
    let runtime = Runtime::start(log.config()).unwrap();
    spawn("tracer", |_| {
        tracing::warn!(target: "traced", size = 3, "from tracing");
        tracing::debug!("not at this level");
    })
    .join()
    .unwrap();
    runtime.shutdown().unwrap();
    let text = log.read();
    assert!(text.contains("WARN main/tracer traced from tracing size=3\n"), "{text}");
    assert!(!text.contains("not at this level"));
}

#[test]
fn rotation_loses_nothing_under_load() {
    if crate::support::in_own_process(module_path!(), "rotation_loses_nothing_under_load") {
        return;
    }
    let _turn = alone();
    let log = Log::new("rolling", "{m}{n}", "");
    let folder = log.folder.display();
    fs::write(
        &log.yaml,
        format!(
            "appenders:\n  out:\n    kind: rolling_file\n    path: '{folder}/app.log'\
             \n    encoder: {{ pattern: '{{m}}{{n}}' }}\n\
             \x20   policy:\n      trigger: {{ kind: size, limit: 20 kb }}\n\
             \x20     roller: {{ kind: fixed_window, pattern: '{folder}/old.{{}}.log', count: 100 }}\n\
             root: {{ level: info, appenders: [out] }}\n"
        ),
    )
    .unwrap();
    let runtime = Runtime::start(log.config()).unwrap();
    let writers: Vec<_> = (0..4)
        .map(|name| {
            spawn(format!("writer-{name}"), move |_| {
                for number in 0..5_000 {
                    log::info!("record {name} {number} end");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    runtime.shutdown().unwrap();
    let (mut lines, mut files) = (0, 0);
    for entry in fs::read_dir(&log.folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let text = fs::read_to_string(&path).unwrap();
            // The trigger looks after each record: a file is over the limit by its last record at
            // most.
            assert!(text.len() <= 20 * 1024 + 100, "{} has {} bytes", path.display(), text.len());
            lines += text.lines().filter(|line| line.starts_with("record ") && line.ends_with(" end")).count();
            files += 1;
        }
    }
    assert!(files > 10, "{files} files");
    assert_eq!(lines, 20_000);
}

#[test]
fn changing_runtimes_lose_no_record() {
    if crate::support::in_own_process(module_path!(), "changing_runtimes_lose_no_record") {
        return;
    }
    let _turn = alone();
    let log = Log::new("coming", "{m}{n}", "");
    let text = fs::read_to_string(&log.yaml).unwrap().replace("append: false", "append: true");
    fs::write(&log.yaml, text).unwrap();
    // So that there is a logger before the first record.
    Runtime::start(log.config().log_capacity(16)).unwrap().shutdown().unwrap();
    let over = selvedge::Signal::new("over");
    // Not of the tree: no runtime waits for them.
    let loggers: Vec<_> = (0..3)
        .map(|name| {
            let over = over.clone();
            std::thread::spawn(move || {
                let mut number = 0_u32;
                while !over.is_go() {
                    log::info!("record {name} {number} end");
                    number += 1;
                }
                number
            })
        })
        .collect();
    for round in 0..30 {
        // A small queue: some threads always wait for room, or are about to write by themselves.
        let runtime = Runtime::start(log.config().log_capacity(1 + round % 16)).unwrap();
        log::info!("round {round}");
        runtime.shutdown().unwrap();
    }
    over.go();
    let totals: Vec<u32> = loggers.into_iter().map(|logger| logger.join().unwrap()).collect();
    let text = log.read();
    for (name, total) in totals.iter().enumerate() {
        let part = format!("record {name} ");
        let numbers: Vec<u32> =
            text.lines().filter_map(|line| line.strip_prefix(&part)?.strip_suffix(" end")?.parse().ok()).collect();
        assert_eq!(numbers.len(), *total as usize, "of thread {name}");
        assert!(numbers.iter().enumerate().all(|(at, number)| at as u32 == *number), "thread {name} out of order");
    }
}
