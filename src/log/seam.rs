//! The test seam of the log: the types that the queue and the end by `abort` share state and block
//! with. They are std's and crossbeam's. In the model checks they are types that the checker
//! schedules. Channels that carry values are here and not in `crate::model`, because only the log
//! checks them.

#[cfg(not(all(test, selvedge_model)))]
mod plain {
    pub(in crate::log) use crate::model::{AtomicU8, AtomicUsize};
    pub(in crate::log) use crossbeam_channel::{Receiver, Sender, bounded};
    pub(in crate::log) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(in crate::log) use std::thread::{Thread, current, park_timeout, sleep};
    pub(in crate::log) use std::thread_local;

    /// The calling thread's place in the tree.
    pub(in crate::log) fn in_tree() -> Option<crate::thread::Thread> {
        Some(crate::thread::Thread::current())
    }
}

#[cfg(not(all(test, selvedge_model)))]
pub(super) use plain::*;

#[cfg(all(test, selvedge_model))]
mod scheduled {
    use crate::model::{AtomicUsize as Count, engine, fence};
    use std::collections::VecDeque;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
    use std::sync::{Arc, PoisonError};
    use std::time::Duration;

    pub(in crate::log) use crate::model::thread_local;
    #[cfg(not(selvedge_loom))]
    pub(in crate::log) use crate::model::{AtomicU8, AtomicUsize};
    use crossbeam_channel::{RecvTimeoutError, TryRecvError, TrySendError};
    pub(in crate::log) use engine::sync::MutexGuard;
    /// For `abort`. Loom itself takes SeqCst for acquire and release, without a fence. So an access
    /// of `abort` does not order what the queue's own accesses must order.
    #[cfg(selvedge_loom)]
    pub(in crate::log) use engine::sync::atomic::{AtomicU8, AtomicUsize};
    use engine::thread::yield_now;
    pub(in crate::log) use engine::thread::{Thread, current};

    /// The threads of a model are in no tree.
    pub(in crate::log) fn in_tree() -> Option<crate::thread::Thread> {
        None
    }

    /// There is no clock.
    pub(in crate::log) fn sleep(_: Duration) {
        yield_now();
    }

    pub(in crate::log) fn park_timeout(_: Duration) {
        yield_now();
    }

    pub(in crate::log) struct Mutex<T>(engine::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(in crate::log) fn new(value: T) -> Mutex<T> {
            Mutex(engine::sync::Mutex::new(value))
        }

        pub(in crate::log) fn lock(&self) -> Result<MutexGuard<'_, T>, PoisonError<MutexGuard<'_, T>>> {
            self.0.lock()
        }

        pub(in crate::log) fn try_lock(&self) -> Result<MutexGuard<'_, T>, ()> {
            self.0.try_lock().map_err(drop)
        }
    }

    pub(in crate::log) struct Condvar(engine::sync::Condvar);

    impl Condvar {
        pub(in crate::log) fn new() -> Condvar {
            Condvar(engine::sync::Condvar::new())
        }

        /// Without a time-out: the checks that a waiting thread makes now and then must not be
        /// needed.
        pub(in crate::log) fn wait_timeout<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _: Duration,
        ) -> Result<MutexGuard<'a, T>, PoisonError<MutexGuard<'a, T>>> {
            self.0.wait(guard)
        }

        pub(in crate::log) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// As crossbeam's array: `sent` is counted up by a SeqCst exchange, and a receiver that finds
    /// nothing has looked at it after a SeqCst fence. The values are under no lock of the model, so
    /// that nothing else orders the two sides.
    struct Ring<T> {
        values: std::sync::Mutex<VecDeque<T>>,
        sent: Count,
        taken: Count,
        capacity: usize,
    }

    pub(in crate::log) struct Sender<T>(Arc<Ring<T>>);
    pub(in crate::log) struct Receiver<T>(Arc<Ring<T>>);

    pub(in crate::log) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let (sent, taken) = (Count::new(0), Count::new(0));
        let ring = Arc::new(Ring { values: Default::default(), sent, taken, capacity });
        (Sender(ring.clone()), Receiver(ring))
    }

    impl<T> Ring<T> {
        fn len(&self) -> usize {
            // The second is never behind the first.
            let taken = self.taken.load(SeqCst);
            self.sent.load(SeqCst).saturating_sub(taken)
        }
    }

    impl<T> Sender<T> {
        pub(in crate::log) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
            let mut sent = self.0.sent.load(Relaxed);
            loop {
                fence(SeqCst);
                if sent - self.0.taken.load(Acquire).min(sent) >= self.0.capacity {
                    return Err(TrySendError::Full(value));
                }
                match self.0.sent.compare_exchange(sent, sent + 1, SeqCst, Relaxed) {
                    // No step of the model lies between the exchange and this.
                    Ok(_) => self.0.values.lock().unwrap().push_back(value),
                    Err(now) => {
                        sent = now;
                        continue;
                    }
                }
                return Ok(());
            }
        }

        /// Its receiver may be gone.
        pub(in crate::log) fn send(&self, value: T) -> Result<(), TrySendError<T>> {
            self.try_send(value)
        }

        pub(in crate::log) fn is_full(&self) -> bool {
            self.0.len() >= self.0.capacity
        }
    }

    impl<T> Receiver<T> {
        pub(in crate::log) fn try_recv(&self) -> Result<T, TryRecvError> {
            let mut taken = self.0.taken.load(Relaxed);
            loop {
                fence(SeqCst);
                if self.0.sent.load(Acquire) <= taken {
                    return Err(TryRecvError::Empty);
                }
                match self.0.taken.compare_exchange(taken, taken + 1, SeqCst, Relaxed) {
                    Ok(_) => return self.0.values.lock().unwrap().pop_front().ok_or(TryRecvError::Empty),
                    Err(now) => taken = now,
                }
            }
        }

        pub(in crate::log) fn recv_timeout(&self, _: Duration) -> Result<T, RecvTimeoutError> {
            yield_now();
            self.try_recv().map_err(|_| RecvTimeoutError::Timeout)
        }

        pub(in crate::log) fn len(&self) -> usize {
            self.0.len()
        }

        /// Weaker than crossbeam's, whose loads are SeqCst: here that would order what the queue's
        /// own accesses must order.
        pub(in crate::log) fn is_empty(&self) -> bool {
            let taken = self.0.taken.load(Acquire);
            self.0.sent.load(Acquire) <= taken
        }
    }
}

#[cfg(all(test, selvedge_model))]
pub(super) use scheduled::*;
