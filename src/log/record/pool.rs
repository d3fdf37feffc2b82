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
const BUNDLE: usize = 64;
/// As many records as a queue has room for by default; some 2.6 MB.
const MOST: usize = 8192 / BUNDLE;
/// A longer text is freed.
const LONGEST: usize = 1024;

static FREE: Mutex<Vec<Vec<Box<Body>>>> = Mutex::new(Vec::new());

thread_local! {
    static MINE: RefCell<Mine> = const { RefCell::new(Mine { free: Vec::new(), made: 0 }) };
}

/// What the calling thread has.
struct Mine {
    free: Vec<Box<Body>>,
    /// How many it has made the last time.
    made: usize,
}

impl Mine {
    /// Takes a bundle, or makes records: twice as many as before, up to a bundle. So a thread that
    /// logs once makes one, and a thread that logs much seldom pays for new memory.
    #[cold]
    fn refill(&mut self) {
        if let Some(bundle) = FREE.try_lock().and_then(|mut free| free.pop()) {
            self.free = bundle;
            return;
        }
        self.made = (2 * self.made).clamp(1, BUNDLE);
        self.free.extend((0..self.made).map(|_| Box::default()));
    }
}

/// A thread that ends leaves what it has to the others. A few records are no bundle.
impl Drop for Mine {
    fn drop(&mut self) {
        if self.free.len() >= BUNDLE / 2 {
            share(std::mem::take(&mut self.free));
        }
    }
}

fn share(bundle: Vec<Box<Body>>) {
    if let Some(mut free) = FREE.try_lock()
        && free.len() < MOST
    {
        free.push(bundle);
    }
}

/// A record, with what was in it before.
pub(super) fn take() -> Box<Body> {
    let taken = MINE.try_with(|mine| {
        let mut mine = mine.try_borrow_mut().ok()?;
        if mine.free.is_empty() {
            mine.refill();
        }
        mine.free.pop()
    });
    taken.ok().flatten().unwrap_or_default()
}

pub(super) fn give(body: Box<Body>) {
    if body.heap() > LONGEST {
        return;
    }
    // A thread that is past its locals frees.
    let _ = MINE.try_with(|mine| {
        let Ok(mut mine) = mine.try_borrow_mut() else { return };
        mine.free.push(body);
        if mine.free.len() >= 2 * BUNDLE {
            share(mine.free.split_off(BUNDLE));
        }
    });
}
