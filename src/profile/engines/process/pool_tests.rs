//! Pools of ended threads against the threads that they are made of.

use super::held;
use super::pools::{Ended, are_many, fold_all};
use crate::profile::owners::Owners;
use crate::profile::raw::{Held, Lifetime, Nanos};
use crate::thread::pool_names::FOLDS;
use std::collections::HashMap;
use std::time::Duration;

const MS: Nanos = 1_000_000;

/// Made-up numbers, the same ones in each run.
struct Random(u64);

impl Random {
    /// Less than `below`.
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What lived, and what is kept of it.
#[derive(Default)]
struct Run {
    all: Vec<Lifetime>,
    kept: Vec<Ended>,
    most: usize,
    living: HashMap<u64, Nanos>,
}

impl Run {
    fn end(&mut self, path: String, os_thread: u64, started: Nanos, ended: Nanos) {
        let lifetime = Lifetime {
            path: path.into(),
            os_thread: Some(os_thread),
            started,
            ended: Some(ended),
            cpu: Duration::from_nanos(self.all.len() as u64),
            lost: None,
            merged: 0,
            pool: None,
            held: Vec::new(),
        };
        self.kept.push(Ended { id: self.all.len() as u64, spawned_at: None, lifetime: lifetime.clone() });
        self.all.push(lifetime);
        if are_many(&self.kept) {
            fold_all(&mut self.kept, &self.living);
        }
        self.most = self.most.max(self.kept.len() + self.held());
    }

    /// Threads that follow each other on `handles` handles, some of them twice in the tree at once.
    fn of(count: u64, handles: u64, gaps: &[Nanos], path: fn(u64, u64) -> String) -> Run {
        let (mut run, mut random) = (Run::default(), Random(count));
        let mut free: Vec<Nanos> = vec![0; handles as usize];
        for n in 0..count {
            let handle = random.next(handles);
            let started = free[handle as usize] + gaps[random.next(gaps.len() as u64) as usize];
            let ended = started + (1 + random.next(300) as Nanos) * MS;
            if random.next(8) == 0 {
                let half = (started + ended) / 2;
                run.living.insert(handle, started);
                run.end(path(n, random.next(3)), handle, started.midpoint(half), half);
                run.living.remove(&handle);
            }
            run.end(path(n, random.next(3)), handle, started, ended);
            free[handle as usize] = ended;
        }
        run
    }

    fn held(&self) -> usize {
        self.kept.iter().map(|thread| thread.lifetime.held.len()).sum()
    }

    fn lifetimes(&self) -> Vec<Lifetime> {
        self.kept.iter().map(|thread| thread.lifetime.clone()).collect()
    }

    /// Threads, their CPU time and their wall time.
    fn sums(lifetimes: &[Lifetime]) -> (u64, Duration, Nanos) {
        let wall = |lifetime: &Lifetime| {
            lifetime.pool.map_or_else(|| lifetime.ended.unwrap() - lifetime.started.max(0), |pool| pool.wall)
        };
        (
            lifetimes.iter().map(|lifetime| lifetime.pool.map_or(1, |pool| pool.threads)).sum(),
            lifetimes.iter().map(|lifetime| lifetime.cpu).sum(),
            lifetimes.iter().map(wall).sum(),
        )
    }

    /// Calls `check` with the owners of many samples, before and after.
    fn owners(&self, check: impl Fn(Option<&str>, Option<&str>)) {
        let (lifetimes, mut random) = (self.lifetimes(), Random(1));
        let (before, after) = (Owners::new(&self.all), Owners::new(&lifetimes));
        for thread in &self.all {
            let (from, till) = (thread.started, thread.ended.unwrap());
            let inside = from + random.next((till - from) as u64 + 1) as Nanos;
            let around = from - 200 * MS + random.next(1_000) as Nanos * MS;
            for at in [inside, around] {
                let handle = thread.os_thread.unwrap();
                let was = before.owner(handle, at).map(|index| &*self.all[index].path);
                check(was, after.owner(handle, at).map(|index| &*lifetimes[index].path));
            }
        }
    }
}

fn numbered(n: u64, pool: u64) -> String {
    format!("main/listener/{}-{n}", ["connection", "timer", "job"][pool as usize])
}

fn lettered(n: u64, pool: u64) -> String {
    let letters: String = n.to_string().bytes().map(|digit| (digit - b'0' + b'a') as char).collect();
    format!("main/{letters}/{}", ["connection", "timer", "job"][pool as usize])
}

/// Returns `true` if the thread, or a pool of it, has the path.
fn is_of(pool: &str, path: &str) -> bool {
    pool == path || FOLDS.iter().any(|fold| fold(path) == pool)
}

#[test]
fn pools_have_the_sums_of_their_threads() {
    for path in [numbered, lettered] {
        let run = Run::of(5_000, 9, &[0, MS, 3_000 * MS], path);
        assert_eq!(Run::sums(&run.lifetimes()), Run::sums(&run.all));
        assert!(run.kept.len() <= 64, "{} entries", run.kept.len());
        assert!(run.most < 500, "{} entries and intervals", run.most);
    }
}

#[test]
fn a_sample_of_a_folded_thread_is_its_pools() {
    // Gaps within the grace and beyond it, and few of the latter: the intervals are not too many.
    let gaps: Vec<Nanos> = (0..60).map(|n| if n == 0 { 5_000 * MS } else { (n % 20) * 10 * MS }).collect();
    for count in 130..170 {
        let mut run = Run::of(count, 3, &gaps, numbered);
        fold_all(&mut run.kept, &HashMap::new());
        assert!(run.kept.iter().all(|thread| thread.lifetime.held.iter().all(|held| !held.is_mixed)));
        run.owners(|was, now| match (was, now) {
            (Some(was), Some(now)) => assert!(is_of(now, was), "{was} is of {now}"),
            _ => assert_eq!(was, now),
        });
    }
}

#[test]
fn two_threads_do_not_get_the_time_between_them_of_a_third() {
    let mut run = Run::default();
    // The first one was a second name of the second one.
    run.end("main/inner-1".into(), 7, 100 * MS, 200 * MS);
    run.end("main/outer-1".into(), 7, 0, 300 * MS);
    run.end("main/inner-2".into(), 7, 310 * MS, 400 * MS);
    run.end("main/outer-2".into(), 8, 0, 10 * MS);
    fold_all(&mut run.kept, &HashMap::new());
    let lifetimes = run.lifetimes();
    let owner = |at| Owners::new(&lifetimes).owner(7, at * MS).map(|index| &*lifetimes[index].path);
    let owners = [50, 150, 250, 350].map(owner);
    assert_eq!(owners, ["main/outer-*", "main/inner-*", "main/outer-*", "main/inner-*"].map(Some));
}

#[test]
fn one_pool_needs_one_interval_of_each_handle() {
    let run = Run::of(5_000, 3, &[0, MS, 150 * MS], |n, _| format!("main/connection-{n}"));
    assert!(run.held() <= 3, "{:?}", run.kept.last().map(|thread| &thread.lifetime.held));
}

#[test]
fn too_many_intervals_keep_samples_in_the_tree() {
    let run = Run::of(5_000, 9, &[0, MS, 3_000 * MS], numbered);
    run.owners(|was, now| assert!(was.is_none() || now.is_some(), "{was:?} is no thread of the tree"));
    let lifetimes = run.lifetimes();
    let mixed: Vec<_> = lifetimes.iter().flat_map(|lifetime| &lifetime.held).filter(|held| held.is_mixed).collect();
    assert!(!mixed.is_empty());
    let owners = Owners::new(&lifetimes);
    assert!(mixed.iter().all(|held| owners.has_successor(held.os_thread, held.till)));
}

#[test]
fn the_newer_half_of_the_intervals_stays_exact() {
    let mut run = Run::default();
    (0..4).for_each(|n| run.end(numbered(n, n % 2), 7, 0, 1));
    fold_all(&mut run.kept, &HashMap::new());
    let mut pools = run.lifetimes();
    pools.iter_mut().for_each(|pool| pool.held.clear());
    for n in 0..200 {
        let from = n * 1_000 * MS;
        pools[n as usize % 2].held.push(Held { os_thread: 7, from, till: from + MS, is_mixed: false });
    }
    held::settle(&mut pools.iter_mut().collect::<Vec<_>>(), &HashMap::new(), 160);
    let held: Vec<Held> = pools.iter().flat_map(|pool| pool.held.clone()).collect();
    assert!(held.len() <= 160, "{} intervals", held.len());
    let (newer, older): (Vec<&Held>, Vec<&Held>) = held.iter().partition(|held| held.from >= 100_000 * MS);
    assert_eq!((newer.len(), newer.iter().any(|held| held.is_mixed)), (100, false));
    assert!(older.iter().all(|held| held.is_mixed));
}

#[test]
fn handles_without_number_are_forgotten_in_the_end() {
    let mut run = Run::default();
    for n in 0..5_000 {
        run.end(format!("main/job-{n}"), n, n as Nanos * MS, n as Nanos * MS + MS);
    }
    assert!(run.most < 500, "{} entries and intervals", run.most);
    assert_eq!(Run::sums(&run.lifetimes()), Run::sums(&run.all));
}

#[test]
fn a_living_thread_keeps_its_own_samples() {
    let mut run = Run { living: HashMap::from([(7, 0)]), ..Run::default() };
    for n in 0..5_000 {
        run.end(format!("main/job-{n}"), 7, n * 100 * MS, n * 100 * MS + 50 * MS);
        assert!(run.held() < 400);
    }
    let outer = Lifetime { path: "main/outer".into(), started: 0, ended: None, ..run.all[0].clone() };
    let lifetimes: Vec<Lifetime> = std::iter::once(outer).chain(run.lifetimes()).collect();
    assert_eq!(Owners::new(&lifetimes).owner(7, 499_775 * MS), Some(0));
}

#[test]
fn the_fewest_intervals_are_those_asked_for() {
    let mut threads = Run::of(60, 30, &[3_000 * MS], |n, _| format!("main/job-{n}")).kept;
    fold_all(&mut threads, &HashMap::new());
    let mut lifetimes: Vec<&mut Lifetime> = threads.iter_mut().map(|thread| &mut thread.lifetime).collect();
    held::settle(&mut lifetimes, &HashMap::new(), 10);
    assert!(threads.iter().map(|thread| thread.lifetime.held.len()).sum::<usize>() <= 10);
}
