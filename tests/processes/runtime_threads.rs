//! The runtime's own threads have a place of their own in the tree, the dump, the log and the
//! profile.
#![cfg(all(feature = "profiling", target_os = "linux"))]

use crate::support::{DEADLINE, Folder, in_own_process, until};
use selvedge::profile::{self, Account, Clock, Options, Profile};
use selvedge::{Config, JoinHandle, Runtime, Signal, Thread, Till, spawn};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn the_runtimes_threads_stand_apart() {
    if in_own_process(module_path!(), "the_runtimes_threads_stand_apart") {
        return;
    }
    let folder = Folder::new("runtime-threads");
    let log = folder.write("l.yaml", &log_file(&folder));
    let config = |name: &str| {
        let options = Options::new().clock(Clock::Wall);
        let config = Config::new(name).log_file(&log).profile_enabled(true).profile_options(options);
        config.profile_output(folder.path().join(name))
    };
    for (name, config) in [("hidden", config("hidden")), ("shown", config("shown").profile_hide_runtime(false))] {
        let runtime = Runtime::start(config).unwrap();
        let me = Thread::current();
        let waits: fn(&Signal) = |please_stop| {
            log::info!("here");
            please_stop.wait_for_go();
        };
        // Named like one of the runtime's, like their place, and below the latter like both.
        let mut users = vec![spawn("watcher", waits), spawn("log-writer", waits)];
        users.push(spawn("selvedge", move |please_stop| drop((spawn("watcher", waits), please_stop.wait_for_go()))));
        // What a target on a thread of the runtime spawns is the program's.
        let by_target = spawned_by_the_timer(waits);
        assert_eq!(by_target.thread().path(), "main/by-target");
        assert_eq!(by_target.thread().parent().as_ref(), Some(&me));
        until("its child", || !users[2].thread().children().is_empty());
        assert_eq!(users[2].thread().children()[0].path(), "main/selvedge_/watcher");
        let children: Vec<String> = me.children().iter().map(|child| child.path().to_owned()).collect();
        assert_eq!(children, ["main/watcher", "main/log-writer", "main/selvedge_", "main/by-target"]);
        let dump = selvedge::dump().to_string();
        let (of_program, own) = dump.split_once("\nthe runtime's own:\n").unwrap();
        assert!(of_program.contains("main/watcher, ") && !of_program.contains("main/selvedge/"), "{dump}");
        for thread in ["watcher", "sampler", "os-signals", "stop-watch"] {
            assert!(own.contains(&format!("    main/selvedge/{thread}, ")), "{dump}");
        }
        // The profile is written at the end, so it cannot be asked. Each round of the sampler looks at all threads.
        let before = rounds_of_the_sampler();
        until("ten rounds of the sampler", || rounds_of_the_sampler() >= before + 10);
        runtime.shutdown().unwrap();
        let folded = folder.read(&format!("{name}/{name}.folded"));
        let has = |start: &str| folded.lines().any(|line| line.starts_with(start));
        assert!(has("main;selvedge;watcher;") && has("main;watcher;") && has("main;selvedge_;watcher;"), "{folded}");
        assert!(!has("main;sampler;") && !has("main;os-signals;"), "{folded}");
        let picture = folder.read(&format!("{name}/{name}.svg"));
        let is_drawn = picture.contains("<title>selvedge (");
        let is_told = picture.contains("threads of the runtime hidden (");
        assert_eq!((is_drawn, is_told), if name == "hidden" { (false, true) } else { (true, false) });
        assert!(picture.contains("<title>selvedge_ (") && picture.contains("<title>watcher ("));
    }
    let log = folder.read("app.log");
    assert!(log.contains("main/watcher here") && log.contains("main/selvedge_/watcher here"), "{log}");
}

/// How often the sampler's thread has slept.
fn rounds_of_the_sampler() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let all = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    let value = |status: &str, key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    let of_sampler = all.filter(|status| value(status, "Name") == "sampler");
    of_sampler.map(|status| value(&status, "voluntary_ctxt_switches").parse::<u64>().unwrap()).sum()
}

/// A thread that a target has spawned on the timer's thread. A target that is attached after the time has come
/// runs at once, on the thread that attaches it; then a later time is tried.
fn spawned_by_the_timer(waits: fn(&Signal)) -> JoinHandle<()> {
    let (tell, told) = std::sync::mpsc::channel();
    let mut after = Duration::from_millis(1);
    loop {
        let tell = tell.clone();
        Till::after(after).on_go(move || {
            let is_timer = Thread::current().path() == "main/selvedge/timer";
            tell.send(is_timer.then(|| spawn("by-target", waits))).unwrap();
        });
        if let Some(spawned) = told.recv_timeout(DEADLINE).unwrap() {
            return spawned;
        }
        assert!(after < DEADLINE, "no target runs on the timer's thread");
        after *= 4;
    }
}

/// The thread that waits for OS signals shows what it waits for. A signal that stops the program is
/// what the run had to wait for.
#[test]
fn the_wait_for_os_signals_has_a_name() {
    if in_own_process(module_path!(), "the_wait_for_os_signals_has_a_name") {
        return;
    }
    const KEPT: Duration = Duration::from_millis(100);
    const WAIT: &str = "OS signals \"SIGTERM, SIGUSR1\"";
    // Ignored, as by a shell in the background: it is not waited for.
    // SAFETY: the disposition of a signal, which no other thread of this process changes now.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    let runtime = Runtime::start(Config::new("signals").log_off()).unwrap();
    let main = Thread::current();
    // By the wall clock, so that its sleep is interrupted before the signal comes.
    let recording = profile::start(Options::new().clock(Clock::Wall).waits(true)).unwrap();
    until("the thread waits", || selvedge::dump().to_string().contains(&format!(" for {WAIT}")));
    let dump = selvedge::dump();
    let text = dump.to_string();
    assert!(!text.contains("deadlock") && !text.contains("wait without end"), "{text}");
    let whole: serde_json::Value = serde_json::from_str(&dump.to_json()).unwrap();
    let threads = whole["threads"].as_array().unwrap();
    let thread = threads.iter().find(|thread| thread["path"] == "main/selvedge/os-signals").unwrap();
    assert_eq!((&thread["state"], &thread["waiting_for"]["kind"]), (&"waiting".into(), &"OS signals".into()), "{text}");
    let sender = std::thread::spawn(move || {
        until("main waits", || main.waiting_for().is_some());
        std::thread::sleep(KEPT);
        // SAFETY: it takes two numbers and touches no memory.
        unsafe { libc::kill(libc::getpid(), libc::SIGTERM) }
    });
    runtime.please_stop().wait_for_go();
    assert_eq!(sender.join().unwrap(), 0);
    let profile = recording.snapshot();
    runtime.shutdown().unwrap();
    check_wait_for_signals(&profile, WAIT, KEPT);
    let last = recording.finish();
    let (_, waits) = waits_for_signals(&last);
    // The stop of the runtime has ended the last wait.
    assert!(waits.iter().any(|(by, _)| &**by == "main"), "{waits:?}");
}

fn waits_for_signals(profile: &Profile) -> (&Account, &[(Arc<str>, Duration)]) {
    let account = profile.accounts().iter().find(|account| account.path() == "main/selvedge/os-signals").unwrap();
    let wait = account.waits().iter().find(|wait| wait.kind() == "OS signals").unwrap();
    (account, wait.ended_by())
}

/// The signal came after `kept`, at least.
fn check_wait_for_signals(profile: &Profile, what: &str, kept: Duration) {
    let (account, waits) = waits_for_signals(profile);
    let by_signal = waits.iter().find(|(by, _)| &**by == "[outside]").map_or(Duration::ZERO, |(_, time)| *time);
    assert!(by_signal >= kept.mul_f64(0.9), "{account:#?}");
    assert!(account.outside() < account.lifetime() / 2, "{account:#?}");
    let expected = format!("in a wait for {what}, ended from outside");
    let path = profile.critical_path();
    let on_path = path.functions().iter().find(|function| function.what() == expected);
    assert!(on_path.is_some_and(|function| function.time() >= kept.mul_f64(0.9)), "{path}");
    let blame = profile.blame();
    let cause = blame.causes().iter().find(|cause| cause.what() == expected);
    assert!(cause.is_some_and(|cause| cause.time() >= kept.mul_f64(0.9)), "{blame}");
    assert!(!blame.to_string().contains("not recorded"), "{blame}");
}

fn log_file(folder: &Folder) -> String {
    format!(
        "appenders:\n  file: {{ kind: file, path: {}, encoder: {{ pattern: '{{T}} {{m}}{{n}}' }} }}\n\
         root: {{ level: info, appenders: [file] }}\n",
        folder.path().join("app.log").display()
    )
}
