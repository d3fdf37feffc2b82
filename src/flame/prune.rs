//! Keeps a picture small: if folded stacks have too many frames, the narrowest frames are merged
//! into one frame above their caller. Makes lines of the stacks that stay, and of no others.

use super::folded::{Folded, by_frames, with_weight};

/// Pruned lines, and how many frames they have lost.
pub(super) struct Pruned {
    /// Sorted by their frames.
    pub(super) lines: Vec<String>,
    /// The number of frames that were merged.
    pub(super) left_out: usize,
}

/// A frame of the picture: the same function with the same callers.
struct Frame {
    /// Index of its name.
    name: u32,
    /// The index of the first frame that is not above this one. The frames above it follow it.
    end: u32,
    /// The weight of this frame and all above it.
    total: u64,
    /// The weight of stacks that end here.
    own: u64,
}

/// Merges frames until the picture has at most `most` frames, plus one for each frame that has lost
/// children. The widest frames stay. The sum of the weights stays the same.
pub(super) fn prune(folded: &Folded, most: usize) -> Pruned {
    let frames = tree(folded);
    // The root is not a frame of the picture.
    if frames.len() - 1 <= most {
        drop(frames);
        return Pruned { lines: folded.lines(), left_out: 0 };
    }
    let mut totals: Vec<u64> = frames[1..].iter().map(|frame| frame.total).collect();
    // No frame is wider than its caller, so the callers of each frame that stays do stay.
    let (_, &mut least, _) = totals.select_nth_unstable_by(most, |a, b| b.cmp(a));
    let mut kept = Vec::new();
    let mut left_out = 0;
    let mut pending = vec![(0, String::new())];
    while let Some((index, path)) = pending.pop() {
        let frame = &frames[index];
        if frame.own > 0 {
            kept.push((path.clone(), frame.own));
        }
        let separator = if path.is_empty() { "" } else { ";" };
        let (mut narrow, mut narrow_total) = (0, 0);
        let mut next = index + 1;
        while next < frame.end as usize {
            let child = &frames[next];
            if child.total > least {
                pending.push((next, format!("{path}{separator}{}", folded.names[child.name as usize])));
            } else {
                narrow += child.end as usize - next;
                narrow_total += child.total;
            }
            next = child.end as usize;
        }
        if narrow_total > 0 {
            let plural = if narrow == 1 { "" } else { "s" };
            kept.push((format!("{path}{separator}[{narrow} narrow frame{plural}]"), narrow_total));
        }
        left_out += narrow;
    }
    kept.sort_unstable_by(|a, b| by_frames(&a.0, &b.0));
    Pruned { lines: kept.into_iter().map(with_weight).collect(), left_out }
}

/// The frames of the stacks, each before the frames above it; the first is the root of all.
fn tree(folded: &Folded) -> Vec<Frame> {
    let mut frames = vec![Frame { name: 0, end: 0, total: 0, own: 0 }];
    // The frames of the stack before, from the root of all on. Stacks with the same first frames
    // follow each other.
    let mut open: Vec<usize> = vec![0];
    for (stack, weight) in &folded.stacks {
        let common = open[1..].iter().zip(stack).take_while(|(open, name)| frames[**open].name == **name).count();
        close(&mut frames, &mut open, common + 1);
        for &name in &stack[common..] {
            open.push(frames.len());
            frames.push(Frame { name, end: 0, total: 0, own: 0 });
        }
        let leaf = open[open.len() - 1];
        frames[leaf].own += weight;
    }
    close(&mut frames, &mut open, 0);
    frames
}

/// Ends the open frames but the first `keep`: what they have is known now, and their callers have
/// it too.
fn close(frames: &mut [Frame], open: &mut Vec<usize>, keep: usize) {
    let end = frames.len() as u32;
    while open.len() > keep
        && let Some(index) = open.pop()
    {
        frames[index].total += frames[index].own;
        frames[index].end = end;
        if let Some(&caller) = open.last() {
            frames[caller].total += frames[index].total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Of sorted lines.
    fn folded(lines: &[String]) -> Folded {
        let (mut names, mut known): (Vec<String>, HashMap<String, u32>) = (Vec::new(), HashMap::new());
        let mut number = |name: &str| {
            *known.entry(name.into()).or_insert_with(|| {
                names.push(name.into());
                names.len() as u32 - 1
            })
        };
        let mut stack = |line: &String| {
            let (frames, weight) = line.rsplit_once(' ').unwrap();
            (frames.split(';').map(&mut number).collect::<Vec<u32>>(), weight.parse().unwrap())
        };
        let mut stacks: Vec<_> = lines.iter().map(&mut stack).collect();
        stacks.sort_unstable();
        Folded { names, stacks }
    }

    fn sum(lines: &[String]) -> u64 {
        lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    #[test]
    fn few_frames_stay_as_they_are() {
        let lines = vec!["main;a 3".to_owned(), "main;a;b 4".into()];
        let pruned = prune(&folded(&lines), 3);
        assert_eq!((pruned.lines, pruned.left_out), (lines, 0));
    }

    #[test]
    fn the_narrowest_frames_are_merged_in_place() {
        let lines: Vec<String> =
            ["main 1", "main;a 50", "main;a;x 2", "main;a;x;y 1", "main;b 40", "main;c 1", "main;d 1"]
                .map(String::from)
                .into();
        let pruned = prune(&folded(&lines), 3);
        let expected = ["main 1", "main;[2 narrow frames] 2", "main;a 50", "main;a;[2 narrow frames] 3", "main;b 40"];
        assert_eq!((pruned.lines.as_slice(), pruned.left_out), (&expected.map(String::from)[..], 4));
        assert_eq!(sum(&pruned.lines), sum(&lines));
    }

    #[test]
    fn thousands_of_deep_stacks_become_few_frames() {
        let stack = |n: u64| {
            let bits = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let names: Vec<_> = (0..60).map(|depth| if bits >> depth & 1 == 0 { "a" } else { "b" }).collect();
            format!("main;{} 7", names.join(";"))
        };
        let mut lines: Vec<String> = (0..5000).map(stack).collect();
        lines.sort();
        let pruned = prune(&folded(&lines), 6000);
        assert_eq!(sum(&pruned.lines), sum(&lines));
        assert!(tree(&folded(&pruned.lines)).len() <= 2 * 6000, "{}", tree(&folded(&pruned.lines)).len());
        assert!(pruned.left_out > 100_000, "{}", pruned.left_out);
    }
}
