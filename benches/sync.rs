//! Lock, Semaphore, Monitor, Progress: uncontended and contended, beside std, parking_lot and
//! tokio; and a go that wakes a thousand. Claim: at most 1.2 of the best of them.

mod support;

use selvedge::{Lock, Monitor, Progress, Semaphore, Signal};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{Contest, scaled, time};

fn main() {
    uncontended();
    for threads in [2, 4] {
        contended_locks(threads);
    }
    contended_semaphores();
    hand_over();
    wake_many();
}

fn uncontended() {
    let n = scaled(200_000, 100);
    let (ours, std, parking_lot) = (Lock::new("l", 0u64), std::sync::Mutex::new(0u64), parking_lot::Mutex::new(0u64));
    Contest::new("lock, add 1, unlock: no other thread", n)
        .with("selvedge Lock", || time(n, || *ours.lock() += 1))
        .with("std Mutex", || time(n, || *std.lock().unwrap() += 1))
        .with("parking_lot Mutex", || time(n, || *parking_lot.lock() += 1))
        .run(60);

    let monitor = Monitor::new("m", 0u64);
    let (std_changed, parking_lot_changed) = (std::sync::Condvar::new(), parking_lot::Condvar::new());
    Contest::new("enter, add 1, leave and notify: no other thread", n)
        .with("selvedge Monitor", || time(n, || *monitor.enter() += 1))
        .with("std Mutex + Condvar", || {
            time(n, || {
                *std.lock().unwrap() += 1;
                std_changed.notify_one();
            })
        })
        .with("parking_lot Mutex + Condvar", || {
            time(n, || {
                *parking_lot.lock() += 1;
                parking_lot_changed.notify_one();
            })
        })
        .run(60);

    let (ours, tokio) = (Semaphore::new("s", 4), tokio::sync::Semaphore::new(4));
    let (std, parking_lot) = (Counted::<Std>::new(4), Counted::<ParkingLot>::new(4));
    Contest::new("take a permit, give it back: no other thread", n)
        .with("selvedge Semaphore", || time(n, || drop(ours.acquire())))
        .with("tokio Semaphore, try_acquire", || time(n, || drop(tokio.try_acquire().unwrap())))
        .with("std Mutex + Condvar", || time(n, || std.pass(|| ())))
        .with("parking_lot Mutex + Condvar", || time(n, || parking_lot.pass(|| ())))
        .run(60);

    let (ours, atomic) = (Progress::new("p"), AtomicU64::new(0));
    Contest::new("count on: no thread waits", n)
        .with("selvedge Progress", || time(n, || ours.advance(1)))
        .with("AtomicU64::fetch_add", || time(n, || atomic.fetch_add(1, Ordering::SeqCst)))
        .run(60);
    // What a cache line costs that two cores write.
    Contest::new("count on: 2 threads count, no thread waits", 2 * n)
        .with("selvedge Progress", || together(2, n, || _ = ours.advance(1)))
        .with("AtomicU64::fetch_add", || together(2, n, || _ = atomic.fetch_add(1, Ordering::SeqCst)))
        .run(60);
}

/// The time in which `threads` threads have each done `n` of `operation`.
fn together(threads: usize, n: usize, operation: impl Fn() + Sync) -> Duration {
    let ready = Barrier::new(threads);
    let spans: Vec<(Instant, Instant)> = thread::scope(|s| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                s.spawn(|| {
                    ready.wait();
                    let begin = Instant::now();
                    (0..n).for_each(|_| operation());
                    (begin, Instant::now())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let begin = spans.iter().map(|(begin, _)| *begin).min().unwrap();
    spans.iter().map(|(_, end)| *end).max().unwrap() - begin
}

/// A little work inside, as there is in a program.
fn work(value: &mut u64) {
    for _ in 0..20 {
        *value = std::hint::black_box(value.wrapping_mul(3).wrapping_add(1));
    }
}

fn contended_locks(threads: usize) {
    let n = scaled(20_000, 50);
    let (ours, std, parking_lot) = (Lock::new("l", 0u64), std::sync::Mutex::new(0u64), parking_lot::Mutex::new(0u64));
    let monitor = Monitor::new("m", 0u64);
    Contest::new(&format!("lock, short work, unlock: {threads} threads"), n * threads)
        .with("selvedge Lock", || together(threads, n, || work(&mut ours.lock())))
        .with("std Mutex", || together(threads, n, || work(&mut std.lock().unwrap())))
        .with("parking_lot Mutex", || together(threads, n, || work(&mut parking_lot.lock())))
        .run(40);
    Contest::new(&format!("the same, with a Monitor: {threads} threads"), n * threads)
        .with("selvedge Monitor", || together(threads, n, || work(&mut monitor.enter())))
        .with("std Mutex", || together(threads, n, || work(&mut std.lock().unwrap())))
        .with("parking_lot Mutex", || together(threads, n, || work(&mut parking_lot.lock())))
        .run(40);
}

fn contended_semaphores() {
    let n = scaled(10_000, 50);
    let ours = Semaphore::new("s", 2);
    let (std, parking_lot) = (Counted::<Std>::new(2), Counted::<ParkingLot>::new(2));
    Contest::new("two permits, short work: 4 threads", n * 4)
        .with("selvedge Semaphore", || {
            together(4, n, || {
                let _permit = ours.acquire();
                work(&mut 1);
            })
        })
        .with("std Mutex + Condvar", || together(4, n, || std.pass(|| work(&mut 1))))
        .with("parking_lot Mutex + Condvar", || together(4, n, || parking_lot.pass(|| work(&mut 1))))
        .run(40);
}

/// Two threads that take turns by waiting for a number to be even or odd.
fn hand_over() {
    let n = scaled(1000, 10);
    Contest::new("two threads take turns", 2 * n)
        .with("selvedge Monitor", || {
            let monitor = Monitor::new("m", 0);
            turns(n, |me| {
                let mut number = monitor.enter();
                while *number % 2 != me {
                    number.wait();
                }
                *number += 1;
            })
        })
        .with("std Mutex + Condvar", || {
            let (mutex, changed) = (std::sync::Mutex::new(0), std::sync::Condvar::new());
            turns(n, |me| {
                *changed.wait_while(mutex.lock().unwrap(), |number| *number % 2 != me).unwrap() += 1;
                changed.notify_one();
            })
        })
        .with("parking_lot Mutex + Condvar", || {
            let (mutex, changed) = (parking_lot::Mutex::new(0), parking_lot::Condvar::new());
            turns(n, |me| {
                let mut number = mutex.lock();
                changed.wait_while(&mut number, |number| *number % 2 != me);
                *number += 1;
                drop(number);
                changed.notify_one();
            })
        })
        .run(30);
}

fn turns(n: usize, turn: impl Fn(u32) + Sync) -> Duration {
    let begin = Instant::now();
    thread::scope(|s| {
        for me in 0..2 {
            let turn = &turn;
            s.spawn(move || (0..n).for_each(|_| turn(me)));
        }
    });
    begin.elapsed()
}

/// From the go until the last of all waiters runs.
fn wake_many() {
    let n = scaled(1000, 10);
    let all = |wait: &(dyn Fn() + Sync), go: &dyn Fn()| {
        let ready = AtomicU64::new(0);
        let ends = thread::scope(|s| {
            let waiters: Vec<_> = (0..n)
                .map(|_| {
                    let waiter = thread::Builder::new().stack_size(64 * 1024);
                    let body = || {
                        ready.fetch_add(1, Ordering::SeqCst);
                        wait();
                        Instant::now()
                    };
                    waiter.spawn_scoped(s, body).unwrap()
                })
                .collect();
            while ready.load(Ordering::SeqCst) < n as u64 {
                thread::yield_now();
            }
            // They have said that they are about to wait; this is for them to do so.
            thread::sleep(Duration::from_millis(20));
            let begin = Instant::now();
            go();
            waiters.into_iter().map(|waiter| waiter.join().unwrap() - begin).max()
        });
        ends.unwrap_or_default()
    };
    Contest::new("wake all of 1,000 waiters", n)
        .with("selvedge Signal", || {
            let signal = Signal::new("s");
            all(&|| signal.wait_for_go(), &|| assert!(signal.go()))
        })
        .with("selvedge Signal | Signal", || {
            let (signal, stop) = (Signal::new("s"), Signal::new("stop"));
            all(&|| (&signal | &stop).wait_for_go(), &|| assert!(signal.go()))
        })
        .with("std Mutex + Condvar", || {
            let (gone, changed) = (std::sync::Mutex::new(false), std::sync::Condvar::new());
            let wait = || drop(changed.wait_while(gone.lock().unwrap(), |gone| !*gone).unwrap());
            all(&wait, &|| {
                *gone.lock().unwrap() = true;
                changed.notify_all();
            })
        })
        .with("parking_lot Mutex + Condvar", || {
            let (gone, changed) = (parking_lot::Mutex::new(false), parking_lot::Condvar::new());
            let wait = || changed.wait_while(&mut gone.lock(), |gone| !*gone);
            all(&wait, &|| {
                *gone.lock() = true;
                changed.notify_all();
            })
        })
        .with("crossbeam-channel, disconnect", || {
            let (sender, receiver) = crossbeam_channel::bounded::<()>(0);
            let sender = parking_lot::Mutex::new(Some(sender));
            all(&|| assert!(receiver.recv().is_err()), &|| drop(sender.lock().take()))
        })
        .run(10);
}

/// A semaphore as one writes it with a mutex and a condition variable.
struct Counted<M>(M);

trait Count {
    fn new(permits: usize) -> Self;
    fn take(&self);
    fn give(&self);
}

struct Std(std::sync::Mutex<usize>, std::sync::Condvar);
struct ParkingLot(parking_lot::Mutex<usize>, parking_lot::Condvar);

impl Count for Std {
    fn new(permits: usize) -> Std {
        Std(std::sync::Mutex::new(permits), std::sync::Condvar::new())
    }

    fn take(&self) {
        *self.1.wait_while(self.0.lock().unwrap(), |permits| *permits == 0).unwrap() -= 1;
    }

    fn give(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_one();
    }
}

impl Count for ParkingLot {
    fn new(permits: usize) -> ParkingLot {
        ParkingLot(parking_lot::Mutex::new(permits), parking_lot::Condvar::new())
    }

    fn take(&self) {
        let mut permits = self.0.lock();
        self.1.wait_while(&mut permits, |permits| *permits == 0);
        *permits -= 1;
    }

    fn give(&self) {
        *self.0.lock() += 1;
        self.1.notify_one();
    }
}

impl<M: Count> Counted<M> {
    fn new(permits: usize) -> Counted<M> {
        Counted(M::new(permits))
    }

    fn pass(&self, inside: impl FnOnce()) {
        self.0.take();
        inside();
        self.0.give();
    }
}
