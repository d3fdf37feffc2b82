//! Model checks: each promise under many thousand orders of the steps of a few threads, found by
//! shuttle. A wake-up that is lost is a deadlock there, and a failure.
//!
//! Half of the orders are random, half have at most three preemptions (shuttle's PCT), which finds
//! what takes few but exact ones. A failure prints a schedule; `shuttle::replay` runs it again.
//!
//! `.ci/models shuttle`

use super::{BinarySemaphore, GaveUp, Lock, Monitor, Progress, Promise, PromiseError, Semaphore, Sequencer};
use crate::signal::Signal;
use shuttle::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const ORDERS: usize = 5_000;
const PREEMPTIONS: usize = 3;

fn check(model: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(model, ORDERS);
    shuttle::check_pct(model, ORDERS, PREEMPTIONS);
}

/// Runs the threads of a model to their end.
fn run(threads: impl IntoIterator<Item = Box<dyn FnOnce() + Send>>) {
    let threads: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn step<R>(f: impl FnOnce() -> R + Send + 'static) -> Box<dyn FnOnce() + Send> {
    Box::new(move || {
        f();
    })
}

fn count(counter: &Arc<AtomicUsize>) -> impl FnOnce() + Send + 'static {
    let counter = counter.clone();
    move || {
        counter.fetch_add(1, SeqCst);
    }
}

#[test]
fn model_go_against_on_go() {
    check(|| {
        let (signal, runs) = (Signal::new("s"), Arc::new(AtomicUsize::new(0)));
        let (a, b, c, target) = (signal.clone(), signal.clone(), signal.clone(), count(&runs));
        let firsts = Arc::new(AtomicUsize::new(0));
        let (first, second) = (firsts.clone(), firsts.clone());
        run([
            step(move || first.fetch_add(a.go().into(), SeqCst)),
            step(move || second.fetch_add(b.go().into(), SeqCst)),
            step(move || c.on_go(target)),
        ]);
        assert_eq!((runs.load(SeqCst), firsts.load(SeqCst)), (1, 1));
        assert_eq!(signal.target_count(), 0);
    });
}

#[test]
fn model_go_against_cancel() {
    check(|| {
        let (signal, runs) = (Signal::new("s"), Arc::new(AtomicUsize::new(0)));
        let counts = count(&runs);
        let target = signal.on_go(move || {
            // Others may run while it does.
            thread::yield_now();
            counts();
        });
        run([
            step(move || signal.go()),
            step(move || {
                let cancelled = target.cancel();
                assert_eq!(runs.load(SeqCst), usize::from(!cancelled), "as it was when cancel returned");
                assert_eq!(target.cancel(), cancelled);
                assert_eq!(runs.load(SeqCst), usize::from(!cancelled));
            }),
        ]);
    });
}

#[test]
fn model_two_parts_and_a_late_target() {
    check(|| {
        let (a, b, runs) = (Signal::new("a"), Signal::new("b"), Arc::new(AtomicUsize::new(0)));
        let (both, either) = (&a & &b, &a | &b);
        both.on_go(count(&runs));
        let (first, second, target) = (a.clone(), b.clone(), count(&runs));
        run([step(move || first.go()), step(move || second.go()), step(move || either.on_go(target))]);
        assert!(both.is_go());
        assert_eq!(runs.load(SeqCst), 2);
        assert_eq!((a.target_count(), b.target_count()), (0, 0));
    });
}

#[test]
fn model_go_against_drop() {
    check(|| {
        let (a, b, runs) = (Signal::new("a"), Signal::new("b"), Arc::new(AtomicUsize::new(0)));
        let either = &a | &b;
        let receiver = either.receiver().clone();
        let nested = (&either & &a).on_go(count(&runs));
        let go = a.clone();
        run([step(move || go.go()), step(move || drop((either, nested)))]);
        assert!(receiver.is_disconnected());
        assert_eq!(runs.load(SeqCst), 1);
        assert_eq!((a.target_count(), b.target_count()), (0, 0));
    });
}

#[test]
fn model_every_waiter_is_woken() {
    check(|| {
        let (a, b) = (Signal::new("a"), Signal::new("b"));
        let (either, both, first, second, alone) = (&a | &b, &a & &b, a.clone(), b.clone(), a.clone());
        run([
            step(move || either.wait_for_go()),
            step(move || both.wait_for_go()),
            step(move || alone.wait_for_go_till(&b)),
            step(move || (first.go(), second.go())),
        ]);
    });
}

#[test]
fn model_lock_admits_one_and_loses_no_waiter() {
    check(|| {
        let (lock, inside, stop) = (Arc::new(Lock::new("l", 0)), Arc::new(AtomicUsize::new(0)), Signal::new("stop"));
        let enter = |lock: &Arc<Lock<u32>>, till: Option<Signal>| {
            let (lock, inside) = (lock.clone(), inside.clone());
            step(move || {
                for _ in 0..2 {
                    let guard = match &till {
                        Some(till) => lock.lock_till(till),
                        None => Ok(lock.lock()),
                    };
                    let Ok(mut guard) = guard else { return };
                    assert_eq!(inside.fetch_add(1, SeqCst), 0);
                    thread::yield_now();
                    *guard += 1;
                    assert_eq!(inside.fetch_sub(1, SeqCst), 1);
                }
            })
        };
        let stopper = stop.clone();
        run([enter(&lock, None), enter(&lock, None), enter(&lock, Some(stop)), step(move || stopper.go())]);
        assert!(lock.try_lock().is_some());
        assert!((4..=6).contains(&*lock.lock()));
    });
}

#[test]
fn model_semaphore_keeps_its_permits() {
    check(|| {
        let (semaphore, inside, stop) = (Semaphore::new("s", 2), Arc::new(AtomicUsize::new(0)), Signal::new("stop"));
        let mut steps: Vec<_> = (0..4)
            .map(|number| {
                let (semaphore, inside, stop) = (semaphore.clone(), inside.clone(), stop.clone());
                step(move || {
                    let permit = match number {
                        0 => semaphore.acquire_till(&stop).ok(),
                        _ => Some(semaphore.acquire()),
                    };
                    if permit.is_some() {
                        assert!(inside.fetch_add(1, SeqCst) < 2);
                        thread::yield_now();
                        inside.fetch_sub(1, SeqCst);
                    }
                })
            })
            .collect();
        steps.push(step(move || stop.go()));
        run(steps);
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn model_a_post_is_not_lost() {
    check(|| {
        let (flag, value) = (BinarySemaphore::new("b"), Arc::new(AtomicUsize::new(0)));
        let post = |number| {
            let (flag, value) = (flag.clone(), value.clone());
            step(move || {
                value.fetch_add(number, SeqCst);
                flag.post();
            })
        };
        let taker = {
            let (flag, value) = (flag.clone(), value.clone());
            step(move || {
                while value.load(SeqCst) != 3 {
                    flag.wait();
                }
            })
        };
        run([post(1), post(2), taker]);
    });
}

#[test]
fn model_monitor_hands_changes_on() {
    check(|| {
        let (monitor, stop) = (Arc::new(Monitor::new("m", 0)), Signal::new("stop"));
        let wait_for = |number: u32| {
            let monitor = monitor.clone();
            step(move || {
                let mut guard = monitor.enter();
                while *guard < number {
                    guard.wait();
                }
            })
        };
        let gives_up = {
            let (monitor, stop) = (monitor.clone(), stop.clone());
            step(move || {
                let mut guard = monitor.enter();
                while *guard < 9 && guard.wait_till(&stop) {}
                // Owned in any case.
                *guard += 0;
            })
        };
        let changer = monitor.clone();
        run([
            wait_for(1),
            wait_for(2),
            gives_up,
            step(move || {
                *changer.enter() += 1;
                stop.go();
                *changer.enter() += 1;
            }),
        ]);
    });
}

#[test]
fn model_progress_passes_every_mark() {
    check(|| {
        let (progress, runs) = (Progress::new("p"), Arc::new(AtomicUsize::new(0)));
        let (a, b, c, d, target) =
            (progress.clone(), progress.clone(), progress.clone(), progress.clone(), count(&runs));
        run([
            step(move || (a.advance(1), a.advance(1))),
            step(move || (b.advance_to(2), b.advance(1))),
            step(move || c.wait_for(3)),
            step(move || d.at(2).on_go(target)),
        ]);
        assert!(progress.get() >= 3);
        assert_eq!(runs.load(SeqCst), 1);
    });
}

#[test]
fn model_progress_forgets_only_unused_marks() {
    check(|| {
        let (progress, stop) = (Progress::new("p"), Signal::new("stop"));
        let (a, b, c, stopper) = (progress.clone(), progress.clone(), progress.clone(), stop.clone());
        run([
            step(move || a.wait_for_till(1, &stop)),
            step(move || b.wait_for(1)),
            step(move || stopper.go()),
            step(move || c.advance(1)),
        ]);
    });
}

#[test]
fn model_turns_skip_tickets_that_were_given_up() {
    check(|| {
        let (sequencer, order, stop) = (Sequencer::new("q"), Arc::new(AtomicUsize::new(0)), Signal::new("stop"));
        let tickets: Vec<_> = (0..4).map(|_| sequencer.take_ticket()).collect();
        let mut steps: Vec<_> = tickets
            .into_iter()
            .map(|ticket| {
                let (order, stop) = (order.clone(), stop.clone());
                step(move || match ticket.number() {
                    1 => drop(ticket),
                    2 => match ticket.wait_turn_till(&stop) {
                        Ok(turn) => assert!(order.fetch_max(2, SeqCst) < 2, "{turn:?}"),
                        Err(error) => assert_eq!(error.reason, GaveUp::Stopped),
                    },
                    number => {
                        let turn = ticket.wait_turn();
                        let before = order.swap(number as usize, SeqCst);
                        assert!(before <= number as usize, "{turn:?} after {before}");
                    }
                })
            })
            .collect();
        steps.push(step(move || stop.go()));
        run(steps);
        assert_eq!((sequencer.serving(), order.load(SeqCst)), (4, 3));
    });
}

#[test]
fn model_claim_fulfil_and_abandon() {
    check(|| {
        let promise: Promise<usize> = Promise::new("p");
        let claims = Arc::new(AtomicUsize::new(0));
        let claimant = |fulfils: bool| {
            let (promise, claims) = (promise.clone(), claims.clone());
            step(move || {
                if let Some(claim) = promise.claim() {
                    claims.fetch_add(1, SeqCst);
                    if fulfils {
                        claim.fulfil(7);
                    }
                }
            })
        };
        let waiter = {
            let promise = promise.clone();
            step(move || {
                let outcome = promise.wait().copied();
                assert!(matches!(outcome, Ok(7) | Err(PromiseError::Abandoned)));
                assert_eq!(promise.fulfilled().is_go(), outcome.is_ok());
                assert_eq!(promise.abandoned().is_go(), outcome.is_err());
            })
        };
        run([claimant(true), claimant(false), waiter]);
        assert_eq!(claims.load(SeqCst), 1);
    });
}
