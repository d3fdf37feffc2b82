//! A program that ends in the middle of its work, by `exit` or by an abort: `ending SCENARIO
//! CONFIG`.

use selvedge::{Config, Signal, spawn};
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (scenario, config) = (args.next().unwrap_or_default(), args.next().expect("a config"));
    if scenario == "exit-in-logger" {
        log::set_boxed_logger(Box::new(Exits)).expect("the first");
        log::set_max_level(log::LevelFilter::Info);
    }
    let code = selvedge::run(Config::from(config), |please_stop| {
        burn();
        log::info!("has worked");
        match scenario.as_str() {
            "exit-main" => std::process::exit(3),
            "exit" => drop(spawn("worker", |_| std::process::exit(3)).join()),
            "exit-outside" => drop(std::thread::spawn(|| std::process::exit(3)).join()),
            "exit-interrupted" => {
                println!("ready");
                please_stop.wait_for_go();
                std::process::exit(130);
            }
            "exit-at-the-end" => {
                let main = selvedge::Thread::current();
                drop(std::thread::spawn(move || {
                    main.please_stop().wait_for_go();
                    // While the runtime ends, and perhaps writes the profile.
                    std::thread::sleep(Duration::from_millis(5));
                    std::process::exit(3)
                }));
            }
            "exit-in-logger" => return Ok(()),
            "panic" => drop(spawn("worker", |_| fail()).join()),
            "panic-outside" => drop(std::thread::Builder::new().name("plain".into()).spawn(fail)?.join()),
            "double-panic" => drop(spawn("worker", |_| in_a_destructor()).join()),
            "abort" => std::process::abort(),
            other => panic!("no scenario \"{other}\""),
        }
        Signal::new("no end").wait_for_go_timeout(Duration::from_millis(200));
        Ok::<(), std::io::Error>(())
    });
    if scenario == "exit-at-the-end" {
        // The other thread ends the process.
        loop {
            std::thread::park();
        }
    }
    code
}

/// CPU time that a profile can see.
fn burn() {
    let used = || selvedge::Thread::current().cpu_time().expect("a thread of the tree");
    let (before, mut sum) = (used(), 0_u64);
    while used() - before < Duration::from_millis(150) {
        sum = std::hint::black_box(sum.wrapping_mul(3) + 1);
    }
}

fn fail() {
    panic!("told to fail");
}

/// A panic in a destructor while another panic unwinds.
fn in_a_destructor() {
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            panic!("the second");
        }
    }
    let _late = Late;
    fail();
}

/// Exits while it is told that the profile is written, on the thread that writes it.
struct Exits;

impl log::Log for Exits {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.args().to_string().starts_with("profile of ") {
            std::process::exit(3);
        }
    }

    fn flush(&self) {}
}
