//! Waking one sleeping thread of `sync`. Each thread has one parker, which its waiters hand to the
//! threads that are to wake it.

use crate::model::{Receiver, Sender, bounded, thread_local};
use crate::wait::{Ender, Stamp};
use std::sync::Arc;

/// Wakes one thread: a token in a channel of capacity 1.
///
/// A token may come late, when its thread waits for something else already. So the waking thread
/// writes to shared state what has happened, and the token only makes the woken thread look there.
#[derive(Clone)]
pub(super) struct Parker {
    sender: Sender<()>,
    pub(super) receiver: Receiver<()>,
    /// Of the thread that has ended the last wait.
    stamp: Arc<Stamp>,
}

thread_local! {
    static PARKER: Parker = Parker::new();
}

impl Parker {
    fn new() -> Parker {
        let (sender, receiver) = bounded(1);
        Parker { sender, receiver, stamp: Arc::default() }
    }

    /// The calling thread's parker.
    pub(super) fn mine() -> Parker {
        // After the thread's locals are destroyed, each wait has a parker of its own.
        PARKER.try_with(Parker::clone).unwrap_or_else(|_| Parker::new())
    }

    /// The calling thread is about to end the wait of the parked thread: before it writes to shared
    /// state what has happened.
    pub(super) fn stamp(&self) {
        self.stamp.set();
    }

    /// What has ended the last wait, while a recording counts waits.
    pub(super) fn ender(&self) -> Ender {
        self.stamp.get()
    }

    pub(super) fn unpark(&self) {
        // Full: the thread has not woken up since the last one.
        let _ = self.sender.try_send(());
    }
}
