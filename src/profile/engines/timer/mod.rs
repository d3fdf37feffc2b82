//! `Engine::Timer`: each thread of the tree has its own kernel timer, ring and unwinder's cache.
//! And `Engine::Ring`: the kernel writes samples into rings that the sampler reads. Both have the
//! same accounts, unwinder and list of modules. This file starts and stops a recording and runs its
//! sampler thread. The protocol, and why it is safe, stands in `profile/README.md`.
//!
//! | file | task |
//! |---|---|
//! | `handler` | the signal handler, which finds its thread's `entry` in the `table` |
//! | `slot`, `ring` | what one thread's handler samples into |
//! | `sample_flags` | which threads have written samples |
//! | `stack_request` | stacks on request, for dumps |
//! | `own_stacks` | stacks that threads take of themselves, where their waits end |
//! | `unwind`, `modules` | a stack's addresses; the code that is loaded |
//! | `kernel_rings` | what `Engine::Ring` has in place of signals: samples that the kernel writes |
//! | `state` | the sampled threads, under one lock; `wall_schedule`, `triggers` |
//! | `shared`, `newcomers` | that lock; threads that start while it is taken |
//! | `accounting`, `stacks` | the time of each thread, by stack |

mod accounting;
mod entry;
mod handler;
mod ids;
mod kernel_rings;
#[cfg(all(test, selvedge_loom))]
mod loom_tests;
mod modules;
mod newcomers;
mod own_stacks;
mod ring;
mod sample_flags;
mod shared;
mod slot;
mod stack_request;
mod stacks;
mod state;
mod table;
mod triggers;
mod unwind;
mod wall_schedule;

#[cfg(feature = "pprof-engine")]
pub(super) use handler::is_installed;
pub(super) use stack_request::request_stacks;

use super::sampler::{Sampler, Start, TakeOwnStack};
use crate::error::{Error, Kind};
use crate::os::counted::counted;
use crate::os::perf::PerfClock;
use crate::os::{CpuClock, sigprof, tasks};
use crate::profile::describe_handler::describe_handler;
use crate::profile::options::{Clock, Engine};
use crate::profile::raw::{Effective, RawProfile};
use crate::profile::trace::Collector;
use crate::thread::{Builder, JoinHandle, Thread, observe};
use accounting::Accounting;
use kernel_rings::{KernelRings, Refusal};
use shared::Shared;
use state::{APART, State};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use triggers::{Source, Triggers, source};

/// The running engine. Dropping it stops it.
struct Timer {
    shared: Arc<Shared>,
    /// `None`: stopped.
    running: Option<Running>,
}

struct Running {
    observer: u64,
    sampler: JoinHandle<()>,
}

pub(super) const CAN_RUN: bool = true;

/// Starts the engine that was `asked` for; `Engine::Timer` where the system refuses `Engine::Ring`.
///
/// # Errors
/// [`Error::is_profile`]: SIGPROF has another handler, or the system refuses this one or gives no
/// thread.
pub(super) fn start(
    asked: Engine,
    frequency: u32,
    clock: Clock,
    unregistered: bool,
    collector: Option<Arc<Collector>>,
) -> Result<Start, Error> {
    // Each weight is a difference of this clock. A sandbox may refuse to read it.
    if let Some(Err(cause)) = CpuClock::of_current().map(CpuClock::try_read) {
        let message = "the system refuses to read the CPU clock of a thread (clock_gettime)";
        return Err(Error::new(Kind::Profile, message).because(cause));
    }
    let (rings, refusal) = if clock == Clock::Cpu { rings(asked, frequency) } else { (None, None) };
    let (source, period) = match (clock, &rings) {
        (Clock::Wall, _) => (Source::Wall, Duration::from_secs(1) / frequency.max(1)),
        (Clock::Cpu, Some(_)) => (Source::Rings, Duration::from_secs(1) / frequency.max(1)),
        (Clock::Cpu, None) => source(frequency, sigprof::tick(), &|period| {
            let own = CpuClock::of_current().ok_or_else(|| std::io::Error::other("there is no CPU clock"))?;
            PerfClock::start(own, period).map(drop)
        }),
    };
    let engine = if rings.is_some() { Engine::Ring } else { Engine::Timer };
    if rings.is_none() {
        if let Some(other) = handler::anothers().map_err(|cause| refused().because(cause))? {
            let message = format!("SIGPROF has a handler already: {}", describe_handler(other));
            return Err(Error::new(Kind::Profile, message));
        }
        handler::install().map_err(|cause| refused().because(cause))?;
        // The thread that starts the recording is `main`, as a rule, and has the mask of the
        // program that started this one.
        sigprof::unblock();
    }
    modules::learn_start_of_threads();
    let (began, epoch) = (Instant::now(), SystemTime::now());
    let accounting = Accounting::new(if clock == Clock::Cpu { period } else { Duration::ZERO });
    let pause = rings.as_ref().map(KernelRings::pause);
    let mut state = State::new(accounting, Triggers::new(period, source), began, unregistered, collector.clone());
    if let Some(refusal) = refusal {
        state.note_no_rings(refusal);
    }
    if let Some(rings) = rings {
        state.set_rings(rings);
    }
    let shared = Arc::new(Shared::new(state, engine == Engine::Timer));
    let sampler = spawn_sampler(shared.clone(), period, pause, clock, collector).map_err(|cause| {
        shared.lock().stop();
        Error::new(Kind::Profile, "the system gives no thread for the sampler").because(cause)
    })?;
    // New threads first, then the list of old ones: each is attached at least once.
    let observer = observe::add(Arc::downgrade(&shared) as _, &mut |thread| shared.lock().attach(thread, false));
    shared.lock().begin_scans();
    let effective = Effective { engine, clock, period };
    let timer = Timer { shared, running: Some(Running { observer, sampler }) };
    Ok(Start { sampler: Box::new(timer), effective, began, epoch })
}

/// Returns a function that says whether a return address is in a function that threads start with.
/// Blocks until the start of threads is known.
#[cfg(feature = "pprof-engine")]
pub(super) fn starts() -> impl Fn(u64) -> bool {
    modules::learn_start_of_threads();
    let modules = modules::ModuleList::default().renew().unwrap_or_default();
    move |address| modules.is_start(address)
}

/// The kernel's rings, if they are `asked` for or the best choice for that frequency. Otherwise the
/// refusal, if there is one.
fn rings(asked: Engine, frequency: u32) -> (Option<KernelRings>, Option<Refusal>) {
    let period = Duration::from_secs(1) / frequency.max(1);
    let is_asked = asked == Engine::Ring;
    // At the tick's rate and below, a timer costs less.
    if !is_asked && (asked != Engine::Auto || !triggers::is_above_tick(period, sigprof::tick())) {
        return (None, None);
    }
    match KernelRings::new(period, is_asked) {
        Ok(rings) => (Some(rings), None),
        Err(refusal) => (None, Some(refusal)),
    }
}

fn refused() -> Error {
    Error::new(Kind::Profile, "the system refuses a handler for SIGPROF (rt_sigaction)")
}

/// Spawns the sampler: in each round it visits threads, scans for unregistered ones, renews the
/// module list, and logs warnings, until it is stopped.
fn spawn_sampler(
    shared: Arc<Shared>,
    period: Duration,
    pause: Option<Duration>,
    clock: Clock,
    collector: Option<Arc<Collector>>,
) -> std::io::Result<JoinHandle<()>> {
    // The sampler empties the rings long before they are full: a hundred usual records fit, or
    // fifteen of the deepest.
    let pause = pause.unwrap_or((period * 5).clamp(Duration::from_millis(1), Duration::from_millis(50)));
    let (seed, mut round) = (RandomState::new().hash_one(period), 0u64);
    let tick = sigprof::tick().unwrap_or(pause).min(pause);
    let mut next_pause = move |is_spawning_fast| match clock {
        Clock::Cpu if is_spawning_fast => tick,
        Clock::Cpu => pause,
        // From a half to one and a half periods: otherwise a program that works in a rhythm would
        // always be sampled at the same place.
        Clock::Wall => {
            round += 1;
            period.mul_f64(0.5 + ids::random(seed, round))
        }
    };
    Builder::new("sampler").runtime().parent(&Thread::root()).spawn(move |please_stop| {
        shared.lock().set_sampler(CpuClock::of_current());
        let mut threads = Vec::new();
        let mut pause = next_pause(false);
        while !please_stop.wait_for_go_timeout(pause) {
            shared.check_handler();
            // Without the lock: the list may have thousands of entries.
            let scans = shared.lock().is_scan_due();
            let living = scans.then(tasks::list);
            let mut state = shared.lock();
            state.select(&mut threads);
            for &thread in &threads {
                // Between two visits, a thread that waits for the lock gets it.
                state.give_way();
                state.visit(thread);
            }
            if let Some(living) = living {
                state.scan(living);
            }
            state.renew_modules();
            pause = next_pause(state.end_round(pause));
            let warnings = state.take_warnings();
            drop(state);
            if let Some(collector) = &collector {
                collector.drain_some();
            }
            for warning in warnings {
                log::warn!("profiling: {warning}");
            }
        }
    })
}

impl Sampler for Timer {
    fn snapshot(&self) -> RawProfile {
        if self.shared.is_forked() {
            return Shared::nothing();
        }
        self.shared.check_handler();
        let (copy, history, trouble, own_stacks) = {
            let mut state = self.shared.lock();
            state.renew_modules();
            (state.closed_copy(), state.history(), state.trouble(), state.own_stacks.clone())
        };
        RawProfile { history, trouble, own_stacks: own_stacks.taken(), ..copy.into_raw_profile() }
    }

    fn finish(mut self: Box<Self>) -> RawProfile {
        if self.shared.is_forked() {
            return Shared::nothing();
        }
        self.stop();
        let (accounting, history, trouble, inexact, own_stacks) = {
            let mut state = self.shared.lock();
            let accounting = std::mem::take(&mut state.accounting);
            (accounting, state.history(), state.trouble(), state.inexact(), state.own_stacks.clone())
        };
        if inexact > 0 {
            let threads = counted(inexact, "thread");
            log::info!("profiling: {threads} needed a perf clock and got none");
        }
        RawProfile { history, trouble, own_stacks: own_stacks.taken(), ..accounting.into_raw_profile() }
    }

    fn own_stacks(&self) -> Option<Arc<dyn TakeOwnStack>> {
        let own_stacks = self.shared.lock().own_stacks.clone();
        Some(own_stacks)
    }
}

impl Timer {
    /// Looks which threads block SIGPROF, some time apart. Without the lock between two looks.
    fn find_blocking(&self) {
        // A thread that blocks it and gets no processor is looked at for this long.
        const PATIENCE: Duration = Duration::from_secs(1);
        let began = Instant::now();
        while self.shared.lock().find_blocking() && began.elapsed() < PATIENCE {
            std::thread::sleep(APART);
        }
    }

    /// Stops all sampling and joins the sampler. Does nothing in a forked child.
    fn stop(&mut self) {
        let Some(Running { observer, sampler }) = self.running.take() else { return };
        if self.shared.is_forked() {
            // The threads and timers are the parent's, and threads that are not in this process may
            // hold locks.
            std::mem::forget(sampler);
            return;
        }
        self.shared.check_handler();
        self.find_blocking();
        self.shared.lock().stop();
        observe::remove(observer);
        sampler.stop();
        // A panic of the sampler is reported like that of any thread.
        if let Err(failure) = sampler.join() {
            log::error!("profiling: {failure}");
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.stop();
    }
}
