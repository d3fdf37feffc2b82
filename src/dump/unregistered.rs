//! Finds the unregistered threads of the process: threads of other libraries, and threads of the
//! program that no call has registered. Reads the kernel's list; writes nothing.

use super::contents::{Doing, Entry, Stack, Unregistered};
use crate::os::task;
use crate::wait::path_outside;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// The process's threads at the beginning of a dump, by kernel id, with the CPU time of each and
/// when it was read. Empty where the system does not list them.
#[derive(Default)]
pub(super) struct AtBegin(HashMap<i32, (Option<Duration>, Instant)>);

impl AtBegin {
    pub(super) fn now() -> AtBegin {
        let ids = task::list().unwrap_or_default();
        AtBegin::of(ids.into_iter())
    }

    /// The same, without the threads that are known to be in the tree.
    #[cfg(feature = "inspect")]
    pub(super) fn without(known: &HashSet<i32>) -> AtBegin {
        AtBegin::of(task::list().unwrap_or_default().into_iter().filter(|id| !known.contains(id)))
    }

    fn of(ids: impl Iterator<Item = i32>) -> AtBegin {
        AtBegin(ids.map(|id| (id, (task::cpu_time(id), Instant::now()))).collect())
    }
}

/// The threads that were there at the beginning, are there now, and are neither in the tree nor
/// this crate's. `known` are kernel ids of threads of the tree that have ended since.
///
/// A thread that has just started is not in the tree yet, and an ending thread has left it. Neither
/// is seen at both looks.
pub(super) fn collect(before: &AtBegin, entries: &[Entry], known: &HashSet<i32>) -> Vec<Unregistered> {
    let of_tree: HashSet<i32> = entries.iter().filter_map(|entry| entry.os_thread).collect();
    let is_of_tree = |id: &i32| known.contains(id) || of_tree.contains(id);
    let mut ids: Vec<i32> = before.0.keys().copied().filter(|id| !is_of_tree(id) && !task::is_hidden(*id)).collect();
    ids.sort_unstable();
    ids.into_iter().filter_map(|id| read(id, before)).collect()
}

fn read(id: i32, before: &AtBegin) -> Option<Unregistered> {
    let task = task::read(id)?;
    let (cpu, name) = (task::cpu_time(id), task::name(id));
    let &(then, at) = before.0.get(&id)?;
    let share = cpu.zip(then).and_then(|(now, then)| now.checked_sub(then));
    Some(Unregistered {
        id,
        path: path_outside(&name),
        doing: Doing::of(task.doing),
        age: task.age(),
        cpu,
        share: share.map(|used| (used.as_secs_f64() / at.elapsed().as_secs_f64()).min(1.0)),
        stack: Stack::None("".into()),
    })
}
