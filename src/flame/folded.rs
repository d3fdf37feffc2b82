//! Folded lines, `main;crawler;fetcher-3;work;parse 1200000`: the label's path, the frames root
//! first, and the weight in nanoseconds. Also the input of the flamegraph.

use super::labels::Labels;
use super::{FlameOptions, Names, Stacks, escape};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::Write;

/// Stacks as they are shown, with each name once.
pub(super) struct Folded {
    /// The names of frames, as lines have them.
    pub(super) names: Vec<String>,
    /// Indexes of names, root first, and the weight. Sorted by the indexes; no two have the same.
    pub(super) stacks: Vec<(Vec<u32>, u64)>,
}

impl Folded {
    pub(super) fn new(stacks: &Stacks, options: &FlameOptions) -> Folded {
        let labels = Labels::new(options, stacks.stacks.iter().map(|stack| &*stack.label));
        let shown = Names::shown(stacks, options);
        let (mut names, mut known) = (Vec::new(), HashMap::new());
        let mut folded = Vec::with_capacity(stacks.stacks.len());
        for stack in &stacks.stacks {
            let Some(label) = labels.shown(&stack.label) else { continue };
            let functions = shown.of(stack).into_iter().map(|function| labels.frame(function));
            let frames = label.iter().map(|part| part.as_str().into()).chain(functions);
            folded.push((frames.map(|name| number(&name, &mut names, &mut known)).collect(), stack.weight));
        }
        Folded { names, stacks: summed(folded) }
    }

    /// The lines, sorted by their frames.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = |frames: &[u32]| {
            let mut line = String::new();
            for &frame in frames {
                let separator = if line.is_empty() { "" } else { ";" };
                line.extend([separator, &self.names[frame as usize]]);
            }
            line
        };
        let mut lines: Vec<(String, u64)> =
            self.stacks.iter().map(|(frames, weight)| (text(frames), *weight)).collect();
        lines.sort_unstable_by(|a, b| by_frames(&a.0, &b.0));
        lines.into_iter().map(with_weight).collect()
    }
}

/// The order of stacks by their frames: a stack comes before longer ones with the same beginning, and they
/// follow it at once. In the order of their text, `f::{closure}` comes between `f` and `f;g`.
pub(super) fn by_frames(a: &str, b: &str) -> Ordering {
    a.split(';').cmp(b.split(';'))
}

/// The line of a stack.
pub(super) fn with_weight((mut line, weight): (String, u64)) -> String {
    write!(line, " {weight}").expect("writing to a String cannot fail");
    line
}

/// The number of the name. Different texts may be one name in a line.
fn number(text: &str, names: &mut Vec<String>, known: &mut HashMap<String, u32>) -> u32 {
    if let Some(&known) = known.get(text) {
        return known;
    }
    let name = escape::frame(text);
    let number = known.get(&name).copied().unwrap_or_else(|| {
        names.push(name.clone());
        known.insert(name, names.len() as u32 - 1);
        names.len() as u32 - 1
    });
    known.insert(text.into(), number);
    number
}

fn summed(mut stacks: Vec<(Vec<u32>, u64)>) -> Vec<(Vec<u32>, u64)> {
    stacks.sort_unstable();
    stacks.dedup_by(|next, sum| {
        let is_same = next.0 == sum.0;
        sum.1 += if is_same { next.1 } else { 0 };
        is_same
    });
    stacks
}

/// The lines, sorted. Stacks with the same text are one line.
pub(super) fn lines(stacks: &Stacks, options: &FlameOptions) -> Vec<String> {
    Folded::new(stacks, options).lines()
}
