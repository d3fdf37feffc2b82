//! The threads as rows of a tree, with siblings alike as one row. What `ps` prints and `top` shows.

use crate::looks::Looks;
use crate::model::{Thread, Threads};
use crate::text::{count, percent, plain, span};
use std::collections::{HashMap, HashSet};

/// Fewer siblings are shown one by one.
const FEWEST_ALIKE: usize = 3;

/// Characters. Rows that are deeper are not indented further.
const DEEPEST_INDENT: usize = 90;

#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// Siblings that differ in the number at their end are one row, and so are the runtime's own.
    pub(crate) fold: bool,
    /// Only threads with this in their path, state or wait, and their ancestors.
    pub(crate) filter: &'a str,
}

pub(crate) struct Row<'a> {
    /// `├─ ` and the like, then the name.
    pub(crate) label: String,
    /// One thread, or several that are shown as one.
    pub(crate) members: Vec<&'a Thread>,
    pub(crate) share: f64,
    pub(crate) age: f64,
    pub(crate) what: String,
    pub(crate) is_bad: bool,
}

struct Tree<'a> {
    children: HashMap<Option<u64>, Vec<&'a Thread>>,
    kept: Option<HashSet<u64>>,
    bad: HashSet<u64>,
    fold: bool,
}

/// A row whose children have not been looked at.
struct Pending<'a> {
    label: String,
    /// What the rows of the children begin with.
    deeper: String,
    members: Vec<&'a Thread>,
}

pub(crate) fn rows<'a>(threads: &'a Threads, shown: Shown<'_>) -> Vec<Row<'a>> {
    let known: HashSet<u64> = threads.threads.iter().map(|thread| thread.id).collect();
    let mut children: HashMap<Option<u64>, Vec<&Thread>> = HashMap::new();
    for thread in &threads.threads {
        let parent = thread.parent.filter(|parent| known.contains(parent) && *parent != thread.id);
        children.entry(parent).or_default().push(thread);
    }
    let bad = threads.deadlocks.iter().flat_map(|deadlock| deadlock.threads.iter().copied()).collect();
    let kept = kept(threads, shown.filter);
    Tree { children, kept, bad, fold: shown.fold }.walk()
}

/// The threads that the filter leaves, with their ancestors.
fn kept(threads: &Threads, filter: &str) -> Option<HashSet<u64>> {
    let wanted = filter.trim().to_lowercase();
    if wanted.is_empty() {
        return None;
    }
    let by_id: HashMap<u64, &Thread> = threads.threads.iter().map(|thread| (thread.id, thread)).collect();
    let mut kept = HashSet::new();
    for thread in &threads.threads {
        let wait = thread.wait().unwrap_or_default();
        if format!("{} {} {wait}", thread.path, thread.state).to_lowercase().contains(&wanted) {
            let mut next = Some(thread);
            while let Some(one) = next.filter(|one| kept.insert(one.id)) {
                next = one.parent.and_then(|parent| by_id.get(&parent).copied());
            }
        }
    }
    Some(kept)
}

fn name<'a>(thread: &'a Thread, parent: Option<&Thread>) -> &'a str {
    let below = parent.and_then(|parent| thread.path.strip_prefix(&*parent.path)?.strip_prefix('/'));
    below.unwrap_or(&thread.path)
}

impl<'a> Tree<'a> {
    /// All rows. Without recursion: a tree may be deep.
    fn walk(mut self) -> Vec<Row<'a>> {
        let mut rows = Vec::new();
        let mut next = self.below(None, "");
        while let Some(Pending { label, deeper, members }) = next.pop() {
            let row = self.row(label, &members);
            if let [one] = members[..] {
                next.extend(self.below(Some(one), &deeper));
            }
            rows.push(row);
        }
        rows
    }

    /// The rows directly below a thread, the last first.
    fn below(&mut self, parent: Option<&'a Thread>, indent: &str) -> Vec<Pending<'a>> {
        let mut siblings = self.children.remove(&parent.map(|parent| parent.id)).unwrap_or_default();
        siblings.retain(|one| self.kept.as_ref().is_none_or(|kept| kept.contains(&one.id)));
        let groups = self.groups(siblings, parent);
        let last = groups.len().saturating_sub(1);
        let pending = groups.into_iter().enumerate().map(|(at, (label, members))| {
            let (branch, deeper) = match parent {
                None => ("", ""),
                Some(_) if at == last => ("└─ ", "   "),
                Some(_) => ("├─ ", "│  "),
            };
            let times = if members.len() > 1 { format!(" ×{}", members.len()) } else { String::new() };
            let deeper = if indent.chars().count() < DEEPEST_INDENT { deeper } else { "" };
            let label = format!("{indent}{branch}{}{times}", plain(&label));
            Pending { label, deeper: format!("{indent}{deeper}"), members }
        });
        pending.rev().collect()
    }

    /// Siblings alike together, at the place of the first of them; the runtime's own at the end.
    /// Threads of the program with children are never put together: the children would not be seen.
    fn groups(&mut self, siblings: Vec<&'a Thread>, parent: Option<&'a Thread>) -> Vec<(String, Vec<&'a Thread>)> {
        let key = |children: &HashMap<Option<u64>, Vec<&Thread>>, thread: &Thread| {
            let name = name(thread, parent);
            let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
            match stem.len() < name.len() && !children.contains_key(&Some(thread.id)) {
                _ if self.fold && thread.is_runtimes_own => "selvedge".to_owned(),
                true if self.fold => format!("{stem}*"),
                _ => name.to_owned(),
            }
        };
        let mut places: HashMap<(bool, String), usize> = HashMap::new();
        let mut groups: Vec<(String, Vec<&Thread>)> = Vec::new();
        for &thread in &siblings {
            let label = key(&self.children, thread);
            let is_pool = label != name(thread, parent);
            if let Some(&at) = places.get(&(is_pool, label.clone())).filter(|_| is_pool) {
                groups[at].1.push(thread);
            } else {
                places.insert((is_pool, label.clone()), groups.len());
                groups.push((label, vec![thread]));
            }
        }
        groups.sort_by_key(|(_, members)| members[0].is_runtimes_own);
        let split = groups.into_iter().flat_map(|(label, members)| {
            let is_small = members.len() < FEWEST_ALIKE;
            let each = |one: &'a Thread| (name(one, parent).to_owned(), vec![one]);
            if is_small {
                members.into_iter().map(each).collect()
            } else {
                vec![(label, self.with_descendants(members))]
            }
        });
        split.collect()
    }

    /// Of a row for several threads: the threads below them are in the row too.
    fn with_descendants(&mut self, mut members: Vec<&'a Thread>) -> Vec<&'a Thread> {
        let mut at = 0;
        while let Some(one) = members.get(at) {
            let children = self.children.remove(&Some(one.id)).unwrap_or_default();
            members.extend(children);
            at += 1;
        }
        members
    }

    fn row(&self, label: String, members: &[&'a Thread]) -> Row<'a> {
        let share = total_share(members.iter().copied());
        let age = members.iter().map(|one| one.age_s).fold(0.0, f64::max);
        let bad = members.iter().filter(|one| self.bad.contains(&one.id)).count();
        let what = if let [one] = members { one_does(one, bad > 0) } else { many_do(members, bad) };
        let what = plain(&what).into_owned();
        Row { label, members: members.to_vec(), share, age, what, is_bad: bad > 0 }
    }
}

fn one_does(thread: &Thread, is_bad: bool) -> String {
    let mut parts = Vec::new();
    match (thread.wait(), &thread.waiting_for) {
        (Some(text), Some(wait)) => parts.push(format!("{text}, {}", span(wait.for_s))),
        _ => parts.push(thread.state.clone()),
    }
    if is_bad {
        parts.push("DEADLOCK".to_owned());
    }
    if thread.own_code_has_ended && thread.is_alive() {
        parts.push("its own code has ended".to_owned());
    }
    if let Some(stop) = &thread.stop {
        parts.push(format!("asked to stop {} ago by {} ({})", span(stop.s_ago), stop.by, stop.text));
    }
    if thread.restarts > 0 {
        parts.push(count(usize::try_from(thread.restarts).unwrap_or(usize::MAX), "restart"));
    }
    if !thread.failures.is_empty() {
        parts.push(format!("holds {}", count(thread.failures.len(), "failure")));
    }
    parts.extend(thread.busy.clone());
    parts.join("; ")
}

fn many_do(members: &[&Thread], bad: usize) -> String {
    let mut doing: Vec<(String, usize)> = Vec::new();
    for one in members {
        let text = one.wait().unwrap_or_else(|| one.state.clone());
        match doing.iter_mut().find(|(known, _)| *known == text) {
            Some((_, n)) => *n += 1,
            None => doing.push((text, 1)),
        }
    }
    doing.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let mut parts: Vec<String> = doing.iter().take(3).map(|(text, n)| format!("{n} {}", of_many(text, *n))).collect();
    if doing.len() > 3 {
        parts.push("…".to_owned());
    }
    let stopping = members.iter().filter(|one| one.stop.is_some() && one.is_alive()).count();
    let restarts = members.iter().map(|one| one.restarts).sum::<u64>();
    if bad > 0 {
        parts.push(format!("{bad} in a DEADLOCK"));
    }
    if stopping > 0 {
        parts.push(format!("{stopping} asked to stop"));
    }
    if restarts > 0 {
        parts.push(count(usize::try_from(restarts).unwrap_or(usize::MAX), "restart"));
    }
    parts.join("; ")
}

/// What `n` threads do: "waits for its please_stop" of one, "wait for their please_stop" of several.
fn of_many(text: &str, n: usize) -> String {
    match text.strip_prefix("waits for ") {
        Some("its please_stop") if n > 1 => "wait for their please_stop".to_owned(),
        Some(what) if n > 1 => format!("wait for {what}"),
        _ => text.to_owned(),
    }
}

/// The CPU time of all these threads, of one processor. The sum begins at +0: `Iterator::sum` of no
/// value is -0, which would be shown with its sign.
fn total_share<'a>(threads: impl IntoIterator<Item = &'a Thread>) -> f64 {
    threads.into_iter().filter_map(|one| one.cpu_share).fold(0.0, |total, share| total + share)
}

/// What is wrong, the worst first: deadlocks, failures, threads that do not stop.
pub(crate) fn problems(threads: &Threads) -> Vec<String> {
    let mut told: Vec<String> = threads
        .deadlocks
        .iter()
        .map(|deadlock| match &deadlock.unless {
            Some(unless) => format!("{}\n  unless {unless}", deadlock.text),
            None => deadlock.text.clone(),
        })
        .collect();
    told.extend(threads.threads.iter().flat_map(|thread| thread.failures.iter().cloned()));
    for thread in threads.threads.iter().filter(|thread| thread.is_unstopped()) {
        let Some(stop) = &thread.stop else { continue };
        told.push(format!("{} {}, {} after it was asked to stop", thread.path, thread.doing(), span(stop.s_ago)));
    }
    told.iter().map(|text| crate::text::plain_lines(text).into_owned()).collect()
}

/// The head line of `ps` and `top`.
pub(crate) fn title(threads: &Threads) -> String {
    let alive = threads.threads.iter().filter(|thread| thread.is_alive()).count();
    let cpu = total_share(&threads.threads);
    let text = format!(
        "{} (pid {}), {}, up {}, {}, CPU {}, selvedge {}",
        threads.name,
        threads.process,
        threads.state,
        span(threads.uptime_s),
        count(alive, "thread"),
        percent(cpu),
        threads.selvedge
    );
    plain(&text).into_owned()
}

/// A line for each queue: `files: 80 of 100, 990/s; main/walker waits for room`.
pub(crate) fn queues(threads: &Threads, looks: &Looks) -> Vec<String> {
    let waiting = |kind: &str, name: &str| {
        let all = threads
            .threads
            .iter()
            .filter(|thread| thread.waiting_for.as_ref().is_some_and(|wait| wait.kind == kind && wait.name == name));
        let paths: Vec<&str> = all.map(|thread| thread.path.as_str()).collect();
        match paths[..] {
            [] => None,
            [one] => Some(one.to_owned()),
            [first, second] => Some(format!("{first} and {second}")),
            [first, .., last] => Some(format!("{first} … {last} ({} threads)", paths.len())),
        }
    };
    let line = |queue: &crate::model::Queue| {
        let of = queue.capacity.map(|capacity| format!(" of {capacity}")).unwrap_or_default();
        let rate = looks.rates.get(&queue.id).map(|rate| format!(", {rate:.0}/s")).unwrap_or_default();
        let closed = if queue.closed { ", closed" } else { "" };
        let mut text = format!("{}: {}{of}{rate}{closed}", queue.name, queue.len);
        if let Some(adders) = waiting("room in queue", &queue.name) {
            text += &format!("; wait for room: {adders}");
        }
        if let Some(poppers) = waiting("queue", &queue.name) {
            text += &format!("; wait for values: {poppers}");
        }
        plain(&text).into_owned()
    };
    threads.queues.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Deadlock, Stop, Wait};

    fn thread(id: u64, parent: Option<u64>, path: &str) -> Thread {
        Thread { id, parent, path: path.to_owned(), state: "running".to_owned(), ..Thread::default() }
    }

    fn labels(threads: &Threads, fold: bool, filter: &str) -> Vec<String> {
        rows(threads, Shown { fold, filter }).into_iter().map(|row| row.label).collect()
    }

    fn program() -> Threads {
        let mut all = vec![thread(1, None, "main"), thread(2, Some(1), "main/readers"), thread(9, Some(1), "main/w")];
        all.extend((3..7).map(|id| thread(id, Some(2), &format!("main/readers/reader-{id}"))));
        all.extend(
            (20..24).map(|id| Thread { is_runtimes_own: true, ..thread(id, Some(1), &format!("main/selvedge/{id}")) }),
        );
        Threads { threads: all, ..Threads::default() }
    }

    #[test]
    fn siblings_alike_are_one_row() {
        let folded = ["main", "├─ readers", "│  └─ reader-* ×4", "├─ w", "└─ selvedge ×4"];
        assert_eq!(labels(&program(), true, ""), folded);
        assert_eq!(labels(&program(), false, "").len(), program().threads.len());
    }

    #[test]
    fn siblings_with_children_stay_apart() {
        let mut threads = program();
        threads.threads.push(thread(50, Some(4), "main/readers/reader-4/helper"));
        let wanted =
            ["main", "├─ readers", "│  ├─ reader-* ×3", "│  └─ reader-4", "│     └─ helper", "├─ w", "└─ selvedge ×4"];
        assert_eq!(labels(&threads, true, ""), wanted);
    }

    #[test]
    fn the_runtimes_own_are_one_row_with_their_children() {
        let mut threads = program();
        let own = Thread { is_runtimes_own: true, ..thread(60, Some(21), "main/selvedge/21/worker") };
        threads.threads.push(own);
        assert_eq!(labels(&threads, true, "").last().map(String::as_str), Some("└─ selvedge ×5"));
        assert_eq!(labels(&threads, false, "").len(), threads.threads.len());
    }

    #[test]
    fn the_filter_keeps_ancestors() {
        assert_eq!(labels(&program(), true, "reader-5"), ["main", "└─ readers", "   └─ reader-5"]);
        assert!(labels(&program(), true, "nothing like that").is_empty());
    }

    #[test]
    fn a_deep_tree_and_a_circle_of_parents_end() {
        let mut threads = Threads { threads: vec![thread(1, None, "main")], ..Threads::default() };
        threads.threads.extend((2..20_000).map(|id| thread(id, Some(id - 1), "main/deep")));
        assert_eq!(labels(&threads, true, "").len(), 19_999);
        let threads = vec![thread(1, Some(2), "a"), thread(2, Some(1), "b"), thread(3, Some(3), "c")];
        assert_eq!(labels(&Threads { threads, ..Threads::default() }, true, ""), ["c"]);
    }

    #[test]
    fn several_threads_wait_and_one_waits() {
        let mut threads = program();
        let all = threads.threads.iter_mut().filter(|one| one.is_runtimes_own).enumerate();
        for (at, one) in all {
            let (kind, name) = match at {
                0 | 1 => ("signal", format!("{} please_stop", one.path)),
                2 => ("request for", "inspect".to_owned()),
                _ => continue,
            };
            one.waiting_for = Some(Wait { kind: kind.to_owned(), name, ..Wait::default() });
        }
        let rows = rows(&threads, Shown { fold: true, filter: "" });
        let what = &rows.last().unwrap().what;
        assert!(what.starts_with("2 wait for their please_stop; 1 "), "{what}");
        assert!(what.contains("1 waits for request for \"inspect\"") && what.contains("1 running"), "{what}");
    }

    #[test]
    fn without_shares_the_cpu_time_is_zero() {
        let threads = program();
        for row in rows(&threads, Shown { fold: true, filter: "" }) {
            assert_eq!(percent(row.share), "0.0 %", "{}", row.label);
        }
        assert!(title(&threads).contains(", CPU 0.0 %, "), "{}", title(&threads));
    }

    #[test]
    fn problems_are_told() {
        let mut threads = program();
        threads.deadlocks =
            vec![Deadlock { text: "deadlock: 2 threads".to_owned(), threads: vec![9], ..Deadlock::default() }];
        threads.threads[0].failures = vec!["main/m panicked\x1b".to_owned()];
        threads.threads[2].stop = Some(Stop { s_ago: 3.0, ..Stop::default() });
        threads.threads[2].waiting_for = Some(Wait { kind: "lock".into(), name: "l".into(), ..Wait::default() });
        let wanted = [
            "deadlock: 2 threads",
            r"main/m panicked\u{1b}",
            "main/w waits for lock \"l\", 3.0 s after it was asked to stop",
        ];
        assert_eq!(problems(&threads), wanted);
        let rows = rows(&threads, Shown { fold: true, filter: "" });
        assert!(rows[3].is_bad && rows[3].what.contains("DEADLOCK"), "{}", rows[3].what);
    }
}
