//! Keeps a picture small: if folded lines have too many frames, the narrowest frames are merged
//! into one frame above their caller. Knows lines, not stacks.

use std::collections::HashMap;

/// Pruned lines, and how many frames they have lost.
pub(super) struct Pruned {
    pub(super) lines: Vec<String>,
    /// The number of frames that were merged.
    pub(super) left_out: usize,
}

/// A frame of the picture: the same function with the same callers.
struct Frame<'a> {
    name: &'a str,
    children: Vec<usize>,
    /// The weight of this frame and all above it.
    total: u64,
    /// The weight of stacks that end here.
    own: u64,
}

/// Merges frames until the picture has at most `most` frames, plus one for each frame that has lost
/// children. The widest frames stay. The sum of the weights stays the same.
pub(super) fn prune(lines: Vec<String>, most: usize) -> Pruned {
    let frames = tree(&lines);
    // The root is not a frame of the picture.
    if frames.len() - 1 <= most {
        drop(frames);
        return Pruned { lines, left_out: 0 };
    }
    let mut totals: Vec<u64> = frames[1..].iter().map(|frame| frame.total).collect();
    totals.sort_unstable_by(|a, b| b.cmp(a));
    // No frame is wider than its caller, so the callers of each frame that stays do stay.
    let least = totals[most];
    let mut kept = Vec::new();
    let mut left_out = 0;
    let mut pending = vec![(0, String::new())];
    while let Some((index, path)) = pending.pop() {
        let frame = &frames[index];
        if frame.own > 0 {
            kept.push(format!("{path} {}", frame.own));
        }
        let (mut narrow, mut narrow_total) = (0, 0);
        for &child in &frame.children {
            if frames[child].total > least {
                let separator = if path.is_empty() { "" } else { ";" };
                pending.push((child, format!("{path}{separator}{}", frames[child].name)));
            } else {
                narrow += size(&frames, child);
                narrow_total += frames[child].total;
            }
        }
        if narrow_total > 0 {
            let separator = if path.is_empty() { "" } else { ";" };
            let plural = if narrow == 1 { "" } else { "s" };
            kept.push(format!("{path}{separator}[{narrow} narrow frame{plural}] {narrow_total}"));
        }
        left_out += narrow;
    }
    kept.sort_unstable();
    Pruned { lines: kept, left_out }
}

/// The frames of the lines; the first is the root of all.
fn tree(lines: &[String]) -> Vec<Frame<'_>> {
    let mut frames = vec![Frame { name: "", children: Vec::new(), total: 0, own: 0 }];
    let mut known: HashMap<(usize, &str), usize> = HashMap::new();
    for line in lines {
        let Some((stack, weight)) = line.rsplit_once(' ') else { continue };
        let weight: u64 = weight.parse().unwrap_or(0);
        let mut at = 0;
        frames[at].total += weight;
        for name in stack.split(';') {
            let next = *known.entry((at, name)).or_insert(frames.len());
            if next == frames.len() {
                frames.push(Frame { name, children: Vec::new(), total: 0, own: 0 });
                frames[at].children.push(next);
            }
            at = next;
            frames[at].total += weight;
        }
        frames[at].own += weight;
    }
    frames
}

/// The number of frames above this one, itself included.
fn size(frames: &[Frame<'_>], index: usize) -> usize {
    let mut count = 0;
    let mut pending = vec![index];
    while let Some(index) = pending.pop() {
        count += 1;
        pending.extend(&frames[index].children);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(lines: &[String]) -> u64 {
        lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    }

    #[test]
    fn few_frames_stay_as_they_are() {
        let lines = vec!["main;a 3".to_owned(), "main;a;b 4".into()];
        let pruned = prune(lines.clone(), 3);
        assert_eq!((pruned.lines, pruned.left_out), (lines, 0));
    }

    #[test]
    fn the_narrowest_frames_are_merged_in_place() {
        let lines: Vec<String> =
            ["main 1", "main;a 50", "main;a;x 2", "main;a;x;y 1", "main;b 40", "main;c 1", "main;d 1"]
                .map(String::from)
                .into();
        let pruned = prune(lines.clone(), 3);
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
        let pruned = prune(lines.clone(), 6000);
        assert_eq!(sum(&pruned.lines), sum(&lines));
        assert!(tree(&pruned.lines).len() <= 2 * 6000, "{}", tree(&pruned.lines).len());
        assert!(pruned.left_out > 100_000, "{}", pruned.left_out);
    }
}
