//! The defaults, what goes before what, and paths: what only the resolved settings show.

use super::checks::LONGEST_PATIENCE;
use super::resolve::default_name;
use super::settings::{PushFormat, PushUrl};
use super::*;
use crate::error::Error;
use crate::profile::{Clock, Engine, Options};
use ::log::LevelFilter;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("selvedge-config-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn resolve_text(name: &str, text: &str) -> Result<Settings, Error> {
    let folder = folder(name);
    let file = folder.join("selvedge.yaml");
    fs::write(&file, text).unwrap();
    let settings = Config::from(file).resolve();
    fs::remove_dir_all(folder).unwrap();
    settings
}

#[test]
fn nothing_said_means_the_defaults() {
    for text in ["", "# only a comment\n", "\n\n", "---\n", "profile:\n", "{}"] {
        let settings = resolve_text("defaults", text).unwrap();
        assert_eq!(settings.name, default_name(), "{text:?}");
        assert!(settings.name.starts_with("selvedge-"), "the stem of the test's executable: {}", settings.name);
        assert_eq!((&settings.log.to, settings.log.wiring.level), (&LogTo::Console, None));
        assert!(settings.log.wiring.queue.is_some());
        assert_eq!(settings.shutdown.patience, Duration::from_secs(5));
        assert_eq!(settings.shutdown.on_stuck, OnStuck::Wait);
        assert_eq!((settings.shutdown.grace, settings.shutdown.ask), (Duration::from_secs(1), Ask::Main));
        assert!(settings.dump.signal == OsSignal::Usr1 && !settings.dump.is_asked);
        assert_eq!(settings.deadlocks, Some(Duration::from_secs(5)));
        assert!(!settings.profile.enabled && settings.push.is_none());
        assert_eq!(settings.profile.options, Options::new());
        assert!(settings.profile.output.ends_with("flamegraphs") && settings.profile.output.is_absolute());
        assert_eq!(settings.profile.formats, [ProfileFormat::Svg, ProfileFormat::Folded, ProfileFormat::Pprof]);
    }
    assert_eq!(Config::default().resolve().unwrap().profile.output, Path::new("flamegraphs"));
}

#[test]
fn every_key_reaches_its_setting() {
    let text = "
name: weaver
shutdown: { patience: 1m 30s, on_stuck: abort, grace: 3s, ask: all }
profile:
  { enabled: true, frequency: 997, clock: wall, engine: timer, accounts: true, output: out, formats: [folded],
    signal: SIGUSR2, fold_pools: false, direction: icicle, collapse: [rayon, tower], hide_runtime: true }
dump: { signal: SIGQUIT }
deadlocks: { after: 250ms }
";
    let settings = resolve_text("keys", text).unwrap();
    assert_eq!(settings.name, "weaver");
    assert_eq!(settings.shutdown.patience, Duration::from_secs(90));
    assert_eq!(settings.shutdown.on_stuck, OnStuck::Abort);
    assert_eq!((settings.shutdown.grace, settings.shutdown.ask), (Duration::from_secs(3), Ask::All));
    assert!(settings.dump.signal == OsSignal::Quit && settings.dump.is_asked);
    assert_eq!(settings.deadlocks, Some(Duration::from_millis(250)));
    assert_eq!(resolve_text("off", "deadlocks: off\n").unwrap().deadlocks, None);
    for (text, to) in [("off", LogTo::Off), ("own", LogTo::Own)] {
        assert_eq!(resolve_text("words", &format!("log: {text}\n")).unwrap().log.to, to);
    }
    assert_eq!(resolve_text("level", "log: { level: Debug }\n").unwrap().log.wiring.level, Some(LevelFilter::Debug));
    assert!(settings.profile.enabled && settings.profile.signal == OsSignal::Usr2);
    let error = resolve_text("twice", "profile: { signal: SIGUSR1 }\n").unwrap_err().to_string();
    assert_eq!(error, "profile.signal: SIGUSR1 asks for a dump; name another signal here, or at `dump.signal`");
    assert!(resolve_text("other", "profile: { signal: SIGUSR1 }\ndump: { signal: none }\n").is_ok());
    assert_eq!(
        settings.profile.options,
        Options::new().frequency(997).clock(Clock::Wall).engine(Engine::Timer).waits(true)
    );
    assert_eq!(settings.profile.formats, [ProfileFormat::Folded]);
    assert_eq!((settings.profile.fold_pools, settings.profile.icicle), (Some(false), true));
    assert_eq!(settings.profile.collapse, Some(vec!["rayon".into(), "tower".into()]));
    assert_eq!(settings.profile.hide_runtime, Some(true));
    assert!(settings.profile.accounts);
}

#[test]
fn a_setter_goes_before_the_file() {
    let folder = folder("setter");
    let file = folder.join("selvedge.yaml");
    fs::write(&file, "name: file\nshutdown: { patience: 1s }\n").unwrap();
    for config in [Config::from(file.as_path()), Config::load(&file).unwrap()] {
        let settings = config.name("setter").resolve().unwrap();
        assert_eq!((settings.name.as_str(), settings.shutdown.patience), ("setter", Duration::from_secs(1)));
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn paths_in_the_file_are_relative_to_it() {
    if crate::own_process::passes(module_path!(), "paths_in_the_file_are_relative_to_it", &[("REGION", "eu")]) {
        return;
    }
    let folder = folder("paths");
    fs::write(folder.join("selvedge.yaml"), "profile: { output: ../flames }\n").unwrap();
    let settings = Config::from(folder.join("selvedge.yaml")).resolve().unwrap();
    assert_eq!(settings.profile.output, folder.join("../flames"));
    fs::write(folder.join("selvedge.yaml"), "profile:\n  output: $ENV{REGION}/flames\n").unwrap();
    let settings = Config::from(folder.join("selvedge.yaml")).resolve().unwrap();
    assert_eq!(settings.profile.output, folder.join("eu/flames"));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn where_profiles_are_pushed_to_is_read() {
    if crate::own_process::passes(module_path!(), "where_profiles_are_pushed_to_is_read", &[("REGION", "eu")]) {
        return;
    }
    let folder = folder("push");
    fs::write(folder.join("token"), "0123456789abcdef\n").unwrap();
    let file = folder.join("selvedge.yaml");
    let push = |text: &str| {
        fs::write(&file, text).unwrap();
        Config::from(file.as_path()).resolve().unwrap().push
    };
    let all = push(
        "push:
  { url: \"http://pyroscope:4040/a/\", every: 1m, labels: { region: \"$ENV{REGION}\", b: x }, format: otlp,
    token_file: token, user: me, tenant: loom }
",
    )
    .unwrap();
    let url = PushUrl { host: "pyroscope".into(), port: 4040, path: "/a".into() };
    assert_eq!((&all.url, all.every, all.format), (&url, Duration::from_secs(60), PushFormat::Otlp));
    assert_eq!(all.labels, [("region".to_owned(), "eu".to_owned()), ("b".to_owned(), "x".to_owned())]);
    assert_eq!((all.token_file, all.user.as_deref()), (Some(folder.join("token")), Some("me")));
    assert_eq!(all.tenant.as_deref(), Some("loom"));
    let short = push("push: http://localhost:4040\n").unwrap();
    assert_eq!((short.every, short.format, short.labels), (Duration::from_secs(15), PushFormat::Pyroscope, vec![]));
    assert_eq!(push("push: off\n"), None);
    fs::write(&file, "push: http://localhost:4040\nprofile: { signal: SIGUSR2 }\n").unwrap();
    let error = Config::from(file.as_path()).resolve().unwrap_err();
    assert_eq!(error.key(), Some("profile.signal"), "{error}");
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(feature = "push")]
#[test]
fn what_a_push_of_the_program_says_is_checked() {
    let to = || Push::to("http://localhost:4040");
    for (push, key) in [
        (Push::to("https://localhost"), "push.url"),
        (to().every(Duration::from_millis(10)), "push.every"),
        (to().label("a-b", "x"), "push.labels"),
        (to().label("a", "x").label("a", "y"), "push.labels"),
        (to().token_file("no/such/file"), "push.token_file"),
        (to().user("me"), "push.user"),
        (to().tenant(""), "push.tenant"),
    ] {
        let error = Config::new("x").push(push).check().unwrap_err();
        assert!(error.is_config() && error.key() == Some(key), "{error}");
    }
    assert!(Config::new("x").push(to()).resolve().unwrap().push.is_some());
}

#[cfg(feature = "log4rs")]
#[test]
fn the_settings_of_log4rs_reach_theirs() {
    let folder = folder("log");
    fs::write(folder.join("log.yaml"), "").unwrap();
    for log in ["log: log.yaml", "log: { file: log.yaml, queued: true }"] {
        fs::write(folder.join("selvedge.yaml"), log).unwrap();
        let settings = Config::from(folder.join("selvedge.yaml")).resolve().unwrap();
        assert_eq!(settings.log.to, LogTo::File(folder.join("log.yaml")), "relative to the file");
        assert!(settings.log.wiring.queue.is_some());
    }
    fs::remove_dir_all(folder).unwrap();
    assert!(resolve_text("queued", "log: { queued: false }\n").unwrap().log.wiring.queue.is_none());
}

#[test]
fn formats_that_are_made_of_waits_make_the_recording_count_them() {
    let options = |text: &str| resolve_text("waits", text).unwrap().profile.options;
    assert!(!options("profile: { formats: [svg, folded, pprof] }\n").get_waits());
    for format in ["waits", "block", "mutex", "blame", "timeline"] {
        assert!(options(&format!("profile: {{ formats: [svg, {format}], frequency: 7 }}\n")).get_waits());
    }
    let config = Config::new("x").profile_formats([ProfileFormat::Mutex]);
    assert!(config.resolve().unwrap().profile.options.get_waits());
}

#[test]
fn what_setters_set_is_checked_too() {
    for (config, key) in [
        (Config::new("a/b"), "name"),
        (Config::new(""), "name"),
        (Config::new(".."), "name"),
        (Config::new("nul\0"), "name"),
        (Config::new("left\u{202e}right"), "name"),
        (Config::new("two\u{2028}lines"), "name"),
        (Config::new("long".repeat(51)), "name"),
        (Config::new("x").deadlocks(Duration::ZERO), "deadlocks.after"),
        (Config::new("x").log_own().log_level(LevelFilter::Debug), "log.level"),
        #[cfg(feature = "log4rs")]
        (Config::new("x").log_tail(5).log_off(), "log.tail"),
        (Config::new("x").profile_output("Cargo.toml"), "profile.output"),
        (Config::new("x").profile_formats([]), "profile.formats"),
        (Config::new("x").profile_formats([ProfileFormat::Svg; 2]), "profile.formats"),
        #[cfg(feature = "profiling")]
        (Config::new("x").profile_options(Options::new().frequency(0)), "profile.frequency"),
    ] {
        let error = config.check().unwrap_err();
        assert!(error.is_config(), "{error}");
        assert_eq!(error.key(), Some(key), "{error}");
        let text = error.to_string();
        assert_eq!(crate::os::printable::on_one_line(&text), text);
    }
    #[cfg(feature = "log4rs")]
    Config::new("x").log_file("no/such/file.yaml").check().unwrap_err();
}

#[test]
fn variables_in_paths_of_setters_are_replaced() {
    let settings = Config::new("x").profile_output("$ENV{CARGO_PKG_NAME}/flames").resolve().unwrap();
    assert_eq!(settings.profile.output, Path::new("selvedge/flames"));
    let unset = "$ENV{SELVEDGE_NOT_SET}/x";
    for (config, key) in [
        (Config::new("x").profile_output(unset), "profile.output"),
        (Config::new("x").profile_output("a/$ENV{SELVEDGE_NOT_SET}"), "profile.output"),
        #[cfg(feature = "log4rs")]
        (Config::new("x").log_output(unset), "log.output"),
        #[cfg(feature = "log4rs")]
        (Config::new("x").log_file(unset), "log.file"),
        #[cfg(feature = "inspect")]
        (Config::new("x").inspect_token_file(unset), "inspect.token_file"),
        #[cfg(feature = "push")]
        (Config::new("x").push(Push::to("http://localhost:4040").token_file(unset)), "push.token_file"),
    ] {
        let error = config.check().unwrap_err();
        assert_eq!((error.is_config(), error.key()), (true, Some(key)), "{error}");
        assert!(error.to_string().contains("the environment variable SELVEDGE_NOT_SET is not set"), "{error}");
    }
    #[cfg(feature = "log4rs")]
    {
        let settings = Config::new("x").log_output("target/$ENV{CARGO_PKG_NAME}.log").resolve().unwrap();
        let LogTo::Output(output) = settings.log.to else { panic!("{:?}", settings.log.to) };
        assert_eq!(output.path, Path::new("target/selvedge.log"));
    }
}

#[test]
fn the_longest_durations_of_setters_count_as_a_year() {
    let config = Config::new("x").patience(Duration::MAX).grace(Duration::MAX).deadlocks(Duration::MAX);
    let settings = config.resolve().unwrap();
    assert_eq!(settings.shutdown.patience, LONGEST_PATIENCE);
    assert_eq!(settings.shutdown.grace, LONGEST_PATIENCE);
    assert_eq!(settings.deadlocks, Some(LONGEST_PATIENCE));
}

#[test]
fn conversions_cannot_fail_and_read_nothing() {
    let path = "no/such/selvedge.yaml";
    for config in [Config::from(path), path.to_owned().into(), Path::new(path).into(), PathBuf::from(path).into()] {
        let error = config.resolve().unwrap_err();
        assert_eq!(error.file(), Some(Path::new(path)));
    }
}
