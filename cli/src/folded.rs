//! Folded lines: `main;crawler;work;parse 1200000`.

use std::collections::BTreeMap;

/// Weights by stacks; the frames of a stack are joined by `;`, the root first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stacks {
    pub(crate) weights: BTreeMap<String, u64>,
    /// In nanoseconds, or in whatever the file counts.
    pub(crate) is_time: bool,
}

impl Stacks {
    pub(crate) fn total(&self) -> u64 {
        self.weights.values().sum()
    }

    pub(crate) fn add(&mut self, stack: String, weight: u64) {
        let sum = self.weights.entry(stack).or_default();
        *sum = sum.saturating_add(weight);
    }
}

/// # Errors
/// The first line that is no folded line, and why.
pub(crate) fn parse(text: &str) -> Result<Stacks, String> {
    let mut stacks = Stacks { is_time: true, ..Stacks::default() };
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (stack, weight) = line.trim_end().rsplit_once(' ').ok_or_else(|| wrong(number, "has no weight"))?;
        let weight = weight.parse().map_err(|_| wrong(number, "does not end with a number"))?;
        stacks.add(stack.trim_end().to_owned(), weight);
    }
    Ok(stacks)
}

fn wrong(number: usize, why: &str) -> String {
    format!("line {} {why}; expected `main;work;parse 1200000`", number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_may_have_blanks() {
        let stacks = parse("main;<T as Trait>::f 7\n\nmain;<T as Trait>::f 3\nmain 1\n").unwrap();
        let weights: Vec<_> = stacks.weights.iter().map(|(stack, weight)| (stack.as_str(), *weight)).collect();
        assert_eq!(weights, [("main", 1), ("main;<T as Trait>::f", 10)]);
        assert_eq!(stacks.total(), 11);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        assert!(parse("main 1\nmain;work\n").unwrap_err().starts_with("line 2 has no weight"));
        assert!(parse("main x\n").unwrap_err().starts_with("line 1 does not end with a number"));
        assert!(parse("main -1\n").is_err());
    }
}
