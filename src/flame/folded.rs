//! Folded lines, `main;crawler;fetcher-3;work;parse 1200000`: the label's path, the frames root
//! first, and the weight in nanoseconds. Also the input of the flamegraph.

use super::labels::Labels;
use super::{FlameOptions, Names, Stacks, escape};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The lines, sorted. Stacks with the same text are one line.
pub(super) fn lines(stacks: &Stacks, options: &FlameOptions) -> Vec<String> {
    let labels = Labels::new(options, stacks.stacks.iter().map(|stack| &*stack.label));
    let names = Names::shown(stacks, options);
    let mut weights: BTreeMap<String, u64> = BTreeMap::new();
    for stack in &stacks.stacks {
        let Some(label) = labels.shown(&stack.label) else { continue };
        let mut key = String::new();
        let functions = names.of(stack).into_iter().map(|function| &**function);
        for name in label.iter().map(String::as_str).chain(functions) {
            if !key.is_empty() {
                key.push(';');
            }
            key.push_str(&escape::frame(name));
        }
        *weights.entry(key).or_default() += stack.weight;
    }
    let mut lines = Vec::with_capacity(weights.len());
    for (mut line, weight) in weights {
        write!(line, " {weight}").expect("writing to a String cannot fail");
        lines.push(line);
    }
    lines
}
