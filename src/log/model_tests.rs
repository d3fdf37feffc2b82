//! Model checks of the queue: each record is written or counted, once and in order, while threads
//! drain, stop, flush or abort in any order. `sync/model_tests.rs` says how they are run. Waits
//! here have no time-outs that could hide a lost wake-up.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::log::{Level, Record};
use log4rs::append::Append;
use shuttle::thread;

use super::abort;
use super::channel::Channel;
use super::record::Captured;
use super::sink::{Output, Sink};
use super::sinks::Sinks;
use super::wiring::Overflow;
use crate::signal::Signal;

const ORDERS: usize = 1_000;
const PREEMPTIONS: usize = 3;

fn check(model: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(model, ORDERS);
    shuttle::check_pct(model, ORDERS, PREEMPTIONS);
}

/// What was written; not before it was flushed, as it is with files.
#[derive(Clone, Debug, Default)]
struct Paper(Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<String>>>);

impl Append for Paper {
    fn append(&self, record: &Record<'_>) -> anyhow::Result<()> {
        self.1.lock().unwrap().push(record.args().to_string());
        Ok(())
    }

    fn flush(&self) {
        self.0.lock().unwrap().append(&mut self.1.lock().unwrap());
    }
}

impl Paper {
    /// The numbers that `name` has put and that are written.
    fn of(&self, name: &str) -> Vec<usize> {
        let lines = self.0.lock().unwrap();
        let words = lines.iter().filter_map(|line| line.split_once(' '));
        words.filter(|(thread, _)| *thread == name).map(|(_, number)| number.parse().unwrap()).collect()
    }

    fn missing(&self) -> u64 {
        let lines = self.0.lock().unwrap();
        let counts = lines.iter().filter(|line| line.contains(" missing here"));
        counts.map(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

fn channel(capacity: usize, overflow: Overflow) -> (Arc<Channel>, Paper) {
    let paper = Paper::default();
    let sink = Sink::new("paper", Output::Other(Box::new(paper.clone())), 10);
    (Arc::new(Channel::new("model", capacity, overflow, Sinks::new(vec![sink]))), paper)
}

fn put(channel: &Channel, level: Level, name: &str, number: usize) {
    channel.put(0, Captured::new(&Record::builder().level(level).args(format_args!("{name} {number}")).build()));
}

/// Puts so many records, every second one a warning.
fn putter(channel: &Arc<Channel>, name: &'static str, count: usize) -> thread::JoinHandle<()> {
    let channel = channel.clone();
    thread::spawn(move || {
        for number in 0..count {
            put(&channel, if number % 2 == 0 { Level::Warn } else { Level::Info }, name, number);
        }
    })
}

struct Writer {
    stop: Signal,
    thread: thread::JoinHandle<()>,
}

fn writer(channel: &Arc<Channel>) -> Writer {
    channel.expect_writer();
    let (stop, served) = (Signal::new("stop"), channel.clone());
    let please_stop = stop.clone();
    Writer { stop, thread: thread::spawn(move || served.serve(&please_stop)) }
}

impl Writer {
    fn end(self) {
        self.stop.go();
        self.thread.join().unwrap();
    }
}

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

#[test]
fn model_log_block_loses_nothing_and_keeps_the_order() {
    check(|| {
        let (channel, paper) = channel(1, Overflow::Block);
        let writer = writer(&channel);
        let putters = [putter(&channel, "a", 3), putter(&channel, "b", 2)];
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        writer.end();
        assert_eq!((paper.of("a"), paper.of("b"), paper.missing()), (all(3), all(2), 0));
    });
}

#[test]
fn model_log_written_and_dropped_add_up() {
    check(|| {
        let (channel, paper) = channel(1, Overflow::DropNewest);
        let writer = writer(&channel);
        let putters = [putter(&channel, "a", 3), putter(&channel, "b", 2)];
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        writer.end();
        let (a, b) = (paper.of("a"), paper.of("b"));
        assert!(a.is_sorted() && b.is_sorted());
        assert_eq!((a.len() + b.len()) as u64 + paper.missing(), 5);
    });
}

#[test]
fn model_log_drop_below_drops_nothing_severe() {
    check(|| {
        let (channel, paper) = channel(1, Overflow::DropBelow(Level::Warn));
        let writer = writer(&channel);
        let putters = [putter(&channel, "a", 3), putter(&channel, "b", 3)];
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        writer.end();
        let (a, b) = (paper.of("a"), paper.of("b"));
        assert!(a.is_sorted() && b.is_sorted());
        let severe = |numbers: &[usize]| numbers.iter().filter(|number| **number % 2 == 0).count();
        assert_eq!((severe(&a), severe(&b)), (2, 2));
        assert_eq!((a.len() + b.len()) as u64 + paper.missing(), 6);
    });
}

#[test]
fn model_log_a_flush_returns_when_all_is_written() {
    check(|| {
        // Room for four: the writer takes two at a time.
        let (channel, paper) = channel(4, Overflow::Block);
        let writer = writer(&channel);
        let other = putter(&channel, "b", 2);
        let (flushed, on_paper) = (channel.clone(), paper.clone());
        let flusher = thread::spawn(move || {
            put(&flushed, Level::Info, "a", 0);
            put(&flushed, Level::Info, "a", 1);
            assert!(flushed.flush(None));
            assert_eq!(on_paper.of("a"), all(2), "when flush returned");
        });
        flusher.join().unwrap();
        other.join().unwrap();
        writer.end();
        assert_eq!(paper.of("b"), all(2));
    });
}

#[test]
fn model_log_a_writer_stops_with_a_full_queue() {
    check(|| {
        let (channel, paper) = channel(1, Overflow::Block);
        let writer = writer(&channel);
        let putters = [putter(&channel, "a", 2), putter(&channel, "b", 2)];
        // At any moment; a thread that puts afterwards writes.
        writer.end();
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        assert_eq!((paper.of("a"), paper.of("b")), (all(2), all(2)));
    });
}

#[test]
fn model_log_one_queue_follows_another_without_a_gap() {
    check(|| {
        let (old, paper) = channel(2, Overflow::Block);
        let writer = writer(&old);
        let putter = putter(&old, "a", 2);
        // As when the log's file is read again: a thread that has the old channel may still put.
        old.close();
        writer.thread.join().unwrap();
        putter.join().unwrap();
        assert_eq!(paper.of("a"), all(2));
    });
}

#[test]
fn model_log_an_abort_waits_for_its_threads_records() {
    check(|| {
        let (channel, paper) = channel(2, Overflow::Block);
        let writer = writer(&channel);
        let other = putter(&channel, "b", 2);
        put(&channel, Level::Info, "a", 0);
        put(&channel, Level::Info, "a", 1);
        abort::quiesce(Duration::from_secs(1000), false);
        let written = paper.0.lock().unwrap().clone();
        assert_eq!(paper.of("a"), all(2), "before the process is gone");
        // The others may go on for a while, but no thread is within a line any more.
        for _ in 0..5 {
            thread::yield_now();
        }
        assert_eq!(*paper.0.lock().unwrap(), written, "written while the process ends");
        abort::reset_in_child();
        other.join().unwrap();
        writer.end();
        assert_eq!((paper.of("a"), paper.of("b")), (all(2), all(2)));
    });
}

#[test]
fn model_log_an_exiting_thread_is_the_last_to_write() {
    check(|| {
        let (channel, paper) = channel(2, Overflow::Block);
        let writer = writer(&channel);
        let (flushed, on_paper) = (channel.clone(), paper.clone());
        let other = thread::spawn(move || {
            for number in 0..3 {
                put(&flushed, Level::Info, "b", number);
                if flushed.flush(None) {
                    assert_eq!(on_paper.of("b"), all(number + 1), "when flush returned");
                }
            }
        });
        put(&channel, Level::Info, "a", 0);
        assert!(channel.flush(None));
        channel.begin_exit(Instant::now() + Duration::from_secs(1000));
        put(&channel, Level::Info, "a", 1);
        assert_eq!(paper.of("a"), all(2), "while the process exits");
        let of_others = paper.of("b");
        // An exit handler may wait for them.
        other.join().unwrap();
        writer.end();
        assert_eq!(paper.of("b"), of_others, "written by others while the process exits");
    });
}
