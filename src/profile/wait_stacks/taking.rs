//! While a recording counts waits: threads take their own stacks, and what they let go is summed up.

use super::going_on;
use crate::model::locks::Mutex;
use crate::profile::engines::TakeOwnStack;
use crate::wait::{self, StackNumber, TakeStacks, Weight};
use std::collections::HashMap;
use std::sync::Arc;

/// Pairs of a thread and a stack that are kept apart.
const MAX_SUMS: usize = if cfg!(test) { 64 } else { 8192 };

/// What threads let go, by their paths and stacks. `None`: the stack could not be had.
pub(in crate::profile) type LetGo = HashMap<(Arc<str>, Option<StackNumber>), Weight>;

/// While this lives, the waits of all threads get stacks, as far as the engine can take them.
pub(in crate::profile) struct WaitStacks(Arc<Taking>);

struct Taking {
    /// `None`: the engine takes none.
    own: Option<Arc<dyn TakeOwnStack>>,
    let_go: Mutex<LetGo>,
}

impl WaitStacks {
    pub(in crate::profile) fn start(own: Option<Arc<dyn TakeOwnStack>>) -> WaitStacks {
        let taking = Arc::new(Taking { own, let_go: Mutex::default() });
        wait::set_taker(Some(taking.clone()));
        WaitStacks(taking)
    }

    /// Returns `true` if the engine takes stacks.
    pub(in crate::profile) fn can_take(&self) -> bool {
        self.0.own.is_some()
    }

    /// Asks the threads that still wait for their stacks. Blocks until they have replied, for two
    /// seconds at most.
    pub(in crate::profile) fn ask_waiting(&self) {
        if let Some(own) = &self.0.own {
            going_on::take(&**own);
        }
    }

    /// What was let go up to now.
    pub(in crate::profile) fn let_go(&self) -> LetGo {
        self.0.let_go.lock().clone()
    }
}

impl Drop for WaitStacks {
    fn drop(&mut self) {
        wait::set_taker(None);
    }
}

/// Called by the waiting and by the unlocking thread, through `wait/stacks.rs`.
impl TakeStacks for Taking {
    fn take(&self) -> Option<StackNumber> {
        self.own.as_ref()?.take().map(StackNumber)
    }

    fn let_go(&self, weight: Weight) {
        let key = (wait::my_path(), self.take());
        add(&mut self.let_go.lock(), key, weight);
    }
}

/// Adds it; if there are many, under `[others]`, and then without its stack.
fn add(all: &mut LetGo, (path, stack): (Arc<str>, Option<StackNumber>), weight: Weight) {
    let (others, length): (Arc<str>, _) = ("[others]".into(), all.len());
    let is_room = |key: &(Arc<str>, _), most| length < most || all.contains_key(key);
    let mut key = (path, stack);
    if !is_room(&key, MAX_SUMS) {
        key.0 = others;
    }
    if !is_room(&key, 2 * MAX_SUMS) {
        key.1 = None;
    }
    all.entry(key).or_default().add(weight);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_threads_and_stacks_lose_no_weight() {
        let mut all = LetGo::default();
        for n in 0..1_000u32 {
            let weight = Weight { nanos: 3, thousandths: 1_000 };
            add(&mut all, (format!("main/{}", n % 100).into(), Some(StackNumber(n))), weight);
        }
        assert_eq!(all.len(), 2 * MAX_SUMS + 1);
        assert_eq!(all.values().map(|weight| weight.nanos).sum::<u64>(), 3_000);
        assert_eq!(all[&("main/7".into(), Some(StackNumber(7)))].nanos, 3);
        assert!(all.contains_key(&("[others]".into(), None)));
    }
}
