//! How the log writer sleeps until there is a message, and which thread's message ended that.

use super::seam::Receiver;
#[cfg(all(test, selvedge_model))]
use super::seam::sleep;
use crate::signal::Signal;
use crate::wait::Stamp;
use std::time::Duration;

#[derive(Default)]
pub(super) struct WakeUp {
    /// Left by the thread whose message wakes the writer.
    waker: Stamp,
}

impl WakeUp {
    /// The calling thread is about to send a message. `wakes`: the writer sleeps.
    #[inline]
    pub(super) fn stamp_if(&self, wakes: bool) {
        if wakes {
            self.waker.set();
        }
    }

    /// Sleeps until there is a message, or the signal goes, or the time is over.
    #[cfg(not(all(test, selvedge_model)))]
    pub(super) fn wait<T>(&self, messages: &Receiver<T>, please_stop: &Signal, timeout: Duration) {
        use crate::wait::{self, Ender};
        let mut select = crossbeam_channel::Select::new();
        let message = select.recv(messages);
        please_stop.watch_in(&mut select);
        wait::begin_sleep();
        let ready = select.ready_timeout(timeout);
        wait::ended_by(|| match ready {
            Ok(ready) if ready == message => self.waker.get(),
            Ok(_) => please_stop.ender(),
            Err(_) => Ender::clock(None),
        });
    }

    #[cfg(all(test, selvedge_model))]
    pub(super) fn wait<T>(&self, _: &Receiver<T>, _: &Signal, timeout: Duration) {
        sleep(timeout);
    }
}
