//! What a recording that counts waits does with a thread's slot: begins and ends the count, and
//! reads it. And what the thread itself writes there besides its waits.

use super::description::Wait;
use super::ender::{Ender, is_on, nanos};
use super::identity::name_of_ender;
use super::slept::Slept;
use super::slot::{Counted, Slot};
use super::stack_sums::{StackNumber, TakenStack};
use super::stacks;
use super::totals::{WaitLabel, WaitTotals};
use crate::record::{Event, Rings, SleepEvent};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Slot {
    /// The thread counts its waits from now on, and writes its events into `rings`. What it counted
    /// before is dropped.
    pub(crate) fn begin_count(&self, rings: Arc<Rings>) {
        let mut waits = self.waits.lock();
        waits.counted = Some(Box::new(Counted { totals: WaitTotals::default(), rings, span_names: Vec::new() }));
        waits.forget_sleeps();
        // A thread that sleeps already will say only when it wakes. Its sleep counts from now on.
        self.sleep.take();
        if !waits.now.is_empty() {
            let now = nanos(Instant::now());
            self.sleep.expect_from(now);
            self.sleep.begin(now);
        }
    }

    /// The thread counts no more, and lets its rings go.
    pub(crate) fn end_count(&self) {
        let mut waits = self.waits.lock();
        let ended = waits.counted.take();
        waits.forget_sleeps();
        self.sleep.take();
        drop(waits);
        drop(ended);
    }

    /// The waits that its thread has counted, and the waits that go on; `None` if it counts none.
    pub(crate) fn read_totals(&self) -> Option<WaitTotals> {
        let waits = self.waits.lock();
        let mut totals = waits.counted.as_ref()?.totals.clone();
        if let Some((inner, outer)) = waits.now.split_last() {
            let mut slept = inner.slept;
            if let Some(sleep) = self.sleep.read() {
                slept.add(&sleep, None);
            }
            slept.add_stack(inner.present_stack.map(|stack| TakenStack::of_all(slept.nanos, stack)));
            inner.count_into(slept, &mut totals, name_of_ender);
            for wait in outer {
                wait.count_into(wait.slept, &mut totals, name_of_ender);
            }
        }
        Some(totals)
    }

    /// The wait of that serial number has that stack, while it goes on.
    pub(crate) fn set_present_stack(&self, serial: u64, stack: StackNumber) {
        let mut waits = self.waits.lock();
        if let Some(wait) = waits.now.last_mut().filter(|wait| wait.serial() == serial) {
            wait.present_stack = Some(stack);
        }
    }

    /// The sleep that goes on, up to now. Its name is among the [`wait_labels`](Self::wait_labels)
    /// that are read later.
    pub(crate) fn present_sleep(&self) -> Option<SleepEvent> {
        let mut waits = self.waits.lock();
        let waits = &mut *waits;
        let (counted, wait) = (waits.counted.as_mut()?, waits.now.last_mut()?);
        let slept = self.sleep.read()?;
        let name = wait.entry_in(&mut counted.totals);
        wait.entry = Some(name);
        let stack = wait.present_stack.map_or(0, |stack| stack.0 + 1);
        Some(SleepEvent { name, serial: wait.serial() as u16, stack, ..slept })
    }

    /// What the numbers of names in the thread's sleeps mean. None once the count has ended.
    pub(crate) fn wait_labels(&self) -> Vec<WaitLabel> {
        self.waits.lock().counted.as_ref().map(|counted| counted.totals.names()).unwrap_or_default()
    }

    /// The names of the thread's spans, by the numbers in its events; the rest shares the number
    /// after the last. None once the count has ended.
    pub(crate) fn span_names(&self) -> Vec<&'static str> {
        self.waits.lock().counted.as_ref().map(|counted| counted.span_names.clone()).unwrap_or_default()
    }

    /// The number of its thread, as in stamps; 0 if the thread has none.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// By the thread itself, which publishes a wait.
    pub(super) fn expect_stamps(&self, since: Instant) {
        if is_on() {
            self.sleep.expect_from(nanos(since));
        }
    }

    /// By the thread itself, which is about to sleep.
    pub(super) fn begin_sleep(&self, now: u64) {
        if self.sleep.is_any() {
            let taken = self.take_stack();
            self.waits.lock().count_sleep(&self.sleep, taken);
        }
        self.sleep.begin(now);
    }

    /// By the thread itself: the stack of its blocking call, if it has slept and gets one. No lock
    /// is held while it is taken, and its time is not the sleep's. Called when the wait ends
    /// (`Slot::change`), and by the next sleep in the same wait.
    pub(super) fn take_stack(&self) -> Option<TakenStack> {
        if !self.sleep.is_any() {
            return None;
        }
        self.sleep.end_if_open();
        let slept = self.sleep.read()?;
        stacks::after_sleep(slept.ended - slept.begin)
    }

    /// By the thread itself: takes the stack of the wait that has just ended as the first such
    /// wait, so that each name and ender has one. Called by the drop of `Published` in
    /// `publish.rs`.
    #[cold]
    pub(super) fn take_first_stack(&self, ended: &Wait) {
        if let Some(stack) = stacks::take()
            && let Some(counted) = &mut self.waits.lock().counted
        {
            ended.add_stack(stack, &mut counted.totals);
        }
    }

    /// By the thread itself, which was woken.
    pub(super) fn end_sleep(&self, ender: impl FnOnce() -> Ender) {
        if self.sleep.is_any() {
            self.sleep.end(ender());
        }
    }

    /// By the thread itself: a span ends, which began at `begin`.
    pub(super) fn note_span(&self, begin: u64, name: &'static str) {
        let end = nanos(Instant::now());
        if let Some(counted) = &mut self.waits.lock().counted {
            let name = counted.span(name);
            counted.rings.write(Event::Span { begin, end, name });
        }
    }

    /// By the thread itself: a log record of that level was made at that line of a file.
    pub(super) fn note_log(&self, level: u8, (file, line): (&str, u32), text: &str) {
        let waits = self.waits.lock();
        if let Some(counted) = &waits.counted {
            let store = counted.rings.store();
            let (place, text) = (store.place(file, line), store.text(text));
            counted.rings.write(Event::Log { at: nanos(Instant::now()), level, place, text });
        }
    }
}

/// Names of spans of one thread that are kept apart in its events.
const MAX_SPANS: usize = 256;

impl Counted {
    /// The number of a span's name, made if need be.
    fn span(&mut self, name: &'static str) -> u32 {
        let known = self.span_names.iter().position(|known| std::ptr::eq(*known, name) || *known == name);
        let number = known.unwrap_or_else(|| {
            if self.span_names.len() < MAX_SPANS {
                self.span_names.push(name);
                return self.span_names.len() - 1;
            }
            MAX_SPANS
        });
        number as u32
    }
}

impl super::slot::Waits {
    /// Nothing of the sleeps of waits that go on is counted any more.
    fn forget_sleeps(&mut self) {
        for wait in &mut self.now {
            (wait.slept, wait.entry, wait.present_stack) = (Slept::default(), None, None);
        }
    }
}
