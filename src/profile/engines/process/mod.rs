//! `Engine::Process`: the pprof crate. It has one timer for the process, whose signal goes to a
//! running thread, and one table of stacks. A handler does not wait for the table's lock; if
//! another handler has it, the sample is lost. Of the timer engine it uses only two questions: is
//! its handler installed, and where do threads start.

mod held;
#[cfg(test)]
mod pool_tests;
mod pools;
mod registry;

use super::sampler::{Sampler, Start, TakeOwnStack};
use super::timer;
use crate::error::{Error, Kind};
use crate::os::{fork, sigprof};
use crate::profile::describe_handler::describe_handler;
use crate::profile::loader::History;
use crate::profile::options::{Clock, Engine};
use crate::profile::raw::{Effective, Ending, Nanos, Owner, RawProfile, RawSample, Stack};
use crate::thread::observe;
use pprof::{MAX_DEPTH, ProfilerGuard, ProfilerGuardBuilder, UnresolvedReport};
use registry::ThreadRegistry;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The libraries in which a signal takes no sample: libgcc must not be unwound by libgcc, and not
/// every system has right tables for its vdso. libc is not among them, so that system calls are
/// sampled.
const BLIND: [&str; 2] = ["libgcc", "vdso"];

/// The generation of the process in which the pprof crate samples; `NOWHERE` if it samples in none.
/// In a forked child of that process no timer runs, but pprof's table and lock are as they were at
/// the fork, perhaps in the middle of a sample.
static SAMPLES_IN: AtomicU32 = AtomicU32::new(NOWHERE);
const NOWHERE: u32 = u32::MAX;

/// Uninstalls pprof's handler in a forked child of a process in which pprof samples, so that
/// another engine can run.
///
/// # Errors
/// The system refuses.
pub(super) fn put_away_inherited() -> io::Result<()> {
    if is_inherited() { sigprof::uninstall() } else { Ok(()) }
}

fn is_inherited() -> bool {
    // Relaxed: one recording at a time reads and writes it.
    let generation = SAMPLES_IN.load(Ordering::Relaxed);
    generation != NOWHERE && generation != fork::generation()
}

// Fields are dropped in this order: the source first, then the observer.
struct Process {
    guard: Guard,
    _observing: Observing,
    registry: Arc<ThreadRegistry>,
    period: Duration,
    epoch: SystemTime,
}

/// pprof's guard. It is dropped only in the process that made it.
struct Guard {
    pprofs: ManuallyDrop<ProfilerGuard<'static>>,
    generation: u32,
}

impl Guard {
    fn new(pprofs: ProfilerGuard<'static>) -> Guard {
        let generation = fork::generation();
        SAMPLES_IN.store(generation, Ordering::Relaxed);
        Guard { pprofs: ManuallyDrop::new(pprofs), generation }
    }

    fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // In a forked child, pprof's lock may be held by a thread that the child does not have.
        if !self.is_inherited() {
            // SAFETY: it is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.pprofs) };
            SAMPLES_IN.store(NOWHERE, Ordering::Relaxed);
        }
    }
}

/// Starts the engine.
///
/// # Errors
/// [`Error::is_profile`]: another handler of SIGPROF is installed, the system refuses the timer, or
/// pprof sampled in the parent process when this process was forked.
pub(super) fn start(frequency: u32) -> Result<Start, Error> {
    if is_inherited() {
        let message = "the process engine sampled in the parent process when this one was forked, and cannot start \
                       again here; take the timer engine";
        return Err(Error::new(Kind::Profile, message).at_key("profile.engine"));
    }
    let handler = sigprof::handler().map_err(|cause| refused().because(cause))?;
    // The timer engine's handler stays after its recording, and does nothing then.
    if matches!(handler, sigprof::Handler::Function(_)) && !timer::is_installed() {
        let message = format!("SIGPROF has a handler already: {}", describe_handler(handler));
        return Err(Error::new(Kind::Profile, message));
    }
    let (frequency, period) = rate(frequency, sigprof::tick());
    let guard = ProfilerGuardBuilder::default().frequency(frequency as i32).blocklist(&BLIND).build();
    // pprof resolves a function of its own when it starts, and would keep the symbols that it has
    // parsed for that: tens of megabytes.
    backtrace::clear_symbol_cache();
    let guard = guard.map_err(|cause| refused().because(cause))?;
    let (began, epoch) = (Instant::now(), SystemTime::now());
    let effective = Effective { engine: Engine::Process, clock: Clock::Cpu, period };
    // New threads, then the list of old ones.
    let registry = ThreadRegistry::new(began);
    let observing = Observing(observe::add(Arc::downgrade(&registry) as _, &mut |thread| registry.see(thread)));
    let process = Process { guard: Guard::new(guard), _observing: observing, registry, period, epoch };
    Ok(Start { sampler: Box::new(process), effective, began, epoch })
}

fn refused() -> Error {
    Error::new(Kind::Profile, "the process timer could not be set")
}

/// The frequency to set in pprof, and the period that results.
///
/// The kernel checks the timer once a tick, and sends one signal even if several periods are over.
/// A higher frequency would not give more samples, only samples with too small a weight.
fn rate(frequency: u32, tick: Option<Duration>) -> (u32, Duration) {
    let most = tick.map_or(u32::MAX, |tick| (1_000_000_000 / tick.as_nanos().max(1)) as u32);
    let frequency = frequency.min(most).max(1);
    // pprof gives the timer whole microseconds.
    (frequency, Duration::from_micros(1_000_000 / u64::from(frequency)))
}

/// The tree reports its threads to the registry until this is dropped.
struct Observing(u64);

impl Drop for Observing {
    fn drop(&mut self) {
        observe::remove(self.0);
    }
}

impl Sampler for Process {
    fn snapshot(&self) -> RawProfile {
        if self.guard.is_inherited() {
            return RawProfile {
                trouble: Some("the recording is the parent process's".into()),
                ..RawProfile::default()
            };
        }
        let report = self.guard.pprofs.report().build_unresolved();
        // Samples before lifetimes: so the registry knows each thread that has a sample.
        let (samples, trouble) = match report {
            Ok(report) => (raw(report, self.period, self.epoch), None),
            Err(cause) => (Vec::new(), Some(format!("the samples could not be read: {cause}"))),
        };
        RawProfile {
            samples,
            lifetimes: self.registry.lifetimes(),
            history: History::of_now(),
            trouble,
            ..RawProfile::default()
        }
    }

    fn finish(self: Box<Self>) -> RawProfile {
        self.snapshot()
    }

    /// Its unwinder is libgcc's, in a signal handler.
    fn own_stacks(&self) -> Option<Arc<dyn TakeOwnStack>> {
        None
    }
}

/// The samples in pprof's report, without the frames of its signal handler.
fn raw(report: UnresolvedReport, period: Duration, epoch: SystemTime) -> Vec<RawSample> {
    let (handler, is_start) = (Handler::of_pprof(), timer::starts());
    let samples = report.data.into_iter().map(|(key, count)| {
        let frames: Vec<(u64, u64)> =
            key.frames.iter().map(|frame| (frame.ip() as u64, frame.symbol_address() as u64)).collect();
        // Unwinding ends at an address of 0 on some systems: no code is there.
        let interrupted = handler.interrupted(&frames).iter().map(|&(ip, _)| ip);
        let addresses: Arc<[u64]> = interrupted.take_while(|&ip| ip != 0).collect();
        let ending = match addresses.last() {
            _ if frames.len() >= MAX_DEPTH => Ending::Deep,
            Some(&outermost) if !is_start(outermost) => Ending::Broken,
            _ => Ending::Root,
        };
        let samples = u64::try_from(count).unwrap_or(0);
        RawSample {
            owner: Owner::Handle {
                os_thread: key.thread_id,
                os_name: String::from_utf8_lossy(&key.thread_name[..key.thread_name_length]).into_owned(),
                at: since(epoch, key.sample_timestamp),
            },
            stack: Stack::Sampled { addresses, ending, generation: 0, waiting: None },
            context: None,
            samples,
            weight: samples * period.as_nanos() as u64,
        }
    });
    samples.collect()
}

fn since(epoch: SystemTime, time: SystemTime) -> Nanos {
    match time.duration_since(epoch) {
        Ok(after) => after.as_nanos() as Nanos,
        Err(before) => -(before.duration().as_nanos() as Nanos),
    }
}

/// The address of pprof's signal handler. Found in programs without symbols too.
#[derive(Clone, Copy)]
struct Handler(u64);

impl Handler {
    fn of_pprof() -> Handler {
        unsafe extern "C" {
            fn perf_signal_handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void);
        }
        Handler(perf_signal_handler as *const () as u64)
    }

    /// The interrupted frames, each with its address and the start of its function: without the
    /// handler, its callees, and the frame by which the kernel returns from it.
    fn interrupted(self, frames: &[(u64, u64)]) -> &[(u64, u64)] {
        let handler = frames.iter().position(|&(ip, function)| self.is(ip, function));
        handler.map_or(frames, |index| frames.get(index + 2..).unwrap_or(&[]))
    }

    fn is(self, ip: u64, function: u64) -> bool {
        // On Apple systems the backtrace crate returns the address itself as the function's start.
        if cfg!(target_vendor = "apple") { (self.0..self.0 + 4096).contains(&ip) } else { function == self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_limited_by_the_tick() {
        let tick = Some(Duration::from_millis(4));
        assert_eq!(rate(100, tick), (100, Duration::from_millis(10)));
        assert_eq!(rate(99, tick), (99, Duration::from_nanos(10_101_000)));
        assert_eq!(rate(1000, tick), (250, Duration::from_millis(4)));
        assert_eq!(rate(1000, None), (1000, Duration::from_millis(1)));
        assert_eq!(rate(10_000, Some(Duration::ZERO)), (10_000, Duration::from_micros(100)));
    }

    #[test]
    fn the_handler_and_its_trampoline_are_removed() {
        let handler = Handler(100);
        let frames = [(90, 80), (110, 100), (300, 300), (410, 400), (510, 500)];
        assert_eq!(handler.interrupted(&frames), &frames[3..]);
        assert_eq!(handler.interrupted(&frames[..3]), &[]);
        assert_eq!(handler.interrupted(&frames[..2]), &[]);
        assert_eq!(handler.interrupted(&frames[3..]), &frames[3..]);
    }

    #[test]
    fn a_time_before_the_recording_is_negative() {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(since(epoch, epoch + Duration::from_nanos(7)), 7);
        assert_eq!(since(epoch, epoch - Duration::from_nanos(7)), -7);
    }
}
