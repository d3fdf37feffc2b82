//! The queue at moments that are rare in a program: it is full within an appender, or an appender
//! logs. No writer serves these queues, so each step is the test's own.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::time::Duration;

use ::log::{Level, Record};
use log4rs::append::Append;

use super::channel::Channel;
use super::record::Captured;
use super::sink::{Output, Sink};
use super::sinks::Sinks;
use super::wiring::Overflow;

pub(super) const DEADLINE: Duration = Duration::from_secs(100);

/// What was written, and what is to be written by the next flush, as it is with files.
#[derive(Clone, Debug, Default)]
pub(super) struct Paper {
    written: Arc<Mutex<Vec<String>>>,
    buffer: Arc<Mutex<Vec<String>>>,
}

impl Paper {
    pub(super) fn lines(&self) -> Vec<String> {
        self.written.lock().unwrap().clone()
    }
}

impl Append for Paper {
    fn append(&self, record: &Record<'_>) -> anyhow::Result<()> {
        self.buffer.lock().unwrap().push(record.args().to_string());
        Ok(())
    }

    fn flush(&self) {
        self.written.lock().unwrap().append(&mut self.buffer.lock().unwrap());
    }
}

pub(super) fn channel(capacity: usize, overflow: Overflow, appender: impl Append) -> Arc<Channel> {
    let sink = Sink::new("paper", Output::Other(Box::new(appender)), 10);
    Arc::new(Channel::new("test", capacity, overflow, Sinks::new(vec![sink])))
}

pub(super) fn put(channel: &Channel, text: &str) {
    channel.put(0, Captured::new(&Record::builder().level(Level::Info).args(format_args!("{text}")).build()));
}

/// On a thread of its own, which may hang, and which may exit.
pub(super) fn within(f: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        f();
        done.send(()).unwrap();
    });
    let outcome = ended.recv_timeout(DEADLINE);
    assert_ne!(outcome, Err(mpsc::RecvTimeoutError::Timeout), "it hangs");
    thread.join().unwrap_or_else(|payload| resume_unwind(payload));
}

#[test]
fn the_next_record_carries_a_dropped_gap() {
    let paper = Paper::default();
    let channel = channel(1, Overflow::DropNewest, paper.clone());
    channel.expect_writer();
    // The third carries the count of the second, and is dropped too.
    ["1", "2", "3"].iter().for_each(|text| put(&channel, text));
    channel.write_directly();
    assert_eq!(paper.lines(), ["1", "2 records are missing here: the queue was full"]);
}

/// An appender that logs by itself: "first" is answered by some records, "0" by one.
#[derive(Debug)]
struct Talker {
    paper: Paper,
    answers: usize,
    channel: Arc<OnceLock<Weak<Channel>>>,
}

impl Append for Talker {
    fn append(&self, record: &Record<'_>) -> anyhow::Result<()> {
        self.paper.append(record)?;
        let channel = self.channel.get().and_then(Weak::upgrade).unwrap();
        match record.args().to_string().as_str() {
            "first" => (0..self.answers).for_each(|number| put(&channel, &number.to_string())),
            "0" => put(&channel, "late"),
            _ => {}
        }
        Ok(())
    }

    fn flush(&self) {
        self.paper.flush();
    }
}

/// What is written with a queue for two.
fn written_by_talker(answers: usize) -> Vec<String> {
    let (paper, own) = (Paper::default(), Arc::new(OnceLock::new()));
    let talker = Talker { paper: paper.clone(), answers, channel: own.clone() };
    let channel = channel(2, Overflow::Block, talker);
    own.set(Arc::downgrade(&channel)).unwrap();
    put(&channel, "first");
    paper.lines()
}

#[test]
fn an_appender_that_logs_much_waits_for_nothing() {
    // Two in the queue, two deferred, and the rest counted.
    let expected = ["first", "0", "1", "2", "3", "7 records are missing here: the queue was full"];
    within(move || assert_eq!(written_by_talker(10), expected));
}

#[test]
fn what_an_appender_logs_keeps_its_order() {
    // When "late" comes, the queue has room again, and "2" is deferred.
    within(|| assert_eq!(written_by_talker(3), ["first", "0", "1", "2", "late"]));
}
