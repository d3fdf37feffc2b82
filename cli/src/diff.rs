//! `selvedge diff`: what has changed between two recordings, as a table and as a flamegraph.

use crate::fault::{self, Exit, Fault};
use crate::folded::{self, Stacks};
use crate::text::{plain, span};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::Path;

/// Shares of a function in one recording, of its total.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Shares {
    /// Where the function is the innermost.
    own: f64,
    /// Where it is anywhere in the stack.
    total: f64,
}

/// Of all. A smaller change is noise.
const LEAST_CHANGE: f64 = 0.0005;

pub(crate) fn run(before: &Path, after: &Path, svg: Option<&Path>, top: usize) -> Result<(), Fault> {
    let ((earlier, is_pprof), (later, is_later_pprof)) = (read(before)?, read(after)?);
    if is_pprof != is_later_pprof {
        let (folded, pprof) = if is_pprof { (after, before) } else { (before, after) };
        let text = format!(
            "{} has folded lines, with short names of functions, and {} is a profile of pprof, with whole ones, so \
             most functions would seem to be new or gone; compare two recordings of one format",
            folded.display(),
            pprof.display()
        );
        return Err(Fault::new(Exit::Usage, text));
    }
    crate::print(table(&earlier, &later, top).as_bytes())?;
    if let Some(path) = svg {
        let drawn = draw(&earlier, &later).map_err(|error| fault::file("draw", path, &error))?;
        std::fs::write(path, drawn).map_err(|error| fault::file("write", path, &error))?;
        crate::note(&format!("{}: red has grown, blue has shrunk", path.display()));
    }
    Ok(())
}

/// The stacks, and `true` if the file is a profile of pprof.
fn read(path: &Path) -> Result<(Stacks, bool), Fault> {
    let bytes = std::fs::read(path).map_err(|error| fault::file("read", path, &error))?;
    let wrong = |why: String| Fault::failed(format!("{}: {why}", path.display()));
    // By its content: a gzipped file begins with these two bytes.
    let is_pprof = bytes.starts_with(&[0x1f, 0x8b]);
    let stacks = if is_pprof {
        crate::pprof::parse(&bytes).map_err(wrong)?
    } else {
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| wrong("it is neither gzipped nor text; expected .folded or .pb.gz".to_owned()))?;
        folded::parse(&text).map_err(wrong)?
    };
    if stacks.total() == 0 { Err(wrong("there is no sample in it".to_owned())) } else { Ok((stacks, is_pprof)) }
}

fn shares(stacks: &Stacks) -> HashMap<&str, Shares> {
    let total = stacks.total() as f64;
    let mut shares: HashMap<&str, Shares> = HashMap::new();
    for (stack, &weight) in &stacks.weights {
        let share = weight as f64 / total;
        let mut seen = HashSet::new();
        // A function that calls itself counts once.
        for frame in stack.split(';').filter(|frame| seen.insert(*frame)) {
            shares.entry(frame).or_default().total += share;
        }
        let own = stack.rsplit(';').next().unwrap_or_default();
        shares.entry(own).or_default().own += share;
    }
    shares
}

fn table(before: &Stacks, after: &Stacks, top: usize) -> String {
    let (earlier, later) = (shares(before), shares(after));
    let names: HashSet<&str> = earlier.keys().chain(later.keys()).copied().collect();
    let of = |shares: &HashMap<&str, Shares>, name| shares.get(name).copied().unwrap_or_default();
    let mut rows: Vec<(&str, Shares, Shares)> =
        names.iter().map(|&name| (name, of(&earlier, name), of(&later, name))).collect();
    // What the functions themselves use comes first; then their callers.
    let change = |(_, before, after): &(&str, Shares, Shares)| {
        let own = (after.own - before.own).abs();
        if own >= LEAST_CHANGE { (own, 0.0) } else { (0.0, (after.total - before.total).abs()) }
    };
    rows.retain(|row| change(row).0 + change(row).1 >= LEAST_CHANGE);
    rows.sort_by(|a, b| {
        let ((own, total), (other_own, other_total)) = (change(a), change(b));
        other_own.total_cmp(&own).then(other_total.total_cmp(&total)).then_with(|| a.0.cmp(b.0))
    });
    let amount = |stacks: &Stacks| match stacks.is_time {
        true => span(stacks.total() as f64 / 1e9),
        false => stacks.total().to_string(),
    };
    let mut out = format!("before: {}, after: {}; shares are of these\n\n", amount(before), amount(after));
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a String cannot fail");
    line(format!("{:^26}  {:^26}", "ITSELF", "WITH WHAT IT CALLS"));
    line(format!(
        "{:>8} {:>8} {:>8}  {:>8} {:>8} {:>8}  FUNCTION",
        "before", "after", "change", "before", "after", "change"
    ));
    for (name, before, after) in rows.iter().take(top) {
        line(format!("{}  {}  {}", cells(before.own, after.own), cells(before.total, after.total), plain(name)));
    }
    match rows.len() {
        0 => line("no function's share has changed by 0.05 % or more".to_owned()),
        more if more > top => line(format!("and {} more (--top {more})", more - top)),
        _ => {}
    }
    out
}

fn cells(before: f64, after: f64) -> String {
    format!("{:>6.1} % {:>6.1} % {:>+6.1} %", before * 100.0, after * 100.0, (after - before) * 100.0)
}

/// The later recording; its colors tell the change of each frame's share.
fn draw(before: &Stacks, after: &Stacks) -> std::io::Result<Vec<u8>> {
    let scale = after.total() as f64 / before.total() as f64;
    let stacks: std::collections::BTreeSet<&String> = before.weights.keys().chain(after.weights.keys()).collect();
    let weight = |stacks: &Stacks, stack: &String| stacks.weights.get(stack).copied().unwrap_or(0);
    let lines: Vec<String> = stacks
        .into_iter()
        .map(|stack| format!("{stack} {} {}", (weight(before, stack) as f64 * scale).round(), weight(after, stack)))
        .collect();
    let mut options = inferno::flamegraph::Options::default();
    options.title = "what has changed: red has grown, blue has shrunk".to_owned();
    if after.is_time {
        options.count_name = "ns".to_owned();
    }
    let mut out = Vec::new();
    inferno::flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks(lines: &str) -> Stacks {
        folded::parse(lines).unwrap()
    }

    #[test]
    fn shares_are_of_each_recording() {
        // The later one is twice as long, and `slow` has twice the share in it.
        let before = stacks("main;fast 750000000\nmain;slow 250000000");
        let after = stacks("main;fast 1000000000\nmain;slow;slow 1000000000");
        let table = table(&before, &after, 30);
        assert!(table.starts_with("before: 1.0 s, after: 2.0 s"), "{table}");
        let rows: Vec<Vec<&str>> = table.lines().skip(4).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 2, "{table}");
        let wanted = "75.0 % 50.0 % -25.0 % 75.0 % 50.0 % -25.0 % fast";
        assert_eq!(rows[0], wanted.split(' ').collect::<Vec<_>>(), "{table}");
        let wanted = "25.0 % 50.0 % +25.0 % 25.0 % 50.0 % +25.0 % slow";
        assert_eq!(rows[1], wanted.split(' ').collect::<Vec<_>>(), "{table}");
    }

    #[test]
    fn equal_recordings_differ_in_nothing() {
        let one = stacks("main;a 10\nmain;b 20");
        assert!(table(&one, &one, 30).contains("no function's share has changed"));
    }

    #[test]
    fn the_picture_has_both() {
        let svg = draw(&stacks("main;gone 10\nmain;kept 10"), &stacks("main;kept 10\nmain;new 10")).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        for name in ["kept", "new"] {
            assert!(svg.contains(name), "{name} is not in it");
        }
    }
}
