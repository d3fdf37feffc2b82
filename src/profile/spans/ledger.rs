//! The threads that have spans during a recording. A thread comes with its first span, and hands
//! its counts over when it ends.
//!
//! Invariants
//! 1. A thread's spans are in `threads`, or its counts are in `ended`.
//! 2. At most [`MAX_ENDED`] counts of ended threads are kept apart. Beyond that, counts with the
//!    same name, of threads whose paths differ in numbers only, are added up. If more than half are
//!    left, those of threads below one parent are added up. If that is not enough, those of all
//!    threads are, apart from the runtime's own.

use super::clock::{Clock, Source};
use super::thread_spans::{Row, ThreadSpans};
use super::total::SpanTotal;
use crate::model::locks::Mutex;
use crate::os::counted::counted;
use crate::os::fork::{self, PerProcess};
use crate::os::process;
use crate::thread::pool_names::{FOLDS, Fold};
use crate::wait;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// Counts of ended threads that are kept apart.
const MAX_ENDED: usize = if cfg!(test) { 64 } else { 4096 };

/// A thread that closes spans all the time replies to a question soon. A thread that has
/// lost its processor in the middle of a close may not.
const PATIENCE: Duration = Duration::from_secs(2);

/// The recording that counts spans, in one word: 0 while none does; otherwise twice its number,
/// and 1 more if the processor's counter is the clock.
///
/// Relaxed: it guards nothing. A span that is opened or closed while a recording begins or ends is
/// counted or not.
static SESSION: AtomicU64 = AtomicU64::new(0);

static CURRENT: PerProcess<Mutex<Option<Arc<Shared>>>> = PerProcess::new(Mutex::new(None), Mutex::default);

/// A value of [`SESSION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session(u64);

#[inline(always)]
pub(super) fn session() -> Session {
    Session(SESSION.load(Ordering::Relaxed))
}

impl Session {
    #[inline(always)]
    pub(super) fn is_off(self) -> bool {
        self.0 == 0
    }

    /// 0: no recording.
    #[inline(always)]
    pub(super) fn number(self) -> u64 {
        self.0 >> 1
    }

    #[inline(always)]
    pub(super) fn source(self) -> Source {
        if self.0 & 1 == 1 { Source::Counter } else { Source::System }
    }
}

/// While this lives, spans are counted.
pub(in crate::profile) struct SpanLedger {
    shared: Arc<Shared>,
}

struct Shared {
    session: Session,
    clock: Clock,
    /// The generation of the recording process: a forked child counts nothing.
    generation: u32,
    state: Mutex<State>,
    /// Spans that were opened when their threads had ended already. Relaxed: a count.
    late: AtomicU64,
}

#[derive(Default)]
struct State {
    /// By their numbers, in the order of their first spans.
    threads: BTreeMap<u64, Arc<ThreadSpans>>,
    next: u64,
    /// By the number of the first thread. Spans that were not timed are in `untimed`.
    ended: Vec<(u64, Row)>,
    untimed: u64,
}

/// The spans of a recording up to some moment.
#[derive(Clone, Debug, Default)]
pub(in crate::profile) struct Counted {
    pub(in crate::profile) totals: Vec<SpanTotal>,
    /// What is missing, as sentences.
    pub(in crate::profile) remarks: Vec<String>,
}

impl SpanLedger {
    /// Begins to count. One recording at a time. Blocks for a millisecond.
    pub(in crate::profile) fn start() -> SpanLedger {
        static LAST: AtomicU64 = AtomicU64::new(0);
        watch_forks();
        let source = Source::best();
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Session(number << 1 | u64::from(source == Source::Counter));
        let shared = Arc::new(Shared {
            session,
            clock: Clock::start(source),
            generation: fork::generation(),
            state: Mutex::default(),
            late: AtomicU64::new(0),
        });
        *CURRENT.lock() = Some(shared.clone());
        SESSION.store(session.0, Ordering::Relaxed);
        SpanLedger { shared }
    }

    /// What was counted up to now, with the spans that are open: by thread, in the order in which
    /// the threads opened their first spans; of one thread the most self time first.
    pub(in crate::profile) fn counted(&self) -> Counted {
        if self.shared.is_forked() {
            return Counted::default();
        }
        self.shared.counted()
    }
}

impl Drop for SpanLedger {
    fn drop(&mut self) {
        if !self.shared.is_forked() {
            SESSION.store(0, Ordering::Relaxed);
            let shared = CURRENT.lock().take();
            drop(shared);
        }
    }
}

/// A forked child has no recording.
fn watch_forks() {
    static ONCE: Once = Once::new();
    extern "C" fn nothing() {}
    extern "C" fn in_child() {
        SESSION.store(0, Ordering::Relaxed);
    }
    ONCE.call_once(|| process::at_fork(nothing, nothing, in_child));
}

/// The calling thread opens its first span. `None`: the recording is over. Also `None` in a forked
/// child.
pub(super) fn begin_thread(session: Session, path_change: u64) -> Option<Arc<ThreadSpans>> {
    let shared = CURRENT.lock().clone().filter(|shared| shared.session == session && !shared.is_forked())?;
    let spans = Arc::new(ThreadSpans::new(session.number(), wait::my_path(), path_change));
    let mut state = shared.state.lock();
    let number = state.next;
    state.next += 1;
    state.threads.insert(number, spans.clone());
    drop(state);
    Some(spans)
}

/// The calling thread ends: closes its spans, and keeps its counts. Called by the destructor of the
/// thread-local in `guard.rs`.
pub(super) fn end_thread(spans: &Arc<ThreadSpans>) {
    let is_its = |shared: &Arc<Shared>| shared.session.number() == spans.session && !shared.is_forked();
    let Some(shared) = CURRENT.lock().clone().filter(is_its) else { return };
    let now = shared.session.source().now();
    spans.close_all(now);
    // Its own thread calls, so no other close is at work.
    let rows = spans.try_copy(now).unwrap_or_default();
    let mut state = shared.state.lock();
    let number = state.threads.iter().find(|(_, known)| Arc::ptr_eq(known, spans)).map(|(number, _)| *number);
    if let Some(number) = number {
        let ended = state.threads.remove(&number);
        state.untimed += spans.untimed();
        state.keep(number, rows);
        drop(state);
        drop(ended);
    }
}

/// The calling thread has opened a span after its end.
pub(super) fn count_late(session: Session) {
    if let Some(shared) = CURRENT.lock().as_ref().filter(|shared| shared.session == session && !shared.is_forked()) {
        shared.late.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn is_forked(&self) -> bool {
        fork::generation() != self.generation
    }

    fn counted(&self) -> Counted {
        let (threads, mut rows, mut untimed) = {
            let state = self.state.lock();
            let threads: Vec<_> = state.threads.iter().map(|(number, spans)| (*number, spans.clone())).collect();
            (threads, state.ended.clone(), state.untimed)
        };
        let mut silent = 0u64;
        for (number, spans) in threads {
            untimed += spans.untimed();
            match copy(&spans, self.session.source()) {
                Some(copy) => rows.extend(copy.into_iter().map(|row| (number, row))),
                None => silent += 1,
            }
        }
        rows.sort_by(|(a, one), (b, other)| (a, other.own).cmp(&(b, one.own)));
        let rate = self.clock.rate();
        let late = self.late.load(Ordering::Relaxed);
        let remarks = [
            (untimed > 0).then(|| {
                format!("{} counted and not timed: too many were open on one thread", counted(untimed, "span"))
            }),
            (late > 0).then(|| format!("{} not counted: the thread had ended", counted(late, "span"))),
            (silent > 0).then(|| format!("the spans of {} could not be read in time", counted(silent, "thread"))),
            rate.has_changed.then(|| "times of spans are inexact: the processor's counter changed its rate".to_owned()),
        ];
        let totals = rows.into_iter().map(|(_, row)| SpanTotal::new(&row, rate)).collect();
        Counted { totals, remarks: remarks.into_iter().flatten().collect() }
    }
}

/// A copy of another thread's counts up to now. `None`: it could not be had in time.
fn copy(spans: &ThreadSpans, source: Source) -> Option<Vec<Row>> {
    /// Most threads close no span just then, or one.
    const TRIES: usize = 16;
    if let Some(rows) = (0..TRIES).find_map(|_| spans.try_copy(source.now())) {
        return Some(rows);
    }
    let begin = Instant::now();
    // An old answer, to a question that a copy was found for meanwhile.
    drop(spans.take_answer());
    while begin.elapsed() < PATIENCE {
        spans.ask();
        std::thread::sleep(Duration::from_micros(50));
        if let Some(rows) = spans.take_answer().or_else(|| spans.try_copy(source.now())) {
            return Some(rows);
        }
    }
    None
}

impl State {
    fn keep(&mut self, number: u64, rows: Vec<Row>) {
        self.ended.extend(rows.into_iter().map(|row| (number, row)));
        if self.ended.len() <= MAX_ENDED {
            return;
        }
        for fold in FOLDS {
            self.fold(fold);
            // Otherwise the next fold would follow soon, and each takes its time.
            if self.ended.len() <= MAX_ENDED / 2 {
                return;
            }
        }
    }

    /// Adds up the rows with one name whose paths `pool` makes equal.
    fn fold(&mut self, pool: Fold) {
        let mut known: HashMap<(String, &'static str), usize> = HashMap::new();
        let mut folded: Vec<(u64, Row)> = Vec::new();
        for (number, row) in self.ended.drain(..) {
            let path = pool(&row.path);
            match known.get(&(path.clone(), row.name)) {
                Some(&index) => folded[index].1.take_in(&row, path.into()),
                None => {
                    known.insert((path, row.name), folded.len());
                    folded.push((number, row));
                }
            }
        }
        self.ended = folded;
    }
}

impl Row {
    /// Adds another thread's counts to these, whose path is `path` from now on.
    fn take_in(&mut self, other: &Row, path: Arc<str>) {
        self.path = path;
        self.calls += other.calls;
        self.own += other.own;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn counts_of_many_ended_threads_are_folded_and_none_is_lost() {
        let mut state = State::default();
        let row = |n: u64, name| Row {
            name,
            path: format!("main/reader-{n}").into(),
            calls: 1,
            own: n,
            total: 2 * n,
            longest: n,
        };
        for n in 0..10_000 {
            state.keep(n, vec![row(n, "read"), row(n, "parse")]);
            assert!(state.ended.len() <= MAX_ENDED);
        }
        for name in ["read", "parse"] {
            let rows = || state.ended.iter().map(|(_, row)| row).filter(|row| row.name == name);
            let sum = |of: fn(&Row) -> u64| rows().map(of).sum::<u64>();
            assert_eq!(sum(|row| row.calls), 10_000);
            assert_eq!((sum(|row| row.own), sum(|row| row.total)), (49_995_000, 99_990_000));
            assert_eq!(rows().map(|row| row.longest).max(), Some(9_999));
        }
        assert_eq!(&*state.ended[0].1.path, "main/reader-*");
    }

    #[test]
    fn parents_with_names_of_their_own_are_folded_too() {
        let mut state = State::default();
        let letters = |n: u64| (0..4).map(|place| (b'a' + (n >> (4 * place) & 15) as u8) as char).collect::<String>();
        for n in 0..1_000 {
            let path = format!("main/{}/worker", letters(n)).into();
            state.keep(n, vec![Row { name: "read", path, calls: 1, own: n, total: 2 * n, longest: n }]);
            assert!(state.ended.len() <= MAX_ENDED, "{} rows", state.ended.len());
        }
        let sum = |of: fn(&Row) -> u64| state.ended.iter().map(|(_, row)| of(row)).sum::<u64>();
        assert_eq!(sum(|row| row.calls), 1_000);
        assert_eq!((sum(|row| row.own), sum(|row| row.total)), (499_500, 999_000));
        assert_eq!(&*state.ended[0].1.path, "main/*");
    }
}
