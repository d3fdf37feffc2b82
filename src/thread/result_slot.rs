//! Where a thread leaves its result for the thread that joins it. Written once, before the node
//! settles.

use super::failure::Failure;
use crate::model::locks::Mutex;
use std::sync::Arc;

/// Where a thread leaves what its function returned, or that it was stopped and returned none.
pub(super) type Slot<T> = Arc<Mutex<Option<Result<T, Failure>>>>;
