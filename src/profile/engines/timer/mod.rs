//! `Engine::Timer`: each thread of the tree has its own kernel timer, ring and unwinder's cache. The protocol, and why it is
//! safe, stands in `profile/README.md`.

mod ask;
mod books;
mod handler;
mod modules;
mod ring;
mod slot;
mod state;
mod table;
mod unwind;

pub(super) use ask::ask;
pub(super) use handler::is_installed;

use super::{Clock, Effective, Engine, Found, Sampler, Start};
use crate::error::{Error, Kind};
use crate::os::perf::PerfClock;
use crate::os::{CpuClock, sigprof};
use crate::thread::{Builder, JoinHandle, Thread, observe};
use parking_lot::Mutex;
use state::{Source, State};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The engine at work. Dropping it stops it.
struct Timer {
    shared: Arc<Shared>,
    /// `None`: stopped.
    running: Option<Running>,
}

struct Running {
    observer: u64,
    sampler: JoinHandle<()>,
}

/// What the threads, the sampler and the recording share.
struct Shared {
    state: Mutex<State>,
    /// A child that was forked off has this in memory as well, and nothing of what it describes.
    process: u32,
}

pub(super) const CAN_RUN: bool = true;

/// Starts the engine.
///
/// # Errors
/// [`Error::is_profile`]: someone else answers SIGPROF, or the system gives no thread.
pub(super) fn start(frequency: u32, clock: Clock) -> Result<Start, Error> {
    if handler::is_anothers().map_err(|cause| refused().because(cause))? {
        let message = "SIGPROF has a handler already: another profiler runs in this process, stop it first";
        return Err(Error::new(Kind::Profile, message));
    }
    let (source, period) = match clock {
        Clock::Wall => (Source::Wall, Duration::from_secs(1) / frequency.max(1)),
        Clock::Cpu => source(frequency, sigprof::tick(), &|period| {
            let own = CpuClock::of_current().ok_or_else(|| std::io::Error::other("there is no CPU clock"))?;
            PerfClock::start(own, period).map(drop)
        }),
    };
    handler::install().map_err(|cause| refused().because(cause))?;
    let (began, epoch) = (Instant::now(), SystemTime::now());
    let state = Mutex::new(State::new(period, source, began));
    let shared = Arc::new(Shared { state, process: std::process::id() });
    let sampler = spawn_sampler(shared.clone(), period, clock).map_err(|cause| {
        shared.state.lock().stop();
        refused().because(cause)
    })?;
    // The new first, then the list of the old: each is told of at least once.
    let observer = observe::add(shared.clone(), &mut |thread| shared.state.lock().attach(thread));
    shared.state.lock().start_triggers();
    let effective = Effective { engine: Engine::Timer, clock, period };
    let timer = Timer { shared, running: Some(Running { observer, sampler }) };
    Ok(Start { sampler: Box::new(timer), effective, began, epoch })
}

fn refused() -> Error {
    Error::new(Kind::Profile, "the threads' timers could not be set")
}

/// The kernel looks at timers once a tick: a shorter period takes perf events, if the kernel permits them, which `probe`
/// finds out, and else is not to be had.
fn source(
    frequency: u32,
    tick: Option<Duration>,
    probe: &dyn Fn(Duration) -> std::io::Result<()>,
) -> (Source, Duration) {
    let asked = Duration::from_secs(1) / frequency.max(1);
    let tick = tick.unwrap_or_default();
    if asked >= tick {
        return (Source::Timer { tick }, asked);
    }
    match probe(asked) {
        Ok(()) => (Source::Perf, asked),
        Err(cause) => {
            log::info!("profiling: no perf events ({cause}): the rate is that of the kernel's tick");
            (Source::Timer { tick }, tick)
        }
    }
}

fn spawn_sampler(shared: Arc<Shared>, period: Duration, clock: Clock) -> std::io::Result<JoinHandle<()>> {
    // Empties the rings long before they are full: a hundred usual records fit, fifteen of the deepest.
    let pause = (period * 5).clamp(Duration::from_millis(1), Duration::from_millis(50));
    let random = RandomState::new();
    let mut round = 0u64;
    let mut next_pause = move || match clock {
        Clock::Cpu => pause,
        // From a half to one and a half: a program that does things in a rhythm must not be met in the same place.
        Clock::Wall => {
            round += 1;
            period.mul_f64(0.5 + (random.hash_one(round) >> 11) as f64 / (1u64 << 53) as f64)
        }
    };
    Builder::new("sampler").runtime().parent(&Thread::root()).spawn(move |please_stop| {
        while !please_stop.wait_for_go_timeout(next_pause()) {
            shared.state.lock().start_triggers();
            // The lock is free for others between two threads.
            let threads = shared.state.lock().threads();
            for thread in threads {
                let mut state = shared.state.lock();
                if clock == Clock::Wall { state.tick(thread) } else { state.empty(thread) }
            }
            let warning = {
                let mut state = shared.state.lock();
                state.renew_modules();
                state.take_warning()
            };
            if let Some(warning) = warning {
                log::warn!("profiling: {warning}");
            }
        }
    })
}

impl Sampler for Timer {
    fn snapshot(&self) -> Found {
        if self.shared.is_forked() {
            return Shared::nothing();
        }
        let (copy, trouble) = {
            let mut state = self.shared.state.lock();
            (state.closed_copy(), state.trouble())
        };
        Found { trouble, ..copy.found() }
    }

    fn finish(mut self: Box<Self>) -> Found {
        if self.shared.is_forked() {
            return Shared::nothing();
        }
        self.stop();
        let (books, trouble) = {
            let mut state = self.shared.state.lock();
            (std::mem::take(&mut state.books), state.trouble())
        };
        Found { trouble, ..books.found() }
    }
}

impl Timer {
    fn stop(&mut self) {
        let Some(Running { observer, sampler }) = self.running.take() else { return };
        if self.shared.is_forked() {
            // Forked off: the threads and timers are the parent's, and locks may be held by those who are not here.
            std::mem::forget(sampler);
            return;
        }
        self.shared.state.lock().stop();
        observe::remove(observer);
        sampler.stop();
        // A panic in it would be ours; it is told as that of any thread.
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

impl Shared {
    /// Whether this is a child process that has the recording in its memory only.
    fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    fn nothing() -> Found {
        Found { trouble: Some("the recording is the parent process's".into()), ..Found::default() }
    }
}

impl observe::Observer for Shared {
    fn started(&self, thread: &Thread) {
        if !self.is_forked() {
            self.state.lock().attach(thread);
        }
    }

    fn ended(&self, thread: &Thread) {
        if !self.is_forked() {
            self.state.lock().detach(thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_tick_perf_events_are_asked_for_and_the_tick_is_what_remains() {
        let ms = Duration::from_millis;
        let refused = |_| Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        let granted = |_| Ok(());
        let tick = Source::Timer { tick: ms(4) };
        assert_eq!(source(100, Some(ms(4)), &|_| unreachable!("not above the tick")), (tick, ms(10)));
        assert_eq!(source(250, Some(ms(4)), &refused), (tick, ms(4)));
        assert_eq!(source(1000, Some(ms(4)), &granted), (Source::Perf, ms(1)));
        assert_eq!(source(1000, Some(ms(4)), &refused), (tick, ms(4)));
    }
}
