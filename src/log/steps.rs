//! What the queue and the end by `abort` share their state and block with: the types of std and crossbeam, or, in the model
//! checks, those that shuttle schedules. Beside `crate::model`, whose channels carry no values.

#[cfg(not(all(test, selvedge_model)))]
mod plain {
    pub(in crate::log) use crossbeam_channel::{Receiver, Sender, bounded};
    pub(in crate::log) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(in crate::log) use std::thread::{Thread, current, park_timeout, sleep, yield_now};
    pub(in crate::log) use std::thread_local;

    /// How many yields before a sleep, where a short wait is likely.
    pub(in crate::log) const YIELDS: u32 = 20;
}

#[cfg(not(all(test, selvedge_model)))]
pub(super) use plain::*;

#[cfg(all(test, selvedge_model))]
mod scheduled {
    use std::collections::VecDeque;
    use std::sync::{Arc, PoisonError};
    use std::time::Duration;

    use crossbeam_channel::{RecvTimeoutError, TryRecvError, TrySendError};
    pub(in crate::log) use shuttle::sync::MutexGuard;
    pub(in crate::log) use shuttle::thread::{Thread, current, yield_now};
    pub(in crate::log) use shuttle::thread_local;

    pub(in crate::log) const YIELDS: u32 = u32::MAX;

    /// There is no clock.
    pub(in crate::log) fn sleep(_: Duration) {
        yield_now();
    }

    pub(in crate::log) fn park_timeout(_: Duration) {
        yield_now();
    }

    pub(in crate::log) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(in crate::log) fn new(value: T) -> Mutex<T> {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(in crate::log) fn lock(&self) -> Result<MutexGuard<'_, T>, PoisonError<MutexGuard<'_, T>>> {
            self.0.lock()
        }

        pub(in crate::log) fn try_lock(&self) -> Result<MutexGuard<'_, T>, ()> {
            self.0.try_lock().map_err(drop)
        }
    }

    pub(in crate::log) struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        pub(in crate::log) fn new() -> Condvar {
            Condvar(shuttle::sync::Condvar::new())
        }

        /// Without a time-out: the looks that the real one takes now and then must not be needed.
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

    struct Ring<T> {
        values: shuttle::sync::Mutex<VecDeque<T>>,
        capacity: usize,
    }

    pub(in crate::log) struct Sender<T>(Arc<Ring<T>>);
    pub(in crate::log) struct Receiver<T>(Arc<Ring<T>>);

    pub(in crate::log) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let ring = Arc::new(Ring { values: shuttle::sync::Mutex::new(VecDeque::new()), capacity });
        (Sender(ring.clone()), Receiver(ring))
    }

    impl<T> Ring<T> {
        fn values(&self) -> MutexGuard<'_, VecDeque<T>> {
            self.values.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl<T> Sender<T> {
        pub(in crate::log) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
            let mut values = self.0.values();
            if values.len() >= self.0.capacity {
                return Err(TrySendError::Full(value));
            }
            values.push_back(value);
            Ok(())
        }

        /// Who asked may be gone.
        pub(in crate::log) fn send(&self, value: T) -> Result<(), TrySendError<T>> {
            self.try_send(value)
        }

        pub(in crate::log) fn is_full(&self) -> bool {
            self.0.values().len() >= self.0.capacity
        }
    }

    impl<T> Receiver<T> {
        pub(in crate::log) fn try_recv(&self) -> Result<T, TryRecvError> {
            self.0.values().pop_front().ok_or(TryRecvError::Empty)
        }

        pub(in crate::log) fn recv_timeout(&self, _: Duration) -> Result<T, RecvTimeoutError> {
            yield_now();
            self.try_recv().map_err(|_| RecvTimeoutError::Timeout)
        }

        pub(in crate::log) fn len(&self) -> usize {
            self.0.values().len()
        }

        pub(in crate::log) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }
}

#[cfg(all(test, selvedge_model))]
pub(super) use scheduled::*;
