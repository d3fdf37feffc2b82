//! The exit code says what became of the program: random programs of a main and some threads, run
//! one after another.

use crate::random::Random;
use selvedge::{Config, JoinHandle, Signal, spawn, spawn_fallible};
use std::process::{Command, ExitCode};
use std::time::Duration;

const PROGRAMS: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Well,
    Error,
    /// Past the hook, which would log it: what is asked for here is the exit code.
    Panic,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Its failure is the parent's.
    Dropped,
    /// Its failure is the log's.
    Released,
    /// Its failure is heard, and no more.
    Joined,
    /// Its failure is returned by the parent.
    Returned,
}

#[derive(Debug)]
struct Plan {
    ending: Ending,
    children: Vec<(Fate, Plan)>,
}

impl Plan {
    fn random(random: &mut Random, depth: u64) -> Plan {
        let ending = [Ending::Well, Ending::Well, Ending::Well, Ending::Error, Ending::Panic][random.below(5) as usize];
        let children = if depth == 0 { 0 } else { random.below(3) };
        let fates = [Fate::Dropped, Fate::Released, Fate::Joined, Fate::Returned];
        let mut child = || (fates[random.below(4) as usize], Plan::random(random, depth - 1));
        Plan { ending, children: (0..children).map(|_| child()).collect() }
    }

    fn fails(&self) -> bool {
        let passes_on = |(fate, child): &(Fate, Plan)| matches!(fate, Fate::Dropped | Fate::Returned) && child.fails();
        self.ending != Ending::Well || self.children.iter().any(passes_on)
    }

    fn run(self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut returned = Ok(());
        for (fate, child) in self.children {
            let handle: JoinHandle<()> = match child.ending {
                Ending::Panic => spawn("child", move |_| child.run().expect("a panic comes before it")),
                _ => spawn_fallible("child", move |_| child.run()),
            };
            match fate {
                Fate::Dropped => drop(handle),
                Fate::Released => handle.release(),
                Fate::Joined => drop(handle.join()),
                Fate::Returned => returned = returned.and(handle.join()),
            }
        }
        match self.ending {
            Ending::Well => Ok(returned?),
            Ending::Error => Err("on purpose".into()),
            Ending::Panic => std::panic::resume_unwind(Box::new("on purpose")),
        }
    }
}

const INNER: &str = "SELVEDGE_TEST_PRINTS_REPORTS";

#[test]
fn an_unjoined_failure_gives_1() {
    if std::env::var_os(INNER).is_some() {
        return run_all();
    }
    // In a process of its own, since hundreds of failure reports go to stderr.
    let mut inner = Command::new(std::env::current_exe().unwrap());
    inner.args(["--exact", "exit_codes::an_unjoined_failure_gives_1", "--nocapture"]).env(INNER, "");
    let ended = crate::support::Process::start(&mut inner).end_within(Duration::from_secs(600));
    let last: Vec<_> = ended.stderr.lines().rev().take(20).collect();
    assert!(ended.status.success(), "the last lines, the last one first: {last:#?}");
    assert!(ended.stderr.contains("selvedge: exit-codes failed"));
}

fn run_all() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("exit-codes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let log = folder.join("log4rs.yaml");
    std::fs::write(&log, "appenders: {}\nroot: { level: \"off\", appenders: [] }\n").unwrap();
    let mut seen = [0; 2];
    for seed in 0..PROGRAMS {
        let plan = Plan::random(&mut Random(seed), 2);
        let (fails, text) = (plan.fails(), format!("{plan:?}"));
        let config = Config::new("exit-codes").log_file(&log);
        let code = selvedge::run(config, move |_: &Signal| plan.run());
        // ExitCode has no other equality.
        let expected = if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        assert_eq!(format!("{code:?}"), format!("{expected:?}"), "program {seed}: {text}");
        seen[usize::from(fails)] += 1;
    }
    assert!(seen.iter().all(|&count| count > PROGRAMS / 10), "{seen:?} of each kind");
    std::fs::remove_dir_all(&folder).unwrap();
}
