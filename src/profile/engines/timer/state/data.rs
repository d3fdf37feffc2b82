//! The state that every clock needs: the fields, and methods that only read them. No sampling.

use super::blocked_looks::BlockedLooks;
use super::cpu::CpuSampling;
use super::obstacles::Obstacles;
use super::ring::{ByRing, RingSampling};
use super::traced::Tracing;
use super::unregistered::Unregistered;
use super::wall::WallSampling;
use crate::os::CpuClock;
use crate::profile::engines::timer::accounting::{Accounting, ThreadClock, WallState};
use crate::profile::engines::timer::ids::ById;
use crate::profile::engines::timer::modules::ModuleList;
use crate::profile::engines::timer::newcomers::Newcomers;
use crate::profile::engines::timer::own_stacks::OwnStacks;
use crate::profile::engines::timer::sample_flags::SampleFlags;
use crate::profile::engines::timer::slot::{Arena, Slot};
use crate::profile::engines::timer::table::{Claim, Grace};
use crate::profile::engines::timer::triggers::{Source, TimerCheck, Trigger, Triggers};
use crate::profile::engines::timer::unwind::Modules;
use crate::profile::loader::History;
use crate::profile::raw::Nanos;
use crate::profile::trace::Collector;
use crate::thread::Thread;
use crate::wait;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The state of a recording, under the engine's lock.
pub(in super::super) struct State {
    pub(in super::super) accounting: Accounting,
    pub(super) triggers: Triggers,
    pub(super) began: Instant,
    /// `false`: stopped.
    pub(super) running: bool,
    /// The sampled OS threads, by kernel thread id.
    pub(super) sampled: ById<i32, SampledThread>,
    /// Which of them have written samples.
    pub(super) flags: SampleFlags,
    /// The kernel thread id and the account of each thread of the tree that is in `sampled`, by its
    /// id in the tree.
    pub(super) registered: ById<u64, (i32, usize)>,
    /// New threads that found the lock taken.
    pub(in super::super) newcomers: Arc<Newcomers>,
    /// The new threads that are not attached yet, by their ids in the tree.
    pub(super) deferred: ById<u64, Deferred>,
    /// Kept for the slots of the next threads.
    pub(super) spare_arenas: Vec<Arena>,
    pub(super) module_list: ModuleList,
    pub(in super::super) own_stacks: Arc<OwnStacks>,
    /// Module lists that a handler may still be using.
    pub(super) retired_modules: Vec<(Box<Modules>, Vec<Grace>)>,
    /// Of the sampler's own thread.
    pub(super) sampler_id: Option<i32>,
    /// `None`: unregistered threads are not sampled.
    pub(super) unregistered: Option<Unregistered>,
    pub(super) obstacles: Obstacles,
    /// To be logged: stacks were folded.
    pub(super) stacks_warning: Option<String>,
    pub(super) cpu: CpuSampling,
    pub(super) wall: WallSampling,
    /// `None`: threads are sampled by signals.
    pub(super) ring: Option<RingSampling>,
    /// Why the kernel's rings were wanted and are not used.
    pub(super) no_rings: Option<String>,
    /// `None`: no recording counts waits.
    pub(super) tracing: Option<Tracing>,
    /// For reading rings.
    pub(super) address_buffer: Vec<u64>,
}

/// A sampled OS thread.
pub(super) struct SampledThread {
    /// In `State::flags`.
    pub(super) number: usize,
    /// `None`: by the kernel's rings.
    pub(super) by_signal: Option<BySignal>,
    pub(super) by_ring: ByRing,
    /// Where its stack lies. `None`: an unregistered thread, of which that is not known.
    pub(super) stack: Option<Range<u64>>,
    pub(super) trigger: Option<Trigger>,
    pub(super) timer_check: TimerCheck,
    pub(super) blocked_looks: BlockedLooks,
    pub(super) clock: CpuClock,
    pub(super) thread_clock: ThreadClock,
    /// Its CPU clock at the last sample of the trace.
    pub(super) traced_clock: u64,
    /// `None`: by the CPU clock.
    pub(super) wall_state: Option<WallState>,
    /// Where it publishes its waits. An unregistered thread never does.
    pub(super) waits: Arc<wait::Slot>,
    /// The threads of the tree that it is registered as; the last one is in charge. Empty for an
    /// unregistered thread.
    pub(super) handles: Vec<Thread>,
}

/// A new thread that is not attached yet.
pub(super) struct Deferred {
    pub(super) thread: Thread,
    /// The kernel's id.
    pub(super) id: i32,
    /// When its first sample is due, by its CPU clock.
    pub(super) first: Duration,
}

/// What the signal handler of a sampled thread needs.
pub(super) struct BySignal {
    pub(super) slot: Arc<Slot>,
    pub(super) entry: Claim,
}

impl State {
    /// With the modules listed and published, and no thread yet.
    pub(in super::super) fn new(
        accounting: Accounting,
        triggers: Triggers,
        began: Instant,
        unregistered: bool,
        collector: Option<Arc<Collector>>,
    ) -> State {
        let newcomers = Newcomers::new(began, triggers.source() == Source::Wall);
        let mut state = State {
            accounting,
            triggers,
            began,
            running: true,
            sampled: ById::default(),
            flags: SampleFlags::default(),
            registered: ById::default(),
            newcomers: Arc::new(newcomers),
            deferred: ById::default(),
            spare_arenas: Vec::new(),
            module_list: ModuleList::default(),
            own_stacks: Arc::default(),
            retired_modules: Vec::new(),
            sampler_id: None,
            unregistered: unregistered.then(Unregistered::new),
            obstacles: Obstacles::default(),
            stacks_warning: None,
            cpu: CpuSampling::new(began),
            wall: WallSampling::default(),
            ring: None,
            no_rings: None,
            tracing: collector.map(|collector| Tracing::new(collector, began)),
            address_buffer: Vec::new(),
        };
        state.renew_modules();
        state
    }

    /// Tells which thread is the sampler.
    pub(in super::super) fn set_sampler(&mut self, clock: Option<CpuClock>) {
        self.sampler_id = clock.map(CpuClock::thread);
    }

    /// The kernel ids of the sampled threads.
    pub(super) fn sampled_ids(&self) -> Vec<i32> {
        self.sampled.keys().copied().collect()
    }

    /// Which code was loaded, now and before.
    pub(in super::super) fn history(&self) -> History {
        self.module_list.history().clone()
    }

    /// What kept threads from being sampled, as a sentence.
    pub(in super::super) fn trouble(&self) -> Option<String> {
        let all: Vec<String> = self
            .no_rings
            .iter()
            .cloned()
            .chain(self.triggers.trouble())
            .chain(self.ring.as_ref().and_then(RingSampling::trouble))
            .chain(self.obstacles.trouble())
            .collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// The number of threads that needed a perf clock and got none.
    pub(in super::super) fn inexact(&self) -> u64 {
        self.triggers.inexact()
    }

    /// The warnings to log, once. The caller logs them without the lock, since appenders are the
    /// user's.
    pub(in super::super) fn take_warnings(&mut self) -> Vec<String> {
        let mut warnings = self.triggers.take_warnings();
        warnings.append(&mut self.obstacles.take_warnings());
        warnings.extend(self.stacks_warning.take());
        warnings.extend(self.ring.as_mut().and_then(RingSampling::take_warning));
        warnings
    }

    /// The wall clock, in nanoseconds since the recording began.
    pub(super) fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// `time` by the recording's clock; negative before it began.
    pub(super) fn nanos_since_start(&self, time: Instant) -> Nanos {
        match time.checked_duration_since(self.began) {
            Some(after) => after.as_nanos() as Nanos,
            None => -(self.began.duration_since(time).as_nanos() as Nanos),
        }
    }
}

impl SampledThread {
    pub(super) fn is_unregistered(&self) -> bool {
        self.stack.is_none()
    }

    /// For a message.
    pub(super) fn path(&self, id: i32) -> String {
        self.handles.last().map_or_else(|| format!("thread {id}"), |thread| thread.path().to_owned())
    }
}

/// The CPU clock in nanoseconds. `None`: it cannot be read.
pub(super) fn cpu_nanos(clock: CpuClock) -> Option<u64> {
    clock.read().map(|time| time.as_nanos() as u64)
}
