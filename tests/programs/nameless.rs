//! A program that loses its file: `nameless SCENARIO [CONFIG]`. What it finds all the same is on
//! its stdout.

use selvedge::Thread;
use selvedge::profile::{self, Options};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Uses so much CPU time.
#[inline(never)]
fn work(length: Duration) {
    let used = || Thread::current().cpu_time().expect("it lives");
    let before = used();
    while used() - before < length {
        std::hint::spin_loop();
    }
}

/// Tells what is logged.
struct Out;

impl log::Log for Out {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        println!("log: {} {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let scenario = args.next().unwrap_or_default();
    if scenario == "run" {
        return selvedge::run(args.next().expect("a config").as_str(), |_| {
            work(Duration::from_millis(100));
            Ok::<(), std::io::Error>(())
        });
    }
    log::set_logger(&Out).expect("the first");
    log::set_max_level(log::LevelFilter::Info);
    if scenario == "replaced" {
        let own = args.next().expect("the own file");
        std::fs::write(format!("{own}.new"), "another program").expect("a folder of the test's");
        std::fs::rename(format!("{own}.new"), own).expect("a folder of the test's");
    }
    let recording = profile::start(Options::new()).expect("nothing else is recorded");
    let limit = libc::rlimit { rlim_cur: 32 << 20, rlim_max: 32 << 20 };
    match scenario.as_str() {
        "chroot" => {
            let empty = args.next().expect("an empty folder");
            std::os::unix::fs::chroot(Path::new(&empty)).expect("root");
            std::env::set_current_dir("/").expect("it is there");
        }
        // SAFETY: no other thread of this program depends on its user.
        "setuid" => assert_eq!(unsafe { libc::setgid(65534) | libc::setuid(65534) }, 0),
        // SAFETY: the limit is whole.
        "small" => assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) }, 0),
        "narrow" => {
            let used = std::fs::read_to_string("/proc/self/statm").expect("Linux");
            let pages: u64 = used.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number");
            let limit = (pages << 12) + (8 << 20);
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            // SAFETY: the limit is whole.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        }
        _ => {}
    }
    work(Duration::from_millis(300));
    let dump = selvedge::dump();
    let profile = recording.finish();
    profile.write_folded(std::io::stdout()).expect("stdout is read");
    println!("{dump}");
    ExitCode::SUCCESS
}
