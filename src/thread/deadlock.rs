//! The search for waits that no thread can end, over the waits that all threads of the tree
//! publish. It only reads. The callers, which are the runtime's watcher and the dump, decide what
//! to do about a finding.
//!
//! Threads that wait without a limit are *candidates*. For each candidate, the search lists the
//! threads that can end its wait: the holder of the lock, the thread that is joined. It removes
//! each candidate that a non-candidate or a removed candidate can unblock. The remaining threads
//! wait only for each other: in a cycle, or in a chain that ends at a wait no thread can end. That
//! is one pass over the edges.
//!
//! # Why a certain deadlock is one
//! The slots are read one after the other while all goes on, so what they say together may never
//! have been so. Therefore:
//! 1. All slots are read. Each wait has a serial, which no other wait in that slot has.
//! 2. The holders are read.
//! 3. All slots are read again. A wait with another serial is struck off.
//!
//! So there is a moment, between 1 and 3, in which each thread that is left was within that one
//! call. In a blocking call a thread runs nothing of its own, and a guard does not leave its
//! thread: it lets go of nothing in between. A thread is the holder in 2 if it had taken the lock
//! and not released it before it began to wait. What it did before that is visible since 1, because
//! slots are read under their lock. So at that moment each left thread held what the holder says,
//! and waited, without a limit, for another of them. None can be the first to go on.
//!
//! A thread that has returned may hold a lock in a destructor of a thread-local. It counts as alive
//! until the system has it no more. Where the system does not tell that, the finding has a doubt.
//!
//! A wait for a queue's room is certain only if there is no other handle. The search does not know
//! whether other threads than the ones seen will ever pop, nor whether a turn is still
//! with the thread that got it. Such findings carry their doubt.
//!
//! # What is missed
//! Waits with a `till` that can go, even if no thread will let it go. Threads that are not in the
//! tree. Semaphores, binary semaphores, changes in monitors and progress, which any thread may
//! bring about. A promise whose claim is kept and never used, or a queue whose handle is kept and
//! never added to. Handles in the heap or in a static: other threads may reach them. A guard that
//! was forgotten while its thread lives.

use super::bodies::has_unregistered_threads;
use super::handle::Thread;
use super::roots::roots;
use super::tree::{Node, walk};
use crate::os::CpuClock;
use crate::wait::{Unblocker, Wait, is_alive};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Waiting threads whose waits no known thread can end.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    /// The condition under which it is no deadlock. `None`: it is certain.
    pub(crate) doubt: Option<String>,
    /// Of a circle, each waits for the next, and the last for the first.
    pub(crate) members: Vec<Waiting>,
    /// The threads that wait for one of the members, directly or through others.
    pub(crate) behind: Vec<Waiting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each waits for the next.
    Circle,
    /// The holder has ended without letting go.
    HolderEnded,
    /// There is no other handle to what they wait for.
    NoHandleLeft,
}

#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) thread: Thread,
    pub(crate) wait: Wait,
}

impl Finding {
    /// The same for the same calls, whenever they are found.
    pub(crate) fn key(&self) -> Vec<(u64, u64)> {
        let mut key: Vec<_> = self.members.iter().map(|one| (one.thread.id(), one.wait.serial())).collect();
        key.sort_unstable();
        key
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |_| Vec::new())
    }
}

impl Finding {
    /// Writes it, with what `more` has to say of each of its members.
    pub(crate) fn write(&self, f: &mut impl fmt::Write, more: impl Fn(&Thread) -> Vec<String>) -> fmt::Result {
        let count = self.members.len();
        let probable = if self.doubt.is_some() { "probable " } else { "" };
        match self.kind {
            Kind::Circle if count == 1 => write!(f, "{probable}deadlock: a thread waits for itself")?,
            Kind::Circle => write!(f, "{probable}deadlock: {count} threads wait for each other")?,
            Kind::HolderEnded => {
                write!(f, "{probable}deadlock: what is waited for is held by a thread that has ended")?
            }
            Kind::NoHandleLeft => {
                write!(f, "{probable}wait without end: no other thread has a handle to what is waited for")?;
            }
        }
        for Waiting { thread, wait } in &self.members {
            write!(f, "\n  {} is {wait}", thread.path())?;
            more(thread).iter().try_for_each(|line| write!(f, "\n    {line}"))?;
        }
        for Waiting { thread, wait } in &self.behind {
            write!(f, "\n  and behind them {} is {wait}", thread.path())?;
        }
        match &self.doubt {
            Some(doubt) => write!(f, "\n  unless {doubt}"),
            None => Ok(()),
        }
    }
}

/// The lock patience of the search: the holder of a lock may be the thread that the search is
/// looking for.
const LOCK_PATIENCE: Duration = Duration::from_millis(2);

struct Candidate {
    node: Arc<Node>,
    wait: Wait,
    /// Indices of candidates that could end this wait; any one suffices. `None` if a non-candidate
    /// could.
    enders: Option<Vec<usize>>,
    root: Kind,
    doubt: Option<String>,
}

/// All present waits that no thread can end. Returns early unless one has lasted for `long`. A
/// probable finding is reported only if all its members have waited for `long`.
///
/// Never blocks: a thread that cannot be read within [`LOCK_PATIENCE`] is left out.
pub(crate) fn search(long: Duration) -> Vec<Finding> {
    let mut candidates: Vec<Candidate> = Vec::new();
    walk(roots(), |node| {
        if let Some(wait) = node.waits.try_get(LOCK_PATIENCE).flatten().filter(|wait| !wait.is_limited()) {
            candidates.push(Candidate { node: node.clone(), wait, enders: None, root: Kind::Circle, doubt: None });
        }
        node.try_snapshot(LOCK_PATIENCE).map_or_else(Vec::new, |seen| seen.children)
    });
    if !candidates.iter().any(|one| one.wait.elapsed() >= long) {
        return Vec::new();
    }
    list_enders(&mut candidates);
    for one in &mut candidates {
        if one.node.waits.try_get(LOCK_PATIENCE).flatten().is_none_or(|wait| wait.serial() != one.wait.serial()) {
            one.enders = None;
        }
    }
    let certain = left(&candidates, |one| one.doubt.is_none());
    let mut findings = findings(&candidates, &certain);
    let probable = left(&candidates, |one| one.wait.elapsed() >= long);
    if probable != certain {
        let known: Vec<_> = findings.iter().map(Finding::key).collect();
        findings.extend(self::findings(&candidates, &probable).into_iter().filter(|one| !known.contains(&one.key())));
    }
    findings
}

fn list_enders(candidates: &mut [Candidate]) {
    let by_thread: HashMap<u64, usize> = candidates
        .iter()
        .enumerate()
        .map(|(at, one)| (one.wait.thread(), at))
        .filter(|(thread, _)| *thread != 0)
        .collect();
    let by_id: HashMap<u64, usize> = candidates.iter().enumerate().map(|(at, one)| (one.node.id, at)).collect();
    // The threads that wait for a thing by a handle of their own.
    let mut known: HashMap<*const (), Vec<usize>> = HashMap::new();
    for (at, one) in candidates.iter().enumerate() {
        if let Some(handles) = one.wait.handles().filter(|handles| handles.own) {
            known.entry(handles.shared.as_ptr().cast()).or_default().push(at);
        }
    }
    let mut unregistered = None;
    for (at, one) in candidates.iter_mut().enumerate() {
        let handles = one.wait.handles().filter(|handles| handles.own);
        let left = handles.and_then(|handles| {
            let known = known.get(&handles.shared.as_ptr().cast())?;
            let all = handles.shared.strong_count();
            handles.shared.upgrade()?.is_left_to(known.len(), all).then_some(known)
        });
        if let Some(known) = left {
            one.root = Kind::NoHandleLeft;
            // If one of the others goes on, it can end this wait too.
            one.enders = Some(known.iter().copied().filter(|other| *other != at).collect());
            let unregistered = *unregistered.get_or_insert_with(has_unregistered_threads);
            one.doubt = unregistered
                .then(|| "a thread of a pool, or another thread that selvedge has not spawned, borrows one".to_owned());
            continue;
        }
        match one.wait.unblocker() {
            Unblocker::Holder(holder) | Unblocker::Turn(holder) => {
                let number = holder.number();
                one.enders = match by_thread.get(&number) {
                    Some(at) => Some(vec![*at]),
                    None if number == 0 || is_alive(number) => None,
                    None => Some(holder_ended(one)),
                };
                if matches!(one.wait.unblocker(), Unblocker::Turn(_)) {
                    one.doubt = Some(format!("the turn for \"{}\" was passed on to another thread", one.wait.name()));
                }
            }
            Unblocker::Thread(id) => one.enders = by_id.get(id).map(|at| vec![*at]),
            Unblocker::Users(users) => {
                let users = users.alive();
                one.enders = users.and_then(|users| users.iter().map(|user| by_thread.get(user).copied()).collect());
                one.doubt = Some(format!(
                    "other threads take from \"{}\" than the ones that have waited for its values so far",
                    one.wait.name()
                ));
            }
            Unblocker::Claimed(_) | Unblocker::Unknown => {}
        }
    }
}

/// The thread that holds what this candidate waits for has ended, so no candidate can end the wait.
fn holder_ended(one: &mut Candidate) -> Vec<usize> {
    one.root = Kind::HolderEnded;
    // Without clocks of threads, the end of a thread is not seen.
    one.doubt = CpuClock::of_current()
        .is_none()
        .then(|| format!("a destructor of a thread-local of its last holder has \"{}\"", one.wait.name()));
    Vec::new()
}

/// Marks the candidates accepted by `may` that remain after repeatedly removing each candidate
/// whose wait a removed or rejected candidate could end.
fn left(candidates: &[Candidate], may: impl Fn(&Candidate) -> bool) -> Vec<bool> {
    let mut left: Vec<bool> = candidates.iter().map(|one| one.enders.is_some() && may(one)).collect();
    let mut helped: Vec<Vec<usize>> = vec![Vec::new(); candidates.len()];
    for (at, one) in candidates.iter().enumerate() {
        one.enders.iter().flatten().for_each(|ender| helped[*ender].push(at));
    }
    let mut struck: Vec<usize> = (0..candidates.len()).filter(|at| !left[*at]).collect();
    while let Some(at) = struck.pop() {
        for one in &helped[at] {
            if std::mem::replace(&mut left[*one], false) {
                struck.push(*one);
            }
        }
    }
    left
}

/// The cycles and dead ends among the remaining candidates, each with the threads behind it.
fn findings(candidates: &[Candidate], left: &[bool]) -> Vec<Finding> {
    /// Where the way from a candidate ends.
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnTheWay,
        Of(usize),
    }
    let waiting =
        |at: usize| Waiting { thread: Thread(candidates[at].node.clone()), wait: candidates[at].wait.clone() };
    let mut marks = vec![Mark::New; candidates.len()];
    let mut findings: Vec<Finding> = Vec::new();
    let mut lonely: HashMap<*const (), usize> = HashMap::new();
    for begin in (0..candidates.len()).filter(|at| left[*at]) {
        let mut way = Vec::new();
        let mut at = begin;
        // A wait that several can end is followed to the first of them: all of them are left.
        let (finding, members) = loop {
            match marks[at] {
                Mark::Of(finding) => break (finding, way.len()),
                Mark::OnTheWay => {
                    let members = way.iter().position(|one| *one == at).unwrap_or(0);
                    findings.push(Finding { kind: Kind::Circle, doubt: None, members: Vec::new(), behind: Vec::new() });
                    break (findings.len() - 1, members);
                }
                Mark::New => {}
            }
            marks[at] = Mark::OnTheWay;
            way.push(at);
            let one = &candidates[at];
            let alone = one.root == Kind::NoHandleLeft;
            let Some(next) = one.enders.iter().flatten().next().filter(|_| !alone) else {
                // Several threads may wait for the same thing that no thread can bring any more.
                let thing = one.wait.handles().filter(|_| alone);
                let same = thing.map(|handles| handles.shared.as_ptr().cast());
                let new = findings.len();
                let finding = same.map_or(new, |same| *lonely.entry(same).or_insert(new));
                if finding == new {
                    findings.push(Finding { kind: one.root, doubt: None, members: Vec::new(), behind: Vec::new() });
                }
                break (finding, way.len() - 1);
            };
            at = *next;
        };
        for (place, at) in way.into_iter().enumerate() {
            marks[at] = Mark::Of(finding);
            let found = &mut findings[finding];
            if place < members {
                found.behind.push(waiting(at));
            } else {
                found.members.push(waiting(at));
                found.doubt = found.doubt.take().or_else(|| candidates[at].doubt.clone());
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::policy::{Role, SpawnSettings};
    use crate::thread::roots::root;
    use crate::wait::WaitDescription;

    /// Any graph at all: what is left is what a slow reading of the definition leaves, and it is
    /// told once.
    #[test]
    fn random_graphs_are_judged_as_by_definition() {
        let mut random = crate::random::Random(1);
        let mut random = move |below: usize| random.index(below);
        let (node, _) = Node::child(&root(), "graph", SpawnSettings::of(Role::Unregistered)).unwrap();
        let _before = crate::wait::become_thread(node.path.clone(), node.waits.clone());
        let _published = WaitDescription::new("lock", Arc::from("any")).publish();
        let wait = node.waits.get().unwrap();
        let (mut circles, mut ends, mut behind) = (0, 0, 0);
        for _ in 0..2000 {
            let size = 1 + random(12);
            let candidates: Vec<Candidate> = (0..size)
                .map(|_| {
                    let enders = match random(10) {
                        0 => None,
                        1 => Some(Vec::new()),
                        2 | 3 => Some((0..1 + random(3)).map(|_| random(size)).collect()),
                        _ => Some(vec![random(size)]),
                    };
                    Candidate { node: node.clone(), wait: wait.clone(), enders, root: Kind::HolderEnded, doubt: None }
                })
                .collect();
            let found = left(&candidates, |_| true);
            let mut naive: Vec<bool> = candidates.iter().map(|one| one.enders.is_some()).collect();
            for _ in 0..size {
                for at in 0..size {
                    naive[at] &= candidates[at].enders.iter().flatten().all(|ender| naive[*ender]);
                }
            }
            assert_eq!(found, naive);
            let findings = findings(&candidates, &found);
            let told: usize = findings.iter().map(|one| one.members.len() + one.behind.len()).sum();
            assert_eq!(told, found.iter().filter(|left| **left).count());
            for one in &findings {
                match one.kind {
                    Kind::Circle => circles += 1,
                    _ => {
                        assert_eq!(one.members.len(), 1);
                        ends += 1;
                    }
                }
                assert!(!one.members.is_empty());
                behind += one.behind.len();
            }
        }
        assert!(circles > 100 && ends > 100 && behind > 100, "{circles} {ends} {behind}");
    }
}
