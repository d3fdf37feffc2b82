//! Programs that hang, and some that only look so, for tests/primitives/deadlocks.rs: `deadlock
//! SCENARIO CONFIG`.

use selvedge::{Builder, JoinHandle, Lock, Monitor, Promise, Queue, Sequencer, Signal, Thread, Till, scope, spawn};
use std::cell::RefCell;
use std::process::ExitCode;
use std::sync::{Arc, Barrier, LazyLock};
use std::time::Duration;

/// Long enough for many searches.
const A_WHILE: Duration = Duration::from_millis(1500);

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(scenario), Some(config)) = (args.next(), args.next()) else { return ExitCode::FAILURE };
    selvedge::run(config, |please_stop| {
        match scenario.as_str() {
            "locks" => locks(please_stop),
            "three-kinds" => three_kinds(please_stop),
            "parents-end" => parents_end(),
            "dump" => dump(),
            "turn" => turn(please_stop),
            "full-queues" => full_queues(please_stop),
            "holder-ended" => holder_ended(please_stop),
            "two" => {
                locks_called("first", "second");
                (Till::after(A_WHILE) | please_stop).wait_for_go();
                locks_called("third", "fourth");
                please_stop.wait_for_go();
            }
            "signal" => Signal::new("unowned").wait_for_go(),
            "composite" => (Signal::new("this") | Signal::new("that")).wait_for_go(),
            "both-wait" => {
                let (one, other) = (Signal::new("start"), Signal::new("unused"));
                let mine = one.clone();
                drop(spawn("waiter", move |_| mine.wait_for_go()));
                drop(other);
                one.wait_for_go();
            }
            "pop" => {
                let queue: Queue<u32> = Queue::unbounded("jobs");
                drop(queue.clone());
                queue.pop();
            }
            "add" => {
                let queue = Queue::bounded("jobs", 1);
                queue.add(1).and_then(|()| queue.add(2)).unwrap();
            }
            "promise" => drop(Promise::<u32>::new("answer").wait().map(|_| ())),
            "endable" => endable(please_stop),
            "never" => {
                drop(spawn("forever", |_| Signal::never().wait_for_go()));
                (Till::after(A_WHILE) | please_stop).wait_for_go();
                std::process::exit(0);
            }
            "held-at-the-end" => held_at_the_end(),
            "lent" => lent(),
            "lent-by-std" => lent_by_std(),
            "lent-in-pool" => lent_in_pool(),
            _ => return Err(format!("no scenario \"{scenario}\"")),
        }
        Ok(())
    })
}

/// Two threads that each hold what the other wants.
fn locks_called(left: &str, right: &str) {
    let (left, right) = (Arc::new(Lock::new(left, ())), Arc::new(Lock::new(right, ())));
    let both = Arc::new(Barrier::new(2));
    for (name, first, second) in [("ada", &left, &right), ("bob", &right, &left)] {
        let (first, second, both) = (first.clone(), second.clone(), both.clone());
        drop(spawn(name, move |_| {
            let _first = first.lock();
            both.wait();
            let _second = second.lock();
        }));
    }
}

fn dump() -> ! {
    // The first is certain, the other probable.
    locks_called("left", "right");
    turn_called("eve", "dan");
    // A dump tells of a probable deadlock once it has lasted for a second.
    const LONG: Duration = Duration::from_millis(1100);
    let is_stuck = |thread: &Thread| {
        thread.waiting_for().is_some_and(|wait| ["lock", "turn"].contains(&wait.kind()) && wait.elapsed() > LONG)
    };
    while Thread::current().children().iter().filter(|thread| is_stuck(thread)).count() < 4 {
        std::thread::yield_now();
    }
    let dump = selvedge::dump();
    println!("{dump}\nJSON\n{}", dump.to_json());
    std::process::exit(0)
}

fn locks(please_stop: &Signal) {
    locks_called("left", "right");
    please_stop.wait_for_go();
}

/// ada has the lock and waits to enter the monitor; bob is inside and joins eve; eve wants the
/// lock. dan stands behind.
fn three_kinds(please_stop: &Signal) {
    let (lock, monitor) = (Arc::new(Lock::new("ledger", ())), Arc::new(Monitor::new("stock", ())));
    let all = Arc::new(Barrier::new(3));
    let (locked, entered, here) = (lock.clone(), monitor.clone(), all.clone());
    drop(spawn("ada", move |_| {
        let _locked = locked.lock();
        here.wait();
        drop(entered.enter());
    }));
    let (locked, here) = (lock.clone(), all.clone());
    let eve = spawn("eve", move |_| {
        here.wait();
        drop(locked.lock());
    });
    drop(spawn("bob", move |_| {
        let _inside = monitor.enter();
        all.wait();
        eve.join().unwrap();
    }));
    (Till::after(A_WHILE / 10) | please_stop).wait_for_go();
    drop(spawn("dan", move |_| drop(lock.lock())));
    please_stop.wait_for_go();
}

/// A thread ends while it has what its child wants.
fn parents_end() {
    let lock = Lock::new("ledger", ());
    let _held = lock.lock();
    let (asked, child) = (Signal::new("asked"), &lock);
    scope(|s| {
        let asked = &asked;
        drop(s.spawn("clerk", move |_| {
            asked.go();
            drop(child.lock());
        }));
        asked.wait_for_go();
    });
}

/// ada has the turn and wants the lock; bob has the lock and wants the next turn.
fn turn(please_stop: &Signal) {
    turn_called("ada", "bob");
    please_stop.wait_for_go();
}

/// The first thread has the turn and waits for the lock, which the second has, and that one waits
/// for the next turn.
fn turn_called(has_turn: &str, has_lock: &str) {
    let (frames, lock) = (Sequencer::new("frames"), Arc::new(Lock::new("screen", ())));
    let (first, second) = (frames.take_ticket(), frames.take_ticket());
    let both = Arc::new(Barrier::new(2));
    let (locked, here) = (lock.clone(), both.clone());
    drop(spawn(has_turn, move |_| {
        let _turn = first.wait_turn();
        here.wait();
        drop(locked.lock());
    }));
    drop(spawn(has_lock, move |_| {
        let _locked = lock.lock();
        both.wait();
        drop(second.wait_turn());
    }));
}

/// Two threads that hand each other more than fits.
fn full_queues(please_stop: &Signal) {
    let (there, back) = (Queue::bounded("there", 2), Queue::bounded("back", 2));
    let workers = [("ada", &back, &there), ("bob", &there, &back)].map(|(name, from, to)| {
        let (from, to) = (from.clone(), to.clone());
        spawn(name, move |_| {
            while let Some(value) = from.pop() {
                for more in 0..100_u32 {
                    to.add(value + more).unwrap();
                }
            }
        })
    });
    // Both have waited for a value before there is one. So each is known to take from its queue.
    let waits = |worker: &JoinHandle<()>| worker.thread().waiting_for().is_some_and(|wait| wait.kind() == "queue");
    while !workers.iter().all(waits) {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(workers);
    there.add(0).unwrap();
    back.add(0).unwrap();
    please_stop.wait_for_go();
}

fn holder_ended(please_stop: &Signal) {
    let lock = Arc::new(Lock::new("ledger", ()));
    let forgets = lock.clone();
    spawn("careless", move |_| std::mem::forget(forgets.lock())).join().unwrap();
    drop(spawn("waiter", move |_| drop(lock.lock())));
    please_stop.wait_for_go();
}

/// What can still end, although it takes long: none of it may be reported.
fn endable(please_stop: &Signal) {
    static STARTED: LazyLock<Signal> = LazyLock::new(|| Signal::new("in a static"));
    let long = Till::after(A_WHILE);
    let waiters = [
        spawn("static", |_| STARTED.wait_for_go()),
        spawn("till", |_| {
            Signal::new("unowned").wait_for_go_till(&Till::after(A_WHILE));
        }),
        spawn("timeout", |_| {
            Signal::new("unowned").wait_for_go_timeout(A_WHILE);
        }),
        spawn("part", |_| (Signal::new("unowned") | Till::after(A_WHILE)).wait_for_go()),
        spawn("target", {
            let (signal, from) = (Signal::new("by a target"), long.clone());
            let goes = signal.clone();
            from.on_go(move || {
                goes.go();
            });
            move |_| signal.wait_for_go()
        }),
        spawn("claimed", {
            let promise = Promise::new("claimed");
            let (claim, from) = (promise.claim().unwrap(), long.clone());
            from.on_go(move || claim.fulfil(()));
            move |_| promise.wait().copied().unwrap()
        }),
        spawn("by-a-clone-of-its-signal", {
            let promise = Promise::<()>::new("abandoned by hand");
            let (abandoned, from) = (promise.abandoned().clone(), long.clone());
            from.on_go(move || {
                abandoned.go();
            });
            move |_| assert!(promise.wait().is_err())
        }),
    ];
    let queue = Queue::bounded("slow", 1);
    let from = queue.clone();
    let slow = spawn("popper", move |please_stop| {
        (Till::after(A_WHILE) | please_stop).wait_for_go();
        (from.pop(), from.pop())
    });
    // A lock that is held for long, by a thread that waits for the clock.
    let lock = Arc::new(Lock::new("long held", ()));
    let held = lock.clone();
    let holder = spawn("holder", move |please_stop| {
        let _held = held.lock();
        (Till::after(A_WHILE) | please_stop).wait_for_go();
    });
    queue.add(1).unwrap();
    queue.add(2).unwrap();
    let circles = circles_with_a_limit();
    drop(lock.lock());
    long.wait_for_go();
    STARTED.go();
    slow.join().unwrap();
    holder.join().unwrap();
    waiters.into_iter().chain(circles).for_each(|waiter| waiter.join().unwrap());
    please_stop.is_go();
}

/// Two threads that each hold what the other wants, but one of them gives up.
fn circles_with_a_limit() -> Vec<JoinHandle<()>> {
    let gives_up: [fn(&Lock<()>); 2] = [
        |lock| assert!(lock.lock_timeout(A_WHILE).is_err()),
        |lock| assert!(lock.lock_till(&Till::after(A_WHILE)).is_err()),
    ];
    let circle = |gives_up: fn(&Lock<()>)| {
        let (left, right) = (Arc::new(Lock::new("left", ())), Arc::new(Lock::new("right", ())));
        let both = Arc::new(Barrier::new(2));
        let (its_left, its_right, here) = (left.clone(), right.clone(), both.clone());
        let patient = spawn("patient", move |_| {
            let _left = its_left.lock();
            here.wait();
            drop(its_right.lock());
        });
        let impatient = spawn("impatient", move |_| {
            let _right = right.lock();
            both.wait();
            gives_up(&left);
        });
        [patient, impatient]
    };
    gives_up.into_iter().flat_map(circle).collect()
}

/// Holds the lock for a while when it is dropped.
struct HeldAtTheEnd(Arc<Lock<()>>);

impl Drop for HeldAtTheEnd {
    fn drop(&mut self) {
        let _held = self.0.lock();
        Till::after(A_WHILE).wait_for_go();
    }
}

thread_local! {
    static HELD_AT_THE_END: RefCell<Option<HeldAtTheEnd>> = const { RefCell::new(None) };
}

/// Threads wait for a lock that the destructor of a thread-local holds. Of the holder, the crate knew
/// nothing before in the one case, and had given it a number in the other.
fn held_at_the_end() {
    for is_known in [false, true] {
        let lock = Arc::new(Lock::new("ledger", ()));
        let theirs = lock.clone();
        let leaver = spawn("leaver", move |_| {
            HELD_AT_THE_END.set(Some(HeldAtTheEnd(theirs.clone())));
            if is_known {
                drop(theirs.lock());
            }
        });
        while lock.owner().is_none() || !leaver.thread().stopped().is_go() {
            std::thread::sleep(Duration::from_millis(1));
        }
        spawn("waiter", move |_| drop(lock.lock())).join().unwrap();
        leaver.join().unwrap();
    }
}

/// One handle, in a variable of one thread, and borrowed by another.
fn lent() {
    let (signal, queue) = (Signal::new("lent"), Queue::unbounded("lent"));
    scope(|s| {
        let goes = s.spawn("goes", |_| {
            Till::after(A_WHILE).wait_for_go();
            signal.go();
            Till::after(A_WHILE).wait_for_go();
            queue.add(1).unwrap();
        });
        signal.wait_for_go();
        queue.pop();
        goes.join().unwrap();
    });
}

fn lent_by_std() {
    let signal = Signal::new("lent");
    std::thread::scope(|s| {
        s.spawn(|| {
            Till::after(A_WHILE).wait_for_go();
            signal.go();
        });
        s.spawn(|| {
            // Registered, the thread borrows the signal all the same.
            let _registered = selvedge::register("borrower");
            Till::after(A_WHILE).wait_for_go();
            signal.is_go();
        });
        signal.wait_for_go();
    });
}

/// The pool's threads are ours, and its jobs borrow from each other all the same.
fn lent_in_pool() {
    let owner = Thread::current();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .spawn_handler(move |worker| Builder::new("rayon").parent(&owner).spawn(move |_| worker.run()).map(drop));
    let pool = pool.build().unwrap();
    pool.install(|| {
        let queue = Queue::unbounded("lent");
        let adds = || {
            Till::after(A_WHILE).wait_for_go();
            queue.add(1).unwrap();
        };
        rayon::join(|| queue.pop(), adds);
    });
}
