//! What other threads do between two steps of a call, as a unit test plans it: so a race happens each time.

use std::cell::RefCell;
use std::collections::VecDeque;

type Step = Box<dyn FnOnce()>;

thread_local! {
    static STEPS: RefCell<VecDeque<Step>> = const { RefCell::new(VecDeque::new()) };
}

/// One step for each of the next places that the calling thread comes to.
pub(crate) fn plan<const COUNT: usize>(steps: [Step; COUNT]) {
    STEPS.with_borrow_mut(|planned| planned.extend(steps));
}

/// Such a place: what is planned for it happens.
pub(crate) fn happens() {
    let step = STEPS.try_with(|planned| planned.borrow_mut().pop_front()).ok().flatten();
    if let Some(step) = step {
        step();
    }
}
