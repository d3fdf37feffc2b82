//! The waits that have come since an earlier reading of the same recording. The waits of a thread that
//! has ended may stand with its pool in the later one.

use super::contention::{Contention, LetGoRow, WaitRow};
use crate::profile::accounts::take;
use crate::thread::pool_names::pool_of;
use std::collections::HashSet;
use std::sync::Arc;

/// What rows of waits and of calls that let go have in common.
trait Row: Clone {
    fn path(&self) -> &Arc<str>;
    /// What was waited for, and what ended it; empty for calls that let go.
    fn names(&self) -> (&str, &str);
    fn frames(&self) -> &[usize];
    fn nanos(&mut self) -> &mut u64;
    fn count(&mut self) -> &mut u64;
}

impl Row for WaitRow {
    fn path(&self) -> &Arc<str> {
        &self.path
    }

    fn names(&self) -> (&str, &str) {
        (&self.what, &self.ender)
    }

    fn frames(&self) -> &[usize] {
        &self.frames
    }

    fn nanos(&mut self) -> &mut u64 {
        &mut self.nanos
    }

    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}

impl Row for LetGoRow {
    fn path(&self) -> &Arc<str> {
        &self.path
    }

    fn names(&self) -> (&str, &str) {
        ("", "")
    }

    fn frames(&self) -> &[usize] {
        &self.frames
    }

    fn nanos(&mut self) -> &mut u64 {
        &mut self.nanos
    }

    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}

/// A frame is the same if it has the same address in the same function.
type Frame = (u64, Option<Arc<str>>);

/// The path of the thread, what was waited for, what ended it, and the stack.
type Key = (Arc<str>, String, String, Vec<Frame>);

/// What a later reading has rows of.
struct Later {
    paths: HashSet<Arc<str>>,
    /// Paths and what was waited for.
    waits: HashSet<(Arc<str>, String)>,
}

/// A row with what it is known by in another list of locations.
#[derive(Clone)]
struct Known<R> {
    row: R,
    stack: Vec<Frame>,
}

impl Later {
    fn new<R>(rows: &[Known<R>], key: impl Fn(&Known<R>) -> Key) -> Later {
        let waits: HashSet<_> = rows.iter().map(key).map(|(path, what, ..)| (path, what)).collect();
        Later { paths: waits.iter().map(|(path, _)| path.clone()).collect(), waits }
    }

    /// The key under which it may have an earlier row: its own, or that of the thread's pool. A pool keeps
    /// a limited number of names.
    fn find(&self, (path, what, ender, stack): Key) -> Key {
        let own = self.paths.get(&path).cloned();
        let pool = || pool_of(&path, |pool| self.paths.contains(pool)).map(Arc::from);
        let Some(known) = own.or_else(pool) else { return (path, what, ender, stack) };
        let wait = (known, what);
        if self.waits.contains(&wait) {
            return (wait.0, wait.1, ender, stack);
        }
        let kind = wait.1.split(" \"").next().unwrap_or_default();
        let others = (wait.0, format!("{kind} \"[others]\""));
        let what = if self.waits.contains(&others) { others.1 } else { wait.1 };
        (others.0, what, ender, stack)
    }
}

impl Contention {
    /// What has come since `before`, an earlier reading of the same recording. A wait that went on then
    /// has another stack now, and an ender: it is subtracted from the waits of its thread for the same
    /// thing.
    pub(in crate::profile) fn since(mut self, before: &Contention) -> Contention {
        self.waits = self.rows_since(&self.waits, before, &before.waits);
        self.let_go = self.rows_since(&self.let_go, before, &before.let_go);
        self
    }

    fn rows_since<R: Row>(&self, rows: &[R], before: &Contention, earlier: &[R]) -> Vec<R> {
        let mut left = self.known(rows);
        let earlier = before.known(earlier);
        let key = |known: &Known<R>| {
            let (what, ender) = known.row.names();
            (known.row.path().clone(), what.to_owned(), ender.to_owned(), known.stack.clone())
        };
        let is_akin =
            |known: &Known<R>, (path, what, ..): &Key| known.row.path() == path && known.row.names().0 == what;
        let later = Later::new(&left, key);
        let key_in_later = |known| later.find(key(known));
        let nanos = earlier.iter().map(|known| (key_in_later(known), *known.clone().row.nanos()));
        take(&mut left, nanos, key, is_akin, |known| known.row.nanos());
        let counts = earlier.iter().map(|known| (key_in_later(known), *known.clone().row.count()));
        take(&mut left, counts, key, is_akin, |known| known.row.count());
        left.retain_mut(|known| *known.row.nanos() > 0 || *known.row.count() > 0);
        left.into_iter().map(|known| known.row).collect()
    }

    fn known<R: Row>(&self, rows: &[R]) -> Vec<Known<R>> {
        let frame = |&index: &usize| {
            let location = &self.locations[index];
            (location.address, location.lines.first().map(|line| line.function.clone()))
        };
        let stack = |row: &R| row.frames().iter().map(frame).collect();
        rows.iter().map(|row| Known { row: row.clone(), stack: stack(row) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flame::Location;

    /// Waits of `main` for `jobs`: function, ender, seconds.
    fn contention(rows: &[(&str, &str, u64)]) -> Contention {
        let mut all = Contention::default();
        for (function, ender, nanos) in rows {
            all.locations.push(Location::remark(function));
            let frames = [all.locations.len() - 1].into();
            let (path, what) = ("main".into(), "queue \"jobs\"".into());
            all.waits.push(WaitRow { path, frames, what, ender: (*ender).into(), count: 1, nanos: *nanos });
        }
        all
    }

    fn left(after: &[(&str, &str, u64)], before: &[(&str, &str, u64)]) -> Vec<(String, u64)> {
        let since = contention(after).since(&contention(before));
        let name = |row: &WaitRow| format!("{} by {}", since.locations[row.frames[0]].lines[0].function, row.ender);
        since.waits.iter().map(|row| (name(row), row.nanos)).filter(|(_, nanos)| *nanos > 0).collect()
    }

    #[test]
    fn equal_waits_are_subtracted_whatever_their_order() {
        let before = [("b", "main/x", 3), ("a", "main/x", 5)];
        let after = [("a", "main/x", 9), ("b", "main/x", 3), ("a", "main/y", 2)];
        assert_eq!(left(&after, &before), [("a by main/x".to_owned(), 4), ("a by main/y".to_owned(), 2)]);
    }

    #[test]
    fn a_wait_that_went_on_is_subtracted_from_what_it_became() {
        let before = [("as its thread replied", "[unknown]", 10)];
        let after = [("pop", "main/x", 12), ("pop", "main/y", 1)];
        assert_eq!(left(&after, &before), [("pop by main/x".to_owned(), 2), ("pop by main/y".to_owned(), 1)]);
    }

    #[test]
    fn waits_of_an_ended_thread_are_subtracted_from_its_pool() {
        let of = |path: &str, rows: &[_]| {
            let mut all = contention(rows);
            all.waits.iter_mut().for_each(|row| row.path = path.into());
            all
        };
        let earlier = of("main/x/worker-1", &[("pop", "main/conn-7", 5)]);
        for pool in ["main/x/worker-*", "main/x/*", "main/*"] {
            let since = of(pool, &[("pop", "main/conn-*", 7)]).since(&earlier);
            assert_eq!(since.waits.iter().map(|row| row.nanos).sum::<u64>(), 2, "{pool}");
        }
    }
}
