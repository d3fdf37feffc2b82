//! The seam's types as shuttle or loom schedules them, with the names and signatures of std,
//! parking_lot and crossbeam as far as the crate uses them. Only in unit tests under `--cfg
//! selvedge_model`.
//!
//! Channels are counters under one lock for the whole model, and each change wakes all threads that
//! block on any: slow, and so simple that what a check finds is not found in here. There is no
//! clock: a deadline has come when it is asked.

#[cfg(selvedge_loom)]
pub(crate) use self::by_loom::*;
#[cfg(not(selvedge_loom))]
pub(crate) use self::by_shuttle::*;

use engine::thread::yield_now;
pub(crate) use engine::thread::{ThreadId, current};

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::{Arc, PoisonError, atomic::AtomicUsize as Count};
use std::time::{Duration, Instant};

/// Once, since more of the same only makes the model larger.
pub(crate) const SPINS: u32 = 1;

/// Nothing else is left to do in a model: the other thread has to run.
pub(crate) fn back_off(_: u32) {
    yield_now();
}

#[cfg(not(selvedge_loom))]
mod by_shuttle {
    pub(crate) use shuttle as engine;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, fence};
    pub(crate) use shuttle::thread_local;

    use shuttle::rand::Rng;
    use std::sync::LazyLock;
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    /// Any time: so that what happens now and then, happens.
    pub(crate) fn now() -> Instant {
        static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        *BEGIN + Duration::from_secs(shuttle::rand::thread_rng().gen_range(0..1000))
    }

    pub(crate) fn current_thread() -> Option<u64> {
        Some(usize::from(super::current().id()) as u64 + 1)
    }

    pub(crate) struct Word(AtomicU64);

    impl Word {
        pub(crate) fn new(value: u64) -> Word {
            Word(AtomicU64::new(value))
        }

        pub(crate) fn get(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        pub(crate) fn set(&self, value: u64) {
            self.0.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(selvedge_loom)]
mod by_loom {
    /// loom's, which knows no `const { … }`.
    macro_rules! locals {
        ($($(#[$about:meta])* static $name:ident: $of:ty = const { $value:expr };)*) => {
            loom::thread_local! { $($(#[$about])* static $name: $of = $value;)* }
        };
        ($($(#[$about:meta])* static $name:ident: $of:ty = $value:expr;)*) => {
            $($(#[$about])* static $name: $crate::model::NoLocal<$of> = $crate::model::NoLocal(|| $value);)*
        };
    }
    pub(crate) use locals as thread_local;

    pub(crate) use crate::model::reordered::*;
    pub(crate) use loom as engine;

    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64 as Count, Ordering};
    use std::time::{Duration, Instant};

    /// A local with a destructor, which loom would run after the model's end: each use gets a new
    /// value.
    pub(crate) struct NoLocal<T: 'static>(pub(crate) fn() -> T);

    impl<T> NoLocal<T> {
        pub(crate) fn try_with<R>(&self, with: impl FnOnce(&T) -> R) -> Result<R, ()> {
            Ok(with(&(self.0)()))
        }
    }

    /// A second later each time: the same steps see the same times, as loom must have it.
    pub(crate) fn now() -> Instant {
        static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        static CALLS: Count = Count::new(0);
        *BEGIN + Duration::from_secs(CALLS.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn current_thread() -> Option<u64> {
        let digits: String = format!("{:?}", super::current().id()).chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok().map(|number| number + 1)
    }
}

#[derive(Default)]
pub(crate) struct Mutex<T>(engine::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T>(Option<engine::sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(engine::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
    }

    pub(crate) fn try_lock_for(&self, _: Duration) -> Option<MutexGuard<'_, T>> {
        self.try_lock()
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("taken only within wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("taken only within wait")
    }
}

pub(crate) struct Condvar(engine::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(engine::sync::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.0.take().expect("taken only within wait");
        guard.0 = Some(self.0.wait(inner).unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn wait_until<T>(&self, _: &mut MutexGuard<'_, T>, _: Instant) -> TimedOut {
        TimedOut
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

pub(crate) struct TimedOut;

impl TimedOut {
    pub(crate) fn timed_out(&self) -> bool {
        true
    }
}

pub(crate) struct OnceLock<T> {
    init: Mutex<()>,
    is_set: AtomicBool,
    cell: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> OnceLock<T> {
        OnceLock { init: Mutex::new(()), is_set: AtomicBool::new(false), cell: std::sync::OnceLock::new() }
    }

    pub(crate) fn into_inner(self) -> Option<T> {
        self.cell.into_inner()
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.is_set.load(Acquire) { self.cell.get() } else { None }
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _init = self.init.lock();
        self.cell.set(value)?;
        self.is_set.store(true, Release);
        Ok(())
    }

    pub(crate) fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        if self.get().is_none() {
            let _init = self.init.lock();
            if self.cell.get().is_none() {
                let _ = self.cell.set(init());
                self.is_set.store(true, Release);
            }
        }
        self.cell.get().expect("just set")
    }
}

/// Guards all channels of one execution. All threads that block on a channel wait for it.
struct World {
    lock: Mutex<()>,
    changed: Condvar,
}

engine::lazy_static! {
    static ref WORLD: World = World { lock: Mutex::new(()), changed: Condvar::new() };
}

pub(crate) struct Channel {
    capacity: usize,
    tokens: Count,
    senders: Count,
}

impl Channel {
    fn is_ready(&self) -> bool {
        self.tokens.load(SeqCst) > 0 || self.senders.load(SeqCst) == 0
    }

    fn take(&self) {
        let _ = self.tokens.fetch_update(SeqCst, SeqCst, |tokens| tokens.checked_sub(1));
    }
}

pub(crate) struct Sender<T>(Arc<Channel>, PhantomData<fn(T)>);

#[derive(Clone)]
pub(crate) struct Receiver<T>(Arc<Channel>, PhantomData<fn() -> T>);

pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel { capacity, tokens: Count::new(0), senders: Count::new(1) });
    (Sender(channel.clone(), PhantomData), Receiver(channel, PhantomData))
}

pub(crate) fn never<T>() -> Receiver<T> {
    Receiver(Arc::new(Channel { capacity: 0, tokens: Count::new(0), senders: Count::new(1) }), PhantomData)
}

impl<T> Sender<T> {
    pub(crate) fn try_send(&self, _: T) -> Result<(), ()> {
        let _world = WORLD.lock.lock();
        if self.0.tokens.load(SeqCst) >= self.0.capacity {
            return Err(());
        }
        self.0.tokens.fetch_add(1, SeqCst);
        WORLD.changed.notify_all();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.senders.fetch_add(1, SeqCst);
        Sender(self.0.clone(), PhantomData)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // A sender that is dropped with a thread's locals, after the thread's last step, has
        // nothing to wake.
        if Arc::strong_count(&self.0) == 1 {
            self.0.senders.fetch_sub(1, SeqCst);
            return;
        }
        let _world = WORLD.lock.lock();
        if self.0.senders.fetch_sub(1, SeqCst) == 1 {
            WORLD.changed.notify_all();
        }
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<(), ()> {
        let mut select = Select::new();
        select.recv(self);
        select.select().recv(self)
    }

    pub(crate) fn recv_deadline(&self, at: Instant) -> Result<(), ()> {
        let mut select = Select::new();
        select.recv(self);
        select.select_deadline(at)?.recv(self)
    }

    pub(crate) fn try_recv(&self) -> Result<(), ()> {
        let _world = WORLD.lock.lock();
        if self.0.tokens.load(SeqCst) == 0 {
            return Err(());
        }
        self.0.take();
        Ok(())
    }

    #[cfg(not(selvedge_loom))]
    pub(crate) fn is_disconnected(&self) -> bool {
        let _world = WORLD.lock.lock();
        self.0.senders.load(SeqCst) == 0
    }
}

pub(crate) struct Select(Vec<Arc<Channel>>);

pub(crate) struct Operation(usize);

impl Select {
    pub(crate) fn new() -> Select {
        Select(Vec::new())
    }

    pub(crate) fn recv<T>(&mut self, receiver: &Receiver<T>) -> usize {
        self.0.push(receiver.0.clone());
        self.0.len() - 1
    }

    pub(crate) fn ready(&mut self) -> usize {
        let mut world = WORLD.lock.lock();
        loop {
            match self.0.iter().position(|channel| channel.is_ready()) {
                Some(index) => return index,
                None => WORLD.changed.wait(&mut world),
            }
        }
    }

    pub(crate) fn ready_deadline(&mut self, _: Instant) -> Result<usize, ()> {
        yield_now();
        let _world = WORLD.lock.lock();
        self.0.iter().position(|channel| channel.is_ready()).ok_or(())
    }

    pub(crate) fn select(&mut self) -> Operation {
        Operation(self.ready())
    }

    pub(crate) fn select_deadline(&mut self, at: Instant) -> Result<Operation, ()> {
        self.ready_deadline(at).map(Operation)
    }
}

impl Operation {
    pub(crate) fn index(&self) -> usize {
        self.0
    }

    pub(crate) fn recv<T>(self, receiver: &Receiver<T>) -> Result<(), ()> {
        let _world = WORLD.lock.lock();
        receiver.0.take();
        Ok(())
    }
}
