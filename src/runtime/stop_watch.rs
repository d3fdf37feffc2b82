//! Reports the threads that do not stop, on a thread of the tree that is older than all threads
//! that it watches. The clock of each stop, and the threads that were asked, come from
//! `thread::stop_clock` and `thread::overdue`.
//!
//! The same thread does three more things, so that no further thread has to wake up for them. It
//! looks now and then whether the runtime's signals are still its own (`taken_signals`). It logs the
//! failures that no thread joins (`thread::held`). It starts the thread that the timer lacks.
//!
//! A thread is reported when its patience is over, and again when twice the time has passed that had
//! passed at the report before, but at least once an hour: an outage at night fills no disk, and its
//! last report is never old.
//!
//! To find the stacks for a report may take seconds. Only a thread that still runs then is reported,
//! and the end of the program waits for no stacks.

use super::config::{OnStuck, ShutdownSettings};
use super::exit::{self, NoDump};
use super::report_plan::{Plan, RARELY};
use super::reserve::{LAST_WORDS, run_within};
use super::signals::Looks;
use super::stuck_targets::StuckTargets;
use crate::dump::Dump;
use crate::error::ignore_panic;
use crate::os::counted::counted;
use crate::signal::{is_timer_left_alone, resume_timer, running_targets};
use crate::thread::failure::Unlogged;
use crate::thread::held;
use crate::thread::overdue;
use crate::thread::stop_clock::{self, StopClock};
use crate::thread::tree::Node;
use crate::thread::{Builder, Thread};
use crossbeam_channel::{Receiver, bounded};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Threads in one report that are shown with stacks; the others are listed by their paths.
const MOST_SHOWN: usize = 5;
const MOST_LISTED: usize = 20;

/// What the end of the runtime tells the watch.
pub(super) struct StopWatch {
    /// `main`'s function has returned: what `main` does since is the runtime's, and each thread
    /// that it waits for has a patience of its own. Relaxed: it guards nothing, and a late look
    /// only reports `main` once more.
    main_has_returned: Arc<AtomicBool>,
}

impl StopWatch {
    /// Starts it. The first of the runtime's threads: it ends as the last one.
    pub(super) fn start(main: &Arc<Node>, settings: &ShutdownSettings) -> io::Result<StopWatch> {
        let main_has_returned = Arc::new(AtomicBool::new(false));
        let (end, is_over) = bounded(0);
        let mut watch = Watch::new(main.clone(), main_has_returned.clone(), is_over, settings);
        let clock = StopClock::start(settings.patience);
        let builder = Builder::new("stop-watch").parent(&Thread::from_node(main.clone())).runtime();
        let spawned = builder.spawn(move |please_stop| {
            please_stop.on_go_first(stop_clock::end_watch);
            please_stop.on_go_first(move || drop(end));
            let mut looks = Looks::start();
            while clock.wait() {
                if let Some(next) = looks.look_in_time() {
                    clock.check_by(next);
                }
                tell_held();
                if is_timer_left_alone() && run_within("timer", LAST_WORDS, resume_timer).is_none() {
                    clock.check_by(Instant::now() + LAST_WORDS);
                }
                if let Some(next) = watch.check() {
                    clock.check_patience_by(next);
                }
            }
        });
        spawned.map(|_| StopWatch { main_has_returned })
    }

    pub(super) fn main_has_returned(&self) {
        self.main_has_returned.store(true, Ordering::Relaxed);
    }
}

/// Tells the failures that no thread joins. On another thread: the log may hang, and the watch must not.
fn tell_held() {
    let lines = Arc::new(held::take_due());
    if lines.is_empty() {
        return;
    }
    let for_log = lines.clone();
    let tell = move || for_log.iter().for_each(|line| ignore_panic(|| line.tell()));
    if run_within("held", LAST_WORDS, tell).is_none() {
        lines.iter().for_each(Unlogged::remark);
    }
}

struct Watch {
    main: Arc<Node>,
    main_has_returned: Arc<AtomicBool>,
    /// Disconnected when the watch is asked to end.
    is_over: Receiver<Infallible>,
    patience: Duration,
    on_stuck: OnStuck,
    /// By the thread's id.
    plans: HashMap<u64, Plan>,
    /// A dump that was not made in time.
    late: Option<Receiver<Dump>>,
    targets: StuckTargets,
}

impl Watch {
    fn new(
        main: Arc<Node>,
        main_has_returned: Arc<AtomicBool>,
        is_over: Receiver<Infallible>,
        settings: &ShutdownSettings,
    ) -> Watch {
        let &ShutdownSettings { patience, on_stuck, .. } = settings;
        let targets = StuckTargets::new(patience, on_stuck);
        Watch { main, main_has_returned, is_over, patience, on_stuck, plans: HashMap::new(), late: None, targets }
    }

    /// Returns `true` if the end of this thread is still waited for.
    fn is_awaited(&self, thread: &Thread) -> bool {
        // A root has no function of its own, apart from this `main`.
        let is_root = thread.parent().is_none();
        let is_over = is_root && (thread.id() != self.main.id || self.main_has_returned.load(Ordering::Relaxed));
        thread.is_alive() && !is_over
    }

    /// Reports the threads whose time has come. Returns when the next one's will have come, `None`
    /// if each thread that was asked has ended.
    fn check(&mut self) -> Option<Instant> {
        let program = self.main.please_stop.reason().map(|reason| reason.when());
        let myself = Thread::current();
        let (now, mut due, mut plans) = (Instant::now(), Vec::new(), HashMap::new());
        let mut judged = Vec::new();
        for asked in overdue::not_ended() {
            let thread = &asked.thread;
            if *thread == myself || !self.is_awaited(thread) {
                continue;
            }
            // A thread that was asked long before the program was has a whole patience from then
            // on.
            let since = program.map_or(asked.when, |program| program.max(asked.when));
            let patience = asked.patience.unwrap_or(self.patience);
            let known = self.plans.remove(&thread.id()).filter(|plan| plan.since == since);
            let plan = known.unwrap_or_else(|| Plan::new(since, patience)).at_look();
            if plan.next().is_some_and(|next| next <= now) {
                due.push(asked.thread.clone());
            }
            plans.insert(asked.thread.id(), plan);
            judged.push(asked.thread);
        }
        self.plans = plans;
        if !due.is_empty() {
            self.report(due, program.is_some());
        }
        let targets = self.targets.check(program, |path| judged.iter().any(|thread| thread.path() == path));
        self.plans.values().filter_map(Plan::next).chain(targets).min()
    }

    fn report(&mut self, due: Vec<Thread>, program_ends: bool) {
        // A thread of a service that goes on must not take the others with it.
        if self.on_stuck == OnStuck::Abort && program_ends {
            let groups = groups(&due);
            let Some((first, others)) = groups.split_first() else { return };
            let others: Vec<_> = others.iter().map(|group| &group.culprit).collect();
            let others = if others.is_empty() { String::new() } else { format!("; nor does {}", list(&others)) };
            exit::abort_stuck(&first.culprit, waited(&first.culprit), &others);
        }
        exit::report_stuck(self.reports(due));
    }

    /// What is told of the threads in `due` that still run when the stacks are found; empty if there
    /// is none, or if the watch is asked to end meanwhile.
    fn reports(&mut self, mut due: Vec<Thread>) -> Vec<String> {
        let Some((dump, note)) = self.dump(&due) else { return Vec::new() };
        due.retain(|thread| self.is_awaited(thread));
        // From when the report is made: the dump has taken its time.
        for thread in &due {
            self.plans.entry(thread.id()).and_modify(Plan::advance);
        }
        let groups = groups(&due);
        let (shown, others) = groups.split_at(groups.len().min(MOST_SHOWN));
        let mut reports: Vec<_> = shown.iter().map(|group| self.text(group, &dump, &note)).collect();
        if !others.is_empty() {
            let others: Vec<_> = others.iter().map(|group| &group.culprit).collect();
            reports.push(format!(
                "the runtime has waited as long for {} more to stop: {}",
                counted(others.len() as u64, "thread"),
                list(&others)
            ));
        }
        reports
    }

    /// A dump with stacks, if these are found in time: a report that comes late is of no use. What
    /// comes too late is in the next report. `None` if the watch is asked to end.
    fn dump(&mut self, due: &[Thread]) -> Option<(Dump, String)> {
        let making = self.late.take();
        let was_late = making.is_some();
        let making = making.unwrap_or_else(exit::start_dump);
        let announce = || {
            let due: Vec<Thread> = due.iter().filter(|thread| self.is_awaited(thread)).cloned().collect();
            let groups = groups(&due);
            let culprits: Vec<_> = groups.iter().map(|group| &group.culprit).collect();
            if culprits.is_empty() {
                return;
            }
            let longest = culprits.iter().map(|thread| waited(thread)).max().unwrap_or_default();
            let (paths, some) = (list(&culprits), if culprits.len() == 1 { "does" } else { "do" });
            exit::report_stuck(vec![format!(
                "{paths} {some} not stop, asked {longest:.1?} ago; the stacks are being looked for"
            )]);
        };
        let (dump, note) = match exit::wait_for_dump(&making, &self.is_over, announce) {
            Ok(dump) if was_late => {
                let note = format!(
                    "\n  (seen {:.1?} ago: to find the stacks took longer than the last report waited)",
                    dump.age()
                );
                (dump, note)
            }
            Ok(dump) => (dump, String::new()),
            Err(NoDump::IsOver) => return None,
            Err(NoDump::TakesLong) => {
                self.late = Some(making);
                let note = "\n  (the stacks were not found in time; they come with the next report)";
                (Dump::without_stacks(), note.to_owned())
            }
            Err(NoDump::NoThread) => {
                let note = "\n  (no stacks: the system gives no thread to find them)";
                (Dump::without_stacks(), note.to_owned())
            }
        };
        Some((dump, note))
    }

    fn text(&self, group: &Group, dump: &Dump, note: &str) -> String {
        let thread = &group.culprit;
        let mut text = format!("the runtime has waited {:.1?} for {} to stop:", waited(thread), thread.path());
        let known = match dump.explain(thread) {
            // Born after the dump was made.
            known if known.is_empty() => Dump::without_stacks().explain(thread),
            known => known,
        };
        text.push_str(&exit::indented(&known));
        text.push_str(note);
        if let Some(target) = running_targets().iter().find(|target| *target.thread == *thread.path()) {
            text.push_str(&format!("\n  it runs {target}"));
        }
        if !group.behind.is_empty() {
            let behind = counted(group.behind.len() as u64, "thread");
            let verb = if group.behind.len() == 1 { "waits" } else { "wait" };
            text.push_str(&format!("\n  {behind} {verb} for that: {}", list(&group.behind)));
        }
        if let Some(plan) = self.plans.get(&thread.id()) {
            let again = plan.next().map_or(RARELY, |next| next.saturating_duration_since(Instant::now()));
            text.push_str(&format!("\n  (reported again in {again:.1?}, unless it stops)"));
        }
        text
    }
}

fn waited(thread: &Thread) -> Duration {
    thread.stop_reason().map_or(Duration::ZERO, |reason| reason.elapsed())
}

fn list(threads: &[&Thread]) -> String {
    let (shown, others) = threads.split_at(threads.len().min(MOST_LISTED));
    let paths: Vec<_> = shown.iter().map(|thread| thread.path()).collect();
    let more = if others.is_empty() { String::new() } else { format!(", and {} more", others.len()) };
    paths.join(", ") + &more
}

/// A thread that waits for no other thread of the report, and the threads that wait for it.
struct Group<'a> {
    culprit: Thread,
    behind: Vec<&'a Thread>,
}

/// Puts the threads that wait for another thread of `due` behind that one. Of threads that wait for
/// each other, one stands for all: its explanation shows the circle.
fn groups(due: &[Thread]) -> Vec<Group<'_>> {
    let places: HashMap<&str, usize> = due.iter().enumerate().map(|(place, thread)| (thread.path(), place)).collect();
    let awaited = |thread: &Thread| {
        let wait = thread.waiting_for()?;
        let path = wait.holder().map(|holder| holder.to_string());
        let path = path.or_else(|| (wait.kind() == "thread").then(|| wait.name().to_owned()))?;
        places.get(path.as_str()).copied()
    };
    let awaited: Vec<Option<usize>> = due.iter().map(awaited).collect();
    let culprit = |start: usize| {
        let (mut at, mut seen) = (start, vec![start]);
        while let Some(next) = awaited[at] {
            if let Some(from) = seen.iter().position(|&place| place == next) {
                return seen[from..].iter().copied().max().unwrap_or(next);
            }
            seen.push(next);
            at = next;
        }
        at
    };
    let culprits: Vec<usize> = (0..due.len()).map(culprit).collect();
    let mut groups: BTreeMap<usize, Group<'_>> = BTreeMap::new();
    for (place, &of) in culprits.iter().enumerate() {
        let group = groups.entry(of).or_insert_with(|| Group { culprit: due[of].clone(), behind: Vec::new() });
        if place != of {
            group.behind.push(&due[place]);
        }
    }
    // The youngest first, as they are waited for.
    groups.into_values().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::super::config::Ask;
    use super::*;
    use crate::thread::roots;
    use crossbeam_channel::Sender;

    /// A watch that gets its dump by the first sender, and is asked to end when the second is dropped.
    fn watch() -> (Watch, Sender<Dump>, Sender<Infallible>) {
        let ((give, late), (end, is_over)) = (bounded(1), bounded(0));
        let (patience, grace) = (Duration::ZERO, Duration::ZERO);
        let settings = ShutdownSettings { patience, on_stuck: OnStuck::Wait, grace, ask: Ask::Main };
        let mut watch = Watch::new(roots::root(), Arc::default(), is_over, &settings);
        watch.late = Some(late);
        (watch, give, end)
    }

    #[test]
    fn only_threads_that_still_run_are_reported() {
        let (mut watch, give, _end) = watch();
        let brief = Builder::new("brief").spawn(|please_stop| please_stop.wait_for_go()).unwrap();
        let slow = Builder::new("slow").spawn(|please_stop| please_stop.wait_for_go()).unwrap();
        let due = vec![brief.thread().clone(), slow.thread().clone(), Thread::from_node(watch.main.clone())];
        brief.stop();
        brief.join().unwrap();
        give.send(Dump::without_stacks()).unwrap();
        let reports = watch.reports(due.clone()).join("\n");
        assert!(reports.contains("/slow to stop:") && reports.contains(" for main to stop:"), "{reports}");
        assert!(!reports.contains("/brief"), "{reports}");
        slow.stop();
        slow.join().unwrap();
        watch.main_has_returned.store(true, Ordering::Relaxed);
        let (give, late) = bounded(1);
        give.send(Dump::without_stacks()).unwrap();
        watch.late = Some(late);
        assert_eq!(watch.reports(due), [""; 0]);
    }

    #[test]
    fn the_end_waits_for_no_stacks() {
        let (mut watch, _give, end) = watch();
        drop(end);
        let due = vec![Thread::from_node(watch.main.clone())];
        assert_eq!(watch.reports(due), [""; 0]);
        assert!(watch.late.is_none(), "it has waited for the stacks in vain");
    }
}
