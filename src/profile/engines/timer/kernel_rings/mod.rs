//! The kernel's rings of samples: what `Engine::Ring` has in place of signals. The sampler reads
//! them, and walks the copies of stacks in them. Knows the system's part (`os::perf_ring`), and no
//! accounts.
//!
//! | file | task |
//! |---|---|
//! | `record` | the kernel's records, from their bytes |
//! | `clocks` | at which CPU clock of its thread a sample was taken |
//! | `refusal` | why there are no rings, as a sentence |

mod clocks;
mod record;
mod refusal;

pub(super) use clocks::clocks_of_samples;
pub(super) use refusal::Refusal;

use super::slot::DEEPEST;
use super::unwind::{Cache, Memory, Modules, Registers};
use crate::os::perf;
use crate::os::perf_ring::{Ring, SampleEvents, processors};
use crate::profile::raw::Ending;
use record::{KernelRecord, KernelSample};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::Duration;

/// The bytes of a stack that the kernel copies at first. Mostly they suffice.
const STACK: u32 = 8 * 1024;

/// The bytes that it copies where many stacks are longer.
const LONG_STACK: u32 = 32 * 1024;

/// More than one stack of this number is cut: longer ones are copied.
const CUT_SHARE: u64 = 50;

/// So many samples tell how many stacks are cut.
const ENOUGH_SAMPLES: u64 = 200;

/// The bytes of a record besides its stack, at most.
const REST_OF_RECORD: usize = 512;

/// How long it takes to fill a ring, if there is memory for that.
const FILLED_AFTER: Duration = Duration::from_millis(100);

const LONGEST_RING: usize = 8 << 20;
const SHORTEST_RING: usize = 128 << 10;

/// A thread takes an event for each processor. With more processors than this, a new thread would
/// take longer than what its samples are worth, unless the user asks for it.
const MOST_PROCESSORS: usize = 16;

/// The number of ended threads whose events are kept: threads that they have started have inherited
/// them, and lose them with these.
const MOST_RETIRED: usize = 64;

/// How much of a stack may lie beyond its copy, where its end is not known.
const LONGEST_STACK: u64 = 8 << 20;

pub(super) struct KernelRings {
    rings: Vec<Ring>,
    period: Duration,
    /// The bytes of each stack that are copied.
    stack: u32,
    /// The loaded code.
    modules: Modules,
    cache: Cache,
    /// The number of threads that can get events.
    threads: u64,
    /// The events of threads that have ended, with their kernel ids. The oldest first.
    retired: VecDeque<(i32, SampleEvents)>,
    /// Samples since the stack's length was set, and how many of them were cut.
    walked: u64,
    cut: u64,
    /// The samples that were read last, and their addresses.
    samples: Vec<RingSample>,
    addresses: Vec<u64>,
    /// Samples that found no room.
    lost: u64,
    buffer: Vec<u8>,
}

/// A sample with a walked stack.
pub(super) struct RingSample {
    pub(super) thread: i32,
    /// On the monotonic clock, in nanoseconds.
    pub(super) at: u64,
    pub(super) ending: Ending,
    addresses: Range<usize>,
}

impl KernelRings {
    /// Rings for samples after each `period`, and events for as many threads as there are.
    /// `is_asked`: the user has asked for this engine.
    ///
    /// # Errors
    /// Why there are none: the kernel's settings, the locked memory, the files, the processors.
    pub(super) fn new(period: Duration, is_asked: bool) -> Result<KernelRings, Refusal> {
        let processors = processors();
        if processors.len() > MOST_PROCESSORS && !is_asked {
            return Err(Refusal::Processors(processors.len()));
        }
        let threads = crate::os::thread_count().unwrap_or(1) as u64 + 1;
        let files = perf::files_to_spend();
        let possible = files / processors.len() as u64;
        // One for each ring.
        if possible < threads + 1 {
            return Err(Refusal::Files { needed: (threads + 1) * processors.len() as u64, possible: files });
        }
        let mut rings = Vec::with_capacity(processors.len());
        let wanted = (FILLED_AFTER.as_nanos() / period.as_nanos().max(1)) as usize * record_length(STACK);
        let mut length = wanted.next_power_of_two().clamp(SHORTEST_RING, LONGEST_RING);
        while rings.len() < processors.len() {
            match Ring::new(processors[rings.len()], length) {
                Ok(ring) => rings.push(ring),
                Err(cause) if cause.kind() == io::ErrorKind::OutOfMemory => {
                    rings.clear();
                    length /= 2;
                    if length < SHORTEST_RING {
                        return Err(Refusal::Memory { ring: SHORTEST_RING, processors: processors.len() });
                    }
                }
                Err(cause) => return Err(Refusal::Kernel(cause)),
            }
        }
        let found = KernelRings {
            rings,
            period,
            stack: STACK,
            modules: Modules::default(),
            cache: Cache::default(),
            threads: possible - 1,
            retired: VecDeque::new(),
            walked: 0,
            cut: 0,
            samples: Vec::new(),
            addresses: Vec::new(),
            lost: 0,
            buffer: Vec::new(),
        };
        // The rings count nothing: what the samples need may be refused all the same.
        let this_thread = 0;
        SampleEvents::start(this_thread, period, STACK, &found.rings).map_err(Refusal::Kernel)?;
        Ok(found)
    }

    /// How long the sampler may pause: a quarter of the time in which a ring is filled.
    pub(super) fn pause(&self) -> Duration {
        let records = self.rings.first().map_or(0, Ring::length) / record_length(self.stack);
        let pause = self.period * (records / 4).clamp(1, 20) as u32;
        pause.clamp(Duration::from_millis(1), Duration::from_millis(50))
    }

    pub(super) fn period(&self) -> u64 {
        self.period.as_nanos() as u64
    }

    /// Walks from now on with this code.
    pub(super) fn set_modules(&mut self, modules: Modules) {
        self.modules = modules.for_copies();
    }

    /// Events for the thread with that kernel id, which has none, or has lost them.
    ///
    /// # Errors
    /// Why it gets none, as a sentence.
    pub(super) fn start(&mut self, thread: i32) -> Result<SampleEvents, String> {
        while self.threads == 0 && self.forget_oldest() {}
        if self.threads == 0 {
            return Err("a quarter of the files that the process may still open is spent on perf events".into());
        }
        let events = SampleEvents::start(thread, self.period, self.stack, &self.rings);
        let events = events.map_err(|cause| format!("the kernel gives no perf events: {cause}"))?;
        self.threads -= 1;
        Ok(events)
    }

    /// Keeps the events of a thread that is not sampled any more: threads that it has started have
    /// inherited them.
    pub(super) fn retire(&mut self, thread: i32, events: Option<SampleEvents>) {
        let Some(events) = events else { return };
        self.retired.push_back((thread, events));
        if self.retired.len() > MOST_RETIRED {
            self.forget_oldest();
        }
    }

    /// The events of a thread that was sampled before.
    pub(super) fn take_retired(&mut self, thread: i32) -> Option<SampleEvents> {
        let place = self.retired.iter().position(|(known, _)| *known == thread)?;
        self.retired.remove(place).map(|(_, events)| events)
    }

    /// Ends the events of threads that have ended.
    pub(super) fn end_retired(&mut self) {
        while self.forget_oldest() {}
    }

    /// Ends these events.
    pub(super) fn end(&mut self, events: Option<SampleEvents>) {
        self.threads += u64::from(events.is_some());
    }

    fn forget_oldest(&mut self) -> bool {
        let oldest = self.retired.pop_front();
        let is_found = oldest.is_some();
        self.end(oldest.map(|(_, events)| events));
        is_found
    }

    /// Returns `true` if many stacks are cut, and longer ones could be copied for `threads`
    /// threads, of which `with_events` have events. Then all these must be [started](Self::start)
    /// again.
    pub(super) fn lengthens_stacks(&mut self, threads: usize, with_events: impl FnOnce() -> usize) -> bool {
        if self.walked < ENOUGH_SAMPLES {
            return false;
        }
        let are_many = self.cut * CUT_SHARE > self.walked;
        (self.walked, self.cut) = (0, 0);
        let possible = self.threads + (self.retired.len() + with_events()) as u64;
        let may = self.stack < LONG_STACK && threads as u64 <= possible;
        if are_many && may {
            self.stack = LONG_STACK;
        }
        are_many && may
    }

    /// Reads all samples that were taken before this call: they are [`samples`](Self::samples)
    /// then. `stack_of`: the bounds of the stack of the thread with that kernel id, as far as they
    /// are known; `None` if samples of it with that event's number do not count.
    pub(super) fn read(&mut self, stack_of: impl Fn(i32, u64) -> Option<Option<Range<u64>>>) {
        self.samples.clear();
        self.addresses.clear();
        let mut rings = std::mem::take(&mut self.rings);
        let mut buffer = std::mem::take(&mut self.buffer);
        for ring in &mut rings {
            ring.read(&mut buffer, |record| match KernelRecord::read(record) {
                KernelRecord::Sample(sample) => {
                    if let Some(stack) = stack_of(sample.thread, sample.stream) {
                        self.walk(&sample, stack);
                    }
                }
                KernelRecord::Lost(samples) => self.lost += samples,
                KernelRecord::Other => {}
            });
        }
        (self.rings, self.buffer) = (rings, buffer);
        // A thread that has changed its processor has samples in several rings.
        self.samples.sort_unstable_by_key(|sample| (sample.thread, sample.at));
    }

    /// The samples that were read last, by thread and time.
    pub(super) fn samples(&self) -> &[RingSample] {
        &self.samples
    }

    pub(super) fn addresses(&self, sample: &RingSample) -> &[u64] {
        &self.addresses[sample.addresses.clone()]
    }

    /// The number of samples that found no room since the last call.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn walk(&mut self, sample: &KernelSample<'_>, stack: Option<Range<u64>>) {
        let first = self.addresses.len();
        let mut ending = Ending::Root;
        if let Some(words) = &sample.registers {
            let registers = Registers::sampled(words);
            let pointer = registers.stack_pointer();
            let copied = pointer.saturating_add(sample.stack.len() as u64);
            let (end, own) = match stack {
                Some(own) if own.contains(&pointer) => (own.end, 0..0),
                // On the alternate stack of a signal handler, or in a coroutine.
                own => {
                    let beyond = if sample.is_full { LONGEST_STACK } else { 0 };
                    (copied.saturating_add(beyond), own.unwrap_or(0..0))
                }
            };
            let bytes = &sample.stack[..sample.stack.len().min(end.saturating_sub(pointer) as usize)];
            let memory = Memory::of_part(bytes, pointer..end, own);
            let addresses = &mut self.addresses;
            ending = self.modules.walk(&registers, memory, &mut self.cache, |address| {
                addresses.push(address);
                addresses.len() - first < DEEPEST as usize
            });
        }
        let addresses = first..self.addresses.len();
        self.walked += 1;
        self.cut += u64::from(ending == Ending::Deep && addresses.len() < DEEPEST as usize);
        self.samples.push(RingSample { thread: sample.thread, at: sample.at, ending, addresses });
    }
}

fn record_length(stack: u32) -> usize {
    stack as usize + REST_OF_RECORD
}
