//! Folded lines, `main;crawler;fetcher-3;work;parse 1200000`: the label's path, the frames root first, the weight in
//! nanoseconds.

use super::labels::Labels;
use super::{FlameOptions, Names, Stacks};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Sorted; stacks that read the same are one line.
pub(super) fn lines(stacks: &Stacks, options: &FlameOptions) -> Vec<String> {
    let labels = Labels::new(options, stacks.stacks.iter().map(|stack| &*stack.label));
    let names = if options.unabridged { Names::unabridged(stacks) } else { Names::abridged(stacks) };
    let mut weights: BTreeMap<String, u64> = BTreeMap::new();
    for stack in &stacks.stacks {
        let Some(label) = labels.shown(&stack.label) else { continue };
        let mut key = String::new();
        let functions = names.of(stack).into_iter().map(|function| &**function);
        for name in label.iter().map(String::as_str).chain(functions) {
            if !key.is_empty() {
                key.push(';');
            }
            key.push_str(&escape(name));
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

/// The name as it can stand in a line: `;` separates frames, a line ends at its newline, and readers take a number after
/// a space for a weight.
pub(super) fn escape(name: &str) -> String {
    let mut escaped: String = name
        .chars()
        .map(|c| match c {
            ';' => ':',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    escaped.truncate(escaped.trim_end().len());
    if let Some(space) = escaped.rfind(' ')
        && escaped[space + 1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        escaped.replace_range(space..=space, "_");
    }
    if escaped.is_empty() { "[unnamed]".into() } else { escaped }
}
