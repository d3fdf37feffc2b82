//! Waking one sleeping thread of `sync`. Each thread has one parker, which its waiters hand to the
//! threads that are to wake it.

use crate::model::thread_local;
use crate::signal::Token;
use crate::wait::{Ender, Stamp};
use std::sync::Arc;

/// Wakes one thread, by a token.
///
/// A token may come late, when its thread waits for something else already. So the waking thread
/// writes to shared state what has happened, and the token only makes the woken thread look there.
#[derive(Clone)]
pub(super) struct Parker(Arc<Parts>);

struct Parts {
    token: Token,
    /// Of the thread that has ended the last wait.
    stamp: Stamp,
}

thread_local! {
    static PARKER: Parker = Parker::new();
}

impl Parker {
    fn new() -> Parker {
        Parker(Arc::new(Parts { token: Token::new(), stamp: Stamp::default() }))
    }

    /// The calling thread's parker.
    pub(super) fn mine() -> Parker {
        // After the thread's locals are destroyed, each wait has a parker of its own.
        PARKER.try_with(Parker::clone).unwrap_or_else(|_| Parker::new())
    }

    /// What the parked thread blocks on.
    pub(super) fn token(&self) -> &Token {
        &self.0.token
    }

    /// The calling thread is about to end the wait of the parked thread: before it writes to shared
    /// state what has happened.
    pub(super) fn stamp(&self) {
        self.0.stamp.set();
    }

    /// What has ended the last wait, while a recording counts waits.
    pub(super) fn ender(&self) -> Ender {
        self.0.stamp.get()
    }

    pub(super) fn unpark(&self) {
        // Already there: the thread has not woken up since the last one.
        self.0.token.give();
    }
}
