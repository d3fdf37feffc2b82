//! What a thread publishes, as the readers of its slot see it.

#[cfg(feature = "profiling")]
use super::totals::EnderEntry;
use super::*;
#[cfg(feature = "profiling")]
use crate::model::locks::MutexGuard;
#[cfg(feature = "profiling")]
use crate::record::Rings;
#[cfg(feature = "profiling")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Waits for `condition`. A thread that was joined is gone for the system a moment later.
pub(super) fn until(but: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(100);
    while !condition() {
        assert!(Instant::now() < deadline, "{but}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn name(wait: Option<Wait>) -> Option<String> {
    wait.map(|wait| wait.name().to_owned())
}

/// While this lives, the waits of all threads are counted.
#[cfg(feature = "profiling")]
pub(super) struct Counting {
    _alone: MutexGuard<'static, ()>,
}

#[cfg(feature = "profiling")]
impl Counting {
    pub(super) fn begin() -> Counting {
        let alone = count_alone();
        count_waits(true);
        Counting { _alone: alone }
    }
}

#[cfg(feature = "profiling")]
impl Drop for Counting {
    fn drop(&mut self) {
        count_waits(false);
    }
}

#[test]
fn the_innermost_wait_shows_whichever_ends_first() {
    let slot = Arc::<Slot>::default();
    let _me = become_thread("main/waits".into(), slot.clone());
    let (outer, middle, inner) =
        (publish("queue", "outer".into()), publish("queue", "middle".into()), publish("queue", "inner".into()));
    assert_eq!(name(slot.get()).as_deref(), Some("inner"));
    drop(middle);
    assert_eq!(name(slot.get()).as_deref(), Some("inner"));
    drop(inner);
    assert_eq!(name(slot.get()).as_deref(), Some("outer"));
    drop(outer);
    assert!(slot.get().is_none());
}

#[test]
fn two_calls_have_different_serials() {
    let slot = Arc::<Slot>::default();
    let _me = become_thread("main/waits".into(), slot.clone());
    let serial = || {
        let _published = publish("queue", "jobs".into());
        slot.get().unwrap().serial()
    };
    assert_ne!(serial(), serial());
}

#[test]
fn a_thread_is_itself_again_after_the_guard() {
    let before = tree_path();
    let guard = become_thread("main/inner".into(), Arc::default());
    let inner = tree_path();
    assert_eq!(inner.as_deref(), Some("main/inner"));
    assert!(is_tree_path(inner.as_ref()) && !is_tree_path(Some(&Arc::from("main/inner"))) && !is_tree_path(None));
    drop(guard);
    assert!(!is_tree_path(inner.as_ref()) && is_tree_path(before.as_ref()));
}

/// The bounds of stacks are known on Linux only.
#[cfg(target_os = "linux")]
#[test]
fn a_handle_is_lent_while_a_scope_is_open() {
    let handle = Arc::new(());
    let is_own = || {
        let shared: Weak<dyn Shared> = Arc::<()>::downgrade(&handle);
        Handles::of(&handle, shared).own
    };
    assert!(is_own());
    let (outer, inner) = (lend(), lend());
    assert!(!is_own());
    drop(inner);
    assert!(!is_own(), "the outer scope is open");
    drop(outer);
    assert!(is_own());
}

#[test]
fn a_wait_is_limited_if_it_says_so() {
    let slot = Arc::<Slot>::default();
    let _me = become_thread("main/waits".into(), slot.clone());
    for limited in [false, true] {
        let _published = WaitDescription::new("lock", "ledger".into()).limited(limited).publish();
        assert_eq!(slot.get().unwrap().is_limited(), limited);
    }
}

/// Holds what `holder` stands for on a new thread, and does `then` there.
fn held_elsewhere<R: Send>(holder: &Holder, then: impl FnOnce() -> R + Send) -> R {
    let holds = || {
        holder.take();
        then()
    };
    std::thread::scope(|s| s.spawn(holds).join().unwrap())
}

#[test]
fn a_holder_is_known_while_it_holds() {
    let holder = Holder::default();
    assert!(!holder.is_me() && holder.number() == 0);
    let line = line!() + 1;
    holder.take();
    assert!(holder.is_me() && holder.place().is_some_and(|place| place.line() == line));
    holder.leave();
    assert!(!holder.is_me() && holder.number() == 0);
    assert!(holder.place().is_none() && holder.path().is_none());
}

#[test]
fn a_holder_is_where_it_was_taken_last() {
    let holder = Holder::default();
    holder.take();
    holder.leave();
    let line = line!() + 1;
    holder.take();
    assert_eq!(holder.place().map(|place| place.line()), Some(line));
}

#[test]
fn a_wait_for_a_lock_or_a_turn_tells_where_that_was_taken() {
    let (slot, holder) = (Arc::<Slot>::default(), Arc::<Holder>::default());
    let _me = become_thread("main/waits".into(), slot.clone());
    for unblocker in [Unblocker::Holder(holder.clone()), Unblocker::Turn(holder.clone())] {
        let _published = WaitDescription::new("turn", "output".into()).unblocker(unblocker).publish();
        assert!(slot.get().unwrap().acquired_at().is_none());
        let line = line!() + 1;
        holder.take();
        assert_eq!(slot.get().unwrap().acquired_at().map(|place| place.line()), Some(line));
        holder.leave();
    }
}

/// An allocator may wait where one of these locks is held, and would take it again.
#[test]
fn a_thread_that_holds_the_lock_of_a_slot_publishes_nowhere() {
    let (mine, other) = (Arc::<Slot>::default(), Slot::default());
    let _me = become_thread("main/waits".into(), mine.clone());
    for slot in [&*mine, &other] {
        let locked = slot.waits.lock();
        assert!(identity::my_slot().is_none() && identity::with_my_slot(|_| ()).is_none());
        drop(locked);
        assert!(identity::my_slot().is_some() && identity::with_my_slot(|_| ()).is_some());
    }
}

#[test]
fn a_renamed_holder_is_known_by_its_new_name() {
    let holder = Holder::default();
    let paths = held_elsewhere(&holder, || {
        let guard = become_thread("main/renamed".into(), Arc::default());
        let renamed = holder.path();
        drop(guard);
        (renamed, holder.path())
    });
    assert_eq!(paths.0.as_deref(), Some("main/renamed"));
    assert!(paths.1.is_some_and(|path| path.starts_with("other/")));
}

#[test]
fn a_holder_that_has_ended_is_known() {
    let holder = Holder::default();
    assert!(held_elsewhere(&holder, || is_alive(holder.number())));
    assert!(holder.number() != 0);
    until("the holder is alive", || !is_alive(holder.number()));
    assert_eq!(holder.path().as_deref(), Some("a thread that has ended"));
}

#[test]
fn users_are_told_apart_up_to_a_number() {
    let users = Users::default();
    assert!(users.alive().is_none(), "no thread has been seen");
    users.add_me();
    users.add_me();
    assert_eq!(users.alive().map(|alive| alive.len()), Some(1));
    // All of them live at the same time, and are gone afterwards.
    let all = |count: usize| {
        let here = std::sync::Barrier::new(count);
        std::thread::scope(|s| {
            let add = || {
                users.add_me();
                here.wait();
                let alive = users.alive();
                here.wait();
                alive
            };
            let threads: Vec<_> = (0..count).map(|_| s.spawn(add)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let with_me = Users::MAX_TRACKED;
    assert!(all(with_me - 1).iter().all(|alive| alive.as_ref().is_some_and(|alive| alive.len() == with_me)));
    until("the users are alive", || users.alive().is_some_and(|alive| alive.len() == 1));
    assert!(all(with_me).iter().all(Option::is_none), "one was not noted");
    assert!(users.alive().is_none(), "that one may live");
}

#[cfg(feature = "profiling")]
#[test]
fn each_change_has_another_number() {
    let slot = Arc::<Slot>::default();
    let _me = become_thread("main/changes".into(), slot.clone());
    let before = slot.read_times(&mut Vec::new()).changes;
    let published = publish("queue", "jobs".into());
    let within = slot.read_times(&mut Vec::new()).changes;
    drop(published);
    let after = slot.read_times(&mut Vec::new()).changes;
    assert!(before != within && within != after && before != after);
}

/// A listener looks all the time at a slot that changes all the time, and both threads are
/// interrupted anywhere.
#[cfg(feature = "profiling")]
#[test]
fn a_slot_whose_flag_is_not_raised_has_not_changed() {
    let (slot, stop) = (Arc::<Slot>::default(), Arc::new(AtomicBool::new(false)));
    let (mut flags, mut seen_ones, mut silent) = (ChangeFlags::default(), 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _me = become_thread("main/changes".into(), slot.clone());
            while !stop.load(Ordering::Relaxed) {
                drop(publish("queue", "q".into()));
                std::thread::yield_now();
            }
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        while (seen_ones < 2_000 || silent < 2_000) && Instant::now() < deadline {
            let changes = slot.read_times(&mut Vec::new()).changes;
            if !slot.arm(changes, &mut flags, 5) {
                continue;
            }
            loop {
                let (before, mut seen) = (slot.read_times(&mut Vec::new()).changes, false);
                flags.drain(|number| seen |= number == 5);
                if seen {
                    seen_ones += 1;
                    break;
                }
                silent += 1;
                if before != changes {
                    stop.store(true, Ordering::Relaxed);
                }
                assert_eq!(before, changes, "it had changed without a flag");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(seen_ones > 0 && silent > 0, "{seen_ones}, {silent}");
}

#[cfg(feature = "profiling")]
#[test]
fn a_count_begun_late_has_its_wait_from_the_beginning() {
    let slot = Arc::<Slot>::default();
    let _me = become_thread("main/waits".into(), slot.clone());
    let recording = Instant::now();
    while recording.elapsed() < Duration::from_millis(1) {}
    let _published = publish("queue", "jobs".into());
    let since = slot.get().unwrap().since();
    let read = || {
        let mut waited = Vec::new();
        let at = slot.read_times(&mut waited).at;
        (waited.iter().map(|wait| wait.nanos).sum::<u64>(), at)
    };
    slot.begin_times(recording, recording);
    let (nanos, at) = read();
    assert_eq!(Duration::from_nanos(nanos), at - since, "nothing before the wait");
    // The same recording asks once more.
    slot.begin_times(recording, recording);
    let (nanos, later) = read();
    assert_eq!(Duration::from_nanos(nanos), later - at);
    slot.end_times(recording + Duration::from_nanos(1));
    assert!(slot.shown().index().is_some(), "another recording cannot end it");
    slot.end_times(recording);
    assert_eq!(slot.shown(), Shown::default());
}

/// A queue's stamp may be of a thread that has ended the wait of another thread.
#[cfg(feature = "profiling")]
#[test]
fn a_stamp_of_before_the_wait_was_published_has_not_ended_it() {
    let counting = Counting::begin();
    let slot = Arc::<Slot>::default();
    let _me = become_thread("main/waits".into(), slot.clone());
    slot.begin_count(Arc::new(Rings::new(0, Arc::default())));
    let stamp = Stamp::default();
    // Before the wait is published, before the thread sleeps, or while it sleeps.
    let ended_by = |stamped: u32| {
        let stamp_if = |is_now: bool| {
            if is_now {
                stamp.set()
            }
        };
        stamp_if(stamped == 0);
        let published = publish("queue", "jobs".into());
        stamp_if(stamped == 1);
        begin_sleep();
        stamp_if(stamped == 2);
        while stamp.get().at() + 1_000_000 > nanos(Instant::now()) {}
        ended_by(|| stamp.get());
        let by = slot.present_sleep().unwrap().by;
        drop(published);
        (Cause::of(by), slot.read_totals().unwrap().woken())
    };
    let found = [0, 1, 2].map(ended_by);
    drop(counting);
    let me = Cause::Thread(slot.number());
    // In the first two the thread did not have to sleep.
    assert_eq!(found[..2], [(Cause::Unknown, 0), (me, 0)]);
    assert!(found[2].0 == me && found[2].1 >= 1_000_000, "{found:?}");
}

/// A thread whose waits are counted, without a recording.
#[cfg(feature = "profiling")]
struct Sleeper {
    slot: Arc<Slot>,
    _me: Before,
    /// Later than all that the clock says meanwhile, so that the test says when its sleeps end.
    begin: u64,
}

#[cfg(feature = "profiling")]
impl Sleeper {
    fn new() -> Sleeper {
        let slot = Arc::<Slot>::default();
        let me = become_thread("main/sleeper".into(), slot.clone());
        let sleeper = Sleeper { slot, _me: me, begin: nanos(Instant::now()) + 1_000_000_000_000 };
        sleeper.count();
        sleeper
    }

    /// A recording begins.
    fn count(&self) {
        self.slot.begin_count(Arc::new(Rings::new(0, Arc::default())));
    }

    /// Sleeps from one time to another, in the wait that is published. That thread ends it.
    fn sleep(&self, from: u64, to: u64, by: u64) {
        self.slot.begin_sleep(self.begin + from);
        self.slot.end_sleep(|| Ender { by, at: self.begin + to });
    }

    fn entries(&self) -> Vec<WaitEntry> {
        self.slot.read_totals().unwrap().into_entries()
    }

    fn names_and_nanos(&self) -> Vec<(String, u64)> {
        let of = |entry: &WaitEntry| (entry.name.as_ref().unwrap().to_string(), entry.nanos);
        self.entries().iter().map(of).collect()
    }
}

/// The first one was in vain.
#[cfg(feature = "profiling")]
#[test]
fn both_sleeps_of_a_wait_belong_to_the_thread_that_ends_it() {
    let sleeper = Sleeper::new();
    let published = publish("queue", "jobs".into());
    sleeper.sleep(0, 100, 7);
    sleeper.sleep(200, 230, 8);
    drop(published);
    let entries = sleeper.entries();
    let [jobs] = &entries[..] else { panic!("{entries:?}") };
    let [ender] = &jobs.enders[..] else { panic!("{entries:?}") };
    assert_eq!((jobs.count, jobs.nanos, ender.by, ender.nanos), (1, 130, 8, 130));
}

#[cfg(feature = "profiling")]
#[test]
fn the_waits_that_go_on_are_counted_the_outer_ones_too() {
    let sleeper = Sleeper::new();
    let _outer = publish("queue", "outer".into());
    sleeper.sleep(0, 100, 7);
    let _middle = publish("queue", "middle".into());
    sleeper.sleep(200, 210, 7);
    let _inner = publish("queue", "inner".into());
    sleeper.sleep(300, 301, 7);
    let found = sleeper.names_and_nanos();
    assert_eq!(found, [("outer".into(), 100), ("middle".into(), 10), ("inner".into(), 1)]);
}

#[cfg(feature = "profiling")]
#[test]
fn a_wait_that_lasts_into_the_next_count_has_its_name_there() {
    let sleeper = Sleeper::new();
    let first = publish("queue", "first".into());
    sleeper.sleep(0, 100, 7);
    drop(first);
    let lasting = publish("queue", "lasting".into());
    sleeper.sleep(200, 230, 7);
    // It is counted by now that the thread has slept in it.
    sleeper.sleep(300, 310, 7);
    assert_eq!(sleeper.names_and_nanos(), [("first".into(), 100), ("lasting".into(), 40)]);
    sleeper.count();
    sleeper.sleep(400, 405, 7);
    drop(lasting);
    let after = publish("queue", "after".into());
    sleeper.sleep(500, 501, 7);
    drop(after);
    let found = sleeper.names_and_nanos();
    assert_eq!(found.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["lasting", "after"]);
}

/// So short a wait gets a stack by chance once in some million times.
#[cfg(feature = "profiling")]
#[test]
fn the_first_wait_of_a_name_and_an_ender_has_a_stack() {
    struct Same;
    impl TakeStacks for Same {
        fn take(&self) -> Option<StackNumber> {
            Some(StackNumber(3))
        }

        fn let_go(&self, _weight: Weight) {}
    }
    let _counting = Counting::begin();
    let sleeper = Sleeper::new();
    set_taker(Some(Arc::new(Same)));
    for (round, by) in [7, 8].into_iter().enumerate() {
        let published = publish("queue", "jobs".into());
        sleeper.sleep(round as u64 * 10, round as u64 * 10 + 1, by);
        drop(published);
    }
    set_taker(None);
    let entries = sleeper.entries();
    let stack = |ender: &EnderEntry| ender.stacks.split(1, 1)[0].0;
    assert_eq!(entries[0].enders.iter().map(stack).collect::<Vec<_>>(), [Some(StackNumber(3)); 2]);
}
