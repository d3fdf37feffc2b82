//! The queue between the threads that log and the one that writes.
//!
//! Invariants
//! 1. A record that `put` took is in the queue, written, or counted in `dropped`; each count is written as a gap once.
//! 2. Only who holds `busy` takes records out, one at a time and in order: what one thread logs is written in its order.
//! 3. While `state` is RUNNING somebody drains; else whoever puts drains too, before `put` returns. So no record is left
//!    behind when the writer ends: it sets `state` and drains once more, and who puts looks at `state` afterwards.
//! 4. Nothing of the user's runs under a lock but the appenders, and a thread that is within them never waits here.
//!
//! Models: `log/loom_tests.rs` and `log/model_tests.rs`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::inside::Mark;
use super::record::Captured;
use super::sink::{QUEUE_FULL, Sinks};
use super::standstill;
use super::steps::{Condvar, Mutex, MutexGuard, Receiver, Sender, Thread, bounded, current, thread_local};
use super::steps::{YIELDS, park_timeout, sleep, yield_now};
use super::{ending, in_child};
use crate::model::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize};
use crate::os::process;
use crate::signal::Signal;
use crate::thread::panic::enter_logger;
use ::log::Level;
use crossbeam_channel::{TryRecvError, TrySendError};

/// What happens to a record for which the queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The thread that logs it waits for room. Nothing is lost.
    #[default]
    Block,
    /// It is dropped and counted; the log says how many are missing, where they are missing.
    DropNewest,
    /// It is dropped and counted if it is less severe than this; else the thread waits for room.
    DropBelow(Level),
}

impl Overflow {
    fn drops(self, level: Level) -> bool {
        match self {
            Overflow::Block => false,
            Overflow::DropNewest => true,
            // Greater is less severe.
            Overflow::DropBelow(least) => level > least,
        }
    }
}

enum Message {
    /// It knows where it is to go.
    Record(Captured),
    /// To be answered when all before it is written.
    Flush(Sender<()>),
}

/// Nobody drains but who puts: before the writer starts and after it has ended.
const DIRECT: u8 = 0;
/// A writer drains, or is about to.
const RUNNING: u8 = 1;

/// The channel of this process.
const OURS: u8 = 0;
/// That of the parent: who logs writes.
const ORPHAN: u8 = 1;
/// That of the parent, and nobody can write.
const MUTE: u8 = 2;
/// The process is in its exit: only the thread that exits writes, and whoever else logs goes on without. (It may be waited
/// for by an exit handler, so it must not hang here.)
const LEAVING: u8 = 3;
/// And that thread has the right to drain, for good.
const LEFT: u8 = 4;

pub(super) struct Channel {
    name: Arc<str>,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    capacity: usize,
    overflow: Overflow,
    /// DIRECT or RUNNING. Set by the writer, or by who is to start one. SeqCst with the queue's own: see invariant 3.
    state: AtomicU8,
    /// The writer is to end though its thread is not asked to.
    closing: AtomicBool,
    /// OURS; LEAVING and LEFT after the last flush at exit; in the child of a fork, where nobody drains and the queue may
    /// be half-way through an operation, ORPHAN, or MUTE, if a thread that is not there is within the sinks. Set before the
    /// child runs its first line; never set back.
    family: AtomicU8,
    /// Somebody drains. Not part of the mutex, because a fork takes it in one process and gives it back in two.
    busy: AtomicBool,
    /// Who is about to fork: the others let them have `busy` first, or they would hardly ever find it free.
    forking: AtomicUsize,
    sinks: Mutex<Sinks>,
    /// By sink: dropped since the last gap that was written or is in the queue.
    dropped: Vec<AtomicU64>,
    /// What was logged from within an appender while the queue was full.
    deferred: Mutex<VecDeque<Message>>,
    waiting: AtomicUsize,
    room: (Mutex<()>, Condvar),
    writer: OnceLock<Thread>,
    /// For those who wait for the writer: where it is in the tree, and whether it goes on.
    progress: standstill::Progress,
    /// For an end by `abort`: whether the writer has something to do.
    awake: ending::Writer,
}

/// How long the writer lets records gather, so that it writes in batches and callers need not wake it.
const NAP: Duration = Duration::from_micros(500);
/// After so many naps in which nothing came it sleeps, and the next record wakes it.
const NAPS: u32 = if cfg!(all(test, selvedge_model)) { 1 } else { 20 };
/// The longest it sleeps without a look at its files and at what was dropped.
const SLEEP: Duration = Duration::from_secs(1);
/// Waits look again after this, whatever they were told.
const LOOK: Duration = Duration::from_millis(10);
/// How long the exit handlers after ours are expected to take at most.
const LONGEST_EXIT: Duration = Duration::from_secs(1);

thread_local! {
    static DRAINING: Cell<bool> = const { Cell::new(false) };
    /// Whether this is the thread that exits.
    static EXITS: Cell<bool> = const { Cell::new(false) };
}

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
            family: AtomicU8::new(OURS),
            busy: AtomicBool::new(false),
            forking: AtomicUsize::new(0),
            sinks: Mutex::new(sinks),
            dropped,
            deferred: Mutex::new(VecDeque::new()),
            waiting: AtomicUsize::new(0),
            room: (Mutex::new(()), Condvar::new()),
            writer: OnceLock::new(),
            progress: standstill::Progress::new(),
            awake: ending::Writer::new(),
        }
    }

    pub(super) fn sinks(&self) -> usize {
        self.dropped.len()
    }

    /// From now on a writer drains: to be followed by `serve` on some thread, or by `direct`.
    pub(super) fn will_be_served(&self) {
        self.state.store(RUNNING, Ordering::SeqCst);
    }

    /// Nobody drains any more but who puts.
    pub(super) fn direct(&self) {
        self.state.store(DIRECT, Ordering::SeqCst);
        while self.drain() > 0 {}
        self.awake.leave();
        self.wake_waiting();
    }

    fn is_running(&self) -> bool {
        self.state.load(Ordering::SeqCst) == RUNNING
    }

    /// Hands a record over. Blocks only where the queue is full and the overflow rule says so, or where nobody drains
    /// and it is written here. Returns `false` if the record is dropped.
    pub(super) fn put(&self, to: usize, mut captured: Captured) -> bool {
        // Relaxed: set before the child of a fork runs its first line.
        match self.family.load(Ordering::Relaxed) {
            OURS => {}
            ORPHAN => return self.write_in_child(to, captured),
            MUTE => return in_child::count_lost(),
            // Exit handlers that run after ours may log. What others log is gone with the process, as if a moment later.
            LEFT if EXITS.with(Cell::get) => {}
            _ => return false,
        }
        let level = captured.level;
        (captured.to, captured.gap) = (to, self.take_dropped(to));
        // What was logged within an appender before, and found no room, comes first.
        let kept = if is_within() && !lock(&self.deferred).is_empty() {
            self.defer(Message::Record(captured))
        } else {
            self.send(Message::Record(captured), level)
        };
        if self.is_running() {
            self.awake.has_work();
        }
        if !self.is_running() {
            // A whole batch: ours may be behind it.
            while self.drain() >= self.batch() {}
            // The writer may have ended before we said that there was something for it.
            self.awake.leave();
        }
        kept
    }

    fn send(&self, mut message: Message, level: Level) -> bool {
        let mut waiting = None;
        while let Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) = self.sender.try_send(message) {
            message = back;
            if is_within() {
                return self.defer(message);
            } else if self.overflow.drops(level) {
                self.drop_counted(message);
                return false;
            } else if self.is_left_out() {
                return false;
            } else if self.is_running() {
                self.wait_for_room(waiting.get_or_insert_with(|| self.progress.wait("room in log", &self.name)));
            } else {
                self.drain();
            }
        }
        true
    }

    /// Half: those who wait for room get some before all is written.
    fn batch(&self) -> usize {
        self.capacity.div_ceil(2)
    }

    fn take_dropped(&self, to: usize) -> u64 {
        let dropped = &self.dropped[to];
        // Relaxed: it is a count, and who takes it takes all of it.
        if dropped.load(Ordering::Relaxed) == 0 { 0 } else { dropped.swap(0, Ordering::Relaxed) }
    }

    fn drop_counted(&self, message: Message) {
        if let Message::Record(captured) = message {
            self.dropped[captured.to].fetch_add(captured.gap + 1, Ordering::SeqCst);
        }
    }

    /// From within an appender there is no waiting for oneself.
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

    fn wait_for_room(&self, waiting: &mut standstill::Waiting) {
        // Before the look under the lock: who makes room then either is seen by that look, or sees this and wakes us.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.wake_writer();
        {
            let room = lock(&self.room.0);
            if self.sender.is_full() && self.is_running() {
                let _woken = self.room.1.wait_timeout(room, LOOK);
            }
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.progress.check(waiting, &self.name);
    }

    fn wake_waiting(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let _room = lock(&self.room.0);
            self.room.1.notify_all();
        }
    }

    fn wake_writer(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Returns when all that was put before has passed through the appenders; false: it was not so by `deadline`.
    pub(super) fn flush(&self, deadline: Option<Instant>) -> bool {
        let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        // An appender that flushes cannot wait for itself.
        if is_within() {
            return true;
        }
        // One look: somebody may begin to exit between two.
        match self.family.load(Ordering::Relaxed) {
            OURS => {}
            LEAVING | LEFT if !EXITS.with(Cell::get) => return self.see_the_end(),
            // In the child of a fork each record is written at once, and so they are while the calling thread exits.
            _ => return true,
        }
        let (written, answer) = bounded(1);
        let mut message = Message::Flush(written);
        let mut waiting = self.progress.wait("log written", &self.name);
        while let Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) = self.sender.try_send(message) {
            message = back;
            if self.is_left_out() {
                return self.see_the_end();
            }
            if late() {
                return false;
            }
            if self.is_running() {
                self.wait_for_room(&mut waiting);
            } else {
                self.drain_until(deadline);
            }
        }
        loop {
            if self.is_running() {
                self.wake_writer();
            } else {
                self.drain_until(deadline);
            }
            match answer.recv_timeout(LOOK) {
                Ok(()) => return true,
                Err(_) if self.is_left_out() => return self.see_the_end(),
                Err(_) if late() => return false,
                Err(_) => self.progress.check(&mut waiting, &self.name),
            }
        }
    }

    /// Takes the right to drain. False: not by `deadline`, or the calling thread has it already.
    fn seize(&self, deadline: Option<Instant>, give_way: bool) -> bool {
        if is_within() {
            return false;
        }
        if self.has_left() {
            return true;
        }
        let mut tries = 0_u32;
        // Acquire and, in `release`, Release: what the last one did to the sinks is seen.
        // Relaxed: who does not see that somebody forks takes his turn before them.
        while give_way && self.forking.load(Ordering::Relaxed) > 0
            || self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) || self.is_left_out() {
                return false;
            }
            tries += 1;
            // Contended only by threads that log while nobody writes, and by a fork.
            if tries < YIELDS { yield_now() } else { sleep(Duration::from_micros(50)) }
        }
        true
    }

    fn release(&self) {
        if !self.has_left() {
            self.busy.store(false, Ordering::Release);
        }
    }

    fn gate(&self, deadline: Option<Instant>) -> Option<Gate<'_>> {
        if !self.seize(deadline, true) {
            return None;
        }
        let is_writer = || self.writer.get().is_some_and(|writer| writer.id() == current().id());
        let Some(within) = ending::Within::enter(is_writer) else {
            self.release();
            return None;
        };
        DRAINING.with(|within| within.set(true));
        Some(Gate { channel: self, _inside: enter_logger(), _within: within, _mark: Mark::enter() })
    }

    /// Writes a batch. Returns how much it was; 0 also within an appender.
    fn drain(&self) -> usize {
        self.drain_until(None)
    }

    fn drain_until(&self, deadline: Option<Instant>) -> usize {
        let Some(_gate) = self.gate(deadline) else { return 0 };
        let mut sinks = lock(&self.sinks);
        let mut answers = Vec::new();
        let mut count = 0;
        while count < self.batch() {
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
        for answer in answers {
            // Who asked may have stopped waiting.
            let _ = answer.send(());
        }
        self.wake_waiting();
        count
    }

    /// The writer: until it is asked to stop, or the channel is closed. Afterwards nobody drains but who puts.
    pub(super) fn serve(&self, please_stop: &Signal) {
        /// Also when the writer panics, which it should not.
        struct End<'a>(&'a Channel);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.direct();
            }
        }
        let _known = self.writer.set(current());
        self.progress.served_here();
        let _end = End(self);
        // Who aborts waits for this thread, which therefore must not be the one that is interrupted.
        process::block_abort();
        self.awake.wake();
        let mut empty = 0;
        while !(please_stop.is_go() || self.closing.load(Ordering::SeqCst) || self.is_left_out()) {
            if ending::is_ending() {
                let most = self.receiver.len();
                let mut written = 0;
                while written <= most {
                    match self.drain() {
                        0 => break,
                        count => written += count,
                    }
                }
                self.awake.stay_quiet();
            }
            match self.drain() {
                0 => empty += 1,
                count => {
                    empty = 0;
                    if count * 4 > self.capacity {
                        continue;
                    }
                }
            }
            if empty < NAPS { park_timeout(NAP) } else { self.sleep(please_stop) }
        }
    }

    /// The writer has ended because somebody exits: not to be asked again and again whether it will serve.
    pub(super) fn stay_away(&self, please_stop: &Signal) {
        if self.is_left_out() {
            please_stop.wait_for_go_timeout(LONGEST_EXIT);
        }
    }

    /// Until there is a record, or it is time to try a sink that fails, or to stop.
    fn sleep(&self, please_stop: &Signal) {
        let next_try = lock(&self.sinks).next_try();
        let till = next_try.map_or(SLEEP, |at| at.saturating_duration_since(Instant::now())).min(SLEEP);
        let _published = crate::wait::publish("records for log", self.name.clone());
        self.awake.lie_down(|| self.receiver.is_empty());
        self.wait_for_work(please_stop, till.max(NAP));
        self.awake.wake();
    }

    #[cfg(not(all(test, selvedge_model)))]
    fn wait_for_work(&self, please_stop: &Signal, timeout: Duration) {
        let mut select = crossbeam_channel::Select::new();
        select.recv(&self.receiver);
        please_stop.watch_in(&mut select);
        let _ready = select.ready_timeout(timeout);
    }

    #[cfg(all(test, selvedge_model))]
    fn wait_for_work(&self, _: &Signal, timeout: Duration) {
        sleep(timeout);
    }

    /// Asks the writer to end, and waits until all that was put is written.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.flush(None);
    }

    /// A last try for sinks that fail. In the child of a fork what they hold is the parent's.
    pub(super) fn end_sinks(&self) {
        if matches!(self.family.load(Ordering::Relaxed), ORPHAN | MUTE) {
            return;
        }
        if let Some(_gate) = self.gate(None) {
            lock(&self.sinks).end();
        }
    }

    /// Before a fork: nobody is within the sinks until it is over. False: somebody is, for long.
    pub(super) fn hold_for_fork(&self, deadline: Instant) -> bool {
        self.forking.fetch_add(1, Ordering::Relaxed);
        let held = self.seize(Some(deadline), false);
        if !held {
            self.forking.fetch_sub(1, Ordering::Relaxed);
        }
        held
    }

    pub(super) fn release_after_fork(&self) {
        self.forking.fetch_sub(1, Ordering::Relaxed);
        self.release();
    }

    /// In the child of a fork; `held`: nobody was within the sinks.
    pub(super) fn orphan(&self, held: bool) {
        self.family.store(if held { ORPHAN } else { MUTE }, Ordering::Relaxed);
        // Of those who fork there is one.
        self.forking.store(usize::from(held), Ordering::Relaxed);
    }

    /// Somebody else exits.
    fn is_left_out(&self) -> bool {
        // Relaxed: it is seen soon enough; what keeps others from writing is the right to drain.
        self.family.load(Ordering::Relaxed) >= LEAVING && !EXITS.with(Cell::get)
    }

    /// Who flushes while somebody else exits must not go on as if it were written. In most cases this does not return; but
    /// an exit handler may wait for the thread.
    fn see_the_end(&self) -> bool {
        sleep(LONGEST_EXIT);
        false
    }

    /// The calling thread exits, and drains for good.
    fn has_left(&self) -> bool {
        self.family.load(Ordering::Relaxed) == LEFT && EXITS.with(Cell::get)
    }

    /// At exit, after the flush: from now on nobody writes but the calling thread; nobody at all if a sink hangs. Nothing
    /// changes in the child of a fork.
    pub(super) fn leave(&self, deadline: Instant) {
        // Before it is seized: from here on the others let go of it, and take it no more.
        if self.family.compare_exchange(OURS, LEAVING, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            EXITS.with(|exits| exits.set(true));
            if self.seize(Some(deadline), false) {
                self.family.store(LEFT, Ordering::Relaxed);
            }
            self.state.store(DIRECT, Ordering::SeqCst);
            self.wake_waiting();
        }
    }

    fn write_in_child(&self, to: usize, captured: Captured) -> bool {
        // Not for ever: if the fork came while a sink hung, its lock is never given back here.
        let gate = self.gate(Some(Instant::now() + 2 * LOOK));
        let (Some(_gate), Ok(mut sinks)) = (gate, self.sinks.try_lock()) else { return in_child::count_lost() };
        sinks.forget();
        sinks.write(to, 0, captured);
        sinks.flush();
        true
    }
}

fn write(sinks: &mut Sinks, message: Message, answers: &mut Vec<Sender<()>>) {
    match message {
        Message::Record(captured) => sinks.write(captured.to, captured.gap, captured),
        Message::Flush(written) => answers.push(written),
    }
}

struct Gate<'a> {
    channel: &'a Channel,
    _inside: crate::thread::panic::InLogger,
    _within: ending::Within,
    _mark: Mark,
}

/// Whether the calling thread is within the sinks of a queue. Not for signal handlers: see [`super::inside`].
pub(super) fn is_within() -> bool {
    DRAINING.with(Cell::get)
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        DRAINING.with(|within| within.set(false));
        self.channel.release();
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel({}, {} of {})", self.name, self.receiver.len(), self.capacity)
    }
}
