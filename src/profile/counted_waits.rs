//! Waits while they are counted: how long each thread has waited for what, with the stacks of the
//! calls that waited and of the calls that let others go on.

#[cfg(feature = "inspect")]
use super::accounts::WaitCounter;
use super::accounts::{Account, Ledger};
use super::engines::TakeOwnStack;
use super::trace::{Collected, Collector};
use super::wait_stacks::{LetGo, WaitStacks};
use std::sync::Arc;

/// While this lives, the waits of all threads are counted.
// Fields are dropped in this order.
pub(super) struct Waits {
    ledger: Ledger,
    stacks: WaitStacks,
}

/// What was counted up to now.
pub(super) struct CountedWaits {
    pub(super) accounts: Vec<Account>,
    pub(super) let_go: LetGo,
    /// The engine takes stacks.
    pub(super) can_take: bool,
}

#[cfg(any(feature = "inspect", feature = "push"))]
impl CountedWaits {
    /// For differences of two readings: see [`Account::uncut`].
    pub(super) fn uncut(self) -> CountedWaits {
        CountedWaits { accounts: self.accounts.into_iter().map(Account::uncut).collect(), ..self }
    }
}

impl Waits {
    pub(super) fn start(own_stacks: Option<Arc<dyn TakeOwnStack>>, collector: Arc<Collector>) -> Waits {
        let stacks = WaitStacks::start(own_stacks);
        Waits { ledger: Ledger::start(collector), stacks }
    }

    /// Read before the stacks: each number is a stack's by then.
    pub(super) fn counted(&self) -> CountedWaits {
        self.stacks.ask_waiting();
        let (accounts, let_go) = (self.ledger.accounts(), self.stacks.let_go());
        CountedWaits { accounts, let_go, can_take: self.stacks.can_take() }
    }

    /// The events up to now.
    pub(super) fn collect(&self) -> Option<Collected> {
        self.ledger.collect()
    }

    #[cfg(feature = "inspect")]
    pub(super) fn wait_counters(&self) -> Vec<WaitCounter> {
        self.ledger.wait_counters()
    }

    #[cfg(feature = "inspect")]
    pub(super) fn accounts(&self) -> Vec<Account> {
        self.ledger.accounts()
    }
}
