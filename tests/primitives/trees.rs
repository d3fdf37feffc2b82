//! Random trees against a simple model: no child outlives its parent, all are asked in the promised
//! order, and each failure is told once, to the right one.

use crate::random::Random;
use crate::support::DEADLINE;
use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use selvedge::{Builder, Failure, JoinHandle, OnChildFailure, Queue, Signal, StopOrder, Thread, Till, scope};
use std::collections::BTreeMap;
use std::error::Error;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Well,
    Error,
    Panic,
}

/// What becomes of a thread's handle.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Dropped,
    /// Held by the parent's body up to its last line.
    Held,
    StoppedAndDropped,
    /// Dropped by a thread outside of the tree, at any time.
    HandedOut,
    /// Joined by a thread outside of the tree after all has ended.
    JoinedLate,
    Released,
    Joined,
    /// First with time-outs.
    JoinedTill,
    /// Joined, and a failure returned as the joiner's own.
    Returned,
}

#[derive(Debug)]
struct Plan {
    id: usize,
    fate: Fate,
    order: StopOrder,
    policy: OnChildFailure,
    /// It runs until it is asked to stop.
    waits: bool,
    /// How long it takes to end: microseconds. A sleep, since a yield takes some milliseconds beside busy threads.
    slow: u64,
    ending: Ending,
    children: Vec<Arc<Plan>>,
    scoped: Vec<Arc<Plan>>,
    /// Spawned when it was asked, or is about to end.
    late: Vec<Arc<Plan>>,
    /// Spawned then below its parent.
    sibling: Option<Arc<Plan>>,
}

/// The receiver of a failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hearer {
    Top,
    Log,
    /// The thread that joins this one.
    JoinerOf(usize),
}

struct Maker {
    random: Random,
    next: usize,
    expected: BTreeMap<String, Hearer>,
    /// Those among them that no joiner ever has: the log hears of them too.
    unjoined: Vec<String>,
}

impl Maker {
    /// `parent_hears` hears of the parent's failure.
    fn plan(&mut self, depth: u64, fates: &[Fate], parent_hears: &Hearer) -> Arc<Plan> {
        let id = self.next;
        self.next += 1;
        let fate = fates[self.random.below(fates.len() as u64) as usize];
        let hears = match fate {
            Fate::Released => Hearer::Log,
            Fate::Joined | Fate::JoinedTill => Hearer::JoinerOf(id),
            _ => parent_hears.clone(),
        };
        const ALL: [Fate; 9] = [
            Fate::Dropped,
            Fate::Held,
            Fate::StoppedAndDropped,
            Fate::HandedOut,
            Fate::JoinedLate,
            Fate::Released,
            Fate::Joined,
            Fate::JoinedTill,
            Fate::Returned,
        ];
        const SCOPED: [Fate; 5] = [Fate::Dropped, Fate::Held, Fate::Released, Fate::Joined, Fate::JoinedTill];
        const LATE: [Fate; 3] = [Fate::Dropped, Fate::Released, Fate::Joined];
        let some = |maker: &mut Maker, most: u64, fates: &[Fate]| {
            let count = if depth == 0 { 0 } else { maker.random.below(most + 1) };
            (0..count).map(|_| maker.plan(depth - 1, fates, &hears)).collect::<Vec<_>>()
        };
        let mut children = some(self, 4, &ALL);
        let mut scoped = if self.random.one_in(4) { some(self, 3, &SCOPED) } else { Vec::new() };
        let late = if self.random.one_in(3) { some(self, 2, &LATE) } else { Vec::new() };
        for child in &mut scoped {
            // A scope has no builder.
            let child = Arc::get_mut(child).unwrap();
            (child.order, child.policy) = Default::default();
        }
        // One failure can be returned, no more.
        let mut returned = false;
        for child in &mut children {
            if child.fate == Fate::Returned && std::mem::replace(&mut returned, true) {
                Arc::get_mut(child).unwrap().fate = Fate::Held;
            }
        }
        let sibling = (id > 0 && self.random.one_in(8)).then(|| self.plan(0, &[Fate::Dropped], parent_hears));
        if let Some(sibling) = &sibling {
            // Its parent may come to it before the thread that has spawned it drops the handle.
            self.unjoined.retain(|unjoined| *unjoined != text(sibling.id));
        }
        let ending = match self.random.below(6) {
            _ if returned => Ending::Well,
            0 => Ending::Error,
            1 => Ending::Panic,
            _ => Ending::Well,
        };
        if ending != Ending::Well {
            self.expected.insert(text(id), hears.clone());
            if matches!(fate, Fate::Dropped | Fate::StoppedAndDropped | Fate::Released) {
                self.unjoined.push(text(id));
            }
        }
        Arc::new(Plan {
            id,
            fate,
            order: if self.random.one_in(2) { StopOrder::OneByOne } else { StopOrder::Together },
            policy: if self.random.one_in(4) { OnChildFailure::StopSiblings } else { OnChildFailure::Collect },
            waits: !self.random.one_in(3),
            slow: if self.random.one_in(3) { self.random.below(200) } else { 0 },
            ending,
            children,
            scoped,
            late,
            sibling,
        })
    }
}

impl Plan {
    /// Only its parent, at its end, has a say in when it is asked and joined.
    fn is_left_to_its_parent(&self) -> bool {
        matches!(self.fate, Fate::Dropped | Fate::Held | Fate::Released | Fate::JoinedLate) && self.sibling.is_none()
    }

    /// No failure asks its children before its own end.
    fn asks_in_order(&self) -> bool {
        self.policy == OnChildFailure::Collect
            || (self.order == StopOrder::OneByOne
                && self.scoped.is_empty()
                && self.children.iter().chain(&self.late).all(|child| child.waits && child.is_left_to_its_parent()))
    }
}

fn text(id: usize) -> String {
    format!("failure-of-{id}.")
}

struct Run {
    plan: Arc<Plan>,
    thread: OnceLock<Thread>,
    body_ended: AtomicBool,
    /// The children that it spawned itself, but for scoped ones, the oldest first.
    children: Mutex<Vec<usize>>,
}

struct World {
    runs: Vec<OnceLock<Run>>,
    told: Mutex<Vec<(String, Hearer)>>,
    faults: Mutex<Vec<String>>,
    dropper: Queue<JoinHandle<()>>,
    late_joiner: Queue<(Arc<Plan>, JoinHandle<()>)>,
}

impl World {
    fn new(count: usize) -> World {
        World {
            runs: (0..count).map(|_| OnceLock::new()).collect(),
            told: Mutex::default(),
            faults: Mutex::default(),
            dropper: Queue::unbounded("dropper"),
            late_joiner: Queue::unbounded("late joiner"),
        }
    }

    fn run(&self, id: usize) -> &Run {
        self.runs[id].get().expect("spawned")
    }

    fn fault(&self, fault: String) {
        self.faults.lock().push(fault);
    }

    fn hear(&self, failure: &Failure, hearer: &Hearer) {
        if failure.is_error() || failure.is_panic() {
            self.told.lock().push((failure.message().to_owned(), hearer.clone()));
        }
        failure.children().iter().for_each(|child| self.hear(child, hearer));
    }

    fn prepare(&self, plan: &Arc<Plan>) {
        let run = Run {
            plan: plan.clone(),
            thread: OnceLock::new(),
            body_ended: AtomicBool::new(false),
            children: Mutex::default(),
        };
        assert!(self.runs[plan.id].set(run).is_ok(), "planned once");
    }

    /// From the thread that has spawned `plan`: watches the order of its end.
    fn watch(self: &Arc<World>, parent: Option<&Plan>, plan: &Plan, thread: &Thread) {
        let _ = self.run(plan.id).thread.set(thread.clone());
        let (world, id) = (self.clone(), plan.id);
        thread.stopped().on_go(move || world.check_stopped(id));
        let Some(parent) = parent else { return };
        self.run(parent.id).children.lock().push(plan.id);
        let is_late = parent.late.iter().any(|late| late.id == plan.id);
        let in_order = parent.asks_in_order() && plan.is_left_to_its_parent();
        // Born after the stop, the child of a parent that asks together is asked at once.
        if in_order && (parent.order == StopOrder::OneByOne || !is_late) {
            let (world, above, order, id) = (self.clone(), parent.id, parent.order, plan.id);
            thread.please_stop().on_go(move || world.check_asked(above, order, id));
        }
    }

    fn check_stopped(&self, id: usize) {
        // A thread that was asked knows which thread asked, and why.
        let thread = self.thread(id);
        if thread.please_stop().is_go()
            && (thread.stop_reason().is_none() || thread.stop_latency().is_some_and(|latency| latency > DEADLINE))
        {
            self.fault(format!("{id} was asked without a reason"));
        }
        for &child in &*self.run(id).children.lock() {
            if !self.thread(child).stopped().is_go() {
                self.fault(format!("{id} has stopped before its child {child}"));
            }
        }
        for child in self.thread(id).children() {
            self.fault(format!("{id} has stopped and still has the child {child:?}"));
        }
    }

    fn check_asked(&self, parent: usize, order: StopOrder, asked: usize) {
        if order == StopOrder::OneByOne && !self.run(parent).body_ended.load(Ordering::SeqCst) {
            self.fault(format!("{asked} was asked before the end of its parent {parent}"));
        }
        let family = self.run(parent).children.lock().clone();
        for &younger in family.iter().rev().take_while(|&&id| id != asked) {
            let run = self.run(younger);
            let thread = self.thread(younger);
            let done = if order == StopOrder::Together {
                thread.please_stop().is_go() || run.body_ended.load(Ordering::SeqCst)
            } else if run.plan.waits && run.plan.is_left_to_its_parent() {
                thread.stopped().is_go()
            } else {
                run.body_ended.load(Ordering::SeqCst)
            };
            // In a parent that asks together, a late child was asked at its birth.
            let counts =
                order == StopOrder::OneByOne || !self.run(parent).plan.late.iter().any(|late| late.id == younger);
            if counts && !done {
                self.fault(format!("{asked} was asked before the younger {younger} of {parent}, {order:?}"));
            }
        }
    }

    fn thread(&self, id: usize) -> &Thread {
        self.run(id).thread.get().expect("spawned")
    }

    fn spawn(self: &Arc<World>, parent: Option<&Plan>, plan: &Arc<Plan>, under: Option<&Thread>) -> JoinHandle<()> {
        self.prepare(plan);
        let mut builder = Builder::new(format!("n{}", plan.id)).stop_order(plan.order).on_child_failure(plan.policy);
        if let Some(under) = under {
            builder = builder.parent(under);
        }
        let (world, inner) = (self.clone(), plan.clone());
        let handle = builder.spawn_fallible(move |please_stop| world.body(&inner, please_stop)).expect("a thread");
        self.watch(parent, plan, handle.thread());
        handle
    }

    /// What every thread of a tree does.
    fn body(self: &Arc<World>, plan: &Plan, please_stop: &Signal) -> Result<(), Box<dyn Error + Send + Sync>> {
        struct Ends<'a>(&'a Run);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.body_ended.store(true, Ordering::SeqCst);
            }
        }
        let _ends = Ends(self.run(plan.id));
        let mut held = Vec::new();
        let mut returned = Ok(());
        let children: Vec<_> = plan.children.iter().map(|child| (child, self.spawn(Some(plan), child, None))).collect();
        let mut settle = |child: &Arc<Plan>, handle: JoinHandle<()>| match child.fate {
            Fate::Held => held.push(handle),
            Fate::Dropped => drop(handle),
            Fate::StoppedAndDropped => handle.stop(),
            Fate::HandedOut => self.dropper.add(handle).expect("open"),
            Fate::JoinedLate => self.late_joiner.add((child.clone(), handle)).expect("open"),
            Fate::Released => handle.release(),
            Fate::Joined | Fate::JoinedTill => {
                if let Err(failure) = join(handle, child.fate == Fate::JoinedTill) {
                    self.hear(&failure, &Hearer::JoinerOf(child.id));
                }
            }
            Fate::Returned => returned = handle.join(),
        };
        children.into_iter().for_each(|(child, handle)| settle(child, handle));
        if !plan.scoped.is_empty() {
            scope(|s| {
                for child in &plan.scoped {
                    self.prepare(child);
                    let inner = child.clone();
                    let name = format!("n{}", child.id);
                    let handle = s.spawn_fallible(name, move |please_stop| self.body(&inner, please_stop));
                    self.watch(None, child, handle.thread());
                    settle(child, handle);
                }
            });
            for child in &plan.scoped {
                if !self.thread(child.id).stopped().is_go() {
                    self.fault(format!("{} has outlived its scope", child.id));
                }
            }
        }
        if plan.waits {
            please_stop.wait_for_go();
        }
        for child in &plan.late {
            settle(child, self.spawn(Some(plan), child, None));
        }
        if let Some(sibling) = &plan.sibling {
            let parent = Thread::current().parent().expect("not main");
            drop(self.spawn(None, sibling, Some(&parent)));
        }
        std::thread::sleep(Duration::from_micros(plan.slow));
        drop(held);
        returned?;
        match plan.ending {
            Ending::Well => Ok(()),
            // Past the hook, which would print it.
            Ending::Panic => resume_unwind(Box::new(text(plan.id))),
            Ending::Error => Err(text(plan.id).into()),
        }
    }
}

fn join(mut handle: JoinHandle<()>, in_turns: bool) -> Result<(), Failure> {
    if !in_turns {
        return handle.join();
    }
    loop {
        match handle.join_till(&Till::after(Duration::from_micros(200))) {
            Ok(result) => return result,
            Err(back) => handle = back,
        }
    }
}

/// What was logged as an error.
static LOGGED: Mutex<String> = Mutex::new(String::new());

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LOGGED.lock().push_str(&format!("{}\n", record.args()));
    }

    fn flush(&self) {}
}

fn check(seed: u64) {
    let mut maker = Maker { random: Random(seed), next: 0, expected: BTreeMap::new(), unjoined: Vec::new() };
    let plan = maker.plan(3, &[Fate::Joined], &Hearer::Top);
    let Maker { mut random, next, mut expected, unjoined } = maker;
    // The joiner of the top is the test.
    expected.values_mut().filter(|hearer| **hearer == Hearer::JoinerOf(0)).for_each(|hearer| *hearer = Hearer::Top);

    let world = Arc::new(World::new(next));
    let handed_out = world.dropper.clone();
    let dropper = std::thread::spawn(move || handed_out.iter().for_each(drop));
    let top = world.spawn(None, &plan, None);
    if random.one_in(2) {
        let deadline = Instant::now() + DEADLINE;
        while top.thread().children().len() < plan.children.iter().filter(|child| child.waits).count() {
            assert!(Instant::now() < deadline && !top.thread().please_stop().is_go(), "tree {seed} does not grow");
            if top.thread().stopped().is_go() || random.one_in(50) {
                break;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }
    top.stop();
    let Ok(result) = top.join_till(&Till::after(DEADLINE)) else { panic!("tree {seed} hangs: {plan:#?}") };
    if let Err(failure) = result {
        world.hear(&failure, &Hearer::Top);
    }
    world.dropper.close();
    dropper.join().expect("no panic");
    world.late_joiner.close();
    for (plan, handle) in world.late_joiner.iter() {
        if let Err(failure) = handle.join() {
            assert!(failure.to_string().ends_with("has been told of it"), "tree {seed}, {}: {failure}", plan.id);
        }
    }
    assert_eq!(*world.faults.lock(), [""; 0], "tree {seed}: {plan:#?}");

    let mut told = std::mem::take(&mut *world.told.lock());
    let logged = std::mem::take(&mut *LOGGED.lock());
    let logged =
        logged.split_inclusive('.').filter_map(|part| part.find("failure-of-").map(|at| part[at..].to_owned()));
    let mut logged: Vec<_> = logged.collect();
    logged.sort();
    let all = logged.len();
    logged.dedup();
    assert_eq!(logged.len(), all, "tree {seed}: a failure is logged twice: {logged:?}, {plan:#?}");
    for text in &unjoined {
        assert!(logged.contains(text), "tree {seed}: {text} is not logged: {plan:#?}");
    }
    assert!(logged.iter().all(|text| expected.contains_key(text)), "tree {seed}: {logged:?}");
    // A failure that goes to the parent is logged as well.
    let only_logged = logged.into_iter().filter(|text| expected[text] == Hearer::Log);
    told.extend(only_logged.map(|text| (text, Hearer::Log)));
    told.sort();
    let mut expected: Vec<_> = expected.into_iter().collect();
    expected.sort();
    assert_eq!(told, expected, "tree {seed}: {plan:#?}");
}

#[test]
fn random_trees_end_in_order() {
    let trees = crate::support::long::of(600, 3000);
    let alarm = Duration::from_secs(trees.max(900));
    if crate::support::in_own_process_within(module_path!(), "random_trees_end_in_order", alarm) {
        return;
    }
    log::set_logger(&Logger).expect("the only one");
    log::set_max_level(LevelFilter::Error);
    (0..trees).for_each(check);
}
