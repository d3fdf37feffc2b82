//! How the calling thread sleeps in a blocking call, and how it stamps the waits that it ends.
//! Without the feature `profiling` nothing is counted and nothing is stamped.
//!
//! A stamp orders nothing. It is written before, and read after, the step by which the one thread
//! lets the other go on (a lock, a channel, an atomic of the primitive). That step orders it. If
//! two threads stamp at once, either may be found, and either has ended the wait.

#[cfg(all(test, feature = "profiling"))]
pub(crate) use self::counted::count_alone;
#[cfg(all(feature = "profiling", any(feature = "log4rs", test)))]
pub(crate) use self::counted::note_log;
#[cfg(feature = "profiling")]
pub(crate) use self::counted::{Stamp, begin_sleep, count_waits, ended_by, note_span};
#[cfg(not(feature = "profiling"))]
pub(crate) use self::uncounted::{Stamp, begin_sleep, ended_by};

#[cfg(feature = "profiling")]
mod counted {
    use crate::wait::ender::{self, Ender, is_on, nanos};
    use crate::wait::identity::{self, my_number, with_my_slot};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    /// The calling thread is about to sleep in the wait that it has published. The sleep ends with
    /// [`ended_by`], or else when the wait is over.
    #[inline]
    pub(crate) fn begin_sleep() {
        if is_on() {
            with_my_slot(|slot| slot.begin_sleep(nanos(Instant::now())));
        }
    }

    /// The wait that the calling thread has published was ended by `ender`. Without a sleep before
    /// it, this does nothing.
    #[inline]
    pub(crate) fn ended_by(ender: impl FnOnce() -> Ender) {
        if is_on() {
            with_my_slot(|slot| slot.end_sleep(ender));
        }
    }

    /// The calling thread has made a log record of that level, at that line of a file, with that text.
    /// Does nothing while no recording counts waits.
    #[cfg_attr(not(feature = "log4rs"), allow(dead_code))] // the crate's logger is the only caller
    pub(crate) fn note_log(level: u8, place: (&str, u32), text: &str) {
        if is_on() {
            with_my_slot(|slot| slot.note_log(level, place, text));
        }
    }

    /// A span of the calling thread ends now. It began at `begin`. Does nothing while no recording
    /// counts waits. Called by the drop of a span's guard.
    pub(crate) fn note_span(begin: u64, name: &'static str) {
        if is_on() {
            with_my_slot(|slot| slot.note_span(begin, name));
        }
    }

    /// Begins or ends to count the waits of all threads.
    pub(crate) fn count_waits(wanted: bool) {
        ender::switch(wanted);
        identity::forget_ended();
    }

    /// Waits are counted in the whole process. A test that begins and ends that holds this meanwhile.
    #[cfg(test)]
    pub(crate) fn count_alone() -> crate::model::locks::MutexGuard<'static, ()> {
        static ALONE: crate::model::locks::Mutex<()> = crate::model::locks::Mutex::new(());
        loop {
            // A thread that sleeps in `lock` does not run, which `tests/support/hang.rs` takes for a hang. One
            // test after the other may hold this lock, for minutes in all.
            match ALONE.try_lock() {
                Some(alone) => return alone,
                None => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
    }

    impl Ender {
        /// The calling thread, now. [`UNKNOWN`](Self::UNKNOWN) while no recording counts waits.
        #[inline]
        pub(crate) fn me() -> Ender {
            if is_on() { Ender { by: my_number(), at: nanos(Instant::now()) } } else { Ender::UNKNOWN }
        }
    }

    /// Where a thread that ends a wait leaves its stamp.
    #[derive(Debug, Default)]
    pub(crate) struct Stamp {
        by: AtomicU64,
        at: AtomicU64,
    }

    impl Stamp {
        /// The calling thread is about to end a wait.
        #[inline]
        pub(crate) fn set(&self) {
            if is_on() {
                self.put(Ender::me());
            }
        }

        #[cold]
        fn put(&self, ender: Ender) {
            // Relaxed, as in `get`: see above.
            self.by.store(ender.by, Ordering::Relaxed);
            self.at.store(ender.at, Ordering::Relaxed);
        }

        /// The last stamp.
        pub(crate) fn get(&self) -> Ender {
            Ender { by: self.by.load(Ordering::Relaxed), at: self.at.load(Ordering::Relaxed) }
        }
    }
}

#[cfg(not(feature = "profiling"))]
mod uncounted {
    use crate::wait::ender::Ender;

    #[inline(always)]
    pub(crate) fn begin_sleep() {}

    #[inline(always)]
    pub(crate) fn ended_by(_ender: impl FnOnce() -> Ender) {}

    #[derive(Debug, Default)]
    pub(crate) struct Stamp(());

    impl Stamp {
        #[inline(always)]
        pub(crate) fn set(&self) {}

        #[inline(always)]
        pub(crate) fn get(&self) -> Ender {
            Ender
        }
    }
}
