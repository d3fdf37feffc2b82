//! What a profile has found since an earlier one of the same recording. The times add up: of each
//! thread, to what it has used between the two.
//!
//! A later profile may have less of a stack than the earlier one. Time that had no sample yet was
//! `[unsampled]` in the earlier one, and stands in the later one on the stack of the sample that
//! came. Such time is taken from the thread's other stacks, in proportion. A stack that was folded
//! meanwhile is in its thread's `[others]`, and is taken from there. A thread that has ended may stand
//! with its pool in the later one, and so does what is taken from it.
//!
//! Invariant: nothing is left out while the later profile has time under the thread's path, or under
//! that of one of its pools.

#[cfg(feature = "inspect")]
use super::model::Profile;
use super::shown_stacks::{BROKEN, NO_STACK, OTHER_STACK, OTHERS, RUNTIME, TRUNCATED, UNSAMPLED};
#[cfg(feature = "inspect")]
use super::thread_profile::ThreadProfile;
use crate::flame::{Location, Stack, Stacks};
use crate::thread::pool_names::{FOLDS, pool_of};
#[cfg(feature = "inspect")]
use std::collections::VecDeque;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
#[cfg(feature = "inspect")]
use std::ops::SubAssign;
use std::sync::Arc;
#[cfg(feature = "inspect")]
use std::time::Duration;

/// `after` without what `before` has.
#[cfg(feature = "inspect")]
pub(super) fn since(mut after: Profile, before: &Profile) -> Profile {
    subtract(&mut after.names.change().stacks, before.names.stacks());
    subtract_threads(&mut after.threads, &before.threads);
    after.unregistered = after.unregistered.saturating_sub(before.unregistered);
    after.ambiguous = after.ambiguous.saturating_sub(before.ambiguous);
    let stacks = after.names.stacks();
    let others = stacks.stacks.iter().filter(|stack| is_others(stack, &stacks.locations));
    after.others = others.map(|stack| stack.samples).sum();
    after
}

/// Takes from the stacks what `before` has.
pub(super) fn subtract(after: &mut Stacks, before: &Stacks) {
    let (mut missing, folded) = subtract_stacks(after, before);
    for ((label, _), over) in take_folded(after, folded) {
        add(&mut missing, label, over);
    }
    let labels: HashSet<Arc<str>> = after.stacks.iter().map(|stack| stack.label.clone()).collect();
    take(after, &mut missing);
    // A pool of ended threads may be folded further.
    for _ in FOLDS {
        missing = of_pools(missing, &labels);
        take(after, &mut missing);
    }
    after.stacks.retain(|stack| stack.samples > 0 || stack.weight > 0);
}

/// Samples and weights that `before` has more than `after`, by label.
type Missing = HashMap<Arc<str>, (u64, u64)>;

/// Samples and weights that `before` has more, of stacks that may have been folded; by label and waits.
type Folded = HashMap<(Arc<str>, Vec<Arc<str>>), (u64, u64)>;

fn add<K: Eq + Hash>(sums: &mut HashMap<K, (u64, u64)>, key: K, more: (u64, u64)) {
    let sum = sums.entry(key).or_default();
    *sum = (sum.0 + more.0, sum.1 + more.1);
}

/// Takes from each stack what it had before. Returns what is missing, and what may have been folded.
fn subtract_stacks(after: &mut Stacks, before: &Stacks) -> (Missing, Folded) {
    let places: HashMap<_, usize> =
        after.locations.iter().enumerate().map(|(place, location)| (key(location), place)).collect();
    let known: Vec<Option<usize>> =
        before.locations.iter().map(|location| places.get(&key(location)).copied()).collect();
    let stacks: HashMap<_, usize> = after
        .stacks
        .iter()
        .enumerate()
        .map(|(place, stack)| ((stack.label.clone(), stack.frames.clone(), stack.labels.clone()), place))
        .collect();
    let (mut missing, mut folded) = (Missing::new(), Folded::new());
    for stack in &before.stacks {
        let frames: Option<Vec<usize>> = stack.frames.iter().map(|&frame| known[frame]).collect();
        let place = frames.and_then(|frames| stacks.get(&(stack.label.clone(), frames, stack.labels.clone())).copied());
        let mut over = (stack.samples, stack.weight);
        if let Some(place) = place {
            let later = &mut after.stacks[place];
            let both = (over.0.min(later.samples), over.1.min(later.weight));
            (later.samples, later.weight) = (later.samples - both.0, later.weight - both.1);
            over = (over.0 - both.0, over.1 - both.1);
        }
        if over != (0, 0) {
            match is_ever_folded(stack, &before.locations) {
                true => add(&mut folded, (stack.label.clone(), waits(stack, &before.locations)), over),
                false => add(&mut missing, stack.label.clone(), over),
            }
        }
    }
    (missing, folded)
}

/// Takes what may have been folded from the `[others]` of its label and its waits. Returns what cannot be
/// taken there.
fn take_folded(after: &mut Stacks, mut folded: Folded) -> Folded {
    let Stacks { stacks, locations, .. } = after;
    for stack in stacks.iter_mut().filter(|stack| is_others(stack, locations)) {
        let key = (stack.label.clone(), waits(stack, locations));
        let Some(over) = folded.get_mut(&key) else { continue };
        let both = (over.0.min(stack.samples), over.1.min(stack.weight));
        (stack.samples, stack.weight) = (stack.samples - both.0, stack.weight - both.1);
        *over = (over.0 - both.0, over.1 - both.1);
    }
    folded.retain(|_, over| *over != (0, 0));
    folded
}

/// The text, if it is a remark.
fn remark(location: &Location) -> Option<&Arc<str>> {
    location.lines.first().filter(|_| location.address == 0).map(|line| &line.function)
}

/// The text of the frame nearest to the root, if it is a remark.
fn remark_at_root<'a>(stack: &Stack, locations: &'a [Location]) -> Option<&'a str> {
    remark(&locations[*stack.frames.last()?]).map(|text| &**text)
}

/// Returns `true` for what stands for folded stacks.
fn is_others(stack: &Stack, locations: &[Location]) -> bool {
    remark_at_root(stack, locations) == Some(OTHERS)
}

/// Returns `true` unless it stands for time that has no stack.
fn is_ever_folded(stack: &Stack, locations: &[Location]) -> bool {
    !matches!(remark_at_root(stack, locations), Some(UNSAMPLED | NO_STACK))
}

/// What the thread waited for: the remarks above the code.
fn waits(stack: &Stack, locations: &[Location]) -> Vec<Arc<str>> {
    let is_code = |text: &str| matches!(text, OTHERS | RUNTIME | TRUNCATED | BROKEN | OTHER_STACK);
    let remarks = stack.frames.iter().map_while(|&frame| remark(&locations[frame]));
    remarks.take_while(|text| !is_code(text)).cloned().collect()
}

/// The same address in the same function; a remark is known by its text.
fn key(location: &Location) -> (u64, Option<&str>) {
    (location.address, location.lines.first().map(|line| &*line.function))
}

/// Takes what is missing from the stacks of its label, in proportion to their weights. What cannot
/// be taken stays in `missing`.
fn take(stacks: &mut Stacks, missing: &mut Missing) {
    let mut sums: HashMap<Arc<str>, u64> = HashMap::new();
    for stack in &stacks.stacks {
        *sums.entry(stack.label.clone()).or_default() += stack.weight;
    }
    let whole: HashMap<Arc<str>, (u64, u64)> = missing
        .iter()
        .filter_map(|(label, over)| sums.get(label).map(|&sum| (label.clone(), (sum, over.1.min(sum)))))
        .collect();
    for stack in &mut stacks.stacks {
        let Some(&(sum, over)) = whole.get(&stack.label) else { continue };
        let Some(left) = missing.get_mut(&stack.label) else { continue };
        let part = u128::from(stack.weight) * u128::from(over) / u128::from(sum.max(1));
        let part = u64::try_from(part).unwrap_or(u64::MAX).min(left.1);
        stack.weight -= part;
        left.1 -= part;
        let samples = left.0.min(stack.samples);
        (stack.samples, left.0) = (stack.samples - samples, left.0 - samples);
    }
    // What was rounded off.
    for stack in &mut stacks.stacks {
        let Some(left) = missing.get_mut(&stack.label) else { continue };
        let part = left.1.min(stack.weight);
        stack.weight -= part;
        left.1 -= part;
    }
    missing.retain(|_, left| *left != (0, 0));
}

/// The same under the labels of the pools that the later profile has. What has no pool is left out.
fn of_pools(missing: Missing, labels: &HashSet<Arc<str>>) -> Missing {
    let mut of_pools = Missing::new();
    for (label, over) in missing {
        if let Some(pool) = pool_of(&label, |pool| labels.contains(pool)) {
            add(&mut of_pools, pool.into(), over);
        }
    }
    of_pools
}

/// Takes from each thread what it had before: by path, in the order of the threads' starts. A pool
/// stands for as many threads as it has members. What the wrong one of several namesakes lacks is
/// taken from the others, and from their pools.
#[cfg(feature = "inspect")]
fn subtract_threads(after: &mut Vec<ThreadProfile>, before: &[ThreadProfile]) {
    let mut places: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
    // The threads, and how many members of them are not met yet.
    let mut unmet: HashMap<Arc<str>, VecDeque<(usize, u64)>> = HashMap::new();
    for (place, thread) in after.iter().enumerate() {
        places.entry(thread.path.clone()).or_default().push(place);
        unmet.entry(thread.path.clone()).or_default().push_back((place, thread.members));
    }
    let mut rest: Vec<ThreadProfile> = Vec::new();
    for was in before {
        let mut was = was.clone();
        let is_unmet = |path: &str| unmet.get(path).is_some_and(|threads| !threads.is_empty());
        let own = is_unmet(&was.path).then(|| was.path.to_string());
        let path = own.or_else(|| pool_of(&was.path, is_unmet));
        if let Some(threads) = path.and_then(|path| unmet.get_mut(path.as_str()))
            && let Some((place, members)) = threads.front_mut()
        {
            take_thread(&mut after[*place], &mut was);
            *members = members.saturating_sub(was.members);
            if *members == 0 {
                threads.pop_front();
            }
        }
        rest.push(was);
    }
    for mut was in rest.into_iter().filter(has_time) {
        let own = was.path.clone();
        let paths = std::iter::once(own.to_string()).chain(FOLDS.iter().map(|fold| fold(&own)));
        for place in paths.filter_map(|path| places.get(path.as_str())).flatten() {
            take_thread(&mut after[*place], &mut was);
        }
    }
    // Threads that had ended before.
    after.retain(has_time);
}

#[cfg(feature = "inspect")]
fn has_time(thread: &ThreadProfile) -> bool {
    thread.wall > Duration::ZERO || thread.samples > 0 || thread.cpu > Duration::ZERO
}

/// Takes from `after` what `was` has. What it cannot take stays in `was`.
#[cfg(feature = "inspect")]
fn take_thread(after: &mut ThreadProfile, was: &mut ThreadProfile) {
    fn take<T: Copy + Ord + SubAssign>(has: &mut T, over: &mut T) {
        let both = (*has).min(*over);
        *has -= both;
        *over -= both;
    }
    take(&mut after.cpu, &mut was.cpu);
    take(&mut after.sampled, &mut was.sampled);
    after.unsampled = after.cpu.saturating_sub(after.sampled);
    take(&mut after.wall, &mut was.wall);
    take(&mut after.samples, &mut was.samples);
    take(&mut after.lost, &mut was.lost);
    take(&mut after.merged, &mut was.merged);
    take(&mut after.truncated, &mut was.truncated);
    take(&mut after.broken, &mut was.broken);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks(list: &[(&str, &str, u64)]) -> Stacks {
        let mut stacks = Stacks::default();
        for (label, function, weight) in list {
            stacks.locations.push(Location::remark(function));
            let frames = vec![stacks.locations.len() - 1];
            stacks.stacks.push(Stack {
                label: (*label).into(),
                frames,
                labels: Vec::new(),
                samples: 1,
                weight: *weight,
            });
        }
        stacks
    }

    fn left(after: &[(&str, &str, u64)], before: &[(&str, &str, u64)]) -> Vec<(String, u64)> {
        let mut after = stacks(after);
        subtract(&mut after, &stacks(before));
        let name = |stack: &Stack| {
            let function = after.locations[stack.frames[0]].lines[0].function.clone();
            (format!("{};{function}", stack.label), stack.weight)
        };
        let mut left: Vec<_> = after.stacks.iter().map(name).filter(|(_, weight)| *weight > 0).collect();
        left.sort();
        left
    }

    fn owned(list: &[(&str, u64)]) -> Vec<(String, u64)> {
        list.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
    }

    #[test]
    fn equal_stacks_are_subtracted_by_content() {
        let (after, before) = ([("main", "a", 50), ("main", "b", 30)], [("main", "b", 10), ("main", "a", 50)]);
        assert_eq!(left(&after, &before), owned(&[("main;b", 20)]));
    }

    #[test]
    fn stacks_with_other_contexts_are_others() {
        let labelled = |weights: [u64; 2]| {
            let mut stacks = stacks(&[("main", "a", weights[0])]);
            stacks.stacks[0].labels = vec![("request".into(), "17".into())];
            let other = Stack { labels: Vec::new(), weight: weights[1], ..stacks.stacks[0].clone() };
            stacks.stacks.push(other);
            stacks
        };
        let mut after = labelled([70, 50]);
        subtract(&mut after, &labelled([30, 40]));
        let left: Vec<_> = after.stacks.iter().map(|stack| (stack.labels.len(), stack.weight)).collect();
        assert_eq!(left, [(1, 40), (0, 10)]);
    }

    #[test]
    fn time_that_got_its_sample_later_is_not_counted_twice() {
        // 7 had no sample before; 107 - 7 is new, and 14 have none now.
        let after = [("main", "[unsampled]", 2), ("main", "a", 60), ("main", "b", 45), ("main/x", "a", 5)];
        let left = left(&after, &[("main", "[unsampled]", 7)]);
        let of_main: u64 = left.iter().filter(|(name, _)| name.starts_with("main;")).map(|(_, weight)| weight).sum();
        assert_eq!(of_main, 100);
        assert!(left.contains(&("main/x;a".to_owned(), 5)), "{left:?}");
    }

    #[test]
    fn an_ended_thread_is_subtracted_from_its_pool() {
        let (after, before) = ([("main/c-*", "a", 50), ("main/c-*", "b", 50)], [("main/c-7", "a", 40)]);
        let left = left(&after, &before);
        assert_eq!(left.iter().map(|(_, weight)| weight).sum::<u64>(), 60);
    }

    #[test]
    fn an_ended_thread_is_subtracted_from_the_pool_of_all() {
        let before = [("main/x/worker", "a", 5), ("main/y/worker", "a", 1), ("main/selvedge/log", "a", 1)];
        let after = [("main/*", "a", 8), ("main/selvedge/*", "a", 3)];
        assert_eq!(left(&after, &before), owned(&[("main/*;a", 2), ("main/selvedge/*;a", 2)]));
    }

    #[cfg(feature = "inspect")]
    mod of_threads {
        use super::*;

        /// Path, members, seconds of CPU time.
        fn threads(list: &[(&str, u64, u64)]) -> Vec<ThreadProfile> {
            let thread = |&(path, members, seconds): &(&str, u64, u64)| ThreadProfile {
                members,
                cpu: Duration::from_secs(seconds),
                wall: Duration::from_secs(seconds),
                samples: seconds,
                lost: 2 * seconds,
                merged: seconds,
                ..ThreadProfile::new(path.into())
            };
            list.iter().map(thread).collect()
        }

        /// Path and seconds of CPU time; all other sums must be in proportion.
        fn left(after: &[(&str, u64, u64)], before: &[(&str, u64, u64)]) -> Vec<(String, u64)> {
            let mut after = threads(after);
            subtract_threads(&mut after, &threads(before));
            let seconds = |thread: &ThreadProfile| {
                let seconds = thread.cpu.as_secs();
                assert_eq!((thread.wall.as_secs(), thread.unsampled.as_secs()), (seconds, seconds));
                assert_eq!((thread.samples, thread.lost, thread.merged), (seconds, 2 * seconds, seconds));
                (thread.path.to_string(), seconds)
            };
            after.iter().map(seconds).collect()
        }

        #[test]
        fn namesakes_are_subtracted_from_the_pool_they_became() {
            let before = [("main/worker", 1, 3), ("main/worker", 1, 3)];
            assert_eq!(left(&[("main/worker", 2, 7)], &before), owned(&[("main/worker", 1)]));
        }

        #[test]
        fn ended_threads_are_subtracted_from_the_pool_of_each_fold() {
            let before = [("main/c-1", 1, 2), ("main/a/reader-1", 1, 3), ("main/x/worker", 1, 4), ("main/y-*", 5, 1)];
            let after = [("main/*", 9, 6), ("main/a/*", 2, 4), ("main/c-*", 3, 7)];
            assert_eq!(left(&after, &before), owned(&[("main/*", 1), ("main/a/*", 1), ("main/c-*", 5)]));
        }

        #[test]
        fn pools_of_one_path_share_what_is_subtracted() {
            // Two calls spawn, so there are two pools. Threads of the second one had used 6 s.
            let before = [("main/x/a", 1, 4), ("main/y/b", 1, 2), ("main", 1, 1)];
            let after = [("main", 1, 2), ("main/*", 3, 1), ("main/*", 2, 8)];
            assert_eq!(left(&after, &before), owned(&[("main", 1), ("main/*", 3)]));
        }

        #[test]
        fn a_thread_that_lives_is_not_its_namesakes_pool() {
            let before = [("main/worker", 1, 3), ("main/worker", 1, 5)];
            let after = [("main/worker", 2, 4), ("main/worker", 1, 6)];
            let sum: u64 = left(&after, &before).iter().map(|(_, seconds)| seconds).sum();
            assert_eq!(sum, 2);
        }
    }
}
