//! [`span`] and its guard, and where the calling thread keeps its spans.

use super::ledger;
use super::thread_spans::{ThreadSpans, UNTIMED};
use crate::wait;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

/// Opens a span: a stretch of the program with a name, which ends when the guard is dropped. While
/// a recording runs, the calls and times of each name are counted exactly, for each thread, and
/// [`Profile::spans`](crate::profile::Profile::spans) has the sums.
///
/// Times are by the wall clock, waits included. A span's *total* time is that from its begin to its
/// end; time in which a name is open more than once, by recursion, is counted once. Its *self* time
/// is the total without the spans in it, on the same thread. One thread's self times add up to the
/// total of its outermost spans.
///
/// A span costs some 25 ns while a recording runs, and one load otherwise. A recording that counts
/// waits also keeps when each span was, which takes two readings of the clock more. Without the feature
/// `profiling` this function does nothing. It never blocks, but for a lock when a thread uses a
/// name for the first time.
///
/// A name should be one of few: beyond 127 names on one thread, the others are counted under
/// `[others]`. What differs from call to call, such as the number of a request, belongs to the
/// [context](crate::mdc).
///
/// What counts and what does not:
///
/// - A span that is open at a [snapshot](crate::profile::Recording::snapshot) or at the end of the
///   recording is counted up to then. A span that was opened before the recording began is not
///   counted.
/// - A guard that is leaked leaves its span open, to the end of the thread or of the recording.
/// - Guards may be dropped in any order: each span ends when its own guard is dropped. The spans
///   in it go on, in the span around it.
/// - A panic drops the guards, so it closes the spans.
/// - With thousands of spans open on one thread, further ones are counted and not timed, and the
///   table says how many. Their time is self time of the span around them.
/// - A forked child counts nothing before it starts a recording of its own.
/// - Not in a signal handler: the counts of the interrupted thread would be wrong.
///
/// ```
/// # fn parse(_: &str) {}
/// # fn read() -> &'static str { "" }
/// use selvedge::span;
///
/// fn index() {
///     let _index = span("index");
///     let text = {
///         let _read = span("read");
///         read()
///     };
///     let _parse = span("parse");
///     parse(text);
/// }
/// # index();
/// ```
#[inline]
pub fn span(name: &'static str) -> Span {
    let session = ledger::session();
    if session.is_off() {
        return Span::off();
    }
    open(name, session)
}

/// An open span, which ends when this is dropped; see [`span`].
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// let span = selvedge::span("parse");
/// std::thread::spawn(move || drop(span));
/// ```
#[must_use = "the span ends when this is dropped"]
pub struct Span {
    /// 0: nothing was counted.
    session: u64,
    place: u32,
    _not_send: PhantomData<*const ()>,
}

thread_local! {
    /// The spans of the calling thread in the last recording; null: none, or the thread ends. They
    /// are alive: `OWNER` has them.
    static MINE: Cell<*const ThreadSpans> = const { Cell::new(ptr::null()) };
    static OWNER: RefCell<Owner> = const { RefCell::new(Owner(None)) };
    /// The thread registers itself or a name, or writes an event: it may have locks of this crate.
    /// A span that the allocator opens then is not traced, and one with a new name not counted.
    static IS_BUSY: Cell<bool> = const { Cell::new(false) };
}

struct Owner(Option<Arc<ThreadSpans>>);

impl Drop for Owner {
    fn drop(&mut self) {
        MINE.set(ptr::null());
        if let Some(spans) = self.0.take() {
            ledger::end_thread(&spans);
        }
    }
}

#[inline]
fn open(name: &'static str, session: ledger::Session) -> Span {
    let path_change = wait::path_changes();
    // SAFETY: null, or alive: `OWNER` has it, and sets this to null, or to another one, before it
    // drops it. The reference is not used after the calls below return.
    let mine = unsafe { MINE.get().as_ref() }.filter(|spans| spans.session == session.number());
    let found = mine.and_then(|spans| Some((spans, spans.names().quick(name, path_change)?)));
    match found {
        Some((spans, entry)) => open_as(entry, spans, session),
        None => open_slowly(name, session, path_change),
    }
}

/// `entry`: the number of the span's name.
#[inline(always)]
fn open_as(entry: usize, spans: &ThreadSpans, session: ledger::Session) -> Span {
    let place = spans.open(entry, || session.source().now());
    if wait::is_counted() && !IS_BUSY.get() {
        spans.trace(place, wait::nanos(Instant::now()));
    }
    Span { session: session.number(), place, _not_send: PhantomData }
}

/// The thread's first span of a recording, or the first one with that name.
#[cold]
fn open_slowly(name: &'static str, session: ledger::Session, path_change: u64) -> Span {
    if IS_BUSY.replace(true) {
        return Span::off();
    }
    let spans = OWNER.try_with(|owner| {
        let known = owner.borrow().0.clone().filter(|spans| spans.session == session.number());
        known.or_else(|| {
            let spans = ledger::begin_thread(session, path_change)?;
            MINE.set(Arc::as_ptr(&spans));
            let before = owner.borrow_mut().0.replace(spans.clone());
            drop(before);
            Some(spans)
        })
    });
    let known = spans.map(|spans| spans.map(|spans| (spans.names().number(name, path_change, wait::my_path), spans)));
    IS_BUSY.set(false);
    match known {
        Ok(Some((entry, spans))) => open_as(entry, &spans, session),
        // The recording has ended just now.
        Ok(None) => Span::off(),
        Err(_) => {
            ledger::count_late(session);
            Span::off()
        }
    }
}

impl Span {
    #[inline(always)]
    fn off() -> Span {
        Span { session: 0, place: UNTIMED, _not_send: PhantomData }
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if self.session != 0 {
            close(self.session, self.place);
        }
    }
}

/// Does nothing if the recording is over, or the thread has ended: the span was counted up to then.
#[inline]
fn close(number: u64, place: u32) {
    let session = ledger::session();
    if session.number() != number || place == UNTIMED {
        return;
    }
    let now = session.source().now();
    // SAFETY: as in `open`.
    if let Some(spans) = unsafe { MINE.get().as_ref() }.filter(|spans| spans.session == number) {
        let traced = spans.traced(place);
        spans.close(place, now);
        if let Some((begin, name)) = traced {
            let was_busy = IS_BUSY.replace(true);
            wait::note_span(begin, name);
            IS_BUSY.set(was_busy);
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Span").field("is_counted", &(self.session != 0)).finish_non_exhaustive()
    }
}
