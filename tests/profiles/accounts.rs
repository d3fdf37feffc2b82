//! The accounts of a recording: what each thread waited for, how long, which thread ended that, and
//! that the parts add up to the thread's lifetime.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::{Crowd, retried, until_asleep};
use crate::support::until;
use parking_lot::MutexGuard;
use selvedge::net::SocketTill;
use selvedge::profile::{self, Account, Options, Profile, WaitTotal};
use selvedge::{
    BinarySemaphore, JoinHandle, Lock, Monitor, Progress, Promise, Queue, Semaphore, Sequencer, Signal, Thread, Till,
    spawn,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The calling thread is `main/test` from here on.
fn alone() -> (selvedge::Registered, MutexGuard<'static, ()>) {
    let guard = crate::ONE_AT_A_TIME.lock();
    (selvedge::register("test"), guard)
}

/// How long a thread is kept waiting: more than the other threads need to fall asleep.
const KEPT: Duration = Duration::from_millis(60);
/// Of that, what is found on a busy machine too. `wait_sums` has the times within 1 %.
const MOST: Duration = Duration::from_millis(30);

fn keep_waiting() {
    std::thread::sleep(KEPT);
}

fn record(body: impl FnOnce()) -> Profile {
    let recording = profile::start(Options::new().waits(true)).unwrap();
    body();
    recording.finish()
}

fn account<'a>(profile: &'a Profile, path: &str) -> &'a Account {
    let all = || profile.accounts().iter().map(Account::path).collect::<Vec<_>>();
    profile.accounts().iter().find(|account| account.path() == path).unwrap_or_else(|| panic!("{path}: {:?}", all()))
}

fn wait<'a>(account: &'a Account, kind: &str) -> &'a WaitTotal {
    account.waits().iter().find(|wait| wait.kind() == kind).unwrap_or_else(|| panic!("{kind}: {account:#?}"))
}

/// The thread `main/test/waiter` waits once, in `wait`, until the thread `main/test/ender` has
/// called `end`.
fn waiter_and_ender(
    kind: &str,
    wait: impl FnOnce() + Send + 'static,
    end: impl FnOnce() + Send + 'static,
) -> (JoinHandle<()>, JoinHandle<()>) {
    let waiter = spawn("waiter", |_| wait());
    until_asleep(kind, &[waiter.thread()]);
    let ender = spawn("ender", |_| {
        keep_waiting();
        end();
    });
    (waiter, ender)
}

/// Checks that one wait of that kind is counted, and that `main/test/ender` has ended it.
#[track_caller]
fn check_ended_by(
    expected: &str,
    kind: &str,
    wait_for: impl FnOnce() + Send + 'static,
    end: impl FnOnce() + Send + 'static,
) {
    let profile = record(|| {
        let (waiter, ender) = waiter_and_ender(kind, wait_for, end);
        ender.join().unwrap();
        waiter.join().unwrap();
    });
    let account = account(&profile, "main/test/waiter");
    let wait = wait(account, kind);
    assert_eq!(wait.count(), 1, "{account:#?}");
    assert!(wait.total() >= MOST, "{account:#?}");
    let [(by, time)] = wait.ended_by() else { panic!("{account:#?}") };
    assert_eq!((&**by, *time), (expected, wait.total()), "{account:#?}");
    let sum = account.cpu() + account.runnable() + wait.total() + account.outside() - account.excess();
    assert_eq!(sum, account.lifetime(), "{account:#?}");
}

#[test]
fn the_thread_that_ends_a_wait_is_known_for_each_primitive() {
    let _alone = alone();
    let by_ender = |kind: &str, wait: Box<dyn FnOnce() + Send>, end: Box<dyn FnOnce() + Send>| {
        check_ended_by("main/test/ender", kind, wait, end);
    };

    let signal = Signal::new("a");
    by_ender(
        "signal",
        Box::new({
            let a = signal.clone();
            move || a.wait_for_go()
        }),
        Box::new(move || assert!(signal.go())),
    );

    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let either = &(&a | &b) | &Till::after(Duration::from_secs(1_000));
    by_ender("signal", Box::new(move || either.wait_for_go()), Box::new(move || assert!(b.go() && !a.is_go())));

    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let both = &a & &b;
    a.go();
    by_ender("signal", Box::new(move || both.wait_for_go()), Box::new(move || assert!(b.go())));

    let queue = Queue::unbounded("jobs");
    by_ender(
        "queue",
        Box::new({
            let q = queue.clone();
            move || assert_eq!(q.pop(), Some(1))
        }),
        Box::new(move || queue.add(1).unwrap()),
    );

    let queue = Queue::<u8>::unbounded("jobs");
    by_ender(
        "queue",
        Box::new({
            let q = queue.clone();
            move || assert_eq!(q.pop(), None)
        }),
        Box::new(move || assert!(queue.close())),
    );

    let (queue, stop) = (Queue::<u8>::unbounded("jobs"), Signal::new("stop"));
    by_ender(
        "queue",
        Box::new({
            let stop = stop.clone();
            move || assert!(queue.pop_till(&stop).is_err())
        }),
        Box::new(move || assert!(stop.go())),
    );

    let queue = Queue::bounded("jobs", 1);
    queue.add(1).unwrap();
    by_ender(
        "room in queue",
        Box::new({
            let q = queue.clone();
            move || q.add(2).unwrap()
        }),
        Box::new(move || assert_eq!(queue.pop(), Some(1))),
    );

    let semaphore = Semaphore::new("slots", 0);
    by_ender(
        "semaphore",
        Box::new({
            let s = semaphore.clone();
            move || drop(s.acquire())
        }),
        Box::new(move || semaphore.add_permits(1)),
    );

    let binary = BinarySemaphore::new("turnstile");
    by_ender(
        "binary semaphore",
        Box::new({
            let b = binary.clone();
            move || b.wait()
        }),
        Box::new(move || assert!(binary.post())),
    );

    let progress = Progress::new("pages");
    by_ender(
        "progress",
        Box::new({
            let p = progress.clone();
            move || p.wait_for(3)
        }),
        Box::new(move || assert_eq!(progress.advance(3), 3)),
    );

    let promise = Promise::new("answer");
    let claim = promise.claim().unwrap();
    by_ender("promise", Box::new(move || assert_eq!(*promise.wait().unwrap(), 7)), Box::new(move || claim.fulfil(7)));

    let sequencer = Sequencer::new("output");
    let (first, second) = (sequencer.take_ticket(), sequencer.take_ticket());
    let first = first.wait_turn();
    by_ender("turn", Box::new(move || drop(second.wait_turn())), Box::new(move || drop(first)));

    let monitor = Arc::new(Monitor::new("table", 0));
    by_ender(
        "change in monitor",
        Box::new({
            let monitor = monitor.clone();
            move || {
                let mut table = monitor.enter();
                while *table == 0 {
                    table.wait();
                }
            }
        }),
        Box::new(move || *monitor.enter() += 1),
    );
}

#[test]
fn a_lock_is_ended_by_its_holder_also_if_others_are_faster() {
    let _alone = alone();
    let profile = record(|| {
        let lock = Arc::new(Lock::new("table", 0));
        let held = lock.lock();
        let waiters: Vec<_> = (0..3)
            .map(|n| {
                let lock = lock.clone();
                spawn(format!("waiter-{n}"), move |_| *lock.lock() += 1)
            })
            .collect();
        until_asleep("lock", &waiters.iter().map(JoinHandle::thread).collect::<Vec<_>>());
        keep_waiting();
        drop(held);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
    let mut by_main = Duration::ZERO;
    for n in 0..3 {
        let account = account(&profile, &format!("main/test/waiter-{n}"));
        let wait = wait(account, "lock");
        assert_eq!((wait.count(), wait.name()), (1, "table"), "{account:#?}");
        assert!(wait.total() >= MOST, "{account:#?}");
        let [(by, time)] = wait.ended_by() else { panic!("{account:#?}") };
        assert!(&**by == "main/test" || by.starts_with("main/test/waiter-"), "{account:#?}");
        by_main += if &**by == "main/test" { *time } else { Duration::ZERO };
    }
    assert!(by_main >= MOST, "main has unlocked for one of them at least");
}

#[test]
fn a_join_is_ended_by_the_thread_that_ends_and_a_till_by_the_clock() {
    let _alone = alone();
    retried(KEPT, |kept| {
        let profile = record(|| {
            let parent = spawn("parent", move |_| {
                let parent = Thread::current();
                let child = spawn("child", move |_| {
                    until_asleep("thread", &[&parent]);
                    keep_waiting();
                });
                child.join().unwrap();
                Till::after(kept).wait_for_go();
                assert!(!Signal::new("never told").wait_for_go_timeout(kept));
            });
            parent.join().unwrap();
        });
        let parent = account(&profile, "main/test/parent");
        let join = wait(parent, "thread");
        assert_eq!((join.count(), &*join.ended_by()[0].0), (1, "main/test/parent/child"), "{parent:#?}");
        assert!(join.total() >= KEPT, "{parent:#?}");
        let clock: Vec<_> = parent.waits().iter().filter(|wait| wait.kind() == "signal").collect();
        // No thread sees that this one sleeps, and the time comes in any case.
        if clock.len() != 2 || clock.iter().any(|wait| wait.total() < kept / 2) {
            return Err(format!("{parent:#?}"));
        }
        for wait in clock {
            assert_eq!((wait.count(), &*wait.ended_by()[0].0), (1, "[clock]"), "{parent:#?}");
            // From when it fell asleep until the kernel's timer, prctl(2): the rest is runnable.
            assert!(wait.total() <= kept + Duration::from_micros(50), "{parent:#?}");
        }
        Ok(())
    });
}

#[test]
fn a_wait_that_goes_on_is_counted_up_to_the_snapshot() {
    let _alone = alone();
    let stop = Signal::new("stop");
    let sleeper = spawn("sleeper", {
        let stop = stop.clone();
        move |_| stop.wait_for_go()
    });
    until_asleep("signal", &[sleeper.thread()]);
    let began = Instant::now();
    let recording = profile::start(Options::new().waits(true)).unwrap();
    keep_waiting();
    let first = recording.snapshot();
    let at_least = MOST;
    let of = |profile: &Profile| wait(account(profile, "main/test/sleeper"), "signal").clone();
    let wait = of(&first);
    assert!(wait.count() == 1 && wait.total() >= at_least && wait.total() <= began.elapsed(), "{wait:?}");
    assert_eq!(&*wait.ended_by()[0].0, "[unknown]");
    keep_waiting();
    stop.go();
    sleeper.join().unwrap();
    let last = of(&recording.finish());
    assert!(last.count() == 1 && last.total() >= wait.total() + at_least, "{last:?}");
    assert_eq!(&*last.ended_by()[0].0, "main/test");
}

/// Two threads that wait for each other's messages, and do nothing else.
#[test]
fn the_accounts_of_two_threads_that_exchange_messages_close_within_a_hundredth() {
    let _alone = alone();
    check_they_close(|| {
        record(|| {
            let (there, back) = (Queue::unbounded("there"), Queue::unbounded("back"));
            let echo = spawn("echo", {
                let (there, back) = (there.clone(), back.clone());
                move |_| there.iter().for_each(|value: u32| back.add(value).unwrap())
            });
            let asker = spawn("asker", move |_| {
                for value in 0..20_000 {
                    there.add(value).unwrap();
                    assert_eq!(back.pop(), Some(value));
                }
                there.close();
            });
            asker.join().unwrap();
            echo.join().unwrap();
        })
    });
}

/// What the system ends has no stamp, and on a busy machine the thread then waits for a processor.
#[test]
fn the_accounts_of_a_connection_close_on_a_crowded_machine() {
    let _alone = alone();
    let crowd = Crowd::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let profile = record(|| {
        let server = spawn("server", move |please_stop| {
            let mut request = [0];
            while (&server).till(please_stop).read_exact(&mut request).is_ok() {
                (&server).write_all(&request).unwrap();
            }
        });
        for _ in 0..60 {
            let mut answer = [0];
            until("the server waits", || server.thread().waiting_for().is_some());
            client.write_all(&[1]).unwrap();
            client.read_exact(&mut answer).unwrap();
        }
        server.thread().stop();
        server.join().unwrap();
    });
    drop(crowd);
    let account = account(&profile, "main/test/server");
    assert!(wait(account, "data from").count() > 10, "{account:#?}");
    assert!(account.excess() <= account.lifetime() / 100, "{account:#?}");
}

/// A pipeline whose threads do nothing but compute, wait in this crate, or sleep for a known time.
#[test]
fn the_accounts_of_a_pipeline_close_within_a_hundredth() {
    let _alone = alone();
    check_they_close(|| {
        record(|| {
            let (jobs, results) = (Queue::bounded("jobs", 4), Queue::bounded("results", 4));
            let walker = spawn("walker", {
                let jobs = jobs.clone();
                move |_| {
                    (0..150u64).for_each(|job| jobs.add(job).unwrap());
                    jobs.close();
                }
            });
            let readers: Vec<_> = (0..2)
                .map(|n| {
                    let (jobs, results) = (jobs.clone(), results.clone());
                    spawn(format!("reader-{n}"), move |_| {
                        for job in jobs.iter() {
                            results.add(compute(job)).unwrap();
                        }
                    })
                })
                .collect();
            let merger = spawn("merger", {
                let results = results.clone();
                move |_| results.iter().map(|result| result & 1).sum::<u64>()
            });
            walker.join().unwrap();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
            results.close();
            merger.join().unwrap();
        })
    });
}

/// The accounts of the threads below `main/test` close within a hundredth.
#[track_caller]
fn check_they_close(run: impl Fn() -> Profile) {
    // What is outside may be the work of the system for the thread, a fault for a page from a disk:
    // a run that was disturbed is repeated.
    let mut worst = String::new();
    let (begin, mut runs) = (Instant::now(), 0);
    while runs < 10 || begin.elapsed() < Duration::from_secs(120) {
        runs += 1;
        let profile = run();
        let open: Vec<_> = profile
            .accounts()
            .iter()
            .filter(|account| account.path().starts_with("main/test/"))
            // No wait is counted twice, whatever happens meanwhile.
            .inspect(|account| {
                let most = waited(account) + account.lifetime() / 100;
                assert!(account.excess() <= most, "{account:#?}");
            })
            .filter(|account| {
                let outside = if account.is_runnable_known() { account.outside() } else { Duration::ZERO };
                outside.max(account.excess()) > account.lifetime() / 100
            })
            .collect();
        if open.is_empty() {
            return;
        }
        worst = format!("{open:#?}");
    }
    panic!("{worst}");
}

/// Threads that come and go while more threads want processors than there are: a thread is kept
/// from one before its first line, between any two readings of its clocks, and after its last.
#[test]
fn accounts_close_on_each_thread_of_a_crowded_machine() {
    let _alone = alone();
    let _crowd = Crowd::new();
    // What is outside may be the work of the system for the thread, which waits for the memory map of
    // the process while another thread holds it and has no processor.
    check_they_close(|| {
        record(|| {
            let children: Vec<_> = (0..60)
                .map(|n| {
                    spawn(format!("child-{n}"), |_| {
                        compute(1);
                        Till::after(Duration::from_millis(2)).wait_for_go();
                    })
                })
                .collect();
            children.into_iter().for_each(|child| child.join().unwrap());
        })
    });
}

fn waited(account: &Account) -> Duration {
    account.waits().iter().map(WaitTotal::total).sum()
}

#[inline(never)]
fn compute(job: u64) -> u64 {
    (0..2_000_000u64).fold(job, |sum, n| std::hint::black_box(sum.wrapping_mul(31).wrapping_add(n)))
}

#[test]
fn without_being_asked_nothing_is_counted() {
    let _alone = alone();
    let recording = profile::start(Options::new()).unwrap();
    Till::after(Duration::from_millis(5)).wait_for_go();
    assert!(recording.finish().accounts().is_empty());
}

#[test]
fn the_table_names_what_a_thread_waited_for_and_what_ended_that() {
    let _alone = alone();
    let profile = record(|| {
        let jobs = Queue::unbounded("jobs");
        let (waiter, ender) = waiter_and_ender(
            "queue",
            {
                let jobs = jobs.clone();
                move || assert_eq!(jobs.pop(), Some(1))
            },
            move || jobs.add(1).unwrap(),
        );
        ender.join().unwrap();
        waiter.join().unwrap();
    });
    let mut text = Vec::new();
    profile.write_accounts(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("thread"), "{text}");
    let line = text
        .lines()
        .skip_while(|line| !line.starts_with("main/test/waiter"))
        .nth(1)
        .unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(" for queue \"jobs\" in 1 wait; ended by main/test/ender "), "{text}");
}
