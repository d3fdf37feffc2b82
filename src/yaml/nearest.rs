//! "Did you mean": the known word that is nearest to a mistyped one.

/// The nearest of `known` that a slip of the fingers explains (at most one edit in three letters),
/// or a word cut short or drawn out, as `warning` for `warn`.
pub(crate) fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let typed: Vec<char> = typed.chars().take(64).map(fold).collect();
    let near = |word: &&'a str| {
        let word: Vec<char> = word.chars().map(fold).collect();
        let (shorter, longer) = (typed.len().min(word.len()), typed.len().max(word.len()));
        let edits = distance(&typed, &word);
        let slip = edits <= (longer / 3).max(1) && edits < word.len();
        let drawn_out = shorter >= 3 && typed[..shorter] == word[..shorter];
        (slip || drawn_out).then_some(edits)
    };
    known.iter().filter_map(|word| near(word).map(|edits| (edits, *word))).min_by_key(|(edits, _)| *edits).map(|n| n.1)
}

fn fold(letter: char) -> char {
    if letter == '-' { '_' } else { letter.to_ascii_lowercase() }
}

/// Letters to insert, delete, replace, or swap with their neighbour (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["enabled", "frequency", "clock", "engine", "output", "formats"];
        assert_eq!(nearest("freqency", &known), Some("frequency"));
        assert_eq!(nearest("Enable", &known), Some("enabled"));
        assert_eq!(nearest("clcok", &known), Some("clock"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(nearest("file", &["filters", "path"]), None);
        assert_eq!(nearest("warning", &["off", "error", "warn"]), Some("warn"));
        assert_eq!(nearest("fixed-window", &["delete", "fixed_window"]), Some("fixed_window"));
    }
}
