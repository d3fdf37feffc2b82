//! Waits with stacks: where threads waited, for what, and which thread ended that; and where
//! threads let go what others waited for. `taking` collects numbers of stacks while a recording
//! runs, `going_on` asks threads that still wait, and `contention` makes rows with named frames of
//! them, and `since` what has come of them since an earlier reading. Uses the accounts, whose sums
//! are exact: stacks only split them.

mod contention;
mod going_on;
#[cfg(feature = "inspect")]
mod since;
mod taking;

pub(super) use self::contention::Contention;
pub(super) use self::taking::{LetGo, WaitStacks};
