//! A program as a service: under a service manager, as the first process of a container, under
//! limits of a control group.
#![cfg(target_os = "linux")]

use crate::support::{ALARM, Folder, Process, program, until};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn a_service_manager_hears_start_watchdog_and_stop() {
    let folder = Folder::new("notified");
    let path = folder.path().join("notify");
    let name = format!("selvedge-notify-{}", std::process::id());
    let by_path = (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned());
    let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
    let by_name = (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}"));
    for (manager, address) in [by_path, by_name] {
        manager.set_read_timeout(Some(ALARM)).unwrap();
        let mut command = Command::new(program("service"));
        command.env("NOTIFY_SOCKET", address).env("WATCHDOG_USEC", "200000").env_remove("WATCHDOG_PID");
        let mut process = Process::start(&mut command);
        let told = || {
            let mut text = [0; 100];
            // A signal to this process may interrupt it.
            let length = loop {
                match manager.recv(&mut text) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    received => break received.expect("a message"),
                }
            };
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        // The watchdog may be first.
        let mut messages = vec![told()];
        while !(messages.iter().any(|told| told == "READY=1") && messages.iter().any(|told| told == "WATCHDOG=1")) {
            messages.push(told());
        }
        process.signal(libc::SIGTERM);
        while messages.last().is_none_or(|told| told != "STOPPING=1") {
            messages.push(told());
        }
        let ended = process.end();
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let known = ["READY=1", "WATCHDOG=1", "STOPPING=1"];
        assert!(messages.iter().all(|told| known.contains(&told.as_str())), "{messages:?}");
    }
    // Without a manager it works as well.
    let mut process = Process::start(Command::new(program("service")).env_remove("NOTIFY_SOCKET"));
    process.wait_for("ready").signal(libc::SIGTERM);
    assert_eq!(process.end().code(), 0);
}

/// Runs it as the first process of a process-id namespace. `None` if the system does not permit
/// that here.
fn as_pid_1(test: &str, arguments: &[&Path]) -> Option<Command> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
        command
    };
    let permitted = unshare().arg("true").output().is_ok_and(|output| output.status.success());
    if !permitted {
        eprintln!("{test}: not run, since this system permits no namespace");
        return None;
    }
    let mut command = unshare();
    command.args(arguments);
    Some(command)
}

/// The process that `unshare` has started, by its id out here.
fn inner(process: &Process) -> i32 {
    let (id, mut children) = (process.id(), String::new());
    until("unshare has started it", || {
        children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        !children.is_empty()
    });
    children.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn pid_1_hears_signals_and_ends_right() {
    for (signal, code) in [(libc::SIGTERM, 0), (libc::SIGINT, 130)] {
        let service = program("service");
        let Some(mut command) = as_pid_1("container", &[&service]) else { return };
        let mut process = Process::start(&mut command);
        process.wait_for("ready");
        // SAFETY: kill has no memory preconditions. The process lives, since its parent waits for
        // it.
        assert_eq!(unsafe { libc::kill(inner(&process), signal) }, 0);
        let ended = process.end();
        assert_eq!(ended.code(), code, "{}", ended.stderr);
    }
}

/// A control group with a fifth of a processor, which goes with the value.
struct Group(PathBuf);

impl Group {
    /// `None` if the system permits none here.
    fn new(test: &str) -> Option<Group> {
        let name = format!("selvedge-test-{}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/cpu").join(&name);
        let second = Path::new("/sys/fs/cgroup").join(&name);
        let set = |group: &Path, file: &str, value: &str| std::fs::write(group.join(file), value).is_ok();
        let made = |group: &PathBuf| std::fs::create_dir(group).is_ok();
        let is_first = made(&first)
            .then(|| Group(first.clone()))
            .filter(|group| set(&group.0, "cpu.cfs_period_us", "20000") && set(&group.0, "cpu.cfs_quota_us", "4000"));
        let group = is_first.or_else(|| {
            made(&second).then(|| Group(second.clone())).filter(|group| set(&group.0, "cpu.max", "4000 20000"))
        });
        if group.is_none() {
            eprintln!("{test}: not run, since this system permits no control group");
        }
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn control_group_limits_are_logged() {
    let Some(group) = Group::new("limits") else { return };
    let folder = Folder::new("limits");
    let mut command = Command::new("sh");
    command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(&group.0);
    command.arg(program("dump_subject")).arg("several").arg(folder.config(""));
    let mut process = Process::start(&mut command);
    process.wait_for("ready");
    // It has a thread that burns CPU.
    until("the group is throttled in a tenth of the periods", || {
        let stat = std::fs::read_to_string(group.0.join("cpu.stat")).unwrap();
        let number = |name: &str| -> u64 {
            let value = stat.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{stat}"));
            value.trim().parse().unwrap()
        };
        number("nr_throttled") * 10 > number("nr_periods")
    });
    process.signal(libc::SIGTERM);
    let ended = process.end();
    let log = folder.read("app.log");
    let line = log.lines().find(|line| line.contains("the control group used ")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(", of at most 0.20 processors; throttled in "), "{line}");
    let (_, periods) = line.split_once("throttled in ").unwrap();
    let (throttled, periods) = periods.split_once(" periods").and_then(|(two, _)| two.split_once(" of ")).unwrap();
    let (throttled, periods): (u64, u64) = (throttled.parse().unwrap(), periods.parse().unwrap());
    assert_eq!(line.starts_with("WARN "), throttled * 10 > periods, "{line}");
    assert_eq!(ended.code(), 1, "a thread of the subject panics");
}

#[test]
#[cfg(feature = "profiling")]
fn the_environment_turns_the_profile_on_and_off() {
    for (variable, enabled, is_written) in
        [(Some("on"), "false", true), (Some("off"), "true", false), (None, "true", true)]
    {
        let folder = Folder::new("profile-by-environment");
        let config = folder.config(&format!("profile: {{ enabled: {enabled}, output: . }}"));
        let mut command = crate::support::subject("ok", &config);
        command.env_remove("SELVEDGE_PROFILE").envs(variable.map(|value| ("SELVEDGE_PROFILE", value)));
        let ended = crate::support::run(&mut command);
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        assert_eq!(folder.path().join("subject.svg").exists(), is_written, "{variable:?}");
    }
    let folder = Folder::new("profile-by-nonsense");
    let mut command = crate::support::subject("ok", &folder.config(""));
    let ended = crate::support::run(command.env("SELVEDGE_PROFILE", "yes"));
    let error = "selvedge: the environment variable SELVEDGE_PROFILE: expected on, off, cpu or wall, found `yes`";
    assert!(ended.code() == 78 && ended.stderr.contains(error), "{}", ended.stderr);
}

#[test]
#[cfg(feature = "profiling")]
fn the_environment_names_the_folder_of_the_profile() {
    let folder = Folder::new("output-by-environment");
    let config = folder.config("profile: { enabled: true, output: by-file }");
    let mut command = crate::support::subject("ok", &config);
    command.current_dir(folder.path()).env_remove("SELVEDGE_PROFILE").env("ELSEWHERE", "else/where");
    let ended = crate::support::run(command.env("SELVEDGE_PROFILE_OUTPUT", "./$ENV{ELSEWHERE}"));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(folder.path().join("else/where/subject.svg").exists() && !folder.path().join("by-file").exists());
    // Empty is as not set.
    let ended = crate::support::run(command.env("SELVEDGE_PROFILE_OUTPUT", ""));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(folder.path().join("by-file/subject.svg").exists());
    let ended = crate::support::run(command.env("SELVEDGE_PROFILE_OUTPUT", "app.log"));
    let error = "selvedge: the environment variable SELVEDGE_PROFILE_OUTPUT: app.log is a file; name a folder";
    assert!(ended.code() == 78 && ended.stderr.starts_with(error), "{}", ended.stderr);
    // A signal may ask for a recording later.
    let mut by_signal = crate::support::subject("ok", &folder.config("profile: { signal: SIGUSR2 }"));
    by_signal.current_dir(folder.path()).env_remove("SELVEDGE_PROFILE").env("SELVEDGE_PROFILE_OUTPUT", "app.log");
    let ended = crate::support::run(&mut by_signal);
    assert!(ended.code() == 78 && ended.stderr.starts_with(error), "{}", ended.stderr);
}

/// Nothing is recorded, so nothing comes to that folder.
#[test]
fn a_wrong_folder_for_profiles_is_no_error_without_one() {
    let folder = Folder::new("output-for-nothing");
    for config in [folder.config(""), folder.config("profile: { enabled: true }")] {
        let mut command = crate::support::subject("ok", &config);
        command.current_dir(folder.path()).env("SELVEDGE_PROFILE", "off");
        let ended = crate::support::run(command.env("SELVEDGE_PROFILE_OUTPUT", "log4rs.yaml"));
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    }
}

#[test]
#[cfg(feature = "profiling")]
fn a_signal_starts_a_recording_and_the_next_one_writes_it() {
    let folder = Folder::new("profile-by-signal");
    let config = folder.config("profile: { signal: SIGUSR2, output: . }");
    let mut command = Command::new(program("dump_subject"));
    let mut process = Process::start(command.arg("several").arg(config).env_remove("SELVEDGE_PROFILE"));
    process.wait_for("ready");
    let files = |stem: &str| ["svg", "folded", "pb.gz"].map(|kind| folder.path().join(format!("{stem}.{kind}")));
    let told = |text: &str| folder.read("app.log").matches(text).count();
    // A signal does nothing until all of the one before is done. The log says so, and the signal is sent again.
    let mut signal_until = |what: &str, is_done: &dyn Fn() -> bool| {
        let refusals = || told("the one before is not finished");
        let mut before = refusals();
        process.signal(libc::SIGUSR2);
        until(what, || {
            if refusals() > before {
                before = refusals();
                process.signal(libc::SIGUSR2);
            }
            is_done()
        });
    };
    for (number, stem) in [(1, "subject"), (2, "subject-2")] {
        let has_started = || told("SIGUSR2: a recording has started; SIGUSR2 again ends it") == number;
        signal_until("a recording starts", &has_started);
        assert!(files(stem).iter().all(|file| !file.exists()));
        signal_until("its files are written", &|| files(stem).iter().all(|file| file.exists()));
        until("and this is told", || told(&format!("{stem}.pb.gz")) == 1);
    }
    // A recording that runs at the end is written then.
    signal_until("a third one starts", &|| told("SIGUSR2: a recording has started") == 3);
    process.signal(libc::SIGTERM);
    let ended = process.end();
    assert_eq!(ended.code(), 1, "a thread of the subject panics: {}", ended.stderr);
    let folded = folder.read("subject-3.folded");
    assert!(folded.lines().all(|line| line.starts_with("main") || line.starts_with("other")), "{folded}");
}
