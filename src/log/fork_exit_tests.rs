//! What a fork and an exit make of a queue: which thread writes, and which process has which
//! records. The handlers of `process_hooks` call the same functions. No writer serves these queues.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use ::log::Record;
use log4rs::append::Append;

use super::channel::Channel;
use super::channel_tests::{DEADLINE, Paper, channel, put, within};
use super::forked_child::{Loss, lost};
use super::wiring::Overflow;

#[test]
fn an_exiting_thread_writes_all_before_its_own() {
    within(|| {
        let paper = Paper::default();
        let channel = channel(4, Overflow::Block, paper.clone());
        channel.expect_writer();
        ["1", "2", "3"].iter().for_each(|text| put(&channel, text));
        // The calling thread exits, and no writer came.
        channel.begin_exit(Instant::now() + DEADLINE);
        put(&channel, "4");
        assert_eq!(paper.lines(), ["1", "2", "3", "4"]);
    });
}

/// An appender that takes nothing while it is broken.
#[derive(Debug)]
struct Brittle {
    paper: Paper,
    is_broken: Arc<AtomicBool>,
}

impl Append for Brittle {
    fn append(&self, record: &Record<'_>) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_broken.load(Ordering::SeqCst), "the pen is dry");
        self.paper.append(record)
    }

    fn flush(&self) {
        self.paper.flush();
    }
}

#[test]
fn a_forked_child_leaves_its_parents_records() {
    let after_fork = |is_child: bool| {
        let (paper, is_broken) = (Paper::default(), Arc::new(AtomicBool::new(true)));
        let brittle = Brittle { paper: paper.clone(), is_broken: is_broken.clone() };
        let channel = channel(4, Overflow::Block, brittle);
        put(&channel, "held");
        is_broken.store(false, Ordering::SeqCst);
        assert!(channel.drain_lock().hold_for_fork(Instant::now() + DEADLINE));
        if is_child {
            channel.drain_lock().forked(true);
        }
        channel.drain_lock().release_after_fork();
        channel.finish_sinks();
        let first = paper.lines().into_iter().next();
        assert_eq!(first.as_deref(), if is_child { None } else { Some("held") });
    };
    within(move || after_fork(false));
    within(move || after_fork(true));
}

#[test]
fn a_forked_child_writes_its_own_records_only() {
    within(|| {
        let (paper, channel, is_broken) = forked_with_a_held_record();
        is_broken.store(false, Ordering::SeqCst);
        // The appender is tried again after a pause.
        while paper.lines().is_empty() {
            put(&channel, "own");
        }
        assert!(!paper.lines().contains(&"held".to_owned()), "{:?}", paper.lines());
    });
}

#[test]
fn a_childs_records_wait_for_their_appender() {
    within(|| {
        let (paper, channel, is_broken) = forked_with_a_held_record();
        ["a", "b"].iter().for_each(|text| put(&channel, text));
        is_broken.store(false, Ordering::SeqCst);
        // The appender is tried again after a pause.
        while !paper.lines().contains(&"c".to_owned()) {
            put(&channel, "c");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(paper.lines()[..2], ["a", "b"]);
    });
}

#[test]
fn a_childs_end_tries_its_records_again() {
    within(|| {
        let (paper, channel, is_broken) = forked_with_a_held_record();
        put(&channel, "own");
        is_broken.store(false, Ordering::SeqCst);
        assert!(channel.flush(None), "a flush does not hang");
        channel.finish_exit(true, Instant::now() + DEADLINE, None);
        assert_eq!(paper.lines().first().map(String::as_str), Some("own"));
    });
}

/// A queue in the child of a fork, whose appender is broken, and held a record at the fork.
fn forked_with_a_held_record() -> (Paper, Arc<Channel>, Arc<AtomicBool>) {
    let (paper, is_broken) = (Paper::default(), Arc::new(AtomicBool::new(true)));
    let brittle = Brittle { paper: paper.clone(), is_broken: is_broken.clone() };
    let channel = channel(4, Overflow::Block, brittle);
    put(&channel, "held");
    assert!(channel.drain_lock().hold_for_fork(Instant::now() + DEADLINE));
    channel.drain_lock().forked(true);
    channel.drain_lock().release_after_fork();
    (paper, channel, is_broken)
}

#[test]
fn a_childs_threads_wait_for_a_slow_appender() {
    #[derive(Debug)]
    struct Slow(Paper);
    impl Append for Slow {
        fn append(&self, record: &Record<'_>) -> anyhow::Result<()> {
            std::thread::sleep(Duration::from_millis(200));
            self.0.append(record)
        }
        fn flush(&self) {
            self.0.flush();
        }
    }
    within(|| {
        let paper = Paper::default();
        let channel = channel(4, Overflow::Block, Slow(paper.clone()));
        assert!(channel.drain_lock().hold_for_fork(Instant::now() + DEADLINE));
        channel.drain_lock().forked(true);
        channel.drain_lock().release_after_fork();
        std::thread::scope(|s| {
            for text in ["a", "b", "c"] {
                let channel = &channel;
                s.spawn(move || put(channel, text));
            }
        });
        let mut lines = paper.lines();
        lines.sort();
        assert_eq!(lines, ["a", "b", "c"]);
    });
}

#[test]
fn threads_write_again_after_a_fork() {
    within(|| {
        let paper = Paper::default();
        let channel = channel(4, Overflow::Block, paper.clone());
        assert!(channel.drain_lock().hold_for_fork(Instant::now() + DEADLINE));
        channel.drain_lock().release_after_fork();
        put(&channel, "after");
        assert_eq!(paper.lines(), ["after"]);
    });
}

#[test]
fn a_child_of_a_locked_fork_counts_its_records() {
    within(|| {
        let paper = Paper::default();
        let channel = channel(4, Overflow::Block, paper.clone());
        channel.drain_lock().forked(false);
        put(&channel, "lost");
        assert!(channel.flush(None), "a flush does not hang");
        channel.begin_exit(Instant::now() + DEADLINE);
        assert_eq!(paper.lines(), [] as [&str; 0]);
    });
}

/// An appender that logs a record of its own for each record.
#[derive(Debug, Default)]
struct Chatty(Arc<OnceLock<Weak<Channel>>>);

impl Append for Chatty {
    fn append(&self, _record: &Record<'_>) -> anyhow::Result<()> {
        self.0.get().and_then(Weak::upgrade).iter().for_each(|channel| put(channel, "own"));
        Ok(())
    }

    fn flush(&self) {}
}

#[test]
fn a_childs_loss_within_an_appender_is_counted_as_such() {
    within(|| {
        let (own, before) = (Arc::new(OnceLock::new()), lost(Loss::WithinAppender));
        let channel = channel(4, Overflow::Block, Chatty(own.clone()));
        own.set(Arc::downgrade(&channel)).unwrap();
        assert!(channel.drain_lock().hold_for_fork(Instant::now() + DEADLINE));
        channel.drain_lock().forked(true);
        channel.drain_lock().release_after_fork();
        put(&channel, "first");
        assert_eq!(lost(Loss::WithinAppender) - before, 1);
    });
}

#[test]
fn another_thread_writes_nothing_during_an_exit() {
    within(|| {
        let paper = Paper::default();
        let channel = channel(4, Overflow::Block, paper.clone());
        channel.begin_exit(Instant::now() + DEADLINE);
        let theirs = channel.clone();
        std::thread::spawn(move || put(&theirs, "late")).join().unwrap();
        put(&channel, "own");
        assert_eq!(paper.lines(), ["own"]);
    });
}
