//! Runs programs of this package as processes of their own, under an alarm.
#![allow(dead_code, unreachable_pub, unused_imports)] // each test file uses a part of it

mod again;
mod build;
pub mod long;
mod own_process;
mod tools;
mod wait;

pub use again::undisturbed;
pub use build::{aborting_program, plugin, program};
#[cfg(unix)]
pub use tools::is_root;
pub use tools::{has_go, has_tool};
pub use wait::{DEADLINE, until, until_waiting, within_deadline};

use std::io::{BufRead, BufReader, Read};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than any of them may take.
pub const ALARM: Duration = Duration::from_secs(120);

/// A folder that is gone after the test, unless it fails.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(test: &str) -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "{test}-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a folder");
        }
        std::fs::write(&path, text).expect("a file");
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A config whose log goes to `app.log` in this folder, each line "LEVEL path message", and
    /// settings below it.
    pub fn config(&self, more: &str) -> PathBuf {
        let log = self.0.join("app.log");
        self.write(
            "log4rs.yaml",
            &format!(
                "appenders:\n  file:\n    kind: file\n    path: {}\
                 \n    encoder: {{ pattern: \"{{l}} {{T}} {{m}}{{n}}\" }}\n\
                 root: {{ level: info, appenders: [file] }}\n",
                log.display()
            ),
        );
        self.write("selvedge.yaml", &format!("name: subject\nlog: log4rs.yaml\n{more}\n"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Calls it when dropped.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// How a process ended, and what it said.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    /// As a shell shows it: 130 also for a death by SIGINT.
    pub fn code(&self) -> i32 {
        #[cfg(unix)]
        if std::os::unix::process::ExitStatusExt::signal(&self.status) == Some(libc::SIGINT) {
            return 130;
        }
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {}\n{}", self.status, self.stderr))
    }

    /// It took so long that the crate may have given up: at an end, the log and the last words have one second.
    pub fn is_slow(&self) -> bool {
        self.took >= Duration::from_secs(1)
    }

    /// It is slow, and one of the texts lacks one of the parts.
    pub fn is_slow_without(&self, texts: &[&str], parts: &[&str]) -> bool {
        self.is_slow() && !texts.iter().all(|text| parts.iter().all(|part| text.contains(part)))
    }
}

/// A child that does not outlive a test that has failed.
pub struct Mortal(pub Child);

impl Mortal {
    /// Waits for its end.
    ///
    /// # Panics
    /// It outlived the alarm.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + ALARM;
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {ALARM:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

impl Deref for Mortal {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Mortal {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

pub struct Process {
    child: Mortal,
    stdout: BufReader<std::process::ChildStdout>,
    read: String,
    begin: Instant,
    /// Reads stderr, where a test has asked for it.
    watcher: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        Process::start_reading(command, Stdio::null())
    }

    /// With this as its standard input.
    pub fn start_reading(command: &mut Command, input: Stdio) -> Process {
        #[cfg(unix)]
        hear_signals(command);
        // What the person that runs the tests asks of the log is not for the programs.
        if !command.get_envs().any(|(name, _)| name == "RUST_LOG") {
            command.env_remove("RUST_LOG");
        }
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("RUST_BACKTRACE")
            .spawn()
            .expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Process { child: Mortal(child), stdout, read: String::new(), begin: Instant::now(), watcher: None }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn input(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("piped")
    }

    /// The next line that it says on stdout. Empty once it says no more.
    ///
    /// # Panics
    /// It says nothing until the alarm.
    #[track_caller]
    pub fn next_line(&mut self) -> String {
        self.line_before(Instant::now() + ALARM)
    }

    #[track_caller]
    fn line_before(&mut self, deadline: Instant) -> String {
        let mut next = Vec::new();
        while !next.ends_with(b"\n") {
            #[cfg(unix)]
            if self.stdout.buffer().is_empty() && !is_readable(self.stdout.get_ref(), deadline) {
                panic!("it lives and says no line for {ALARM:?}; it said: {}", self.read);
            }
            let part = self.stdout.fill_buf().expect("its output");
            if part.is_empty() {
                break;
            }
            let length = part.iter().position(|byte| *byte == b'\n').map_or(part.len(), |end| end + 1);
            next.extend_from_slice(&part[..length]);
            self.stdout.consume(length);
        }
        let next = String::from_utf8(next).expect("its output is text");
        self.read.push_str(&next);
        next
    }

    /// Until it has said `line`.
    ///
    /// # Panics
    /// It ends without saying it, or does not say it until the alarm.
    #[track_caller]
    pub fn wait_for(&mut self, line: &str) -> &mut Process {
        let deadline = Instant::now() + ALARM;
        loop {
            let next = self.line_before(deadline);
            assert!(!next.is_empty(), "it ended without saying \"{line}\"; it said: {}", self.read);
            if next.trim_end() == line {
                return self;
            }
        }
    }

    #[cfg(unix)]
    pub fn signal(&mut self, signal: i32) -> &mut Process {
        // SAFETY: kill has no memory preconditions; the child was not waited for, so the id is
        // still its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
        self.begin = Instant::now();
        self
    }

    /// What it says on stderr from now on, as far as it has come; `end` does not have it then. After `end`
    /// all of it is there.
    pub fn watch_stderr(&mut self) -> Arc<Mutex<String>> {
        let stderr = BufReader::new(self.child.stderr.take().expect("piped"));
        let said = Arc::new(Mutex::new(String::new()));
        let so_far = said.clone();
        self.watcher = Some(std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut said = said.lock().expect("no panic");
                said.push_str(&line);
                said.push('\n');
            }
        }));
        so_far
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for the end. A process that outlives the alarm is killed, and the test fails.
    pub fn end(self) -> Ended {
        self.end_within(ALARM)
    }

    /// The same, with an alarm of its own.
    pub fn end_within(mut self, alarm: Duration) -> Ended {
        let stderr = self.child.stderr.take();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut text));
            text
        });
        let mut stdout = self.stdout;
        let output = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        let deadline = Instant::now() + alarm;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("still running after {alarm:?}; stderr: {}", errors.join().unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = self.begin.elapsed();
        // A descendant may hold the pipes after the end of the process. It is a fault if it does so
        // to the deadline.
        let watcher = self.watcher.take();
        let is_watched = || watcher.as_ref().is_none_or(|watcher| watcher.is_finished());
        while !(output.is_finished() && errors.is_finished() && is_watched()) {
            if Instant::now() > deadline {
                #[cfg(unix)]
                // SAFETY: a number and a signal. Without a group of that number nothing happens.
                unsafe {
                    libc::kill(-(self.child.id() as i32), libc::SIGKILL);
                }
                panic!("ended with {status}, but a process that it has started holds its output after {alarm:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let stdout = self.read + &output.join().expect("no panic");
        Ended { status, stdout, stderr: errors.join().expect("no panic"), took }
    }
}

/// Waits until a read would not block: there is something, or the end. Returns `false` at the
/// deadline.
#[cfg(unix)]
pub fn is_readable(file: &impl std::os::fd::AsRawFd, deadline: Instant) -> bool {
    let mut entry = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // SAFETY: one entry, which can be written; its descriptor is open, since `file` lives.
        if unsafe { libc::poll(&mut entry, 1, left.as_millis() as i32) } > 0 {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

/// The program takes signals as if a person had started it, also where the tests run with some of
/// them ignored.
#[cfg(unix)]
pub fn hear_signals(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec it only calls `signal`, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGPROF] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
}

/// Runs it to its end.
pub fn run(command: &mut Command) -> Ended {
    Process::start(command).end()
}

pub fn subject(scenario: &str, config: &Path) -> Command {
    let mut command = Command::new(program("subject"));
    command.arg(scenario).arg(config);
    command
}

/// Runs a test in a process of its own, if it needs what a process has once: a runtime, the logger,
/// the panic hook. Returns `true` in the process of all tests, when the test has passed in the
/// other; there it returns `false`.
///
/// # Panics
/// The test failed in the other process, or outlived the alarm.
pub fn in_own_process(module: &str, test: &str) -> bool {
    in_own_process_within(module, test, ALARM)
}

/// The same, with an alarm of its own.
pub fn in_own_process_within(module: &str, test: &str, alarm: Duration) -> bool {
    own_process_ends_well(module, test, alarm, &[])
}

/// The same, with these variables in its environment.
pub fn in_own_process_with(module: &str, test: &str, alarm: Duration, variables: &[(&str, &str)]) -> bool {
    own_process_ends_well(module, test, alarm, variables)
}

fn own_process_ends_well(module: &str, test: &str, alarm: Duration, variables: &[(&str, &str)]) -> bool {
    let Some(mut command) = own_process::command(module, test) else { return false };
    command.envs(variables.iter().copied());
    // Without that feature there are none.
    if cfg!(feature = "log4rs") {
        command.env(build::PROGRAMS, build::programs());
    }
    let ended = Process::start(&mut command).end_within(alarm);
    let is_well = ended.status.success() && ended.stdout.contains("1 passed");
    assert!(is_well, "{module}::{test}: {}\n{}\n{}", ended.status, ended.stdout, ended.stderr);
    true
}
