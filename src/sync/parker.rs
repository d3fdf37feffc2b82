//! Waking one sleeping thread of `sync`. Each thread has one parker, which its waiters hand to the
//! threads that are to wake it.

use crate::model::{Receiver, Sender, bounded, thread_local};

/// Wakes one thread: a token in a channel of capacity 1.
///
/// A token may come late, when its thread waits for something else already. So the waking thread
/// writes to shared state what has happened, and the token only makes the woken thread look there.
#[derive(Clone)]
pub(super) struct Parker {
    sender: Sender<()>,
    pub(super) receiver: Receiver<()>,
}

thread_local! {
    static PARKER: Parker = Parker::new();
}

impl Parker {
    fn new() -> Parker {
        let (sender, receiver) = bounded(1);
        Parker { sender, receiver }
    }

    /// The calling thread's parker.
    pub(super) fn mine() -> Parker {
        // After the thread's locals are destroyed, each wait has a parker of its own.
        PARKER.try_with(Parker::clone).unwrap_or_else(|_| Parker::new())
    }

    pub(super) fn unpark(&self) {
        // Full: the thread has not woken up since the last one.
        let _ = self.sender.try_send(());
    }
}
