//! A program in trouble that the tests of the command and of the page look at: two threads
//! deadlock, one panics, a queue is full, a pool waits, names are evil. It ends when its stdin ends.
//!
//! A line `stop` asks the thread `deaf` to stop, which never obeys; `long` logs a record of 3 KiB.

use selvedge::{Config, Lock, Progress, Queue, Signal, Till, spawn};
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

fn main() -> ExitCode {
    let config = Config::new("watched").inspect("unix").deadlocks(Duration::from_millis(200));
    let config = config.patience(Duration::from_secs(3));
    selvedge::run(config, |_: &Signal| -> Result<(), std::io::Error> {
        deadlock();
        drop(spawn("mailer", |_| {
            let address = black_box("everyone");
            assert!(address.contains('@'), "\"{address}\" is no address");
        }));
        let files: Queue<u32> = Queue::bounded("files", 3);
        // It is full, since no thread pops.
        let (adder, _popper) = (files.adder(), files.popper());
        drop(spawn("walker", move |please_stop| while adder.add_till(1, please_stop).is_ok() {}));
        for name in ["<img id=markup src=x>", "\u{1b}[31mred\u{202e}d\u{200b}er", "größe 名前"] {
            drop(spawn(name, |please_stop| please_stop.wait_for_go()));
        }
        drop(spawn("server", |please_stop| {
            for name in ["peer 10.0.0.7:1", "peer 10.0.0.7:20", "peer 10.0.0.12:1", "shard-1-of-9", "sha256", "7"] {
                drop(spawn(name, |please_stop| please_stop.wait_for_go()));
            }
            please_stop.wait_for_go();
        }));
        drop(spawn("readers", |please_stop| {
            for number in 1..=5 {
                drop(spawn(format!("reader-{number}"), |please_stop| please_stop.wait_for_go()));
            }
            please_stop.wait_for_go();
        }));
        let deaf = spawn("deaf", |_| {
            loop {
                work();
            }
        });
        for line in std::io::stdin().lines() {
            match line?.as_str() {
                "stop" => deaf.thread().stop_because("the test wants it"),
                "long" => log::error!("a report\n{}its end", "  at watched::work (watched.rs:1)\n".repeat(90)),
                _ => {}
            }
        }
        // Some of the threads never end.
        std::process::exit(0);
    })
}

/// Each of two threads has the lock that the other one waits for.
fn deadlock() {
    let locks = Arc::new((Lock::new("savings", ()), Lock::new("checking", ()), Progress::new("holders")));
    let same = locks.clone();
    drop(spawn("deposits", move |_| {
        let _checking = same.1.lock();
        same.2.advance(1);
        same.2.wait_for(2);
        drop(same.0.lock());
    }));
    drop(spawn("withdrawals", move |_| {
        let _savings = locks.0.lock();
        locks.2.advance(1);
        locks.2.wait_for(2);
        drop(locks.1.lock());
    }));
}

/// A little CPU time, and a little sleep: the tests share the machine.
#[inline(never)]
fn work() {
    black_box((0..200_000u64).fold(0, |sum, n| black_box(sum ^ n)));
    Till::after(Duration::from_millis(5)).wait_for_go();
}
