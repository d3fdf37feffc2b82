//! The wall schedule of a thread that comes and goes, without a sampler.

use super::State;
use crate::profile::engines::timer::accounting::Accounting;
use crate::profile::engines::timer::handler;
use crate::profile::engines::timer::triggers::{Source, Triggers};
use crate::thread::Thread;
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[test]
fn a_reattached_thread_is_in_the_wall_schedule_once() {
    // An unregistered thread, which no other recording of this process samples, blocked outside
    // this crate.
    let (sender, thread) = mpsc::channel();
    let (go, end) = mpsc::channel::<()>();
    let blocked = std::thread::spawn(move || {
        sender.send(Thread::current()).unwrap();
        let _ = end.recv();
    });
    let thread = thread.recv().unwrap();
    let id = thread.cpu_clock().unwrap().thread();
    handler::install().unwrap();
    let triggers = Triggers::new(Duration::from_millis(1), Source::Wall);
    let mut state = State::new(Accounting::new(Duration::ZERO), triggers, Instant::now(), false);
    let mut visits = Vec::new();
    let mut tick = |state: &mut State| {
        state.select(&mut visits);
        visits.iter().for_each(|&id| state.visit(id));
    };
    for times in 0..5 {
        state.attach(&thread, false);
        let deadline = Instant::now() + Duration::from_secs(30);
        while {
            tick(&mut state);
            state.wall.schedule.times_skipped(id) == 0
        } {
            assert!(Instant::now() < deadline, "it is not skipped");
            std::thread::sleep(Duration::from_millis(1));
        }
        (0..5).for_each(|_| tick(&mut state));
        assert_eq!(state.wall.schedule.times_skipped(id), 1, "it has come back {times} times");
        state.detach(&thread);
    }
    tick(&mut state);
    assert_eq!(state.wall.schedule.times_skipped(id), 0, "it has left");
    state.stop();
    drop(go);
    blocked.join().unwrap();
}
