//! What the tests of profiles measure with: work, clocks, and readings of a profile.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#![allow(dead_code)] // each test uses a part of it

use crate::split::spin;
use crate::support::until;
use parking_lot::MutexGuard;
use selvedge::profile::{self, Engine, Options, Profile, ThreadProfile};
use selvedge::{JoinHandle, Registered, Thread};
use std::hint::black_box;
use std::iter::Sum;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// In the tree as `main/test`, and alone.
pub(crate) fn alone() -> (Registered, MutexGuard<'static, ()>) {
    let guard = crate::ONE_AT_A_TIME.lock();
    (selvedge::register("test"), guard)
}

pub(crate) fn begin() -> profile::Recording {
    profile::start(Options::new().engine(Engine::Timer)).unwrap()
}

/// By rings at a rate that needs them, and else as [`begin`].
pub(crate) fn begin_by(engine: Engine) -> profile::Recording {
    profile::start(options_of(engine)).unwrap()
}

fn options_of(engine: Engine) -> Options {
    Options::new().engine(engine).frequency(if engine == Engine::Ring { 1000 } else { 100 })
}

/// Of each engine that walks stacks: in a signal handler, or later from a copy.
pub(crate) fn all_options() -> Vec<Options> {
    engines().into_iter().map(options_of).collect()
}

/// The calling thread's CPU clock.
pub(crate) fn clock() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The kernel's tick: when one of them was, by CLOCK_MONOTONIC in nanoseconds, and how long they
/// are apart.
pub(crate) fn ticks() -> (i64, i64) {
    let nanos = |clock: libc::clockid_t,
                 ask: unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int| {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is writable.
        assert_eq!(unsafe { ask(clock, &mut time) }, 0);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    // The coarse clock goes on with each tick; a look that took long has missed when.
    let coarse = || nanos(libc::CLOCK_MONOTONIC_COARSE, libc::clock_gettime);
    let fine = || nanos(libc::CLOCK_MONOTONIC, libc::clock_gettime);
    loop {
        let (last, before) = (coarse(), fine());
        if coarse() != last && fine() - before < 20_000 {
            return (before, nanos(libc::CLOCK_MONOTONIC_COARSE, libc::clock_getres));
        }
    }
}

/// Until a tenth of a tick after the next one.
pub(crate) fn sleep_past_the_tick((one, apart): (i64, i64)) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable, then a whole time to sleep until.
    unsafe {
        assert_eq!(libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now), 0);
        let nanos = now.tv_sec * 1_000_000_000 + now.tv_nsec;
        let next = one + ((nanos - one) / apart + 1) * apart + apart / 10;
        now = libc::timespec { tv_sec: next / 1_000_000_000, tv_nsec: next % 1_000_000_000 };
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &now, std::ptr::null_mut());
    }
}

#[inline(never)]
pub(crate) fn dive(depth: usize, length: Duration) -> u64 {
    if depth == 0 { burn(length) } else { black_box(dive(depth - 1, length)) + 1 }
}

#[inline(never)]
pub(crate) fn burn(length: Duration) -> u64 {
    let end = clock() + length;
    let mut x = 0;
    while clock() < end {
        x ^= spin(10_000);
    }
    x
}

/// What a thread has burnt, by its own CPU clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Burnt {
    pub(crate) used: Duration,
    /// The part of `used` that the host of a virtual machine has taken. The thread's clock goes on
    /// meanwhile. The samples that were due come as one.
    pub(crate) taken: Duration,
}

impl Burnt {
    /// The number of samples that are due for the part that the host has not taken.
    pub(crate) fn due(&self, period: Duration) -> u64 {
        periods(self.used - self.taken, period)
    }
}

impl Sum for Burnt {
    fn sum<I: Iterator<Item = Burnt>>(all: I) -> Burnt {
        let add = |sum: Burnt, next: Burnt| Burnt { used: sum.used + next.used, taken: sum.taken + next.taken };
        all.fold(Burnt::default(), add)
    }
}

/// The number of whole periods in that time.
pub(crate) fn periods(time: Duration, period: Duration) -> u64 {
    (time.as_nanos() / period.as_nanos()) as u64
}

/// As [`burn`], but the time that the host has taken does not count towards the length.
#[inline(never)]
pub(crate) fn burn_seen(length: Duration) -> Burnt {
    // A turn takes some 20 µs. While a thread waits for a processor, its clock stands still.
    const GAP: Duration = Duration::from_millis(3);
    let began = clock();
    let (mut last, mut taken) = (began, Duration::ZERO);
    while last - began < length + taken {
        black_box(spin(2_000));
        let now = clock();
        if now - last > GAP {
            taken += now - last;
        }
        last = now;
    }
    Burnt { used: last - began, taken }
}

/// Joins the thread. Returns its result, and its CPU clock at its end. The crate reads that clock
/// after the last line of the thread's function.
pub(crate) fn join_with_clock<T>(handle: JoinHandle<T>) -> (T, Duration) {
    let thread = handle.thread().clone();
    let result = handle.join().unwrap();
    (result, thread.cpu_time().expect("each thread has a clock here"))
}

/// Returns `true` if an account, or a sum of accounts, ends where the clocks of its threads did.
/// `used`: what the threads have read themselves. `ended`: what [`join_with_clock`] returns. A sample
/// that comes after that makes an account later.
pub(crate) fn ends_there(account: Duration, used: Duration, ended: Duration, threads: u32) -> bool {
    used <= account + TICK && account <= ended + AROUND * threads
}

/// An account may lack this: the times of a perf clock are converted.
const TICK: Duration = Duration::from_micros(1);

/// Calls `once` until it returns no objection, each time with twice the length. Other programs and the
/// host of a virtual machine may spoil a measurement. At the deadline, an objection to the third or a
/// later one is a failure.
#[track_caller]
pub(crate) fn retried(mut length: Duration, mut once: impl FnMut(Duration) -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    for count in 1.. {
        let Err(objection) = once(length) else { return };
        assert!(count < 3 || Instant::now() < deadline, "{count} times, the last with {length:?}: {objection}");
        eprintln!("once more, after {length:?}: {}", objection.lines().next().unwrap_or_default());
        length = (length * 2).min(Duration::from_secs(8)).max(length);
    }
}

/// Returns once each of the threads waits for that kind of thing, and sleeps in the kernel. A thread
/// shows its wait before it falls asleep, and may lose its processor in between. Only its sleep is
/// counted.
#[track_caller]
pub(crate) fn until_asleep(kind: &str, threads: &[&Thread]) {
    let mut before = None;
    until(&format!("all sleep for a {kind}"), || {
        let now: Option<Vec<Duration>> = threads.iter().map(|thread| clock_if_asleep(kind, thread)).collect();
        let is_asleep = now.is_some() && now == before;
        before = now;
        is_asleep
    });
}

/// The thread's CPU clock. `None` if it does not sleep in such a wait.
fn clock_if_asleep(kind: &str, thread: &Thread) -> Option<Duration> {
    thread.waiting_for().filter(|wait| wait.kind() == kind)?;
    // The kernel's id of a thread is not public, so its name is the key.
    let start = format!(" ({}) ", thread.name());
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let states: Vec<_> = stats.filter_map(|stat| stat.split_once(&start)?.1.chars().next()).collect();
    if states.is_empty() || states.iter().any(|state| *state != 'S') {
        return None;
    }
    thread.cpu_time()
}

/// Four threads that compute until this is dropped: more than there are processors.
pub(crate) struct Crowd(Arc<AtomicBool>, Vec<std::thread::JoinHandle<()>>);

impl Crowd {
    pub(crate) fn new() -> Crowd {
        let is_over = Arc::new(AtomicBool::new(false));
        let spin = |is_over: Arc<AtomicBool>| move || while !is_over.load(Ordering::Relaxed) {};
        let threads = (0..4).map(|_| std::thread::spawn(spin(is_over.clone()))).collect();
        Crowd(is_over, threads)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

pub(crate) fn folded(profile: &Profile) -> String {
    let mut text = Vec::new();
    profile.write_folded(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Each line's stack and weight.
pub(crate) fn lines(folded: &str) -> impl Iterator<Item = (&str, u64)> {
    folded.lines().map(|line| {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        (stack, weight.parse().unwrap())
    })
}

pub(crate) fn weight(folded: &str, part: &str) -> u64 {
    lines(folded).filter(|(stack, _)| stack.contains(part)).map(|(_, weight)| weight).sum()
}

pub(crate) fn account<'a>(profile: &'a Profile, end: &str) -> &'a ThreadProfile {
    profile.threads().iter().find(|thread| thread.path().ends_with(end)).unwrap()
}

/// Whether this process may have perf events: by a recording at a rate that only they can give.
pub(crate) fn perf_clocks_are_permitted() -> bool {
    let recording = profile::start(Options::new().engine(Engine::Timer).frequency(2000)).unwrap();
    recording.finish().period() < Duration::from_millis(1)
}

/// Whether the kernel gives this process rings of samples. If not, prints why.
pub(crate) fn rings_are_permitted() -> bool {
    let profile = profile::start(Options::new().engine(Engine::Ring).frequency(1000)).unwrap().finish();
    let mut picture = Vec::new();
    profile.write_flamegraph(&mut picture, &profile::FlameOptions::new()).unwrap();
    let picture = String::from_utf8(picture).unwrap();
    let is_permitted = profile.engine() == Engine::Ring;
    if !is_permitted {
        let reason = picture.split("there are no rings: ").nth(1).and_then(|rest| rest.split(" · ").next());
        eprintln!("skipped, there are no rings here: {}", reason.expect("the picture says why"));
    }
    is_permitted
}

/// The engines by which the CPU clock can be sampled at high rates here.
pub(crate) fn engines() -> Vec<Engine> {
    if rings_are_permitted() { vec![Engine::Timer, Engine::Ring] } else { vec![Engine::Timer] }
}

pub(crate) fn near(a: Duration, b: Duration, share: f64, slack: Duration) -> bool {
    a.abs_diff(b) <= b.mul_f64(share) + slack
}

/// Six standard deviations of a share that is measured with so many samples.
pub(crate) fn six_sigma(share: f64, samples: u64) -> f64 {
    6.0 * (share * (1.0 - share) / samples as f64).sqrt()
}

/// What the account of each thread must say, however many samples came.
pub(crate) fn check_totals(profile: &Profile) {
    let folded = folded(profile);
    let mut sum = Duration::ZERO;
    for thread in profile.threads() {
        assert_eq!(thread.sampled_time() + thread.unsampled_time(), thread.cpu_time(), "{thread:?}");
        sum += thread.cpu_time();
    }
    assert_eq!(sum.as_nanos() as u64, lines(&folded).map(|(_, weight)| weight).sum::<u64>());
}

/// Ending a thread costs it some time after its function, and the kernel counts its own work to the thread that
/// it has interrupted.
pub(crate) const AROUND: Duration = Duration::from_millis(2);
