//! Makes a dump: reads each node of the tree with a limit on each lock, then asks the threads for
//! their stacks. Writes nothing.

use super::contents::{Deadlock, Doing, Dump, Entry, Stack, Unregistered};
use super::unregistered::{self, AtBegin};
use crate::os::task;
use crate::thread::Thread;
use crate::thread::deadlock::{self, Finding, Kind, Waiting};
use crate::thread::roots;
use crate::thread::tree::{self, Node};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long the dump waits for the lock of one node, and for all locks together.
const LOCK_PATIENCE: Duration = Duration::from_millis(2);
const ALL_LOCKS_PATIENCE: Duration = Duration::from_millis(100);
/// The time over which the use of the processor is measured. In less time it cannot be seen.
const WINDOW: Duration = Duration::from_millis(10);

/// The CPU times at one moment.
#[derive(Default)]
pub(crate) struct Clocks {
    /// By the ids of threads, with when each was read.
    threads: HashMap<u64, (Option<Duration>, Instant)>,
    /// The kernel ids of these threads.
    known: HashSet<i32>,
    others: AtBegin,
}

pub(super) fn now(with_stacks: bool) -> Dump {
    let (began, at) = (Instant::now(), SystemTime::now());
    // Before a thread is asked for its stack, which would be seen as its own work.
    let mut before = Clocks { others: AtBegin::now(), ..Clocks::default() };
    walk(began, |thread, _, patience| {
        before.known.extend(thread.cpu_clock().map(|clock| clock.thread()));
        before.threads.insert(thread.id(), (thread.cpu_time(), Instant::now()));
        thread.node().try_snapshot(patience).map_or_else(Vec::new, |seen| seen.children)
    });
    std::thread::sleep(WINDOW.saturating_sub(began.elapsed()));
    since(&before, began, at, with_stacks)
}

/// What the threads do, without their stacks and without a pause: shares are since `before`, the
/// clocks of an earlier look. Returns the clocks of this look.
#[cfg(feature = "inspect")]
pub(crate) fn look(before: Option<Clocks>) -> (Dump, Clocks) {
    /// A younger thread may be about to join the tree.
    const YOUNG: Duration = Duration::from_millis(100);
    let (began, at) = (Instant::now(), SystemTime::now());
    let before = before.unwrap_or_else(|| Clocks { others: AtBegin::now(), ..Clocks::default() });
    let mut dump = since(&before, began, at, false);
    dump.no_stacks = None;
    dump.unregistered.retain(|other| other.age.is_none_or(|age| age >= YOUNG));
    let known: HashSet<i32> = dump.threads.iter().filter_map(|entry| entry.os_thread).collect();
    let threads = dump.threads.iter().map(|entry| (entry.id, (entry.cpu, entry.seen))).collect();
    let others = AtBegin::without(&known);
    (dump, Clocks { threads, known, others })
}

fn since(before: &Clocks, began: Instant, at: SystemTime, with_stacks: bool) -> Dump {
    let maker = Thread::current();
    let (mut threads, mut entries) = (Vec::new(), Vec::new());
    walk(began, |thread, parent, patience| {
        let (mut entry, children) = entry_of(&thread, parent, patience);
        entry.is_maker = thread == maker;
        entry.share = before.threads.get(&thread.id()).and_then(|&(before, then)| share(&entry, before?, then));
        entries.push(entry);
        threads.push(thread);
        children
    });
    let mut unregistered = unregistered::collect(&before.others, &entries, &before.known);
    let stacks = if with_stacks { find_stacks(&mut entries, &threads, &mut unregistered) } else { Ok(Vec::new()) };
    let (unread, no_stacks) = stacks.map_or_else(|why| (Vec::new(), Some(why)), |unread| (unread, None));
    let deadlocks = deadlocks(&entries);
    let (process, took) = (std::process::id(), began.elapsed());
    Dump { process, at, took, threads: entries, unregistered, no_stacks, unread, deadlocks }
}

fn deadlock(found: &Finding) -> Deadlock {
    let ids = |waiting: &[Waiting]| waiting.iter().map(|one| one.thread.id()).collect();
    let kind = match found.kind {
        Kind::Circle => "circle",
        Kind::HolderEnded => "holder ended",
        Kind::NoHandleLeft => "no handle left",
    };
    Deadlock {
        kind,
        unless: found.doubt.clone(),
        threads: ids(&found.members),
        behind: ids(&found.behind),
        text: found.to_string(),
    }
}

/// Calls `visit` with each thread and the id of its parent, in the order of the tree; it gives the
/// thread's children.
fn walk(began: Instant, mut visit: impl FnMut(Thread, Option<u64>, Duration) -> Vec<Arc<Node>>) {
    let roots = roots::roots();
    let root = roots.first().map(|root| root.id);
    tree::walk(roots, |node| {
        let patience = LOCK_PATIENCE.min(ALL_LOCKS_PATIENCE.saturating_sub(began.elapsed()));
        match &node.parent {
            // Children of a `main` that was, or that is to come, are shown below `main`, as their
            // paths say.
            None if root != Some(node.id) => node.try_snapshot(patience).map_or_else(Vec::new, |seen| seen.children),
            None => visit(Thread::from_node(node.clone()), None, patience),
            Some(parent) => {
                let above = if parent.parent.is_none() { root } else { Some(parent.id) };
                visit(Thread::from_node(node.clone()), above, patience)
            }
        }
    });
}

/// Waits that no thread can end. A finding that rests on looks at several moments must have lasted
/// for a second.
fn deadlocks(entries: &[Entry]) -> Vec<Deadlock> {
    const LONG: Duration = Duration::from_secs(1);
    // The search takes the locks that could not be had.
    if entries.iter().any(|entry| entry.busy.is_some()) {
        return Vec::new();
    }
    let is_sure = |found: &Finding| found.kind == Kind::Circle && found.doubt.is_none();
    let is_old = |found: &Finding| found.members.iter().all(|member| member.wait.elapsed() >= LONG);
    let found = deadlock::search(Duration::ZERO);
    found.iter().filter(|found| is_sure(found) || is_old(found)).map(deadlock).collect()
}

fn entry_of(thread: &Thread, parent: Option<u64>, patience: Duration) -> (Entry, Vec<Arc<Node>>) {
    let node = thread.node();
    let (seen, wait) = (node.try_snapshot(patience), node.waits.try_get(patience));
    let os_thread = thread.cpu_clock().map(|clock| clock.thread());
    let has_ended = thread.ended_at().is_some();
    // The kernel's word costs a file to read: it is not asked where the thread's own word is known.
    let is_known = has_ended || matches!(wait, Some(Some(_)));
    // A thread that has ended meanwhile has given its id away, perhaps to another thread.
    let task = os_thread.filter(|_| !is_known).and_then(task::read).filter(|_| thread.ended_at().is_none());
    let doing = match (&wait, thread.ended_at()) {
        (_, Some(at)) => Doing::Ended { ago: at.elapsed() },
        (Some(Some(wait)), _) => Doing::Waiting {
            kind: wait.kind(),
            name: wait.name().into(),
            elapsed: wait.elapsed(),
            holder: wait.holder(),
            acquired_at: wait.acquired_at(),
        },
        _ if os_thread.is_none() && !has_begun(thread) => Doing::NotBegun,
        _ => match task.map(|task| task.doing) {
            Some(doing) => Doing::of(doing),
            None => Doing::Alive,
        },
    };
    let busy = match (&seen, &wait) {
        (None, _) => Some("its children and failures could not be read"),
        (_, None) => Some("what it waits for could not be read"),
        _ => None,
    };
    let context = if has_ended { Some(Vec::new()) } else { node.waits.try_context(patience) };
    let entry = Entry {
        id: thread.id(),
        parent,
        path: node.path.clone(),
        is_own: thread.is_runtimes_own(),
        is_maker: false,
        has_children: seen.as_ref().is_none_or(|seen| !seen.children.is_empty()),
        is_ending: !has_ended && seen.as_ref().is_some_and(|seen| seen.is_ending),
        os_thread,
        seen: Instant::now(),
        age: thread.age(),
        doing,
        cpu: thread.cpu_time(),
        share: None,
        spawned_at: thread.spawned_at(),
        stop: thread.stop_reason(),
        restarts: thread.restarts(),
        context: context.unwrap_or_default(),
        failures: seen.as_ref().map_or_else(Vec::new, |seen| seen.failures.clone()),
        busy,
        stack: Stack::None("".into()),
    };
    (entry, seen.map_or_else(Vec::new, |seen| seen.children))
}

fn has_begun(thread: &Thread) -> bool {
    thread.node().started.get().is_some()
}

/// What it used of one processor since `then`.
fn share(entry: &Entry, before: Duration, then: Instant) -> Option<f64> {
    if matches!(entry.doing, Doing::Ended { .. }) {
        return None;
    }
    let used = entry.cpu?.checked_sub(before)?;
    Some((used.as_secs_f64() / then.elapsed().as_secs_f64()).min(1.0))
}

/// Which files could not be read to name functions, and why, as sentences.
///
/// # Errors
/// Why there are no stacks.
#[cfg(feature = "profiling")]
fn find_stacks(
    entries: &mut [Entry],
    threads: &[Thread],
    unregistered: &mut [Unregistered],
) -> Result<Vec<String>, String> {
    use super::contents::Frame;
    use crate::profile::now;
    let can_answer = |entry: &Entry| {
        let lives = !matches!(entry.doing, Doing::Ended { .. } | Doing::NotBegun);
        lives && entry.stack == Stack::None("".into())
    };
    let places: Vec<usize> = (0..entries.len()).filter(|&place| can_answer(&entries[place])).collect();
    let asked: Vec<Thread> = places.iter().map(|&place| threads[place].clone()).collect();
    let ids: Vec<i32> = unregistered.iter().map(|other| other.id).collect();
    let (stacks, unread) = now::request_stacks(&asked, &ids)?.resolve();
    let frame = |frame: now::Frame| Frame { function: frame.function, file: frame.file, line: frame.line };
    let stack = |answer: now::Stack| match answer {
        now::Stack::Of { frames, cut } => Stack::Of { frames: frames.into_iter().map(frame).collect(), cut },
        now::Stack::Ended => Stack::None("it has ended meanwhile".into()),
        now::Stack::Silent => Stack::None("it did not tell it in time: it was given no processor".into()),
        now::Stack::Unavailable(why) => Stack::None(why.into()),
    };
    let mut stacks = stacks.into_iter().map(stack);
    places.into_iter().zip(&mut stacks).for_each(|(place, stack)| entries[place].stack = stack);
    unregistered.iter_mut().zip(stacks).for_each(|(other, stack)| other.stack = stack);
    Ok(unread)
}

#[cfg(not(feature = "profiling"))]
fn find_stacks(
    _entries: &mut [Entry],
    _threads: &[Thread],
    _others: &mut [Unregistered],
) -> Result<Vec<String>, String> {
    Err("this program was built without the feature \"profiling\"".into())
}
