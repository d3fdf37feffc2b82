//! The cell R – I: turns, taken in the order of tickets.
//!
//! Invariants
//! 1. Tickets are numbered from 0 without gaps. `serving` is the lowest that is neither served nor
//!    given up; it only grows.
//! 2. `given_up` holds only numbers above `serving`. The thread that moves `serving` moves it past
//!    all numbers in `given_up` that follow without a gap.
//! 3. A waiter is in `waiting` or has its turn. The thread that moves `serving` takes the waiter's
//!    parker out and unparks its thread.

use super::GaveUp;
use super::limit::Limit;
use super::owed::{Entered, Owed};
use super::parker::Parker;
use crate::model::Mutex;
use crate::signal::Signal;
use crate::wait::{self, Holder, Unblocker, WaitDescription};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Hands out tickets, and lets their holders in one after the other, in that order: so workers that
/// run in parallel can do one thing in sequence.
///
/// In the cube of resource × binary × irreversible it is the cell "resource, counted,
/// irreversible": one thread at a time has the turn, and a turn that is over does not come back. A
/// dropped ticket is skipped, so a worker that fails holds up no other. Clones are handles to the
/// same sequencer.
///
/// The idea is Reed and Kanodia's *sequencer* (1979), the bakery's numbered tickets; a ticket lock
/// is a peer that gives ticket and turn in one call.
///
/// # Memory ordering
/// What a thread did before its turn ended is visible to the threads with later turns.
///
/// # Example
/// ```
/// use selvedge::{Lock, Sequencer, spawn};
/// use std::sync::Arc;
///
/// let (order, book) = (Sequencer::new("chapters"), Arc::new(Lock::new("book", String::new())));
/// let typesetters: Vec<_> = ["It was", " a dark", " and stormy", " night"]
///     .into_iter()
///     .map(|chapter| {
///         // Taken here, in the order that is to come out.
///         let (ticket, book) = (order.take_ticket(), book.clone());
///         spawn("typesetter", move |please_stop| {
///             let set = chapter.to_uppercase(); // in parallel
///             let Ok(_turn) = ticket.wait_turn_till(please_stop) else { return };
///             book.lock().push_str(&set); // in order
///         })
///     })
///     .collect();
/// for typesetter in typesetters {
///     typesetter.join().unwrap();
/// }
/// assert_eq!(*book.lock(), "IT WAS A DARK AND STORMY NIGHT");
/// ```
#[derive(Clone)]
pub struct Sequencer(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    /// The thread that has the turn. In an Arc because a published wait refers to it.
    holder: Arc<Holder>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    serving: u64,
    given_up: BTreeSet<u64>,
    waiting: BTreeMap<u64, (Parker, Entered)>,
    /// The time of the waiters.
    owed: Owed,
}

/// A place in the order of a [`Sequencer`]. Dropping it gives the place up.
///
/// It is good for one turn:
/// ```compile_fail,E0382
/// let ticket = selvedge::Sequencer::new("frames").take_ticket();
/// let first = ticket.wait_turn();
/// let second = ticket.wait_turn();
/// ```
#[must_use = "a ticket that is dropped is skipped"]
pub struct Ticket {
    /// Taken when the ticket becomes a turn.
    sequencer: Option<Arc<Inner>>,
    number: u64,
}

/// The turn of one ticket, until it drops.
///
/// It cannot be had twice, or prolonged:
/// ```compile_fail,E0599
/// let turn = selvedge::Sequencer::new("frames").take_ticket().wait_turn();
/// let again = turn.clone();
/// ```
#[must_use = "a turn that is dropped at once is over at once"]
pub struct Turn {
    sequencer: Arc<Inner>,
    number: u64,
}

/// The turn did not come before the wait was given up. The ticket is in it, and keeps its place.
///
/// ```
/// use selvedge::Sequencer;
/// use std::time::Duration;
///
/// let order = Sequencer::new("frames");
/// let (first, second) = (order.take_ticket(), order.take_ticket());
/// let error = second.wait_turn_timeout(Duration::from_millis(1)).unwrap_err();
/// drop(first);
/// assert_eq!(error.ticket.wait_turn().number(), 1);
/// ```
#[non_exhaustive]
pub struct TurnError {
    /// The ticket: wait again with it, or drop it, and it is skipped.
    pub ticket: Ticket,
    /// Why the wait was given up.
    pub reason: GaveUp,
}

impl Sequencer {
    /// A sequencer that has handed out no ticket.
    pub fn new(name: impl AsRef<str>) -> Sequencer {
        Sequencer(Arc::new(Inner { name: Arc::from(name.as_ref()), holder: Arc::default(), state: Mutex::default() }))
    }

    /// Takes the next ticket. Does not block.
    pub fn take_ticket(&self) -> Ticket {
        let mut state = self.0.state.lock();
        let number = state.next;
        state.next += 1;
        drop(state);
        Ticket { sequencer: Some(self.0.clone()), number }
    }

    /// The number of the ticket whose turn it is. That ticket may not have been taken yet.
    pub fn serving(&self) -> u64 {
        self.0.state.lock().serving
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

impl Ticket {
    /// Waits for the turn of this ticket.
    ///
    /// # Blocking
    /// Until all earlier tickets have had their turn or were dropped. A thread with a `please_stop`
    /// wants [`wait_turn_till`](Self::wait_turn_till).
    #[track_caller]
    pub fn wait_turn(self) -> Turn {
        let mut ticket = self;
        loop {
            // Without a limit it cannot give up.
            match ticket.wait_within(Limit::NONE) {
                Ok(turn) => return turn,
                Err(error) => ticket = error.ticket,
            }
        }
    }

    /// [`wait_turn`](Self::wait_turn), but gives up when `till` goes. A `till` that has gone wins
    /// over a turn that has come. So if all threads wait with the same `till`, the turns that were
    /// had are the first ones, without a gap.
    ///
    /// # Blocking
    /// Until the turn comes, or `till` goes.
    ///
    /// # Errors
    /// [`TurnError`] with the ticket.
    #[track_caller]
    pub fn wait_turn_till(self, till: &Signal) -> Result<Turn, TurnError> {
        self.wait_within(Limit::till(till))
    }

    /// [`wait_turn`](Self::wait_turn), but gives up when `timeout` has passed.
    ///
    /// # Blocking
    /// Until the turn comes, or `timeout` has passed.
    ///
    /// # Errors
    /// [`TurnError`] with the ticket.
    #[track_caller]
    pub fn wait_turn_timeout(self, timeout: Duration) -> Result<Turn, TurnError> {
        self.wait_within(Limit::timeout(timeout))
    }

    /// Its number; the first ticket of a sequencer is 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    #[track_caller]
    fn wait_within(mut self, limit: Limit<'_>) -> Result<Turn, TurnError> {
        let number = self.number;
        let outcome = match &self.sequencer {
            Some(sequencer) if !sequencer.is_turn_or_join(number, None) => {
                let name = Arc::from(format!("{} #{number}", sequencer.name));
                let what = WaitDescription::new("turn", name)
                    .stable_name(sequencer.name.clone())
                    .unblocker(Unblocker::Turn(sequencer.holder.clone()));
                let _published = what.limited(limit.is_any()).at(Location::caller()).publish();
                let parker = Parker::mine();
                let outcome = limit.block_until(&parker, || sequencer.is_turn_or_join(number, Some(&parker)));
                if outcome.is_err() {
                    sequencer.state.lock().leave(number);
                }
                outcome
            }
            _ => Ok(()),
        };
        // Asked last: the turn may have come because those before gave up when `till` went.
        let outcome = outcome.and_then(|()| limit.check());
        match (outcome, self.sequencer.take()) {
            (Ok(()), Some(sequencer)) => {
                sequencer.holder.take();
                Ok(Turn { sequencer, number })
            }
            (Err(reason), sequencer) => Err(TurnError { ticket: Ticket { sequencer, number }, reason }),
            (Ok(()), None) => unreachable!("a ticket that has become a turn is gone"),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(sequencer) = self.sequencer.take() {
            sequencer.over(self.number);
        }
    }
}

impl Turn {
    /// The number of its ticket.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.sequencer.holder.leave();
        self.sequencer.over(self.number);
    }
}

impl Inner {
    /// Returns `true` if it is this ticket's turn. If not, `parker` is kept, and rung when it is.
    fn is_turn_or_join(&self, number: u64, parker: Option<&Parker>) -> bool {
        let mut state = self.state.lock();
        let is_turn = state.serving == number;
        if let (false, Some(parker)) = (is_turn, parker) {
            state.join(number, parker);
        }
        is_turn
    }

    /// The ticket's turn is over, or the ticket was given up.
    fn over(&self, number: u64) {
        let (called, owed) = {
            let mut state = self.state.lock();
            if state.serving != number {
                state.given_up.insert(number);
                return;
            }
            state.serving += 1;
            while state.given_up.first() == Some(&state.serving) {
                state.given_up.pop_first();
                state.serving += 1;
            }
            let serving = state.serving;
            // Under the lock: the next thread sees that it is its turn only after the stamp.
            let owed = state.owed.charge();
            (state.leave(serving).inspect(Parker::stamp), owed)
        };
        if let Some(parker) = called {
            parker.unpark();
        }
        #[cfg(all(test, not(selvedge_model)))]
        crate::model::meanwhile::happens();
        wait::let_go(owed);
    }
}

impl State {
    /// The ticket waits for its turn. It may have waited before.
    fn join(&mut self, number: u64, parker: &Parker) {
        if let Entry::Vacant(place) = self.waiting.entry(number) {
            place.insert((parker.clone(), self.owed.enter()));
        }
    }

    /// The ticket waits no more.
    fn leave(&mut self, number: u64) -> Option<Parker> {
        let (parker, entered) = self.waiting.remove(&number)?;
        self.owed.leave(entered);
        Some(parker)
    }
}

#[cfg(all(test, not(selvedge_model)))]
impl Sequencer {
    /// How many threads the sequencer would call.
    pub(super) fn waiting_count(&self) -> usize {
        self.0.state.lock().waiting.len()
    }

    pub(super) fn is_held_by_me(&self) -> bool {
        self.0.holder.is_me()
    }
}

impl fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (serving, next) = {
            let state = self.0.state.lock();
            (state.serving, state.next)
        };
        write!(f, "Sequencer({}, serving #{serving}, next ticket #{next})", self.name())
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.sequencer.as_ref().map_or("", |sequencer| &sequencer.name);
        write!(f, "Ticket({name} #{})", self.number)
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Turn({} #{})", self.sequencer.name, self.number)
    }
}

impl fmt::Debug for TurnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TurnError({:?}, {:?})", self.ticket, self.reason)
    }
}

impl fmt::Display for TurnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for turn #{}", self.reason, self.ticket.number)
    }
}

impl std::error::Error for TurnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        matches!(self.reason, GaveUp::Stopped).then_some(crate::error::STOPPED)
    }
}
