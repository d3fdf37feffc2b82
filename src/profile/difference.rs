//! What a profile has found since an earlier one of the same recording. The times add up: of each
//! thread, to what it has used between the two.
//!
//! A later profile may have less of a stack than the earlier one. Time that had no sample yet was
//! `[unsampled]` in the earlier one, and stands in the later one on the stack of the sample that
//! came. Such time is taken from the thread's other stacks, in proportion. A thread that has ended
//! may stand with its pool in the later one, and so does what is taken from it.

#[cfg(feature = "inspect")]
use super::model::{Profile, ThreadProfile};
use crate::flame::{Location, Stacks};
use crate::thread::pool_names::{without_name, without_numbers};
use std::collections::HashMap;
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
    after
}

/// Takes from the stacks what `before` has.
pub(super) fn subtract(after: &mut Stacks, before: &Stacks) {
    let mut missing = subtract_stacks(after, before);
    // A pool of ended threads may be folded further.
    for _ in 0..3 {
        take(after, &mut missing);
        missing = missing.into_iter().filter_map(|(label, over)| pool(after, &label).map(|pool| (pool, over))).fold(
            HashMap::new(),
            |mut missing, (pool, over)| {
                let sum: &mut (u64, u64) = missing.entry(pool).or_default();
                *sum = (sum.0 + over.0, sum.1 + over.1);
                missing
            },
        );
    }
    after.stacks.retain(|stack| stack.samples > 0 || stack.weight > 0);
}

/// Samples and weights that `before` has more than `after`, by label.
type Missing = HashMap<Arc<str>, (u64, u64)>;

fn subtract_stacks(after: &mut Stacks, before: &Stacks) -> Missing {
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
    let mut missing = Missing::new();
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
            let sum = missing.entry(stack.label.clone()).or_default();
            *sum = (sum.0 + over.0, sum.1 + over.1);
        }
    }
    missing
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

/// The label under which the later profile may have the threads of this one.
fn pool(stacks: &Stacks, label: &Arc<str>) -> Option<Arc<str>> {
    let pools = [without_numbers(label), without_name(label)];
    let is_there = |pool: &&String| **pool != **label && stacks.stacks.iter().any(|stack| *stack.label == ***pool);
    pools.iter().find(is_there).map(|pool| pool.as_str().into())
}

#[cfg(feature = "inspect")]
fn subtract_threads(after: &mut Vec<ThreadProfile>, before: &[ThreadProfile]) {
    // Several threads may have one path: they are met in the order of their starts.
    let mut earlier: HashMap<&str, Vec<&ThreadProfile>> = HashMap::new();
    before.iter().rev().for_each(|thread| earlier.entry(&thread.path).or_default().push(thread));
    let less = |time: Duration, by: Duration| time.saturating_sub(by);
    for thread in after.iter_mut() {
        let Some(was) = earlier.get_mut(&*thread.path).and_then(Vec::pop) else { continue };
        thread.cpu = less(thread.cpu, was.cpu);
        thread.sampled = less(thread.sampled, was.sampled);
        thread.unsampled = less(thread.cpu, thread.sampled);
        thread.wall = less(thread.wall, was.wall);
        thread.samples = thread.samples.saturating_sub(was.samples);
        thread.lost = thread.lost.saturating_sub(was.lost);
        thread.merged = thread.merged.saturating_sub(was.merged);
        thread.truncated = thread.truncated.saturating_sub(was.truncated);
        thread.broken = thread.broken.saturating_sub(was.broken);
    }
    // Threads that had ended before.
    after.retain(|thread| thread.wall > Duration::ZERO || thread.samples > 0 || thread.cpu > Duration::ZERO);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flame::Stack;

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
}
