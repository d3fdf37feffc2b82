//! A log4rs file from reading to installing: warnings, files, and that nothing is created before
//! all is checked.

use std::fs;
use std::path::{Path, PathBuf};

use super::checked::CheckedLog;
use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("selvedge-log-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn load(&self, text: &str) -> Result<CheckedLog, crate::Error> {
        let file = self.0.join("log4rs.yaml");
        fs::write(&file, text).unwrap();
        load(&file)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_socket_is_no_log_file() {
    let folder = Folder::new("socket");
    let socket = folder.path("s.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let text = format!("appenders: {{ out: {{ kind: file, path: '{socket}' }} }}");
    let refused = folder.load(&text).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("is a socket, not a file or FIFO"), "{refused}");
}

#[test]
fn odd_settings_are_warnings_with_their_place() {
    let folder = Folder::new("warnings");
    let log = folder.path("all.log");
    let checked = folder
        .load(&format!(
            "refresh_rate: 30 seconds
appenders:
  idle: {{ kind: console }}
  one: {{ kind: file, path: \"{log}\" }}
  two: {{ kind: file, path: \"{log}\" }}
loggers:
  a::b: {{ level: INFO, appenders: [one, two, one] }}
root: {{ appenders: [] }}
"
        ))
        .unwrap();
    for (line, part) in [
        (3, "appenders.idle: neither root nor a logger"),
        (5, "appenders.two: the appender `one` writes to the same file"),
        (8, "root has no appenders"),
        (7, "loggers.a::b.appenders[2]: named twice"),
    ] {
        let place = format!("log4rs.yaml:{line}: ");
        let found = checked.warnings.iter().any(|warning| warning.contains(&place) && warning.contains(part));
        assert!(found, "{place}{part} is not in {:#?}", checked.warnings);
    }
}

#[test]
fn every_component_of_log4rs_is_known() {
    let folder = Folder::new("components");
    let log = folder.path("all.log");
    let rolled = folder.path("all.{}.log");
    for (trigger, roller) in [
        ("{ kind: size, limit: 10 mb }", "{ kind: delete }".to_owned()),
        ("{ kind: size, limit: 1000 }", format!("{{ kind: fixed_window, pattern: '{rolled}', base: 1, count: 3 }}")),
        ("{ kind: time, interval: 1 day, modulate: true, max_random_delay: 5 }", "{ kind: delete }".to_owned()),
        ("{ kind: time, interval: 30 }", "{ kind: delete }".to_owned()),
        ("{ kind: onstartup, min_size: 10 }", "{ kind: delete }".to_owned()),
        ("{ kind: onstartup }", "{ kind: delete }".to_owned()),
    ] {
        let checked = folder.load(&format!(
            "appenders:
  rolling:
    kind: rolling_file
    path: {log}
    append: true
    encoder: {{ kind: json }}
    policy: {{ trigger: {trigger}, roller: {roller} }}
    filters: [{{ kind: threshold, level: Warn }}]
  console: {{ kind: console, target: stdout, tty_only: true, encoder: }}
root: {{ level: off, appenders: [rolling, console] }}
"
        ));
        assert_eq!(checked.unwrap().files, [Path::new(&log)]);
        assert!(!Path::new(&log).exists(), "loading opens nothing");
    }
}

/// In a process of its own, as a process has one logger.
#[test]
fn a_logger_of_the_program_is_kept() {
    if crate::own_process::passes(module_path!(), "a_logger_of_the_program_is_kept", &[]) {
        return;
    }
    struct Theirs;
    impl ::log::Log for Theirs {
        fn enabled(&self, _: &::log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, _: &::log::Record<'_>) {}
        fn flush(&self) {}
    }
    ::log::set_logger(&Theirs).unwrap();
    ::log::set_max_level(::log::LevelFilter::Error);

    console(None).install(Wiring::default(), false).unwrap();
    let folder = Folder::new("theirs");
    let file = folder.path("new.log");
    let text = format!("appenders: {{ f: {{ kind: file, path: '{file}' }} }}\nroot: {{ appenders: [f] }}\n");
    let error = folder.load(&text).unwrap().install(Wiring::default(), false).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("log4rs.yaml: the program has installed a logger"));
    assert!(!Path::new(&file).exists());
    assert_eq!((::log::max_level(), logging::files()), (::log::LevelFilter::Error, vec![]));
}

/// The only test of this process that installs a logger.
#[test]
fn a_log_that_fails_leaves_the_old_one() {
    let folder = Folder::new("install");
    let text = |name: &str| {
        let file = folder.path(name);
        format!(
            "appenders: {{ f: {{ kind: file, path: '{file}', encoder: {{ pattern: '{{l}} {{T}} {{m}}{{n}}' }} }} }}
root: {{ level: info, appenders: [f] }}
loggers: {{ hyper: {{ level: off }} }}
"
        )
    };
    folder.load(&text("new/first.log")).unwrap().install(Wiring::default(), false).unwrap();
    assert_eq!(logging::files(), [PathBuf::from(folder.path("new/first.log"))]);
    std::thread::Builder::new()
        .name("main/weaver".to_owned())
        .spawn(|| ::log::info!(target: "selvedge::test", "one"))
        .unwrap()
        .join()
        .unwrap();

    // /proc takes no files, which only opening shows. The good appender comes first, and is undone.
    let fails = format!(
        "appenders:
  good: {{ kind: file, path: '{}' }}
  bad: {{ kind: file, path: /proc/selvedge/x.log }}
root: {{ appenders: [good, bad] }}
",
        folder.path("other/good.log")
    );
    let error = folder.load(&fails).unwrap().install(Wiring::default(), false).unwrap_err();
    assert_eq!((error.line(), error.key()), (Some(3), Some("appenders.bad")), "{error}");
    assert!(error.is_config() && error.to_string().contains("cannot open /proc/selvedge/x.log: "), "{error}");
    assert!(!Path::new(&folder.path("other")).exists(), "what was created is removed");
    assert_eq!(logging::files(), [PathBuf::from(folder.path("new/first.log"))]);
    ::log::info!(target: "selvedge::test", "two");

    // In a thread of its own, as a deadlock would leave it waiting for itself.
    let (done, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        ::log::info!(target: "selvedge::test", "outer {}", Logs);
        ::log::info!(target: "selvedge::test", "fails {}", Fails);
        done.send(()).unwrap();
    });
    told.recv_timeout(std::time::Duration::from_secs(100)).expect("a Display that logs waits for itself");

    let second = text("second.log").replace("appenders: {", "appenders: { idle: { kind: console },");
    folder.load(&second).unwrap().install(Wiring::default(), false).unwrap();
    ::log::info!(target: "selvedge::test", "three");
    console(None).install(Wiring::default(), false).unwrap();
    assert_eq!(logging::files(), Vec::<PathBuf>::new());
    logging::flush();

    let first = fs::read_to_string(folder.path("new/first.log")).unwrap();
    let second = fs::read_to_string(folder.path("second.log")).unwrap();
    assert!(first.contains("INFO main/weaver one\n") && first.contains(" two\n"), "{first}");
    assert!(first.contains(" inner\n") && first.contains(" outer logged\n"), "{first}");
    assert!(first.contains(" fails … (formatting failed)\n"), "{first}");
    assert!(!first.contains("three") && second.contains(" three\n"), "{first}---\n{second}");
    assert!(second.contains("WARN") && second.contains("gets no records"), "warnings go to the log: {second}");
}

struct Logs;

impl std::fmt::Display for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        ::log::info!(target: "selvedge::test", "inner");
        f.write_str("logged")
    }
}

struct Fails;

impl std::fmt::Display for Fails {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Err(std::fmt::Error)
    }
}

#[test]
fn log4rs_builds_a_queued_appender_by_our_deserializers() {
    use serde_value::Value;
    let folder = Folder::new("deserializers");
    let text = |text: &str| Value::String(text.to_owned());
    let map =
        |entries: &[(&str, Value)]| Value::Map(entries.iter().map(|(key, value)| (text(key), value.clone())).collect());
    let file = map(&[
        ("kind", text("file")),
        ("path", text(&folder.path("a.log"))),
        ("encoder", map(&[("pattern", text("{l} {m}{n}"))])),
    ]);
    let settings = |overflow: Value| {
        map(&[("capacity", Value::U64(4)), ("overflow", overflow), ("appenders", Value::Seq(vec![file.clone()]))])
    };
    let with = logging::deserializers();
    for overflow in [text("block"), map(&[("drop_below", text("warn"))])] {
        let queued = with.deserialize::<dyn log4rs::append::Append>("queued", settings(overflow)).unwrap();
        for _ in 0..10 {
            queued
                .append(&::log::Record::builder().level(::log::Level::Warn).args(format_args!("one")).build())
                .unwrap();
        }
        queued.flush();
    }
    assert_eq!(fs::read_to_string(folder.path("a.log")).unwrap(), "WARN one\n".repeat(20));
    assert!(with.deserialize::<dyn log4rs::append::Append>("queued", settings(text("overrun"))).is_err());
}
