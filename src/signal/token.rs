//! A token wakes one thread: a thread that blocks takes it, another thread gives it. Knows no
//! signals, and nothing of what the threads wait for.
//!
//! A channel of capacity 1 would do that, but it wakes under its own lock. A thread that is woken
//! on the waker's own processor runs at once, finds that lock taken, and sleeps until the waker has
//! its processor again. On a busy machine that takes longer than what the thread waited for. So a
//! thread that waits for the token alone sleeps on a condition variable, which is notified after
//! unlocking. A thread that waits for signals too selects over channels, and has that lock still.
//!
//! Invariants
//! 1. A thread that blocks has found no token under the lock, and counts itself before it unlocks.
//!    So a token that comes later finds it counted.
//! 2. The token is put into the channel only while threads select and none sleeps. If it is there
//!    when the last of them leaves, that thread gives it again.
//! 3. `is_there` is set only by `give`, which notifies a sleeper if there is any; each sleeper
//!    looks there under the lock before it leaves. So the token stays only if no thread is left to
//!    take it.
//!
//! Models: `queue/loom_tests.rs`, `sync/loom_tests.rs` and `sync/model_tests.rs`.

use crate::model::{Condvar, Mutex, MutexGuard, OnceLock, Receiver, Sender, bounded};
use std::time::Instant;

pub(crate) struct Token {
    state: Mutex<State>,
    given: Condvar,
    /// Made when a thread first waits for signals too.
    channel: OnceLock<(Sender<()>, Receiver<()>)>,
}

#[derive(Default)]
struct State {
    is_there: bool,
    /// The number of threads that sleep on `given`.
    sleepers: usize,
    /// The number of threads that select.
    selecting: usize,
}

impl Token {
    pub(crate) fn new() -> Token {
        Token { state: Mutex::default(), given: Condvar::new(), channel: OnceLock::new() }
    }

    /// Gives the token, if it is not there already: to one of the threads that block, or else to
    /// the next one.
    pub(crate) fn give(&self) {
        self.put(self.state.lock());
    }

    fn put(&self, mut state: MutexGuard<'_, State>) {
        if state.is_there {
            return;
        }
        if state.sleepers == 0
            && state.selecting > 0
            && let Some((sender, _)) = self.channel.get()
        {
            // Under the lock: the selecting threads are still counted. Full: it is there already.
            let _ = sender.try_send(());
            return;
        }
        state.is_there = true;
        let is_awaited = state.sleepers > 0;
        drop(state);
        if is_awaited {
            self.given.notify_one();
        }
    }

    /// Blocks until the calling thread has taken the token, or until the deadline.
    pub(super) fn take(&self, deadline: Option<Instant>) {
        let mut state = self.state.lock();
        state.sleepers += 1;
        while !state.is_there {
            match deadline {
                None => self.given.wait(&mut state),
                Some(at) => {
                    if self.given.wait_until(&mut state, at).timed_out() {
                        break;
                    }
                }
            }
        }
        state.sleepers -= 1;
        state.is_there = false;
    }

    /// Takes the token, or calls `select` with the channel by which it comes.
    pub(super) fn take_or(&self, select: impl FnOnce(&Receiver<()>)) {
        let (_, receiver) = self.channel.get_or_init(|| bounded(1));
        {
            let mut state = self.state.lock();
            if std::mem::take(&mut state.is_there) {
                return;
            }
            state.selecting += 1;
        }
        select(receiver);
        let mut state = self.state.lock();
        state.selecting -= 1;
        // Also if it has taken one: until here it was counted, and a second one may have come.
        if state.selecting == 0 && receiver.try_recv().is_ok() {
            self.put(state);
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    /// Until it has the lock, a thread that selects is counted as such.
    #[test]
    fn a_token_that_comes_behind_a_taken_one_is_left_to_the_next_thread() {
        let token = Token::new();
        token.take_or(|channel| {
            token.give();
            channel.recv().unwrap();
            token.give();
        });
        token.take_or(|_| panic!("no token is there"));
    }

    #[test]
    fn a_thread_that_sleeps_gets_the_token_while_another_selects() {
        let token = std::sync::Arc::new(Token::new());
        let theirs = token.clone();
        let sleeper = std::thread::spawn(move || theirs.take(None));
        let deadline = Instant::now() + std::time::Duration::from_secs(100);
        let until = |condition: &dyn Fn() -> bool| {
            while !condition() {
                assert!(Instant::now() < deadline);
                std::thread::yield_now();
            }
        };
        until(&|| token.state.lock().sleepers == 1);
        token.take_or(|_| token.give());
        until(&|| sleeper.is_finished());
    }
}
