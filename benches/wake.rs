//! Claim: `go` wakes a waiter as fast as anything does.

mod support;

use selvedge::{Registered, Signal};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::{Contest, scaled};

/// Something that happens once and is waited for by one thread.
trait Event: Sync {
    fn new() -> Self;
    fn fire(&self);
    fn wait(&self);
    /// Called by each of the two threads first. What it returns lives as long as the thread.
    fn enter(_name: &str) -> Option<Registered> {
        None
    }
}

fn main() {
    let n = scaled(300, 3);
    round_trip_contest("round trip between two cores: a fires and waits, b waits and fires", n, Some([0, 1]));
    round_trip_contest("round trip on one core", n, Some([0, 0]));
    round_trip_contest("round trip wherever the scheduler puts them", n, None);

    let n = scaled(30, 3);
    Contest::new("one way between two cores: the waiter has slept for a while; from fire until it runs", n)
        .with("selvedge Signal", || one_way::<InTree>(n))
        .with("selvedge Signal, outside the tree", || one_way::<Signal>(n))
        .with("std Mutex + Condvar", || one_way::<Std>(n))
        .with("parking_lot Mutex + Condvar", || one_way::<ParkingLot>(n))
        .with("event-listener", || one_way::<Listener>(n))
        .with("crossbeam-channel, disconnect", || one_way::<Disconnect>(n))
        .with("futex", || one_way::<Futex>(n))
        .run(60);
}

fn round_trip_contest(title: &str, n: usize, cores: Option<[usize; 2]>) {
    Contest::new(title, n)
        .with("selvedge Signal", || round_trips::<InTree>(n, cores))
        .with("selvedge Signal, outside the tree", || round_trips::<Signal>(n, cores))
        .with("std Mutex + Condvar", || round_trips::<Std>(n, cores))
        .with("parking_lot Mutex + Condvar", || round_trips::<ParkingLot>(n, cores))
        .with("event-listener", || round_trips::<Listener>(n, cores))
        .with("crossbeam-channel, disconnect", || round_trips::<Disconnect>(n, cores))
        .with("futex", || round_trips::<Futex>(n, cores))
        .run(40);
}

/// Each event is used once, and was made before.
fn round_trips<E: Event>(n: usize, cores: Option<[usize; 2]>) -> Duration {
    let (there, back): (Vec<E>, Vec<E>) = (0..n).map(|_| (E::new(), E::new())).unzip();
    let ready = std::sync::Barrier::new(2);
    // Two threads of its own, so that the main thread stays where it likes.
    thread::scope(|s| {
        s.spawn(|| {
            let _entered = E::enter("second");
            cores.inspect(|cores| stay_on(cores[1]));
            ready.wait();
            for (there, back) in there.iter().zip(&back) {
                there.wait();
                back.fire();
            }
        });
        let first = s.spawn(|| {
            let _entered = E::enter("first");
            cores.inspect(|cores| stay_on(cores[0]));
            ready.wait();
            let begin = Instant::now();
            for (there, back) in there.iter().zip(&back) {
                there.fire();
                back.wait();
            }
            begin.elapsed()
        });
        first.join().expect("the first of two")
    })
}

/// Where two threads run decides more than what they do: a wake-up across cores costs several of
/// those on one.
#[cfg(target_os = "linux")]
fn stay_on(core: usize) {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET bounds-checks; the kernel reads the
    // set during the call only.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        // It may refuse, where there is but one core; then the table says so by itself.
        libc::sched_setaffinity(0, size_of_val(&set), &set);
    }
}

#[cfg(not(target_os = "linux"))]
fn stay_on(_core: usize) {}

/// The firing thread spins for the answer, so that one wake-up is measured and not two.
fn one_way<E: Event>(n: usize) -> Duration {
    const ASLEEP_AFTER: Duration = Duration::from_micros(200);
    let events: Vec<E> = (0..n).map(|_| E::new()).collect();
    let answered = AtomicUsize::new(0);
    thread::scope(|s| {
        s.spawn(|| {
            let _entered = E::enter("waiting");
            stay_on(1);
            for event in &events {
                event.wait();
                answered.fetch_add(1, Ordering::Release);
            }
        });
        let firing = s.spawn(|| {
            let _entered = E::enter("firing");
            stay_on(0);
            let mut sum = Duration::ZERO;
            for (number, event) in events.iter().enumerate() {
                let pause = Instant::now();
                while pause.elapsed() < ASLEEP_AFTER {
                    std::hint::spin_loop();
                }
                let begin = Instant::now();
                event.fire();
                while answered.load(Ordering::Acquire) <= number {
                    std::hint::spin_loop();
                }
                sum += begin.elapsed();
            }
            sum
        });
        firing.join().expect("the firing thread")
    })
}

/// Waited for by threads without a parent, which publish no waits.
impl Event for Signal {
    fn new() -> Self {
        Signal::new("event")
    }
    fn fire(&self) {
        self.go();
    }
    fn wait(&self) {
        self.wait_for_go();
    }
}

/// Waited for by threads of the tree: each wait is published with the threads that can end it.
struct InTree(Signal);

impl Event for InTree {
    fn new() -> Self {
        InTree(Signal::new("event"))
    }
    fn fire(&self) {
        self.0.go();
    }
    fn wait(&self) {
        self.0.wait_for_go();
    }
    fn enter(name: &str) -> Option<Registered> {
        Some(selvedge::register(name))
    }
}

struct Std(Mutex<bool>, Condvar);

impl Event for Std {
    fn new() -> Self {
        Std(Mutex::new(false), Condvar::new())
    }
    fn fire(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
    fn wait(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |gone| !*gone).unwrap());
    }
}

struct ParkingLot(parking_lot::Mutex<bool>, parking_lot::Condvar);

impl Event for ParkingLot {
    fn new() -> Self {
        ParkingLot(parking_lot::Mutex::new(false), parking_lot::Condvar::new())
    }
    fn fire(&self) {
        *self.0.lock() = true;
        self.1.notify_all();
    }
    fn wait(&self) {
        self.1.wait_while(&mut self.0.lock(), |gone| !*gone);
    }
}

struct Listener(AtomicBool, event_listener::Event);

impl Event for Listener {
    fn new() -> Self {
        Listener(AtomicBool::new(false), event_listener::Event::new())
    }
    fn fire(&self) {
        self.0.store(true, Ordering::SeqCst);
        self.1.notify(usize::MAX);
    }
    fn wait(&self) {
        use event_listener::Listener as _;
        while !self.0.load(Ordering::SeqCst) {
            let listener = self.1.listen();
            if !self.0.load(Ordering::SeqCst) {
                listener.wait();
            }
        }
    }
}

struct Disconnect(Mutex<Option<crossbeam_channel::Sender<()>>>, crossbeam_channel::Receiver<()>);

impl Event for Disconnect {
    fn new() -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(0);
        Disconnect(Mutex::new(Some(sender)), receiver)
    }
    fn fire(&self) {
        self.0.lock().unwrap().take();
    }
    fn wait(&self) {
        self.1.recv().unwrap_err();
    }
}

struct Futex(AtomicU32);

impl Event for Futex {
    fn new() -> Self {
        Futex(AtomicU32::new(0))
    }
    #[cfg(target_os = "linux")]
    fn fire(&self) {
        self.0.store(1, Ordering::SeqCst);
        // SAFETY: FUTEX_WAKE takes an address, the operation and a number; it only compares the
        // address.
        unsafe {
            libc::syscall(libc::SYS_futex, self.0.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, i32::MAX)
        };
    }
    #[cfg(target_os = "linux")]
    fn wait(&self) {
        while self.0.load(Ordering::SeqCst) == 0 {
            let no_timeout = std::ptr::null::<libc::timespec>();
            // SAFETY: FUTEX_WAIT reads the u32, which outlives the call, and takes a null timeout
            // as none.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.0.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    0,
                    no_timeout,
                )
            };
        }
    }
    /// Where there is no futex, what is nearest to it.
    #[cfg(not(target_os = "linux"))]
    fn fire(&self) {
        self.0.store(1, Ordering::SeqCst);
    }
    #[cfg(not(target_os = "linux"))]
    fn wait(&self) {
        while self.0.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
    }
}
