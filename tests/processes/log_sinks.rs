//! Sinks that fail: the program goes on, the failure is told once, and what was held is written
//! when the sink works again.
#![cfg(unix)]

use crate::support::until;
use std::fs;
use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log4rs::append::Append;
use selvedge::logging::{Overflow, Queued};
use selvedge::{Config, Runtime, logging};

/// A process has one logger and one runtime: the tests that start one take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sinks-{test}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A runtime whose root logs to these appenders, each a YAML mapping without its encoder.
fn runtime(folder: &Path, appenders: &[(&str, String)]) -> Runtime {
    let mut text = "appenders:\n".to_owned();
    for (name, settings) in appenders {
        text.push_str(&format!("  {name}: {{ {settings}, encoder: {{ pattern: \"{{l}} {{T}} {{m}}{{n}}\" }} }}\n"));
    }
    let names: Vec<&str> = appenders.iter().map(|(name, _)| *name).collect();
    text.push_str(&format!("root: {{ level: info, appenders: [{}] }}\n", names.join(", ")));
    let file = folder.join("log4rs.yaml");
    fs::write(&file, text).unwrap();
    Runtime::start(Config::new("sinks").log_file(&file)).unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_full_disk_is_told_once() {
    if crate::support::in_own_process(module_path!(), "a_full_disk_is_told_once") {
        return;
    }
    let _turn = alone();
    let folder = folder("full");
    let good = folder.join("good.log");
    let appenders = [
        ("full", "kind: file, path: /dev/full".to_owned()),
        ("good", format!("kind: file, path: '{}'", good.display())),
    ];
    let runtime = runtime(&folder, &appenders);
    for number in 0..20_000 {
        log::info!("record {number} end");
    }
    logging::flush();
    until("it has been tried again", || {
        log::info!("one more");
        logging::flush();
        read(&good).matches("one more").count() > 50
    });
    runtime.shutdown().unwrap();
    let text = read(&good);
    assert_eq!(text.matches(" end\n").count(), 20_000);
    assert_eq!(text.matches("the appender `full` fails: No space left").count(), 1, "{text:.300}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_fifo_gets_all_once_somebody_reads_it() {
    if crate::support::in_own_process(module_path!(), "a_fifo_gets_all_once_somebody_reads_it") {
        return;
    }
    let _turn = alone();
    let folder = folder("fifo");
    let (fifo, good) = (folder.join("fifo"), folder.join("good.log"));
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let appenders = [
        ("fifo", format!("kind: file, path: '{}'", fifo.display())),
        ("good", format!("kind: file, path: '{}'", good.display())),
    ];
    // log4rs would wait here for a reader, forever.
    let runtime = runtime(&folder, &appenders);
    for number in 0..5_000 {
        log::info!("record {number} end");
    }
    logging::flush();
    assert_eq!(read(&good).matches(" end\n").count(), 5_000);
    assert_eq!(read(&good).matches("the appender `fifo` fails").count(), 1);
    let mut reader = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let mut text = Vec::new();
    until("the fifo has been written", || {
        let _ = reader.read_to_end(&mut text);
        text.windows(20).any(|part| part == b" record 4999 end\n\x57\x41\x52" || part.ends_with(b" record 4999 end\n"))
    });
    until("the good news is in the log", || {
        log::info!("and on");
        logging::flush();
        let _ = reader.read_to_end(&mut text);
        read(&good).contains("the appender `fifo` works again")
    });
    runtime.shutdown().unwrap();
    let text = String::from_utf8(text).unwrap();
    let numbers: Vec<&str> = text.lines().filter(|line| line.ends_with(" end")).collect();
    assert_eq!(numbers.len(), 5_000);
    assert!(numbers.iter().enumerate().all(|(at, line)| line.ends_with(&format!(" record {at} end"))));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn removed_folders_return_and_moved_files_stay() {
    if crate::support::in_own_process(module_path!(), "removed_folders_return_and_moved_files_stay") {
        return;
    }
    let _turn = alone();
    let folder = folder("removed");
    let log = folder.join("logs/deep/app.log");
    let runtime = runtime(&folder, &[("out", format!("kind: file, path: '{}'", log.display()))]);
    log::info!("before");
    logging::flush();
    fs::remove_dir_all(folder.join("logs")).unwrap();
    log::info!("after the removal");
    logging::flush();
    assert!(read(&log).contains("after the removal"), "{}", read(&log));
    // As logrotate does it.
    let moved = folder.join("logs/deep/app.log.1");
    fs::rename(&log, &moved).unwrap();
    let mut count = 0;
    until("the file is made anew", || {
        log::info!("after the move {count} end");
        count += 1;
        logging::flush();
        log.exists()
    });
    runtime.shutdown().unwrap();
    assert_eq!((read(&moved) + &read(&log)).matches(" end\n").count(), count);
    fs::remove_dir_all(folder).unwrap();
}

/// An appender of another crate, which can be told to fail, panic or wait.
#[derive(Debug, Default)]
struct Theirs {
    fails: AtomicBool,
    panics: AtomicBool,
    got: Mutex<Vec<String>>,
    tries: AtomicUsize,
    flushes: AtomicUsize,
}

#[derive(Debug)]
struct Handle(Arc<Theirs>);

impl Append for Handle {
    fn append(&self, record: &log::Record<'_>) -> anyhow::Result<()> {
        self.0.tries.fetch_add(1, Ordering::SeqCst);
        anyhow::ensure!(!self.0.fails.load(Ordering::SeqCst), "not now");
        assert!(!self.0.panics.load(Ordering::SeqCst), "poisoned");
        self.0.got.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        Ok(())
    }

    fn flush(&self) {
        self.0.flushes.fetch_add(1, Ordering::SeqCst);
    }
}

fn put(queued: &Queued, level: log::Level, text: &str) {
    queued.append(&log::Record::builder().level(level).target("t").args(format_args!("{text}")).build()).unwrap();
}

#[test]
fn recovered_appenders_get_all_in_order() {
    if crate::support::in_own_process(module_path!(), "recovered_appenders_get_all_in_order") {
        return;
    }
    // The end of a runtime ends the writers of all queues, so no writer would try again.
    let _turn = alone();
    for way in ["fails", "panics"] {
        let theirs = Arc::new(Theirs::default());
        let switch = if way == "fails" { &theirs.fails } else { &theirs.panics };
        let queued = Queued::builder().capacity(500).appender(way, Handle(theirs.clone())).build().unwrap();
        put(&queued, log::Level::Info, "first");
        queued.flush();
        switch.store(true, Ordering::SeqCst);
        for number in 0..300 {
            put(&queued, log::Level::Info, &format!("{number}"));
        }
        queued.flush();
        assert_eq!(theirs.got.lock().unwrap().len(), 1);
        assert!(theirs.tries.load(Ordering::SeqCst) < 10, "it is asked again only after a pause");
        switch.store(false, Ordering::SeqCst);
        until("all have come", || theirs.got.lock().unwrap().len() >= 302);
        let got = theirs.got.lock().unwrap();
        assert_eq!(got[0], "INFO first");
        assert!((0..300).all(|number| got[number + 1] == format!("INFO {number}")), "{way}: {got:?}");
        assert!(got[301].contains("works again"), "{}", got[301]);
    }
}

#[test]
fn appender_panics_lose_one_counted_record() {
    if crate::support::in_own_process(module_path!(), "appender_panics_lose_one_counted_record") {
        return;
    }
    #[derive(Debug)]
    struct Picky(Arc<Theirs>);

    impl Append for Picky {
        fn append(&self, record: &log::Record<'_>) -> anyhow::Result<()> {
            assert!(record.args().to_string() != "poison", "cannot write this");
            Handle(self.0.clone()).append(record)
        }

        fn flush(&self) {}
    }

    // The end of a runtime ends the writers of all queues, and none would try again.
    let _turn = alone();
    let theirs = Arc::new(Theirs::default());
    let queued = Queued::builder().capacity(100).appender("picky", Picky(theirs.clone())).build().unwrap();
    for text in ["before", "poison", "after"] {
        put(&queued, log::Level::Info, text);
    }
    until("the next record is written", || theirs.got.lock().unwrap().iter().any(|line| line == "INFO after"));
    until("the count has come", || theirs.got.lock().unwrap().iter().any(|line| line.contains("missing here")));
    let got = theirs.got.lock().unwrap();
    assert!(got.contains(&"WARN 1 record is missing here: the appender had failed".to_owned()), "{got:?}");
}

#[test]
fn appenders_that_fail_together_are_all_told() {
    if crate::support::in_own_process(module_path!(), "appenders_that_fail_together_are_all_told") {
        return;
    }
    use std::os::fd::AsRawFd;
    let folder = folder("together");
    let stderr = fs::File::create(folder.join("stderr")).unwrap();
    // SAFETY: both descriptors are open, and no buffer of this process belongs to the second.
    assert!(unsafe { libc::dup2(stderr.as_raw_fd(), libc::STDERR_FILENO) } >= 0);
    let theirs = Arc::new(Theirs::default());
    theirs.fails.store(true, Ordering::SeqCst);
    let handle = || Handle(theirs.clone());
    let queued = Queued::builder().appender("a", handle()).appender("b", handle()).build().unwrap();
    put(&queued, log::Level::Info, "a record");
    queued.flush();
    let told = read(&folder.join("stderr"));
    assert!(told.contains("the appender `a` fails: not now"), "{told}");
    assert!(told.contains("the appender `b` fails: not now"), "{told}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn overflow_is_counted_in_its_place() {
    if crate::support::in_own_process(module_path!(), "overflow_is_counted_in_its_place") {
        return;
    }
    // The end of a runtime ends the writers of all queues, so no writer would try again.
    let _turn = alone();
    let theirs = Arc::new(Theirs::default());
    let queued = Queued::builder().capacity(100).appender("small", Handle(theirs.clone())).build().unwrap();
    theirs.fails.store(true, Ordering::SeqCst);
    for number in 0..450 {
        put(&queued, log::Level::Info, &format!("{number}"));
    }
    queued.flush();
    theirs.fails.store(false, Ordering::SeqCst);
    until("the count has come", || theirs.got.lock().unwrap().iter().any(|line| line.contains("missing here")));
    put(&queued, log::Level::Info, "last");
    queued.flush();
    let got = theirs.got.lock().unwrap().clone();
    let held =
        got.iter().filter(|line| line.strip_prefix("INFO ").is_some_and(|rest| rest.parse::<u32>().is_ok())).count();
    assert_eq!(held, 100);
    assert!(got.iter().any(|line| line == "WARN 350 records are missing here: the appender had failed"), "{got:?}");
    assert_eq!(got.last().unwrap(), "INFO last");
}

#[test]
fn a_slow_appender_keeps_to_the_rule() {
    if crate::support::in_own_process(module_path!(), "a_slow_appender_keeps_to_the_rule") {
        return;
    }
    #[derive(Debug)]
    struct Slow(Handle);
    impl Append for Slow {
        fn append(&self, record: &log::Record<'_>) -> anyhow::Result<()> {
            std::thread::sleep(Duration::from_millis(1));
            self.0.append(record)
        }
        fn flush(&self) {}
    }
    for (rule, all) in
        [(Overflow::Block, true), (Overflow::DropNewest, false), (Overflow::DropBelow(log::Level::Warn), false)]
    {
        let theirs = Arc::new(Theirs::default());
        let queued = Queued::builder()
            .capacity(10)
            .overflow(rule)
            .appender("slow", Slow(Handle(theirs.clone())))
            .build()
            .unwrap();
        for number in 0..200 {
            put(&queued, if number % 20 == 0 { log::Level::Warn } else { log::Level::Info }, "a record");
        }
        queued.flush();
        drop(queued);
        let got = theirs.got.lock().unwrap();
        let count = |part: &str| got.iter().filter(|line| line.contains(part)).count() as u64;
        let dropped: u64 = got
            .iter()
            .filter(|line| line.contains("missing here"))
            .map(|line| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(count("a record") + dropped, 200, "{rule:?}: {got:?}");
        assert_eq!(dropped == 0, all, "{rule:?}");
        if rule != Overflow::DropNewest {
            assert_eq!(count("WARN a record"), 10, "{rule:?}");
        }
    }
}

#[test]
fn an_appender_may_log_to_its_queue() {
    if crate::support::in_own_process(module_path!(), "an_appender_may_log_to_its_queue") {
        return;
    }
    #[derive(Debug)]
    struct Chatty(Arc<Theirs>, Arc<Mutex<Option<Arc<Queued>>>>);
    impl Append for Chatty {
        fn append(&self, record: &log::Record<'_>) -> anyhow::Result<()> {
            let queued = self.1.lock().unwrap().clone();
            if let Some(queued) = queued
                && !record.args().to_string().starts_with("echo")
            {
                put(&queued, log::Level::Info, &format!("echo of {}", record.args()));
                queued.flush();
            }
            Handle(self.0.clone()).append(record)
        }
        fn flush(&self) {}
    }
    let (theirs, slot) = (Arc::new(Theirs::default()), Arc::new(Mutex::new(None)));
    let queued =
        Queued::builder().capacity(4).appender("chatty", Chatty(theirs.clone(), slot.clone())).build().unwrap();
    let queued = Arc::new(queued);
    *slot.lock().unwrap() = Some(queued.clone());
    for number in 0..100 {
        put(&queued, log::Level::Info, &format!("voice {number}"));
    }
    until("all voices and what of their echoes had room", || {
        queued.flush();
        let got = theirs.got.lock().unwrap();
        let count = |part: &str| got.iter().filter(|line| line.starts_with(part)).count() as u64;
        let dropped: u64 = got
            .iter()
            .filter(|line| line.contains("missing here") && !line.contains("echo"))
            .map(|line| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap())
            .sum();
        // A count of dropped records is echoed too.
        count("INFO voice") == 100 && count("INFO echo") + dropped >= 100
    });
    let got = theirs.got.lock().unwrap().clone();
    let echoes = got.iter().filter_map(|line| line.strip_prefix("INFO echo of voice ")?.parse::<u32>().ok());
    assert!(echoes.is_sorted(), "{got:?}");
    slot.lock().unwrap().take();
}

#[test]
fn a_file_without_a_name_is_written_once() {
    if crate::support::in_own_process(module_path!(), "a_file_without_a_name_is_written_once") {
        return;
    }
    use std::os::fd::AsRawFd;
    let _turn = alone();
    let folder = folder("nameless");
    let named = folder.join("removed");
    let mut file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&named).unwrap();
    fs::remove_file(&named).unwrap();
    // As /dev/stdout, where that goes to a temporary file: a second open finds the same file.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let runtime = runtime(&folder, &[("out", format!("kind: file, path: {path}"))]);
    log::info!("record 0 end");
    logging::flush();
    log::info!("record 1 end");
    runtime.shutdown().unwrap();
    // The log shares the place in the file.
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    let numbers: Vec<&str> = text.lines().filter(|line| line.contains(" record ")).collect();
    assert_eq!(numbers, ["INFO main record 0 end", "INFO main record 1 end"]);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_display_that_gives_up_makes_no_panic() {
    if crate::support::in_own_process(module_path!(), "a_display_that_gives_up_makes_no_panic") {
        return;
    }
    struct GivesUp;
    impl std::fmt::Display for GivesUp {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("half")?;
            Err(std::fmt::Error)
        }
    }
    let _turn = alone();
    for queued in [true, false] {
        let folder = folder("gives-up");
        let (file, log) = (folder.join("log4rs.yaml"), folder.join("app.log"));
        let appender = format!("kind: file, path: '{}', encoder: {{ kind: json }}", log.display());
        fs::write(&file, format!("appenders: {{ out: {{ {appender} }} }}\nroot: {{ appenders: [out] }}\n")).unwrap();
        let runtime = Runtime::start(Config::new("sinks").log_file(&file).log_queued(queued)).unwrap();
        log::info!(why:% = GivesUp; "a message of {}", GivesUp);
        runtime.shutdown().unwrap();
        let text = read(&log);
        assert!(text.contains("a message of half… (formatting failed)"), "{text}");
        assert!(text.contains(r#""why":"half… (formatting failed)""#), "{text}");
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_logging_appender_keeps_the_order() {
    if crate::support::in_own_process(module_path!(), "a_logging_appender_keeps_the_order") {
        return;
    }
    #[derive(Debug, Default)]
    struct Echo {
        theirs: Arc<Theirs>,
        queued: Mutex<Option<Arc<Queued>>>,
        begun: AtomicBool,
        may_go_on: AtomicBool,
    }
    #[derive(Debug)]
    struct To(Arc<Echo>);
    impl Append for To {
        fn append(&self, record: &log::Record<'_>) -> anyhow::Result<()> {
            let text = record.args().to_string();
            self.0.begun.store(true, Ordering::SeqCst);
            until("the queue is full", || self.0.may_go_on.load(Ordering::SeqCst));
            let queued = self.0.queued.lock().unwrap().clone();
            if let (Some(queued), true) = (queued, text.starts_with("voice")) {
                put(&queued, log::Level::Info, &format!("echo of {text}"));
            }
            Handle(self.0.theirs.clone()).append(record)
        }
        fn flush(&self) {}
    }
    let echo = Arc::new(Echo::default());
    let queued = Arc::new(Queued::builder().capacity(3).appender("echo", To(echo.clone())).build().unwrap());
    *echo.queued.lock().unwrap() = Some(queued.clone());
    put(&queued, log::Level::Info, "voice 0");
    until("it is written", || echo.begun.load(Ordering::SeqCst));
    put(&queued, log::Level::Info, "voice 1");
    put(&queued, log::Level::Info, "voice 2");
    put(&queued, log::Level::Info, "silence");
    echo.may_go_on.store(true, Ordering::SeqCst);
    until("all have come", || echo.theirs.got.lock().unwrap().len() == 7);
    let got = echo.theirs.got.lock().unwrap().clone();
    assert_eq!(got[4..], [0, 1, 2].map(|number| format!("INFO echo of voice {number}")));
    echo.queued.lock().unwrap().take();
}
