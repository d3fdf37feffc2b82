//! Opens an account for each thread of the tree that lives during a recording, and closes it when
//! the thread ends. The ledger is told of starts and ends by the tree, on the threads themselves.
//!
//! Invariants
//! 1. A thread is in `open` from its start, or that of the recording, to its end. Then its account
//!    is in `closed`.
//! 2. At most [`MAX_CLOSED`] accounts of ended threads are kept apart. Beyond that, accounts whose
//!    paths differ in numbers only are one. If more than half are left, those below one parent are
//!    one. If that is not enough, all are one, apart from the runtime's own threads.

use super::account::Account;
use super::fold::fold;
#[cfg(feature = "inspect")]
use super::wait_counters::{self, WaitCounter};

use crate::model::locks::Mutex;
use crate::os::{CpuClock, fork, task};
use crate::profile::trace::{Collected, Collector};
use crate::thread::pool_names::FOLDS;
use crate::thread::{Thread, observe};
use crate::wait::{self, Slot};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Accounts of ended threads that are kept apart.
const MAX_CLOSED: usize = if cfg!(test) { 64 } else { 4096 };

/// While this lives, the waits of all threads are counted.
pub(in crate::profile) struct Ledger {
    shared: Arc<Shared>,
    observer: u64,
}

struct Shared {
    began: Instant,
    state: Mutex<State>,
    /// Told of each thread whose account is opened or closed.
    collector: Arc<Collector>,
    /// The generation of the recording process: a forked child counts nothing.
    generation: u32,
}

#[derive(Default)]
struct State {
    /// By the thread's id, which is by age.
    open: BTreeMap<u64, Open>,
    /// By the id of the first thread.
    closed: Vec<(u64, Account)>,
    is_over: bool,
}

/// A living thread, and what its clocks said at the beginning.
#[derive(Clone)]
struct Open {
    path: Arc<str>,
    waits: Arc<Slot>,
    clock: Option<CpuClock>,
    from: Reading,
}

/// What the clocks of a thread said at one moment.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    cpu: Duration,
    run_delay: Option<Duration>,
}

impl Ledger {
    /// Begins to count. The threads' events go to `collector`.
    pub(in crate::profile) fn start(collector: Arc<Collector>) -> Ledger {
        let (began, generation) = (Instant::now(), fork::generation());
        let shared = Arc::new(Shared { began, state: Mutex::default(), collector, generation });
        wait::count_waits(true);
        let seen = &mut |thread: &Thread| shared.open(thread, false);
        let observer = observe::add(Arc::downgrade(&shared) as _, seen);
        Ledger { shared, observer }
    }

    /// The threads' events up to now. `None` in a forked child.
    pub(in crate::profile) fn collect(&self) -> Option<Collected> {
        (!self.shared.is_forked()).then(|| self.shared.collector.collect())
    }

    /// The accounts up to now, in the order of the threads' starts.
    pub(in crate::profile) fn accounts(&self) -> Vec<Account> {
        if self.shared.is_forked() {
            return Vec::new();
        }
        let state = self.shared.state.lock();
        let open = state.open.iter().map(|(id, open)| (*id, open.account()));
        let mut all: Vec<(u64, Account)> = open.chain(state.closed.iter().cloned()).collect();
        all.sort_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, account)| account).collect()
    }

    /// The waits of this recording up to now, and of the recordings before it.
    #[cfg(feature = "inspect")]
    pub(in crate::profile) fn wait_counters(&self) -> Vec<WaitCounter> {
        if self.shared.is_forked() {
            return wait_counters::with(std::iter::empty());
        }
        let state = self.shared.state.lock();
        wait_counters::with(state.open.values().map(Open::waits_alone))
    }
}

/// The waits of the recordings that are over.
#[cfg(feature = "inspect")]
pub(in crate::profile) fn former_wait_counters() -> Vec<WaitCounter> {
    wait_counters::with(std::iter::empty())
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if self.shared.is_forked() {
            return;
        }
        observe::remove(self.observer);
        wait::count_waits(false);
        let open = {
            let mut state = self.shared.state.lock();
            state.is_over = true;
            #[cfg(feature = "inspect")]
            state.open.values().for_each(|open| wait_counters::add(&open.waits_alone()));
            std::mem::take(&mut state.open)
        };
        open.values().for_each(|open| open.waits.end_count());
    }
}

impl Shared {
    fn is_forked(&self) -> bool {
        fork::generation() != self.generation
    }

    /// `is_new`: the thread starts just now, and this is called on it.
    fn open(&self, thread: &Thread, is_new: bool) {
        if self.is_forked() {
            return;
        }
        let clock = thread.cpu_clock();
        let read = Reading::of(clock);
        // All that an OS thread of its own has used so far belongs to it: also the time in which it
        // was born and had no processor yet.
        let used = read.cpu + read.run_delay.unwrap_or_default();
        let born = read.at.checked_sub(used).filter(|born| *born >= self.began);
        let from = match born {
            Some(born) if is_new && thread.has_own_os_thread() => {
                let run_delay = read.run_delay.map(|_| Duration::ZERO);
                Reading { at: born.min(thread.started_at()), cpu: Duration::ZERO, run_delay }
            }
            _ => read,
        };
        let open = Open { path: thread.path().into(), waits: thread.waits(), clock, from };
        let mut state = self.state.lock();
        // A thread that ended before this call got the lock is not told of again.
        if !state.is_over
            && thread.ended_at().is_none()
            && let Entry::Vacant(place) = state.open.entry(thread.id())
        {
            let rings = self.collector.open(thread);
            place.insert(open).waits.begin_count(rings);
        }
    }
}

impl observe::Observer for Shared {
    fn started(&self, thread: &Thread) {
        self.open(thread, true);
    }

    fn ended(&self, thread: &Thread) {
        if self.is_forked() {
            return;
        }
        // Its clocks are read without the lock. A snapshot that comes meanwhile finds it open.
        let open = self.state.lock().open.get(&thread.id()).cloned();
        if let Some(open) = open {
            let account = open.account();
            let mut state = self.state.lock();
            if state.open.remove(&thread.id()).is_some() {
                #[cfg(feature = "inspect")]
                wait_counters::add(&account);
                state.close(thread.id(), account);
            }
            drop(state);
            self.collector.close(thread);
            open.waits.end_count();
        }
    }
}

impl Reading {
    /// Reads the clocks of a thread, the time last: a part that is read before the whole is never
    /// more than the whole.
    fn of(clock: Option<CpuClock>) -> Reading {
        at_one_moment(|| Reading::once(clock))
    }

    fn once(clock: Option<CpuClock>) -> (Reading, Instant) {
        let run_delay = clock.and_then(|clock| task::run_delay(clock.thread()));
        let cpu = clock.and_then(CpuClock::read).unwrap_or_default();
        let at = Instant::now();
        (Reading { at, cpu, run_delay }, at)
    }
}

/// Readings that take less time than this are of one moment.
const MOMENT: Duration = Duration::from_micros(50);

/// More attempts would not help.
const MOST_ATTEMPTS: u32 = 16;

/// Calls `read` again if the calling thread seems to have lost its processor meanwhile, so that what
/// was read is of different moments. `read` also returns when it has read the last of it.
fn at_one_moment<T>(read: impl Fn() -> (T, Instant)) -> T {
    let attempt = || {
        let first = Instant::now();
        let (found, at) = read();
        (at.saturating_duration_since(first), found)
    };
    let mut best = attempt();
    for _ in 1..MOST_ATTEMPTS {
        if best.0 <= MOMENT {
            break;
        }
        let next = attempt();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

impl Open {
    /// An account of its waits up to now, without reading a clock.
    #[cfg(feature = "inspect")]
    fn waits_alone(&self) -> Account {
        let waits = self.waits.read_totals().unwrap_or_default();
        Account::new(self.path.clone(), Duration::ZERO, Duration::ZERO, None, waits)
    }

    /// Its account up to now.
    fn account(&self) -> Account {
        let (waits, read) = at_one_moment(|| {
            let waits = self.waits.read_totals().unwrap_or_default();
            let (read, at) = Reading::once(self.clock);
            ((waits, read), at)
        });
        let runnable = read.run_delay.zip(self.from.run_delay).map(|(now, before)| now.saturating_sub(before));
        let lifetime = read.at.saturating_duration_since(self.from.at);
        // A thread whose clock cannot be read has used none since.
        let cpu = read.cpu.saturating_sub(self.from.cpu);
        Account::new(self.path.clone(), lifetime, cpu, runnable, waits)
    }
}

impl State {
    fn close(&mut self, id: u64, account: Account) {
        self.closed.push((id, account));
        if self.closed.len() <= MAX_CLOSED {
            return;
        }
        for drop_more in FOLDS {
            self.closed = fold(std::mem::take(&mut self.closed), drop_more);
            // Otherwise the next fold would follow soon, and each takes its time.
            if self.closed.len() <= MAX_CLOSED / 2 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::accounts::WaitTotal;
    use crate::wait::WaitTotals;

    #[test]
    fn a_million_ended_threads_are_few_accounts_with_all_their_time() {
        let mut state = State::default();
        for n in 0..100_000u64 {
            let path = format!("main/listener/{}-{n}", if n % 2 == 0 { "connection" } else { "timer" });
            let time = Duration::from_nanos(n);
            state.close(n, Account::new(path.into(), time, time / 2, Some(Duration::ZERO), WaitTotals::default()));
            assert!(state.closed.len() <= MAX_CLOSED);
        }
        let sum: Duration = state.closed.iter().map(|(_, account)| account.lifetime()).sum();
        assert_eq!(sum, Duration::from_nanos((0..100_000).sum()));
        assert_eq!(state.closed.iter().map(|(_, account)| account.members()).sum::<u64>(), 100_000);
    }

    #[test]
    fn names_without_numbers_are_folded_below_their_parent() {
        let mut state = State::default();
        for n in 0..1_000u64 {
            let path = format!("main/{}", letters(n));
            state.close(n, Account::new(path.into(), Duration::ZERO, Duration::ZERO, None, WaitTotals::default()));
        }
        assert!(state.closed.len() <= MAX_CLOSED);
        assert_eq!(state.closed[0].1.path(), "main/*");
    }

    #[test]
    fn parents_with_names_of_their_own_are_folded_too() {
        let mut state = State::default();
        for n in 0..1_000u64 {
            let path = format!("main/{}/worker", letters(n));
            let time = Duration::from_nanos(n);
            state.close(n, Account::new(path.into(), time, time / 2, None, WaitTotals::default()));
            assert!(state.closed.len() <= MAX_CLOSED, "{} accounts", state.closed.len());
        }
        let accounts = || state.closed.iter().map(|(_, account)| account);
        assert_eq!(accounts().map(Account::lifetime).sum::<Duration>(), Duration::from_nanos((0..1_000).sum()));
        assert_eq!(
            accounts().map(Account::cpu).sum::<Duration>(),
            Duration::from_nanos((0..1_000).map(|n| n / 2).sum())
        );
        assert_eq!(accounts().map(Account::members).sum::<u64>(), 1_000);
        assert_eq!(state.closed[0].1.path(), "main/*");
    }

    /// Closes `10 * MAX_CLOSED` accounts, each with one wait of 3 ns and 1 ns for the clock.
    fn closed(path: fn(u64) -> String, lock: fn(u64) -> String) -> Vec<Account> {
        let mut state = State::default();
        for n in 0..10 * MAX_CLOSED as u64 {
            let nanos = Duration::from_nanos;
            let mut account = Account::new(path(n).into(), nanos(9), nanos(2), None, WaitTotals::default());
            account.waits = vec![WaitTotal::for_lock(&lock(n), &[(&path(n + 1), 3), ("[clock]", 1)])];
            state.close(n, account);
        }
        let accounts: Vec<Account> = state.closed.into_iter().map(|(_, account)| account).collect();
        let waits = || accounts.iter().flat_map(|account| account.waits());
        assert_eq!(waits().map(WaitTotal::count).sum::<u64>(), 20 * MAX_CLOSED as u64);
        assert_eq!(waits().map(WaitTotal::total).sum::<Duration>().as_nanos(), 40 * MAX_CLOSED as u128);
        let ended_by = || waits().flat_map(|wait| wait.ended_by());
        assert_eq!(ended_by().map(|(_, time)| time.as_nanos()).sum::<u128>(), 40 * MAX_CLOSED as u128);
        let clock = ended_by().filter(|(name, _)| **name == *"[clock]");
        assert_eq!(clock.map(|(_, time)| time.as_nanos()).sum::<u128>(), 10 * MAX_CLOSED as u128);
        assert!(waits().all(|wait| wait.ended_by().len() <= 64 && wait.enders().len() <= 64));
        assert!(accounts.iter().all(|account| account.waits().len() <= 257));
        accounts
    }

    #[test]
    fn the_enders_of_a_pools_waits_are_pools() {
        let accounts = closed(|n| format!("main/conn-{n}"), |_| "db".into());
        let ended_by = accounts[0].waits()[0].ended_by();
        assert!(ended_by.iter().any(|(name, _)| **name == *"main/conn-*"), "{ended_by:?}");
        assert_eq!(ended_by.len(), 2);
    }

    #[test]
    fn enders_beyond_the_limit_are_the_others() {
        let accounts = closed(|n| format!("main/{}", letters(n)), |_| "db".into());
        assert!(accounts[0].waits()[0].ended_by().iter().any(|(name, _)| **name == *"[others]"));
    }

    #[test]
    fn waits_of_a_pool_beyond_the_limit_are_the_others() {
        let accounts = closed(|n| format!("main/conn-{n}"), |n| format!("lock {}", letters(n)));
        assert!(accounts[0].waits().iter().any(|wait| wait.name() == "[others]"));
        assert!(accounts[0].waits().len() > 200);
    }

    /// Another name without a number for each `n`.
    fn letters(n: u64) -> String {
        (0..4).map(|place| (b'a' + (n >> (4 * place) & 15) as u8) as char).collect()
    }
}
