//! All sinks behind one queue. A record goes to one of them; the failure of one is reported through
//! the others.
//!
//! Invariants
//! 1. The count of lost records is written where the records are missing.
//! 2. A failure is reported through the appenders that work, or on stderr if none does.

use std::collections::VecDeque;
use std::time::Instant;

use ::log::Level;

use super::record::Captured;
use super::seam::sleep;
use super::sink::{SHORT_PAUSE, Sink};
use super::tail;
use crate::os::tell::remark;

/// Why records are missing where the overflow rule has dropped them.
pub(super) const QUEUE_FULL: &str = "the queue was full";

/// All sinks of one queue.
#[derive(Debug)]
pub(super) struct Sinks {
    sinks: Vec<Sink>,
    /// Notices since the last flush, each with the sinks that have taken it. A sink that fails at
    /// the flush has only held it.
    unwritten: Vec<(Vec<usize>, String)>,
}

impl Sinks {
    pub(super) fn new(sinks: Vec<Sink>) -> Sinks {
        Sinks { sinks, unwritten: Vec::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.sinks.len()
    }

    /// Gives sink `to` the record, and before it the number of records that are missing in its
    /// place.
    pub(super) fn write(&mut self, to: usize, gap: u64, captured: Captured) {
        if gap > 0 {
            self.missing(to, gap, QUEUE_FULL);
        }
        self.report_lost(to);
        let (kept, notice) = self.sinks[to].take(captured);
        if !kept {
            self.sinks[to].count_lost(1);
            tail::count_lost(1);
        }
        self.report(to, notice);
    }

    /// Writes into `to` that `count` records are missing here.
    pub(super) fn missing(&mut self, to: usize, count: u64, why: &str) {
        let plural = if count == 1 { "record is" } else { "records are" };
        let text = format!("{count} {plural} missing here: {why}");
        let (kept, notice) = self.sinks[to].take(Captured::own(Level::Warn, &text));
        if !kept {
            self.sinks[to].count_lost(count);
        }
        self.report(to, notice);
    }

    /// Writes into a sink that works again how many of its records are lost.
    fn report_lost(&mut self, of: usize) {
        if let Some(lost) = self.sinks[of].take_lost_if_well() {
            self.missing(of, lost, "the appender had failed");
        }
    }

    /// Writes out all buffers. Tries failing sinks again, if it is time.
    pub(super) fn flush(&mut self) {
        self.flush_those(|_| true);
    }

    fn flush_those(&mut self, may: impl Fn(&Sink) -> bool) {
        for at in 0..self.sinks.len() {
            if !may(&self.sinks[at]) {
                continue;
            }
            if self.sinks[at].is_dirty() || self.sinks[at].is_failing() {
                let notice = self.sinks[at].flush();
                self.report(at, notice);
            }
            self.report_lost(at);
        }
        // What one sink had to report is in the buffers of the others. A sink that begins to fail now
        // is not tried again here, so this ends.
        let is_due = |sink: &Sink| may(sink) && sink.is_dirty() && !sink.is_failing();
        while let Some(at) = self.sinks.iter().position(is_due) {
            let notice = self.sinks[at].flush();
            self.report(at, notice);
        }
        self.remark_unwritten();
    }

    /// When the next failing sink is to be tried.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.sinks.iter().filter_map(Sink::next_try).min()
    }

    /// A last try, which goes on while a failing sink makes progress. What is lost now is reported
    /// on stderr, as nothing else is left.
    ///
    /// With `limit` the process must end: the tries end at that moment, and an appender that is not
    /// of this crate is not called, since it may block.
    pub(super) fn finish(&mut self, limit: Option<Instant>) {
        loop {
            self.sinks.iter_mut().for_each(Sink::try_now);
            self.flush_those(|sink| limit.is_none() || sink.is_ours());
            let is_late = limit.is_some_and(|limit| Instant::now() >= limit);
            if is_late || !self.sinks.iter().any(Sink::makes_progress) {
                break;
            }
            sleep(SHORT_PAUSE);
        }
        for sink in &mut self.sinks {
            if let Some(loss) = sink.loss() {
                remark(&loss);
                sink.forget();
            }
        }
    }

    /// In the child of a fork: what is held is the parent's.
    pub(super) fn forget(&mut self) {
        self.sinks.iter_mut().for_each(Sink::forget);
    }

    /// Writes a notice of sink `of` to the sinks that work, or to stderr if none does. What these
    /// then report themselves comes next: each sink begins to fail once, so this ends.
    fn report(&mut self, of: usize, notice: Option<String>) {
        let mut notices: VecDeque<(usize, String)> = notice.into_iter().map(|text| (of, text)).collect();
        while let Some((of, text)) = notices.pop_front() {
            let mut takers = Vec::new();
            for (at, sink) in self.sinks.iter_mut().enumerate() {
                if sink.is_failing() {
                    continue;
                }
                let level = if at == of { Level::Warn } else { Level::Error };
                let (_, further) = sink.take(Captured::own(level, &text));
                notices.extend(further.map(|text| (at, text)));
                // A sink that fails now has not written it.
                if !sink.is_failing() {
                    takers.push(at);
                }
            }
            self.unwritten.push((takers, text));
        }
    }

    /// After a flush: writes on stderr each notice that no sink has written.
    fn remark_unwritten(&mut self) {
        for (takers, text) in std::mem::take(&mut self.unwritten) {
            if takers.iter().all(|taker| self.sinks[*taker].is_failing()) {
                remark(&format!("selvedge: {text}"));
            }
        }
    }
}
