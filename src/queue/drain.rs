//! Popping on after a stop, until everything that was added has been taken.

use super::store::Taken;
use super::{PopError, Queue};
use crate::os::tell::tell;
use crate::signal::{Signal, Till};
use log::Level;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long [`Queue::pop_draining`] waits for a close after the stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// The least time between two warnings that an adder keeps the queue open.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(5);

impl<T> Queue<T> {
    /// Takes the first value, also after `stop` has gone. Returns `None` once the queue is closed
    /// and empty. This is the pop for a consumer that must lose nothing when it is asked to stop.
    ///
    /// Blocks while the queue is empty and open. `stop` alone does not end it: the producers end it
    /// by closing the queue. An [`Adder`](super::Adder) closes it when its producer ends. A
    /// forgotten close is no hang: if the queue has no adder, and nothing was added for 5 seconds
    /// after the stop, this call logs a warning, closes the queue and hands out what is left. A
    /// producer that adds later gets its value back as
    /// [`AddError::Closed`](super::AddError::Closed). While there is an adder, its drop will close
    /// the queue; until then a warning every 5 seconds tells what this call waits for.
    ///
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

    /// [`pop_draining`](Self::pop_draining) with a patience of its own: how long each call waits,
    /// after `stop` has gone, for a value or the close. Take it longer than the producer may need
    /// for one value.
    pub fn pop_draining_timeout(&self, stop: &Signal, patience: Duration) -> Option<T> {
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
        loop {
            let adders = self.account.adders.load(Ordering::SeqCst);
            let limit = if adders == 0 { patience } else { patience.max(BETWEEN_WARNINGS) };
            match self.store.pop_blocking(Some(&Till::after(limit)), || self.handles()) {
                Ok(value) => return Some(value),
                Err(PopError::Closed) => return None,
                Err(PopError::Stopped) => {}
            }
            let waited = begin.elapsed();
            match (adders, self.account.adders.load(Ordering::SeqCst)) {
                (0, 0) => return self.close_for_producers(waited),
                // The first adder was made in the meantime.
                (0, _) => continue,
                _ => {}
            }
            let text = format!(
                "{} was asked to stop and has waited {waited:.1?} for queue \"{}\" to be closed: \
                 it is empty, and {adders} of its adders are not dropped",
                crate::wait::my_path(),
                self.name(),
            );
            tell(Level::Warn, "selvedge::queue", &text);
        }
    }

    /// Ends the wait for a close that does not come. A value that was added at the last moment is
    /// handed out.
    #[cold]
    fn close_for_producers(&self, waited: Duration) -> Option<T> {
        if self.close() {
            let thread = crate::wait::my_path();
            let text = format!(
                "queue \"{}\" was open and empty for {waited:.1?} after {thread} was asked to stop; {thread} closes it \
                 now. Close it where values are added (Queue::adder does that)",
                self.name(),
            );
            tell(Level::Warn, "selvedge::queue", &text);
        }
        self.pop()
    }
}
