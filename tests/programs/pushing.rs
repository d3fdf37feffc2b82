//! A program whose profile is pushed: `pushing CONFIG`.
//!
//! Its burners use CPU time, and its waiters wait for a lock, until the end. It says "ready", and
//! then does what the lines on stdin say: "work" (spawn threads and pass values, and say "worked"),
//! "end", "exit" (end the process by `exit`). At the end in order it says how much CPU time each
//! burner has used: "cpu main/burner-0 NANOSECONDS".

use selvedge::{Config, JoinHandle, Lock, Queue, Signal, Thread, lines_till, spawn};
use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn main() -> ExitCode {
    let config = std::env::args().nth(1).map_or_else(|| Config::new("pushing"), Config::from);
    selvedge::run(config, |please_stop| {
        let burners: Vec<JoinHandle<Duration>> = (0..2).map(|number| spawn(format!("burner-{number}"), burn)).collect();
        let lock = Arc::new(Lock::new("shuttle", ()));
        for number in 0..2 {
            let lock = lock.clone();
            drop(spawn(format!("weaver-{number}"), move |please_stop| weave(please_stop, &lock)));
        }
        say("ready");
        for line in lines_till(std::io::stdin(), please_stop)? {
            match line?.as_str() {
                "work" => work(),
                "exit" => std::process::exit(3),
                _ => break,
            }
        }
        for burner in burners {
            burner.stop();
            let path = burner.thread().path().to_owned();
            let cpu = burner.join().expect("it only burns");
            say(&format!("cpu {path} {}", cpu.as_nanos()));
        }
        Ok::<(), std::io::Error>(())
    })
}

fn say(text: &str) {
    println!("{text}");
    let _ = std::io::stdout().flush();
}

/// Uses less than a whole processor: others need theirs to push.
#[inline(never)]
fn burn(please_stop: &Signal) -> Duration {
    while !please_stop.wait_for_go_timeout(Duration::from_millis(5)) {
        for _ in 0..100_000 {
            black_box(0);
        }
    }
    Thread::current().cpu_time().expect("it has a clock")
}

fn weave(please_stop: &Signal, lock: &Lock<()>) {
    while !please_stop.is_go() {
        let _held = lock.lock();
        please_stop.wait_for_go_timeout(Duration::from_millis(20));
    }
}

/// What threads of a user do: it must not wait for a server.
fn work() {
    for _ in 0..20 {
        let queue: Queue<u32> = Queue::bounded("threads of warp", 4);
        let into = queue.adder();
        let adder = spawn("adder", move |_| (0..100).for_each(|value| into.add(value).expect("it is open")));
        assert_eq!(queue.iter().take(100).count(), 100);
        adder.join().expect("it adds");
    }
    say("worked");
}
