//! A pool of records that were written, for new records. Without it the logging thread allocates
//! what the writer frees, which is slow on both threads. Knows nothing of the contents of a record.
//!
//! Invariants
//! 1. All threads together share at most MOST bundles, and each thread keeps fewer than two.
//! 2. No thread waits here. A thread that does not get the lock at once allocates or frees. In the
//!    child of a fork the lock may be held by a thread that is not there.

#![allow(clippy::vec_box)] // the boxes are what is kept: a record moves as a pointer

use std::cell::RefCell;

use crate::model::locks::Mutex;

use super::body::Body;

/// How many pass from thread to thread at a time.
const BUNDLE: usize = 32;
/// As many records as a queue has room for by default; some 3 MB.
const MOST: usize = 8192 / BUNDLE;
/// A longer text is freed.
const LONGEST: usize = 1024;

// Boxes go from hand to hand; a record itself is ten times as large as its pointer.
#[allow(clippy::vec_box)]
static FREE: Mutex<Vec<Vec<Box<Body>>>> = Mutex::new(Vec::new());

thread_local! {
    #[allow(clippy::vec_box)]
    static MINE: RefCell<Vec<Box<Body>>> = const { RefCell::new(Vec::new()) };
}

/// A record, with what was in it before.
pub(super) fn take() -> Box<Body> {
    let taken = MINE.try_with(|mine| {
        let mut mine = mine.try_borrow_mut().ok()?;
        if mine.is_empty()
            && let Some(bundle) = FREE.try_lock().and_then(|mut free| free.pop())
        {
            *mine = bundle;
        }
        mine.pop()
    });
    taken.ok().flatten().unwrap_or_default()
}

pub(super) fn give(body: Box<Body>) {
    if body.capacity() > LONGEST {
        return;
    }
    // A thread that is past its locals frees.
    let _ = MINE.try_with(|mine| {
        let Ok(mut mine) = mine.try_borrow_mut() else { return };
        mine.push(body);
        if mine.len() >= 2 * BUNDLE {
            let bundle = mine.split_off(BUNDLE);
            if let Some(mut free) = FREE.try_lock()
                && free.len() < MOST
            {
                free.push(bundle);
            }
        }
    });
}
