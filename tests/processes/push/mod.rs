//! The profile of a running program is pushed: what the server gets adds up, no thread of the user
//! waits for the server, each loss is counted and told, and the program ends in time.
#![cfg(all(feature = "push", target_os = "linux"))]

mod failures;
#[cfg(feature = "otlp")]
mod otlp;
mod receiver;
mod served;

use crate::support::{Folder, Process, program};
use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A program that pushes, with its log.
struct Pushing {
    folder: Folder,
    process: Process,
    input: ChildStdin,
}

/// What is left of it.
struct Ended {
    folder: Folder,
    ended: crate::support::Ended,
    log: String,
}

impl Pushing {
    fn start(test: &str, port: u16, more_of_push: &str, more: &str) -> Pushing {
        let folder = Folder::new(test);
        let push = format!("push: {{ url: \"http://127.0.0.1:{port}\", every: 1s{more_of_push} }}");
        let config = folder.config(&format!("{push}\n{more}"));
        let mut command = Command::new(program("pushing"));
        command.arg(config).env_remove("SELVEDGE_PROFILE").env_remove("SELVEDGE_PUSH");
        let mut process = Process::start_reading(&mut command, Stdio::piped());
        let input = process.input();
        process.wait_for("ready");
        Pushing { folder, process, input }
    }

    fn order(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Threads of the user do their work now.
    fn work(&mut self) {
        self.order("work");
        self.process.wait_for("worked");
    }

    fn end(mut self) -> Ended {
        self.order("end");
        self.wait()
    }

    fn wait(self) -> Ended {
        let Pushing { folder, process, input } = self;
        let ended = process.end();
        drop(input);
        let log = folder.read("app.log");
        Ended { folder, ended, log }
    }

    fn log(&self) -> String {
        self.folder.read("app.log")
    }
}

impl Ended {
    /// The CPU time that the burners have used by their own clocks.
    fn burnt(&self) -> i64 {
        let lines = self.ended.stdout.lines().filter(|line| line.starts_with("cpu main/burner-"));
        let each: Vec<i64> = lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(each.len(), 2, "{}", self.ended.stdout);
        each.iter().sum()
    }

    /// The line of the log that tells how it went.
    fn summary(&self) -> &str {
        let lines: Vec<&str> = self.log.lines().filter(|line| line.contains(" pushed to http://")).collect();
        let [line] = lines[..] else { panic!("{}", self.log) };
        line.split_once("push: ").unwrap().1
    }

    /// Of `push: 2 of 5 intervals pushed to …`, or `push: 5 intervals pushed to …`.
    fn pushed(&self) -> usize {
        self.summary().split(' ').next().unwrap().parse().unwrap()
    }

    /// The number before that reason in the summary.
    fn lost(&self, reason: &str) -> usize {
        let (before, _) = self.summary().split_once(&format!(" {reason}")).unwrap_or_else(|| panic!("{}", self.log));
        before.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// What the receiver has taken from a program that has ended. The program gives its last interval three
/// seconds, and a busy machine may need longer to make and send it: then the program runs again, at most
/// four times, beside no other program that does.
fn sent_in_time(run: impl Fn() -> (receiver::Receiver, Ended)) -> (receiver::Receiver, Ended) {
    let is_late = |found: &(receiver::Receiver, Ended)| found.1.log.contains(" not sent when the program ended");
    let first = run();
    if !is_late(&first) {
        return first;
    }
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    (0..3).map(|_| run()).find(|found| !is_late(found)).unwrap_or_else(run)
}

fn within_one_percent(found: i64, expected: i64, what: &str) {
    let difference = (found - expected).abs() as f64;
    assert!(difference <= 0.01 * expected as f64, "{what}: {found} of {expected}");
}
