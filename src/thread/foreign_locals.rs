//! Thread-locals of other crates: the diagnostic context (log-mdc) and the time zone (chrono). Both
//! crates panic if a thread uses theirs after it was destroyed. So a destructor of another
//! thread-local must not reach them. A panic within the panic hook aborts the process, so catching
//! the panic is not enough.
//!
//! For each there is a thread-local of ours, made right after it. The destructors of thread-locals
//! run in the opposite order, so ours is destroyed right before theirs. While ours lives, theirs
//! does. The standard library runs them in that order today, and does not promise it. Should it
//! change, the test `destroyed_thread_locals_are_not_reached` notices: its thread-locals are used
//! in both orders.

use super::panic_flags::{is_past_body, silenced};
use crate::wait::tree_path;
use chrono::{DateTime, FixedOffset, Local, Offset, TimeZone, Utc};
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::LocalKey;

/// Lives as long as a thread-local of another crate.
struct Beside {
    /// The other one could be made: it was not destroyed before ours was made.
    is_usable: bool,
}

impl Beside {
    /// `touch` makes the other one.
    fn new(touch: impl FnOnce()) -> Beside {
        Beside { is_usable: silenced(touch).is_some() }
    }
}

impl Drop for Beside {
    /// A type with a destructor is what std marks as destroyed.
    fn drop(&mut self) {}
}

thread_local! {
    static CONTEXT: Beside = Beside::new(|| log_mdc::get("", |_| ()));
    static HAS_CONTEXT: Cell<bool> = const { Cell::new(false) };
    static ZONE: Beside = Beside::new(|| _ = Local.offset_from_utc_datetime(&DateTime::UNIX_EPOCH.naive_utc()));
    static HAS_ZONE: Cell<bool> = const { Cell::new(false) };
}

/// Seconds by which local time was ahead of UTC when a thread asked last.
static LAST_OFFSET: AtomicI32 = AtomicI32::new(0);

/// Returns `true` if log-mdc can be called on the calling thread without a panic.
pub(crate) fn has_mdc() -> bool {
    is_usable(&CONTEXT, &HAS_CONTEXT)
}

/// The local time. If the thread-locals of the calling thread are gone, by the offset that another
/// thread has found last.
pub(crate) fn local_time(time: impl Into<DateTime<Utc>>) -> DateTime<FixedOffset> {
    let utc = time.into();
    // Relaxed: a number on its own.
    let offset = if is_usable(&ZONE, &HAS_ZONE) {
        let offset = Local.offset_from_utc_datetime(&utc.naive_utc()).fix();
        LAST_OFFSET.store(offset.local_minus_utc(), Ordering::Relaxed);
        offset
    } else {
        FixedOffset::east_opt(LAST_OFFSET.load(Ordering::Relaxed)).unwrap_or(Utc.fix())
    };
    utc.with_timezone(&offset)
}

/// `is_made`: `beside` was made on this thread before.
fn is_usable(beside: &'static LocalKey<Beside>, is_made: &'static LocalKey<Cell<bool>>) -> bool {
    // Perhaps within the hook, where the panic of a destroyed thread-local would abort. A thread
    // within its body has not begun to destroy any.
    if !is_made.get() && std::thread::panicking() && (is_past_body() || tree_path().is_none()) {
        return false;
    }
    is_made.set(true);
    beside.try_with(|beside| beside.is_usable).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::mpsc::{Sender, channel};

    /// Calls its function when it is dropped.
    struct OnDrop(Sender<(bool, i32)>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            let offset = local_time(DateTime::UNIX_EPOCH).offset().local_minus_utc();
            let _ = self.0.send((has_mdc(), offset));
        }
    }

    thread_local!(static LAST: RefCell<Option<OnDrop>> = const { RefCell::new(None) });

    fn at_the_end(on_thread: impl FnOnce() + Send + 'static) -> (bool, i32) {
        let (send, receive) = channel();
        let thread = std::thread::spawn(move || {
            // Made first, so it is destroyed last.
            LAST.set(Some(OnDrop(send)));
            on_thread();
        });
        thread.join().unwrap();
        receive.recv().unwrap()
    }

    #[test]
    fn destroyed_thread_locals_are_not_reached() {
        let offset = local_time(DateTime::UNIX_EPOCH).offset().local_minus_utc();
        let used = at_the_end(|| {
            assert!(has_mdc());
            local_time(DateTime::UNIX_EPOCH);
        });
        assert_eq!(used, (false, offset));
        // Used without this file.
        let foreign = at_the_end(|| {
            log_mdc::clear();
            Local.offset_from_utc_datetime(&DateTime::UNIX_EPOCH.naive_utc());
        });
        assert_eq!(foreign, (false, offset));
        assert_eq!(at_the_end(|| ()), (true, offset));
    }
}
