//! The queue between the threads that log and the thread that writes, the log writer. May not name
//! appenders or files: `sinks` has them.
//!
//! Invariants
//! 1. A record that `put` took is in the queue, is written, or is counted in `dropped`. Each count
//!    is written once, as a gap.
//! 2. Only the thread that has the `drain_lock` takes records out, one at a time and in order. So
//!    the records of one thread are written in its order.
//! 3. While `state` is RUNNING, the writer drains. While it is DIRECT, the thread that puts a
//!    record drains before `put` returns. No record is left behind when the writer ends: the writer
//!    stores DIRECT and drains once more, and `put` loads `state` after it has put the record.
//! 4. Code of the user's runs here only in appenders, under the lock of the sinks. A thread that is
//!    within an appender never waits here.
//!
//! Models: `log/loom_tests.rs` and `log/model_tests.rs`.

mod process_end;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::drain_lock::{DrainGuard, DrainLock, is_draining};
use super::forked_child::{self, Loss};
use super::pace::{LONGEST_PAUSE, Pace};
use super::process_state::Process;
use super::record::Captured;
use super::room::Room;
use super::seam::{Mutex, MutexGuard, Receiver, Sender, Thread, bounded, current, park_timeout};
use super::sinks::{QUEUE_FULL, Sinks};
use super::stall;
use super::wake_up::WakeUp;
use super::wiring::Overflow;
use super::{abort, tail};
use crate::model::{AtomicBool, AtomicU8, AtomicU64};
use crate::os::abort::block_abort;
use crate::signal::Signal;
use crate::wait;
use ::log::Level;
use crossbeam_channel::{TryRecvError, TrySendError};
use crossbeam_utils::CachePadded;

enum Message {
    /// It names its sink.
    Record(Captured),
    /// The writer answers it when all records before it are written.
    Flush(Sender<()>),
}

/// No writer runs: before it starts and after it has ended. The thread that puts a record drains
/// the queue.
const DIRECT: u8 = 0;
/// A writer drains, or is about to.
const RUNNING: u8 = 1;

pub(super) struct Channel {
    name: Arc<str>,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    capacity: usize,
    overflow: Overflow,
    /// | value | means | stored by |
    /// |---|---|---|
    /// | DIRECT | no writer: the thread that puts a record drains | `new`, the writer that ends, the exiting thread |
    /// | RUNNING | a writer drains, or is about to | the thread that is about to start a writer |
    ///
    /// SeqCst, for invariant 3: a thread puts and then loads this, a writer that ends stores this
    /// and then takes, so one of the two sees the other. A model shows it for the load. For the
    /// store of DIRECT it cannot: crossbeam's receive has a SeqCst fence, which would do, but is
    /// not promised. For RUNNING either value is right: a thread that still sees DIRECT drains
    /// itself.
    state: AtomicU8,
    /// Set when the writer shall end although its thread is not asked to stop. Relaxed: it guards
    /// no data. The flush that follows wakes the writer, which then sees it.
    closing: AtomicBool,
    drain_lock: DrainLock,
    /// The writer writes this and the next ones for each record or batch. Each is on cache lines of
    /// its own, so that a call of the log, which loads the fields above, does not wait for them.
    sinks: CachePadded<Mutex<Sinks>>,
    /// For each sink: the number of records dropped since the last gap that was written or is in
    /// the queue. Relaxed: counts, which guard no other data; the thread that takes a count takes
    /// all of it.
    dropped: Vec<AtomicU64>,
    /// Records that were logged from within an appender while the queue was full.
    deferred: CachePadded<Mutex<VecDeque<Message>>>,
    /// For threads that wait for room.
    room: Room,
    writer: OnceLock<Thread>,
    /// For threads that wait for the writer: its thread in the tree, and its progress.
    progress: CachePadded<stall::WriterProgress>,
    /// For an end by `abort`: whether the writer may have something to write.
    awake: abort::Writer,
    wake_up: WakeUp,
}

/// After this many pauses without a record the writer sleeps, and the next record wakes it.
const PAUSES_BEFORE_SLEEP: u32 = if cfg!(all(test, selvedge_model)) { 1 } else { 20 };
/// The longest sleep of the writer. After it, the writer checks its files and the counts of dropped
/// records.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Waiting threads check again after this time, also without a wake-up.
const RECHECK: Duration = Duration::from_millis(10);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Channel {
    pub(super) fn new(name: &str, capacity: usize, overflow: Overflow, sinks: Sinks) -> Channel {
        let capacity = capacity.max(1);
        let (sender, receiver) = bounded(capacity);
        let dropped = (0..sinks.count()).map(|_| AtomicU64::new(0)).collect();
        Channel {
            name: name.into(),
            sender,
            receiver,
            capacity,
            overflow,
            state: AtomicU8::new(DIRECT),
            closing: AtomicBool::new(false),
            drain_lock: DrainLock::new(),
            sinks: CachePadded::new(Mutex::new(sinks)),
            dropped,
            deferred: CachePadded::new(Mutex::new(VecDeque::new())),
            room: Room::new(),
            writer: OnceLock::new(),
            progress: CachePadded::new(stall::WriterProgress::new()),
            awake: abort::Writer::new(),
            wake_up: WakeUp::default(),
        }
    }

    pub(super) fn sinks(&self) -> usize {
        self.dropped.len()
    }

    /// From now on a writer drains. The caller must then run `serve` on a thread, or call
    /// `write_directly`.
    pub(super) fn expect_writer(&self) {
        self.state.store(RUNNING, Ordering::SeqCst);
    }

    /// From now on the threads that put records drain.
    pub(super) fn write_directly(&self) {
        self.state.store(DIRECT, Ordering::SeqCst);
        while self.drain() > 0 {}
        self.awake.end();
        self.room.wake();
        self.finish_if_closed();
    }

    /// A thread that began to log before another log took this one's place comes after `finish_sinks`,
    /// and nothing tries these sinks again. What they hold is counted and told now.
    fn finish_if_closed(&self) {
        // Relaxed: a thread that drains after `finish_sinks` has had the sinks' lock after it, and so
        // sees the store before it. What is drained before it, it finds itself.
        if self.closing.load(Ordering::Relaxed) && !is_draining() {
            self.finish_sinks();
        }
    }

    /// For a model: as if the writer had looked at its queue.
    #[cfg(all(test, selvedge_loom))]
    pub(super) fn set_awake(&self) {
        self.awake.wake();
    }

    fn is_running(&self) -> bool {
        self.state.load(Ordering::SeqCst) == RUNNING
    }

    /// Puts a record for sink `to`. Blocks while the queue is full, if the overflow rule says so.
    /// Without a writer the calling thread writes. Returns `false` if the record is lost.
    pub(super) fn put(&self, to: usize, mut captured: Captured) -> bool {
        match self.drain_lock.process() {
            // Exit handlers that run after ours may log.
            Process::Normal | Process::ExitOwner => {}
            Process::Forked => return self.write_in_child(to, captured),
            Process::ForkedWhileLocked => return forked_child::count_lost(Loss::ForkedWhileLocked),
            // The record is gone with the process, as if it had come a moment later.
            Process::ExitingElsewhere | Process::Exiting => return false,
        }
        let level = captured.level;
        (captured.to, captured.gap) = (to, self.take_dropped(to));
        // Records that were logged within an appender before, and found no room, come first.
        let kept = if is_draining() && !lock(&self.deferred).is_empty() {
            self.defer(Message::Record(captured))
        } else {
            self.send(Message::Record(captured), level)
        };
        if self.is_running() {
            self.awake.notify();
        }
        if !self.is_running() {
            // After a whole batch, the caller's record may still be in the queue.
            while self.drain() >= self.batch() {}
            // The writer may have ended before `notify`.
            self.awake.end();
            self.finish_if_closed();
        }
        kept
    }

    fn send(&self, mut message: Message, level: Level) -> bool {
        let mut waiting = None;
        self.wake_up.stamp_if(self.awake.is_asleep());
        while let Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) = self.sender.try_send(message) {
            message = back;
            if is_draining() {
                return self.defer(message);
            } else if self.overflow.drops(level) {
                self.drop_counted(message);
                return false;
            } else if self.drain_lock.is_exiting_elsewhere() {
                return false;
            } else if self.is_running() {
                self.wait_for_room(waiting.get_or_insert_with(|| self.progress.wait("room in log", &self.name)));
            } else {
                self.drain();
            }
        }
        true
    }

    /// Half of the queue: waiting threads get room before all is written.
    fn batch(&self) -> usize {
        self.capacity.div_ceil(2)
    }

    fn take_dropped(&self, to: usize) -> u64 {
        let dropped = &self.dropped[to];
        if dropped.load(Ordering::Relaxed) == 0 { 0 } else { dropped.swap(0, Ordering::Relaxed) }
    }

    fn drop_counted(&self, message: Message) {
        if let Message::Record(captured) = message {
            self.dropped[captured.to].fetch_add(captured.gap + 1, Ordering::Relaxed);
            tail::count_lost(1);
        }
    }

    /// For a record that is logged from within an appender, which must not wait for itself.
    fn defer(&self, message: Message) -> bool {
        let mut deferred = lock(&self.deferred);
        let has_room = deferred.len() < self.capacity;
        if has_room {
            deferred.push_back(message);
        } else {
            drop(deferred);
            self.drop_counted(message);
        }
        has_room
    }

    fn wait_for_room(&self, waiting: &mut stall::WriterWait) {
        self.room.wait(|| self.wake_writer(), || self.sender.is_full() && self.is_running(), RECHECK);
        self.progress.check(waiting, &self.name);
    }

    fn wake_writer(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Returns `true` when all records that were put before have passed through the appenders;
    /// `false` at `deadline`. Called for the logger's `flush` by `queue_appender.rs`, and before an
    /// exit or an abrupt end by `process_hooks.rs`.
    pub(super) fn flush(&self, deadline: Option<Instant>) -> bool {
        let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        // An appender that flushes cannot wait for itself.
        if is_draining() {
            return true;
        }
        match self.drain_lock.process() {
            Process::Normal => {}
            Process::ExitingElsewhere => return self.wait_out_exit(),
            Process::Forked => return self.flush_in_child(deadline),
            // While the calling thread exits each record is written at once.
            Process::ForkedWhileLocked | Process::Exiting | Process::ExitOwner => return true,
        }
        let (written, answer) = bounded(1);
        let mut message = Message::Flush(written);
        self.wake_up.stamp_if(self.awake.is_asleep());
        let mut waiting = self.progress.wait("log written", &self.name);
        while let Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) = self.sender.try_send(message) {
            message = back;
            if self.drain_lock.is_exiting_elsewhere() {
                return self.wait_out_exit();
            }
            if late() {
                return false;
            }
            if self.is_running() {
                self.wait_for_room(&mut waiting);
            } else {
                self.drain_most(self.batch(), deadline);
            }
        }
        loop {
            if self.is_running() {
                self.wake_writer();
            } else {
                self.drain_most(self.batch(), deadline);
            }
            wait::begin_sleep();
            match answer.recv_timeout(RECHECK) {
                Ok(()) => {
                    wait::ended_by(|| self.progress.ender());
                    return true;
                }
                Err(_) if self.drain_lock.is_exiting_elsewhere() => return self.wait_out_exit(),
                Err(_) if late() => return false,
                Err(_) => self.progress.check(&mut waiting, &self.name),
            }
        }
    }

    fn enter(&self, deadline: Option<Instant>) -> Option<DrainGuard<'_>> {
        let is_writer = || self.writer.get().is_some_and(|writer| writer.id() == current().id());
        self.drain_lock.enter(deadline, is_writer)
    }

    /// Writes a batch. Returns the number of messages; 0 also within an appender.
    pub(super) fn drain(&self) -> usize {
        self.drain_most(self.batch(), None)
    }

    /// For the writer: what is in the queue now, up to a batch. It does not run after the callers,
    /// record by record: both sides would wait for the same cache lines at each.
    fn drain_queued(&self) -> usize {
        let queued = self.receiver.len();
        self.drain_most(if queued == 0 { self.batch() } else { queued.min(self.batch()) }, None)
    }

    fn drain_most(&self, most: usize, deadline: Option<Instant>) -> usize {
        let Some(_guard) = self.enter(deadline) else { return 0 };
        let mut sinks = lock(&self.sinks);
        let mut answers = Vec::new();
        let mut count = 0;
        while count < most {
            match self.receiver.try_recv() {
                Ok(message) => write(&mut sinks, message, &mut answers),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    let Some(message) = lock(&self.deferred).pop_front() else { break };
                    write(&mut sinks, message, &mut answers);
                }
            }
            self.progress.advance();
            count += 1;
        }
        if self.receiver.is_empty() && lock(&self.deferred).is_empty() {
            for to in 0..self.dropped.len() {
                let dropped = self.take_dropped(to);
                if dropped > 0 {
                    sinks.missing(to, dropped, QUEUE_FULL);
                }
            }
        }
        sinks.flush();
        drop(sinks);
        if !answers.is_empty() {
            self.progress.stamp();
        }
        for answer in answers {
            // The flushing thread may have given up.
            let _ = answer.send(());
        }
        self.room.wake();
        count
    }

    /// The writer's loop, until it is asked to stop or the channel is closed. Then the threads that
    /// put records drain.
    pub(super) fn serve(&self, please_stop: &Signal) {
        /// Runs also when the writer panics.
        struct End<'a>(&'a Channel);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.write_directly();
            }
        }
        let _known = self.writer.set(current());
        self.progress.set_writer();
        let _end = End(self);
        // An aborting thread waits for the writer. So the writer must not be the thread that
        // SIGABRT interrupts.
        block_abort();
        self.awake.wake();
        let (mut empty, mut pace) = (0, Pace::new(self.capacity));
        while !(please_stop.is_go() || self.closing.load(Ordering::Relaxed) || self.drain_lock.is_exiting_elsewhere()) {
            if abort::is_ending() {
                let most = self.receiver.len();
                let mut written = 0;
                while written <= most {
                    match self.drain() {
                        0 => break,
                        count => written += count,
                    }
                }
                self.awake.pause_while_aborting();
            }
            let count = self.drain_queued();
            empty = if count == 0 { empty + 1 } else { 0 };
            if empty >= PAUSES_BEFORE_SLEEP {
                self.sleep(please_stop);
            } else if let Some(pause) = pace.pause(count) {
                park_timeout(pause);
            }
        }
    }

    /// Sleeps until there is a record, or it is time to try a failing sink, or to stop.
    fn sleep(&self, please_stop: &Signal) {
        // With the right to drain, so that no fork finds the sinks locked.
        let next_try = self.enter(None).and_then(|_guard| lock(&self.sinks).next_try());
        let till = next_try.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(Instant::now())).min(LONGEST_SLEEP);
        let _published = wait::publish("records for log", self.name.clone());
        self.awake.try_sleep(|| self.receiver.is_empty());
        self.wake_up.wait(&self.receiver, please_stop, till.max(LONGEST_PAUSE));
        self.awake.wake();
    }

    /// Asks the writer to end, and waits until all records are written.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.flush(None);
    }

    /// For the handlers of a fork.
    pub(super) fn drain_lock(&self) -> &DrainLock {
        &self.drain_lock
    }
}

fn write(sinks: &mut Sinks, message: Message, answers: &mut Vec<Sender<()>>) {
    match message {
        Message::Record(captured) => sinks.write(captured.to, captured.gap, captured),
        Message::Flush(written) => answers.push(written),
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel({}, {} of {})", self.name, self.receiver.len(), self.capacity)
    }
}
