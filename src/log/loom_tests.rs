//! Loom models of the log's queue: each record is written, by the writer or by the thread that puts
//! it, for each value that a load may see. See `model/loom_tests.rs`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::log::{Level, Record};
use log4rs::append::Append;
use loom::thread;

use super::channel::Channel;
use super::record::Captured;
use super::sink::{Output, Sink};
use super::sinks::Sinks;
use super::wiring::Overflow;
use crate::model::Word;
use crate::model::loom_tests::check;

/// What was written. `within` stands for what an appender has in memory.
#[derive(Clone)]
struct Paper {
    lines: Arc<Mutex<Vec<String>>>,
    within: Arc<Word>,
}

impl std::fmt::Debug for Paper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Paper")
    }
}

impl Append for Paper {
    fn append(&self, record: &Record<'_>) -> anyhow::Result<()> {
        self.within.set(self.within.get() + 1);
        self.lines.lock().unwrap().push(record.args().to_string());
        Ok(())
    }

    fn flush(&self) {}
}

impl Paper {
    fn written(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| !line.contains(" missing here")).cloned().collect()
    }

    fn missing(&self) -> u64 {
        let lines = self.lines.lock().unwrap();
        let counts = lines.iter().filter(|line| line.contains(" missing here"));
        counts.map(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

fn channel(capacity: usize, overflow: Overflow) -> (Arc<Channel>, Paper) {
    let paper = Paper { lines: Arc::default(), within: Arc::new(Word::new(0)) };
    let sink = Sink::new("paper", Output::Other(Box::new(paper.clone())), 10);
    (Arc::new(Channel::new("model", capacity, overflow, Sinks::new(vec![sink]))), paper)
}

fn put(channel: &Channel, text: &str) {
    channel.put(0, Captured::new(&Record::builder().level(Level::Info).args(format_args!("{text}")).build()));
}

/// The writer's end, from where it says so.
#[test]
fn loom_log_a_record_put_while_the_writer_ends() {
    check(2, || {
        let (channel, paper) = channel(2, Overflow::Block);
        channel.expect_writer();
        let theirs = channel.clone();
        let writer = thread::spawn(move || theirs.write_directly());
        put(&channel, "a");
        writer.join().unwrap();
        assert_eq!(paper.written(), ["a"]);
    });
}

/// The same, of a writer that is awake: then `put` does not count it as awake, and only `state`
/// orders the two threads.
#[test]
fn loom_log_a_record_put_while_an_awake_writer_ends() {
    check(2, || {
        let (channel, paper) = channel(2, Overflow::Block);
        channel.expect_writer();
        channel.set_awake();
        let theirs = channel.clone();
        let writer = thread::spawn(move || theirs.write_directly());
        put(&channel, "a");
        writer.join().unwrap();
        assert_eq!(paper.written(), ["a"]);
    });
}

/// The writer goes on: only `waiting` orders it and the thread that waits.
#[test]
fn loom_log_a_running_writer_wakes_a_waiting_thread() {
    check(2, || {
        let (channel, paper) = channel(1, Overflow::Block);
        channel.expect_writer();
        channel.set_awake();
        put(&channel, "a");
        let theirs = channel.clone();
        let writer = thread::spawn(move || theirs.drain());
        put(&channel, "b");
        writer.join().unwrap();
        channel.write_directly();
        assert_eq!(paper.written(), ["a", "b"]);
    });
}

#[test]
fn loom_log_a_thread_waiting_for_room_is_woken() {
    check(2, || {
        let (channel, paper) = channel(1, Overflow::Block);
        channel.expect_writer();
        put(&channel, "a");
        let theirs = channel.clone();
        let writer = thread::spawn(move || theirs.write_directly());
        put(&channel, "b");
        writer.join().unwrap();
        assert_eq!(paper.written(), ["a", "b"]);
    });
}

#[test]
fn loom_log_what_is_dropped_is_counted_once() {
    check(2, || {
        let (channel, paper) = channel(1, Overflow::DropNewest);
        channel.expect_writer();
        put(&channel, "a");
        let theirs = channel.clone();
        let writer = thread::spawn(move || theirs.write_directly());
        put(&channel, "b");
        put(&channel, "c");
        writer.join().unwrap();
        assert_eq!(paper.written().len() as u64 + paper.missing(), 3);
    });
}

/// A fork takes the right to drain, and no lock: what was done in the sinks is over for it.
#[test]
fn loom_log_a_fork_finds_no_thread_in_sinks() {
    check(2, || {
        let (channel, paper) = channel(2, Overflow::Block);
        let theirs = channel.clone();
        let puts = thread::spawn(move || put(&theirs, "a"));
        if channel.drain_lock().hold_for_fork(Instant::now() + Duration::from_secs(1000)) {
            let written = paper.within.get();
            assert_eq!(written, paper.written().len() as u64);
            channel.drain_lock().release_after_fork();
        }
        puts.join().unwrap();
        assert_eq!(paper.written(), ["a"]);
    });
}
