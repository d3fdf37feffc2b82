//! Popping that goes on after a stop, until everything that was added has been taken or the queue
//! is closed. Adds only time limits to `store.rs`.

use super::errors::PopError;
use super::handle::Queue;
use super::store::Taken;
use crate::os::tell::tell;
use crate::signal::{Signal, Till};
use log::Level;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long [`Queue::pop_draining`] waits for a close after the stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// The least time between two warnings that an adder keeps the queue open.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(5);

/// How long one wait lasts at most. An adder closes the queue some day, so what comes after the
/// wait is a warning only.
fn limit(adders: usize, patience: Duration, between_warnings: Duration) -> Duration {
    if adders == 0 { patience } else { patience.max(between_warnings) }
}

impl<T> Queue<T> {
    /// Takes the first value, also after `stop` has gone. Returns `None` once the queue is closed
    /// and empty. This is the pop for a consumer that must lose nothing when it is asked to stop.
    ///
    /// # Blocking
    /// While the queue is empty and open. `stop` alone does not end it: the producers end it by
    /// closing the queue. An [`Adder`](super::Adder) closes it when its producer ends. A
    /// forgotten close is no hang: if the queue has no adder, and nothing was added for 5 seconds
    /// after the stop, this call logs a warning, closes the queue and hands out what is left. A
    /// value that another consumer has taken counts as added. A producer that adds later gets its
    /// value back as
    /// [`AddError::Closed`](super::AddError::Closed). While there is an adder, its drop will close
    /// the queue; until then a warning every 5 seconds tells what this call waits for.
    ///
    /// # Which consumers
    /// A consumer that is stopped alone, while others go on popping from the same queue, wants
    /// [`pop_till`](Self::pop_till): what it leaves in the queue is for the others.
    ///
    /// ```
    /// use selvedge::{Queue, spawn};
    ///
    /// let jobs: Queue<u32> = Queue::unbounded("jobs");
    /// let from = jobs.clone();
    /// let adder = jobs.adder();
    /// adder.extend(0..100).unwrap();
    /// let consumer = spawn("consumer", move |please_stop| {
    ///     let mut handled = 0;
    ///     while let Some(_job) = from.pop_draining(please_stop) {
    ///         handled += 1;
    ///     }
    ///     handled
    /// });
    /// consumer.stop();
    /// adder.add(100).unwrap(); // The producer has one more, and then it ends.
    /// drop(adder);
    /// assert_eq!(consumer.join().unwrap(), 101);
    /// ```
    pub fn pop_draining(&self, stop: &Signal) -> Option<T> {
        self.pop_draining_timeout(stop, PATIENCE)
    }

    /// [`pop_draining`](Self::pop_draining) with a patience of its own: how long after `stop`
    /// nothing is added before this call closes the queue. Take it longer than the producer may
    /// need for one value.
    ///
    /// # Blocking
    /// As [`pop_draining`](Self::pop_draining). After `stop`, while there is no adder: for
    /// `patience`, and again for `patience` if a value was added meanwhile that another consumer
    /// has taken.
    pub fn pop_draining_timeout(&self, stop: &Signal, patience: Duration) -> Option<T> {
        self.drain(stop, patience, BETWEEN_WARNINGS)
    }

    fn drain(&self, stop: &Signal, patience: Duration, between_warnings: Duration) -> Option<T> {
        match self.store.take() {
            Taken::Value(value) => return Some(value),
            Taken::Closed => return None,
            Taken::Empty => {}
        }
        if !stop.is_go() {
            match self.store.pop_blocking(Some(stop), || self.handles()) {
                Ok(value) => return Some(value),
                Err(PopError::Closed) => return None,
                Err(PopError::Stopped) => {}
            }
        }
        let begin = Instant::now();
        // The number of values that were ever added, and since when it has not changed. With several
        // consumers, another one may have taken a new value.
        let (mut added, mut unchanged_since) = (self.store.added_count(), begin);
        loop {
            let adders = self.account.adders.load(Ordering::SeqCst);
            #[cfg(all(test, not(selvedge_model)))]
            crate::model::meanwhile::happens();
            let limit = Till::after(limit(adders, patience, between_warnings));
            match self.store.pop_blocking(Some(&limit), || self.handles()) {
                Ok(value) => return Some(value),
                Err(PopError::Closed) => return None,
                Err(PopError::Stopped) => {}
            }
            match (adders, self.account.adders.load(Ordering::SeqCst)) {
                (0, 0) => {
                    let now_added = self.store.added_count();
                    if now_added == added && self.close_for_producers(added, unchanged_since.elapsed()) {
                        return self.pop();
                    }
                    // A value was added in the meantime: the patience begins anew.
                    (added, unchanged_since) = (now_added, Instant::now());
                    continue;
                }
                // The first adder was made in the meantime.
                (0, _) => continue,
                _ => {}
            }
            let text = format!(
                "{} was asked to stop and has waited {:.1?} for queue \"{}\" to be closed: \
                 it is empty, and {adders} of its adders are not dropped",
                crate::wait::my_path(),
                begin.elapsed(),
                self.name(),
            );
            tell(Level::Warn, "selvedge::queue", &text);
        }
    }

    /// Ends the wait for a close that does not come. Returns `false` if more than `added` values were
    /// ever added: then the queue stays open.
    #[cold]
    fn close_for_producers(&self, added: u64, unchanged: Duration) -> bool {
        match self.store.close_unless_more(added) {
            None => return false,
            Some(false) => return true,
            Some(true) => {}
        }
        let thread = crate::wait::my_path();
        let text = format!(
            "queue \"{}\" was open and empty for {unchanged:.1?} after {thread} was asked to stop; {thread} closes it \
             now. Close it where values are added (Queue::adder does that)",
            self.name(),
        );
        tell(Level::Warn, "selvedge::queue", &text);
        true
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;
    use crate::model::meanwhile;
    use crate::wait::{Slot, become_thread};
    use std::sync::{Arc, OnceLock};

    #[test]
    fn an_adder_makes_the_limit_longer() {
        let [short, warnings, long] = [1, 5, 9].map(Duration::from_secs);
        assert_eq!((limit(0, short, warnings), limit(0, long, warnings)), (short, long));
        assert_eq!((limit(1, short, warnings), limit(2, long, warnings)), (warnings, long));
    }

    #[test]
    fn a_draining_pop_respects_adders() {
        let queue: Queue<u32> = Queue::unbounded("jobs");
        let (from, adder, slot) = (queue.clone(), queue.adder(), Arc::<Slot>::default());
        let its_slot = slot.clone();
        let consumer = std::thread::spawn(move || {
            let _me = become_thread("main/consumer".into(), its_slot);
            let short = Duration::from_millis(1);
            from.drain(&Signal::gone(), short, short)
        });
        let deadline = Instant::now() + Duration::from_secs(100);
        // Each wait has a serial of its own: so the first two have come to their limit.
        while slot.get().is_none_or(|wait| wait.serial() < 3) {
            assert!(!queue.closed().is_go(), "the adder would have closed it");
            assert!(Instant::now() < deadline, "it does not wait three times");
            std::thread::yield_now();
        }
        adder.add(7).unwrap();
        assert_eq!(consumer.join().unwrap(), Some(7));
        assert!(!queue.closed().is_go());
    }

    #[test]
    fn a_first_adder_keeps_the_queue_open() {
        let (queue, short) = (Queue::unbounded("jobs"), Duration::from_millis(1));
        let (before, after) = (queue.clone(), queue.clone());
        // It is made before the first wait is over, and the value comes before the second one.
        let made = Arc::new(OnceLock::new());
        let adder = made.clone();
        let make = move || drop(adder.set(before.adder()));
        meanwhile::plan([Box::new(make), Box::new(move || after.add(7).unwrap())]);
        assert_eq!((queue.drain(&Signal::gone(), short, short), queue.closed().is_go()), (Some(7), false));
        drop(made);
    }

    #[test]
    fn a_value_taken_by_another_consumer_renews_the_patience() {
        let (queue, short) = (Queue::unbounded("jobs"), Duration::from_millis(1));
        let (first, second) = (queue.clone(), queue.clone());
        let taken = move || {
            first.add(7).unwrap();
            assert_eq!(first.try_pop(), Some(7), "the other consumer is faster");
        };
        meanwhile::plan([Box::new(taken), Box::new(move || second.add(8).unwrap())]);
        assert_eq!((queue.drain(&Signal::gone(), short, short), queue.closed().is_go()), (Some(8), false));
        assert_eq!((queue.drain(&Signal::gone(), short, short), queue.closed().is_go()), (None, true));
    }

    #[test]
    fn a_value_added_last_keeps_the_queue_open() {
        let queue = Queue::unbounded("jobs");
        queue.add(7).unwrap();
        assert!(!queue.close_for_producers(0, Duration::ZERO));
        assert_eq!((queue.closed().is_go(), queue.try_pop()), (false, Some(7)));
        assert!(queue.close_for_producers(1, Duration::ZERO));
        assert!(queue.closed().is_go() && queue.close_for_producers(1, Duration::ZERO));
    }
}
