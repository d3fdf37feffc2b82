//! A service in trouble: two threads deadlock, one ignores that it was asked to stop, one panics.
//! Nothing in this program looks for any of that; what the runtime prints names all of them, with
//! the place in the code. docs/shutdown.md walks through the output.
//!
//! `cargo run --features profiling --example 03_outage`, `-- 60` behind it for 60 seconds. Ends with
//! 70, as `config/outage.yaml` says `on_stuck: abort`. `kill -USR1 <pid>` prints what threads do.

use selvedge::{Lock, Progress, Queue, Signal, Till, spawn};
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// So long the service works, more or less, before it is told to stop.
const SHIFT: Duration = Duration::from_secs(3);

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/outage.yaml");

fn main() -> ExitCode {
    selvedge::run(CONFIG, |please_stop: &Signal| -> Result<(), std::io::Error> {
        let bank = Arc::new(Bank {
            savings: Lock::new("savings", 1000),
            checking: Lock::new("checking", 100),
            holders: Progress::new("holders"),
        });
        let same_bank = bank.clone();
        drop(spawn("deposits", move |_| bank.deposit()));
        drop(spawn("withdrawals", move |_| same_bank.withdraw()));

        drop(spawn("reindexer", |_please_stop| reindex()));

        let mails: Queue<&str> = Queue::bounded("mails", 10);
        let (outbox, inbox) = (mails.popper(), mails.adder());
        drop(spawn("mailer", move |please_stop| send_all(&outbox, please_stop)));
        for mail in ["ann@example.org", "bob@example.org", "everyone"] {
            if inbox.add_till(mail, please_stop).is_err() {
                break;
            }
        }

        (please_stop | &*Till::after(shift())).wait_for_go();
        Ok(())
    })
}

struct Bank {
    savings: Lock<i64>,
    checking: Lock<i64>,
    /// Makes sure that it goes wrong at once, and not in the third week.
    holders: Progress,
}

impl Bank {
    /// Takes `checking`, then `savings`.
    fn deposit(&self) {
        let mut checking = self.checking.lock();
        self.holders.advance(1);
        self.holders.wait_for(2);
        let mut savings = self.savings.lock();
        *checking -= 10;
        *savings += 10;
    }

    /// Takes `savings`, then `checking`: the other way round.
    fn withdraw(&self) {
        let mut savings = self.savings.lock();
        self.holders.advance(1);
        self.holders.wait_for(2);
        let mut checking = self.checking.lock();
        *savings -= 10;
        *checking += 10;
    }
}

/// Has its `please_stop`, and does not look at it.
fn reindex() {
    let mut sum = 0u64;
    loop {
        sum = black_box(hash_page(sum));
    }
}

#[inline(never)]
fn hash_page(seed: u64) -> u64 {
    (0..4096u64).fold(seed, |hash, byte| (hash ^ byte).wrapping_mul(0x100_0000_01b3))
}

fn send_all(outbox: &Queue<&str>, please_stop: &Signal) {
    while let Some(mail) = outbox.pop_draining(please_stop) {
        log::info!("sending to {mail}");
        let (_name, host) = parse(mail);
        log::info!("{host} has taken it");
    }
}

#[inline(never)]
fn parse(address: &str) -> (&str, &str) {
    address.split_once('@').unwrap_or_else(|| panic!("\"{address}\" is no address"))
}

/// The seconds that the command line names, or [`SHIFT`].
fn shift() -> Duration {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    seconds.map_or(SHIFT, Duration::from_secs)
}
