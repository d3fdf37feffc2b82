//! Settling a thread that has ended: its failure goes to the joiner, to the parent or to the log,
//! its OS thread is kept to be joined, and the node leaves the tree. Invariants 1, 3 and 4 of
//! `tree` are kept here.

use super::reap::{Unreaped, reap, take_gone};
use super::unjoined::{KEPT_FIRST, KEPT_LAST, Omitted};
use super::{Node, Outcome, Owner, Phase, State};
use crate::error::ignore_panic;
use crate::signal::BatchWake;
use crate::thread::failure::{Failure, Failures, Unlogged};
use crate::thread::latency;
use crate::thread::stop_clock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What is to be logged of a failure whose handle is held.
pub(crate) enum Held {
    Nothing,
    Due(Vec<Unlogged>),
    /// The time for a join is over then.
    Later(Instant),
}

impl Node {
    /// On the thread itself, when its children are dead: notes its end and its failure, and settles
    /// it.
    pub(crate) fn finish(self: &Arc<Node>, failure: Option<Failure>) {
        let failed = failure.is_some();
        self.leave_os_thread(failed);
        latency::ended(self);
        self.finish_node(failure);
        if failed && self.state.lock().owner == Owner::Handle {
            stop_clock::failure_is_held();
        }
    }

    /// [`finish`](Self::finish) for a node that its parent lets go of: its OS thread goes on, and
    /// leaves it later.
    pub(crate) fn finish_node(self: &Arc<Node>, failure: Option<Failure>) {
        let failed = failure.is_some();
        let (owner, unlogged) = {
            let mut state = self.state.lock();
            debug_assert!(state.phase == Phase::Ended && state.children.is_empty());
            state.failure = failure;
            state.finished = true;
            (state.owner, state.unlogged())
        };
        log_lines(unlogged);
        let mut told = BatchWake::default();
        if failed
            && owner != Owner::Log
            && let Some(parent) = &self.parent
        {
            parent.child_failed(self, &mut told);
        }
        // Settled first: a thread that has seen `stopped` finds the failure in its place.
        match owner {
            Owner::Parent if self.is_collected() => {}
            Owner::Parent | Owner::Log => self.settle(owner),
            Owner::Handle | Owner::Joiner | Owner::Reported => {}
        }
        if failed {
            // The targets last: one of them may wait for the end of this thread.
            self.stopped.go_in(&mut told);
        } else {
            self.stopped.go();
        }
    }

    /// Its ending parent settles it.
    fn is_collected(&self) -> bool {
        let collects = |parent: &Arc<Node>| parent.collects.load(Ordering::Relaxed);
        !self.born_late.load(Ordering::Relaxed) && self.parent.as_ref().is_some_and(collects)
    }

    /// Settles an ended thread without a handle: takes it out of the tree, and gives its failure to
    /// its owner.
    fn settle(&self, owner: Owner) {
        if owner == Owner::Log {
            // It is in the log.
            let failure = self.state.lock().failure.take();
            drop(failure);
        }
        let Some(parent) = &self.parent else { return };
        let (late, omitted, gone) = {
            let mut above = parent.state.lock();
            let mut own = self.state.lock();
            above.remove_child(self.id);
            // The parent may have ended meanwhile and have taken both.
            let (failure, os) = (own.failure.take(), own.os.take());
            if above.phase == Phase::Ended {
                (failure, None, Vec::new())
            } else {
                let omitted = failure.and_then(|failure| above.failures.add(self.id, failure));
                let gone = take_gone(&mut above.unreaped);
                let clock = self.os_thread().and_then(|os| os.clock);
                let (path, patience) = (self.path.clone(), self.settings.patience);
                above.unreaped.extend(os.map(|os| Unreaped { os, clock, path, patience }));
                (None, omitted, gone)
            }
        };
        reap(gone);
        parent.say_omitted(omitted);
        if let Some(failure) = late {
            parent.inherit(self.id, failure);
        }
    }

    /// Gives a failure below `self`, whose handle was dropped after `self` had ended, to the next
    /// living thread above.
    fn inherit(&self, id: u64, failure: Failure) {
        let mut next = self.parent.as_ref();
        let mut failure = failure;
        while let Some(node) = next {
            let mut state = node.state.lock();
            if state.phase != Phase::Ended {
                let omitted = state.failures.add(id, failure);
                drop(state);
                return node.say_omitted(omitted);
            }
            next = node.parent.as_ref();
        }
        log_lines(failure.take_unlogged());
    }

    /// A failure of a child that `self` does not keep: it is in the log, and counted.
    fn say_omitted(&self, omitted: Option<Omitted>) {
        let Some(Omitted { mut failure, is_first }) = omitted else { return };
        log_lines(failure.take_unlogged());
        if is_first {
            ignore_panic(|| {
                log::warn!(
                    "more than {} children of {} have failed without being joined: of their failures it keeps the \
                     first {KEPT_FIRST} and the last {KEPT_LAST}, and counts the others",
                    KEPT_FIRST + KEPT_LAST,
                    self.path
                );
            });
        }
    }

    /// With `true`: a thread is joining, and gets the outcome. With `false`: it has given up.
    pub(crate) fn joining(&self, yes: bool) {
        let (from, to) = if yes { (Owner::Handle, Owner::Joiner) } else { (Owner::Joiner, Owner::Handle) };
        let mut state = self.state.lock();
        if state.owner == from {
            state.owner = to;
        }
        let is_held = state.owner == Owner::Handle && state.failure.is_some();
        drop(state);
        if is_held {
            // It has failed just when the joiner gave up.
            stop_clock::failure_is_held();
        }
    }

    /// What is to be logged of its failure at `now`, if its handle is held. Called by `held.rs`.
    pub(crate) fn take_held(&self, now: Instant) -> Held {
        let due = self.ended.get().and_then(|ended| stop_clock::end_of_holding(ended.at));
        let Some(due) = due else { return Held::Nothing };
        let mut state = self.state.lock();
        if state.owner != Owner::Handle || state.is_held_told {
            return Held::Nothing;
        }
        let Some(failure) = &mut state.failure else { return Held::Nothing };
        if due > now {
            return Held::Later(due);
        }
        let lines = failure.take_held();
        state.is_held_told = true;
        Held::Due(lines)
    }

    /// For a joiner, after the end: gives the outcome, and takes the node out of the tree.
    pub(crate) fn joined(&self) -> Outcome {
        let outcome = {
            let mut state = self.state.lock();
            match (state.failure.take(), state.owner) {
                (Some(failure), _) => Outcome::Failed(failure),
                (None, Owner::Reported) => Outcome::ReportedToParent,
                (None, _) => Outcome::Succeeded,
            }
        };
        if let Some(parent) = &self.parent {
            parent.state.lock().remove_child(self.id);
        }
        outcome
    }

    /// The handle was dropped, or released to the log. Called by the drop and by the
    /// release of `JoinHandle`, and by the end of a registration.
    pub(crate) fn handle_dropped(&self, to_log: bool) {
        let owner = if to_log { Owner::Log } else { Owner::Parent };
        let (finished, unlogged) = {
            let mut state = self.state.lock();
            if state.owner != Owner::Handle {
                return;
            }
            state.owner = owner;
            (state.finished, state.unlogged())
        };
        log_lines(unlogged);
        if finished {
            self.settle(owner);
        }
    }

    /// At the end of its parent or scope: gives an untold failure of a stopped thread to the
    /// parent.
    pub(crate) fn collect(&self) {
        let Some(parent) = &self.parent else { return };
        let mut above = parent.state.lock();
        let mut own = self.state.lock();
        above.remove_child(self.id);
        let omitted = match own.owner {
            Owner::Joiner | Owner::Log => return,
            Owner::Handle | Owner::Parent | Owner::Reported => {
                if own.owner == Owner::Handle && own.failure.is_some() {
                    own.owner = Owner::Reported;
                }
                own.failure.take().and_then(|failure| above.failures.add(self.id, failure))
            }
        };
        drop((own, above));
        parent.say_omitted(omitted);
    }

    /// The failures of its children that no thread has joined, in the order of the children's
    /// start.
    pub(crate) fn take_failures(&self) -> Failures {
        let (failures, unreaped) = {
            let mut state = self.state.lock();
            (state.failures.take(), std::mem::take(&mut state.unreaped))
        };
        reap(unreaped);
        failures.into_failures()
    }
}

impl State {
    /// The text to log of its failure, now that no joiner holds it. It was made when the thread
    /// failed, so nothing of the user's runs here.
    fn unlogged(&mut self) -> Vec<Unlogged> {
        match (self.owner, &mut self.failure) {
            (Owner::Parent | Owner::Log, Some(failure)) => failure.take_unlogged(),
            _ => Vec::new(),
        }
    }
}

fn log_lines(lines: Vec<Unlogged>) {
    lines.iter().for_each(|line| ignore_panic(|| line.tell()));
}
