//! The wait set of a blocking call: the signals that must change first, and the earliest deadline.
//! Knows the nodes behind signals and no handles.

use super::core::{Core, Kind, now_or_never};
use super::token::Token;
use crate::model::{Receiver, Select};
use crate::wait;
use std::convert::Infallible;
use std::time::Instant;

/// What one turn of a blocking call waits for: the frontier of one or more signals, and the
/// earliest deadline.
///
/// An expression is never waited for as a whole. `a & b` has not gone before `a` has, so until then
/// `a` stands for it; `a | b` is its parts; a Till is a deadline. After each wake-up the expression
/// is asked again. So a composite that is only waited on leaves nothing in its parts.
///
/// For signals it sleeps in a select, also for one channel alone. A `recv` spins and yields before
/// it sleeps, and beside busy threads a yield takes milliseconds. And not in `ready`: one token is
/// to wake one thread.
#[derive(Default)]
pub(crate) struct WaitSet {
    pub(super) receivers: Vec<Receiver<Infallible>>,
    pub(super) deadline: Option<Instant>,
}

impl WaitSet {
    pub(crate) fn clear(&mut self, deadline: Option<Instant>) {
        self.receivers.clear();
        self.deadline = deadline;
    }

    /// Adds what has to change before the signal of `core` can have gone.
    pub(super) fn watch_core(&mut self, core: &Core) {
        frontier(core, self);
    }

    fn push(&mut self, receiver: &Receiver<Infallible>) {
        self.receivers.push(receiver.clone());
    }

    fn until(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// Blocks until one of them has changed.
    pub(crate) fn block(&self) {
        wait::begin_sleep();
        if self.receivers.is_empty() {
            now_or_never(self.deadline);
        } else {
            self.select(None);
        }
    }

    /// Blocks until one of them has changed, or the calling thread has taken the token.
    pub(crate) fn block_on(&self, token: &Token) {
        wait::begin_sleep();
        if self.receivers.is_empty() {
            token.take(self.deadline);
        } else {
            token.take_or(|channel| self.select(Some(channel)));
        }
    }

    /// Blocks until one of them has changed, or a value was taken from `token`.
    fn select(&self, token: Option<&Receiver<()>>) {
        let mut select = Select::new();
        for receiver in &self.receivers {
            select.recv(receiver);
        }
        if let Some(token) = token {
            select.recv(token);
        }
        let operation = match self.deadline {
            None => select.select(),
            Some(at) => match select.select_deadline(at) {
                Ok(operation) => operation,
                Err(_) => return,
            },
        };
        // Which of the signals it was, the caller asks: no value ever comes from them.
        match (self.receivers.get(operation.index()), token) {
            (Some(receiver), _) => drop(operation.recv(receiver)),
            (None, Some(token)) => drop(operation.recv(token)),
            // Each operation is of a signal or of the token.
            (None, None) => {}
        }
    }
}

/// Adds to `wait_set` what has to change before the signal can have gone.
///
/// The caller has asked whether it has gone, so the parts of an `&` up to the missing one are
/// marked. Without that, or if one went since, the round ends at once, and the caller asks again.
fn frontier(core: &Core, wait_set: &mut WaitSet) {
    let mut next = Vec::new();
    let mut now = Some(core);
    while let Some(core) = now {
        match &core.kind {
            Kind::Plain(_) => wait_set.push(core.own_receiver()),
            Kind::Never => {}
            Kind::Till(at) => {
                wait_set.push(core.own_receiver());
                wait_set.until(*at);
            }
            Kind::Any(parts) => next.extend(parts.iter().rev().map(|part| &**part)),
            // Not `is_go`, which would walk through the whole part, at each level.
            Kind::All(parts) => match parts.iter().find(|part| !part.is_known_gone()) {
                Some(missing) => next.push(&**missing),
                None => wait_set.until(Instant::now()),
            },
        }
        now = next.pop();
    }
}
