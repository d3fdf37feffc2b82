//! By the wall clock, a thread that waits for a lock shows which one, and who has it.
#![cfg(all(feature = "profiling", target_os = "linux"))]

use selvedge::profile::{self, Clock, Engine, Options};
use selvedge::{Lock, Signal};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn who_waits_for_a_lock_shows_who_holds_it() {
    let _test = selvedge::register("test");
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut length = Duration::from_millis(200);
    loop {
        let lock = Arc::new(Lock::new("cache", 0));
        let (held, begun) = (Signal::new("held"), Signal::new("begun"));
        let holder = selvedge::spawn("holder", {
            let (lock, held) = (lock.clone(), held.clone());
            move |please_stop: &Signal| {
                let _guard = lock.lock();
                held.go();
                please_stop.wait_for_go();
            }
        });
        held.wait_for_go();
        let recording = profile::start(Options::new().engine(Engine::Timer).clock(Clock::Wall).frequency(200)).unwrap();
        let waiter = selvedge::spawn("waiter", {
            let begun = begun.clone();
            move |_: &Signal| {
                begun.go();
                *lock.lock()
            }
        });
        begun.wait_for_go();
        std::thread::sleep(length);
        let profile = recording.finish();
        holder.stop();
        holder.join().unwrap();
        waiter.join().unwrap();
        let mut text = Vec::new();
        profile.write_folded(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let weight = |part: &str| -> u64 {
            let those = lines.clone().filter(|(line, _)| line.starts_with("main;test;waiter;") && line.ends_with(part));
            those.map(|(_, weight)| weight.parse::<u64>().unwrap()).sum()
        };
        let waited = weight("[waiting for lock \"cache\" held by main/test/holder]");
        let account = profile.threads().iter().find(|thread| thread.path() == "main/test/waiter").unwrap();
        // All of its life, but for its start and its end.
        if waited as f64 > 0.9 * account.wall_time().as_nanos() as f64 {
            return;
        }
        assert!(Instant::now() < deadline, "{waited} of {account:?} in {length:?}:\n{text}");
        length *= 2;
    }
}
