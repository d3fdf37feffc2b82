//! Ends the process of the tests when a test hangs: its thread has not run for two minutes. Without
//! this, a lost wake-up stops `cargo test` forever. It starts before `main` and finds the threads of
//! the tests by itself, so no test calls it.
//!
//! A test that spins or polls runs, so this does not find it. A test that polls has a deadline of
//! its own (`until`).

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio, abort};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two looks at the threads.
const PAUSE: Duration = Duration::from_secs(1);

/// A test hangs if its thread has not run between so many looks: for two minutes. That is longer
/// than any blocking call of a test takes, also on a busy machine. A process that was stopped as a
/// whole does not look meanwhile, so pauses are counted and not the time.
const LOOKS: u32 = 120;

/// The same while a child process runs: Cargo may build a program for a test.
const LOOKS_WITH_CHILDREN: u32 = 1800;

/// The number of looks, in place of both: this file's own test does not wait for minutes.
const VARIABLE: &str = "SELVEDGE_HANG_LOOKS";

/// Longer than the report takes. A report that hangs too must not keep the process.
const REPORT: Duration = Duration::from_secs(100);

// Called with the arguments of `main`, which it does not take, before std's own start. That is
// enough for a thread.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    // Without a thread to be had, the tests run as they would without this file.
    let _ = thread::Builder::new().name("hang-watch".to_owned()).spawn(watch);
}

/// A thread, as the last look found it.
struct Blocked {
    ran: u64,
    /// The number of looks since `ran` has changed.
    looks: u32,
}

fn watch() {
    let mut blocked: HashMap<String, Blocked> = HashMap::new();
    let mut tests = Vec::new();
    let given: Option<u32> = std::env::var(VARIABLE).ok().and_then(|looks| looks.parse().ok());
    let mut had_children = false;
    loop {
        thread::sleep(PAUSE);
        let has_children = has_children();
        if had_children && !has_children {
            // A thread that has waited for the child has its time from now on.
            blocked.clear();
        }
        had_children = has_children;
        let mut now = HashMap::new();
        for id in threads() {
            let Some(ran) = ran(&id) else { continue };
            let looks = blocked.get(&id).filter(|before| before.ran == ran).map_or(0, |before| before.looks + 1);
            now.insert(id, Blocked { ran, looks });
        }
        blocked = now;
        let limit = given.unwrap_or(if has_children { LOOKS_WITH_CHILDREN } else { LOOKS });
        let still: Vec<&String> =
            blocked.iter().filter(|(_, thread)| thread.looks >= limit).map(|(id, _)| id).collect();
        if still.is_empty() {
            continue;
        }
        if tests.is_empty() {
            tests = names_of_tests();
        }
        let hang: Vec<String> = still.into_iter().filter_map(|id| test_of(id, &tests)).collect();
        if !hang.is_empty() {
            report(&hang, limit * PAUSE.as_secs() as u32);
        }
    }
}

/// The ids of the threads of this process.
fn threads() -> impl Iterator<Item = String> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    tasks.filter_map(|task| task.ok()?.file_name().into_string().ok())
}

/// The time for which the thread has run, in nanoseconds. `None` if it has ended. The clock is there
/// on each kernel; `schedstat` is not.
fn ran(id: &str) -> Option<u64> {
    let id: libc::pid_t = id.parse().ok()?;
    // The kernel's number for a thread's CPU clock, which `pthread_getcpuclockid` makes in this way.
    let clock = !id << 3 | 6;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` can be written. A number of no thread is an error.
    let is_read = unsafe { libc::clock_gettime(clock, &mut time) } == 0;
    is_read.then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

fn has_children() -> bool {
    // SAFETY: all zero is a value of siginfo_t, which has integers and pointers only.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` can be written. WNOWAIT leaves each child as it is for the test that waits for it.
    unsafe { libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) == 0 }
}

/// The names of all tests of this program, as it lists them itself.
fn names_of_tests() -> Vec<String> {
    let program = std::env::current_exe().expect("the tests have a file");
    let list = Command::new(program).args(["--list", "--format", "terse"]).output().expect("the tests can be listed");
    let names = String::from_utf8_lossy(&list.stdout);
    names.lines().filter_map(|line| line.strip_suffix(": test").map(str::to_owned)).collect()
}

/// What a report calls the test that this thread runs. libtest gives a thread the name of its test,
/// and the kernel keeps the first 15 bytes of it. `None` if it is no thread of a test.
fn test_of(id: &str, tests: &[String]) -> Option<String> {
    let name = std::fs::read_to_string(Path::new("/proc/self/task").join(id).join("comm")).ok()?;
    let name = name.trim_end_matches('\n');
    let is_its = |test: &&String| test.get(..15).unwrap_or(test) == name;
    let all: Vec<&str> = tests.iter().filter(is_its).map(String::as_str).collect();
    match all.len() {
        0 => None,
        1..=3 => Some(format!("{} (thread {id})", all.join(" or "))),
        // libtest has told its name after a minute.
        count => Some(format!("one of {count} tests {name}… (thread {id})")),
    }
}

/// Says which tests hang and what all threads do, and aborts.
fn report(hang: &[String], seconds: u32) -> ! {
    let hang = format!("HANGS: {} did not run for {seconds} s. All threads of this process:", hang.join(" and "));
    let (send, receive) = mpsc::channel();
    // On a thread of its own: a test that hangs may hold the lock of stderr.
    let reporter = thread::Builder::new().spawn(move || {
        eprintln!("\n{hang}\n");
        eprintln!("{}", super::dump());
        let _ = send.send(());
    });
    if reporter.is_ok() {
        let _ = receive.recv_timeout(REPORT);
    }
    abort()
}

#[test]
fn a_test_that_hangs_ends_the_process() {
    const TEST: &str = "hang::a_test_that_hangs_ends_the_process";
    if std::env::var_os(VARIABLE).is_some() {
        super::Signal::new("the lost wake-up").wait_for_go();
    }
    let mut own = Command::new(std::env::current_exe().expect("the tests have a file"));
    own.args(["--exact", TEST]).env(VARIABLE, "2").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = own.spawn().expect("the tests run");
    let mut stderr = child.stderr.take().expect("it is piped");
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = stderr.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    // Where the watch finds nothing, it does not end this test either.
    let alarm = Instant::now() + 2 * REPORT;
    while child.try_wait().expect("it is a child").is_none() && Instant::now() < alarm {
        thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let status = child.wait().expect("it is a child");
    let said = reader.join().expect("it does not panic");
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(libc::SIGABRT), "{status}: {said}");
    let hangs = format!("HANGS: {TEST} (thread ");
    assert!(said.contains(&hangs) && said.contains("dump of process"), "{said}");
}
