//! Writes a dump as text, for people: one line for each thread with what matters, and its stack
//! below. Threads that do the same are one entry. Reads `contents` and nothing else.

use super::contents::{Doing, Dump, Entry, Stack, Unregistered};
use super::frames::{Here, shown};
use crate::os::printable::on_one_line;
use crate::thread::foreign_locals::local_time;
use crate::thread::pool_names::without_numbers;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Display, Write};
use std::time::Duration;

pub(super) fn write(dump: &Dump, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let at = local_time(dump.at);
    let users: Vec<_> = dump.threads.iter().filter(|entry| !entry.is_own).collect();
    let count = users.len();
    let plural = if count == 1 { "" } else { "s" };
    write!(f, "dump of process {}, {}: ", dump.process, at.format("%Y-%m-%d %H:%M:%S%.3f %:z"))?;
    write!(f, "{count} thread{plural}")?;
    match dump.unregistered.len() {
        0 => {}
        count => write!(f, " and {count} that {} not in the tree", if count == 1 { "is" } else { "are" })?,
    }
    match users.iter().filter(|entry| entry.stop.is_some()).count() {
        0 => {}
        asked => write!(f, ", {asked} asked to stop")?,
    }
    match dump.deadlocks.len() {
        0 => {}
        count => write!(f, "; waits that no thread can end: {count}, see the end")?,
    }
    f.write_char('\n')?;
    groups(users).iter().try_for_each(|group| write!(f, "\n{group}"))?;
    write_unregistered(&dump.unregistered, f)?;
    let own: Vec<_> = dump.threads.iter().filter(|entry| entry.is_own && !entry.is_maker).collect();
    if !own.is_empty() {
        f.write_str("\nthe runtime's own:\n")?;
    }
    for entry in own {
        write!(f, "    {}, {}", entry.path, what(&[entry], Times::Shown))?;
        match (&entry.doing, &entry.stack) {
            // In this crate it waits for something to do; elsewhere it may hang.
            (Doing::Waiting { .. }, _) | (_, Stack::None(_)) => f.write_char('\n')?,
            (_, Stack::Of { frames, .. }) => {
                writeln!(f, ", in {}", frames.first().map_or("an unknown place", |frame| &*frame.function))?;
            }
        }
    }
    dump.no_stacks.iter().try_for_each(|why| writeln!(f, "\nno stacks: {why}"))?;
    dump.unread.iter().try_for_each(|sentence| writeln!(f, "\nnames: {sentence}"))?;
    // Their stacks are above.
    dump.deadlocks.iter().try_for_each(|deadlock| writeln!(f, "\n{}", deadlock.text))
}

/// Threads whose names differ only in numbers, and that do the same, are one entry.
fn write_unregistered(unregistered: &[Unregistered], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let here = Here::new();
    let mut groups: Vec<(Vec<&Unregistered>, Vec<String>)> = Vec::new();
    for other in unregistered {
        let stack = lines_of(&other.stack, false, &here);
        let name = |other: &Unregistered| without_numbers(&other.path);
        let is_alike = |(group, lines): &&mut (Vec<&Unregistered>, Vec<String>)| {
            group.first().is_some_and(|first| name(first) == name(other) && first.doing == other.doing)
                && *lines == stack
        };
        match groups.iter_mut().find(is_alike) {
            Some((group, _)) => group.push(other),
            None => groups.push((vec![other], stack)),
        }
    }
    for (group, stack) in groups {
        let [first, more @ ..] = &*group else { continue };
        write!(f, "\n{}", first.path)?;
        if let Some(last) = more.last() {
            let name = last.path.rsplit('/').next().unwrap_or_default();
            write!(f, " … {name} ({} threads)", group.len())?;
        }
        write!(f, ", {}", state(&first.doing))?;
        if let Some(cpu) = group.iter().map(|other| other.cpu).sum::<Option<Duration>>() {
            write!(f, " | CPU {}", span(cpu))?;
        }
        let share: f64 = group.iter().filter_map(|other| other.share).sum();
        if share >= 0.01 {
            write!(f, ", {:.0} % now", share * 100.0)?;
        }
        let ages = group.iter().filter_map(|other| other.age);
        if ages.clone().next().is_some() {
            write!(f, " | age {}", range(ages))?;
        }
        if more.is_empty() {
            write!(f, " | tid {}", first.id)?;
        }
        f.write_char('\n')?;
        stack.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
    }
    Ok(())
}

/// The program's threads that have not ended, without a heading.
pub(super) fn living(dump: &Dump) -> String {
    let lives = |entry: &&Entry| !entry.is_own && !matches!(entry.doing, Doing::Ended { .. });
    groups(dump.threads.iter().filter(lives).collect()).iter().map(Group::to_string).collect()
}

#[cfg(feature = "profiling")]
pub(super) fn stack_of(dump: &Dump, id: u64) -> Vec<String> {
    dump.threads.iter().find(|entry| entry.id == id).map_or_else(Vec::new, |entry| stack(entry, &Here::new()))
}

/// A thread, then the thread that it waits for, and so on.
pub(super) fn explain(dump: &Dump, id: u64) -> String {
    let (mut text, mut seen, here) = (String::new(), Vec::new(), Here::new());
    let mut next = dump.threads.iter().find(|entry| entry.id == id);
    while let Some(entry) = next {
        if seen.contains(&entry.id) {
            return format!("{text}which waits for {}: they wait for each other\n", entry.path);
        }
        if !seen.is_empty() {
            text.push_str("which waits for ");
        }
        seen.push(entry.id);
        text.push_str(&Group { stack: stack(entry, &here), entries: vec![entry] }.to_string());
        let awaited = match &entry.doing {
            Doing::Waiting { holder: Some(holder), .. } => Some(holder),
            Doing::Waiting { kind: "thread", name, .. } => Some(name),
            _ => None,
        };
        next = awaited.and_then(|path| dump.threads.iter().find(|entry| entry.path == *path));
    }
    text
}

/// Childless siblings that do the same.
struct Group<'a> {
    entries: Vec<&'a Entry>,
    stack: Vec<String>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    parent: Option<u64>,
    what: String,
    is_busy: bool,
    stop: Option<String>,
    stack: Vec<String>,
}

/// Each at the place of its first thread.
fn groups(entries: Vec<&Entry>) -> Vec<Group<'_>> {
    let here = Here::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places: HashMap<Key, usize> = HashMap::new();
    for entry in entries {
        let stack = stack(entry, &here);
        // For threads that do not wait in this crate, only the stack tells whether they do the
        // same.
        let is_known = !stack.is_empty() || matches!(entry.doing, Doing::Waiting { .. });
        let is_alone = !is_known
            || entry.has_children
            || entry.is_maker
            || entry.busy.is_some()
            || entry.restarts > 0
            || !entry.failures.is_empty();
        if !is_alone {
            let key = Key {
                parent: entry.parent,
                what: what(&[entry], Times::LeftOut),
                is_busy: entry.share.is_some_and(|share| share >= 0.5),
                stop: entry.stop.as_ref().map(|reason| reason.text().to_owned()),
                stack: stack.clone(),
            };
            let place = *places.entry(key).or_insert(groups.len());
            if let Some(group) = groups.get_mut(place) {
                group.entries.push(entry);
                continue;
            }
        }
        groups.push(Group { entries: vec![entry], stack });
    }
    groups
}

impl Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, others @ ..] = &*self.entries else { return Ok(()) };
        let entries = || self.entries.iter();
        f.write_str(&first.path)?;
        if let Some(last) = others.last() {
            let name = last.path.rsplit('/').next().unwrap_or_default();
            write!(f, " … {name} ({} threads)", self.entries.len())?;
        }
        write!(f, ", {}", what(&self.entries, Times::Shown))?;
        if first.is_ending {
            f.write_str(" | its own code has ended")?;
        }
        if first.is_maker {
            f.write_str(" | makes this dump")?;
        }
        if let Some(cpu) = entries().map(|entry| entry.cpu).sum::<Option<Duration>>() {
            write!(f, " | CPU {}", span(cpu))?;
        }
        let share: f64 = entries().filter_map(|entry| entry.share).sum();
        if share >= 0.01 {
            write!(f, ", {:.0} % now", share * 100.0)?;
        }
        write!(f, " | age {}", range(entries().map(|entry| entry.age)))?;
        if let (Some(os_thread), []) = (first.os_thread, others) {
            write!(f, " | tid {os_thread}")?;
        }
        match first.restarts {
            0 => {}
            1 => f.write_str(" | run again once")?,
            often => write!(f, " | run again {often} times")?,
        }
        f.write_char('\n')?;
        first.busy.iter().try_for_each(|busy| writeln!(f, "    [busy: {busy}]"))?;
        let context = context(&self.entries);
        if !context.is_empty() {
            writeln!(f, "    context: {context}")?;
        }
        first.stop.iter().try_for_each(|stop| {
            writeln!(f, "    asked to stop: {}", on_one_line(&stop.as_of(first.seen).to_string()))
        })?;
        for failure in &first.failures {
            let lines: Vec<_> = failure.lines().map(on_one_line).collect();
            writeln!(f, "    failure not joined yet: {}", lines.join("\n    "))?;
        }
        self.stack.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// Values of one key that are shown of threads that do the same.
const MAX_VALUES: usize = 4;

/// What these threads work on: `request=17, user=ann`. Of several threads, the values of each key.
fn context(entries: &[&Entry]) -> String {
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, value) in entries.iter().flat_map(|entry| &entry.context) {
        keys.entry(key).or_default().insert(value);
    }
    let shown = keys.iter().map(|(key, values)| {
        let more = values.len().saturating_sub(MAX_VALUES);
        let some: Vec<_> = values.iter().take(MAX_VALUES).map(|value| on_one_line(value)).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}={}{more}", on_one_line(key), some.join("|"))
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The lines below the thread's own.
fn stack(entry: &Entry, here: &Here) -> Vec<String> {
    lines_of(&entry.stack, entry.is_maker || matches!(entry.doing, Doing::Waiting { .. }), here)
}

fn lines_of(stack: &Stack, is_ours: bool, here: &Here) -> Vec<String> {
    match stack {
        Stack::None(why) if why.is_empty() => Vec::new(),
        Stack::None(why) => vec![format!("[no stack: {why}]")],
        Stack::Of { frames, cut } => {
            let mut lines: Vec<_> = shown(frames, is_ours, here).iter().map(|line| format!("at {line}")).collect();
            lines.extend(cut.map(str::to_owned));
            lines
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    Shown,
    LeftOut,
}

/// What these threads do, which is the same but for the times.
fn what(entries: &[&Entry], times: Times) -> String {
    let Some(first) = entries.first() else { return String::new() };
    let since = || match times {
        Times::LeftOut => String::new(),
        Times::Shown => range(entries.iter().filter_map(|entry| match entry.doing {
            Doing::Waiting { elapsed: since, .. } | Doing::Ended { ago: since } => Some(since),
            _ => None,
        })),
    };
    match &first.doing {
        Doing::Ended { .. } => format!("ended {} ago, to be joined", since()),
        Doing::Waiting { kind, name, holder, acquired_at, .. } => {
            let mut text = format!("waiting {} for {kind} \"{}\"", since(), on_one_line(name));
            holder.iter().for_each(|holder| text.extend([", held by ", holder]));
            acquired_at.iter().for_each(|at| text.push_str(&format!(" since {}:{}", at.file(), at.line())));
            text
        }
        other => state(other).into(),
    }
}

/// What the system knows of it.
fn state(doing: &Doing) -> &'static str {
    match doing {
        Doing::NotBegun => "not running yet",
        Doing::Running => "running",
        Doing::Asleep => "asleep in a call outside of selvedge",
        Doing::AsleepDeeply => "asleep in the system, uninterruptibly",
        Doing::Halted => "halted by a debugger or a signal",
        Doing::Alive => "running, or in a call outside of selvedge",
        Doing::Waiting { .. } => "waiting",
        Doing::Ended { .. } => "ended",
    }
}

/// From the shortest to the longest.
fn range(spans: impl Iterator<Item = Duration> + Clone) -> String {
    let (least, most) = (spans.clone().min().unwrap_or_default(), spans.max().unwrap_or_default());
    let (least, most) = (span(least), span(most));
    if least == most { least } else { format!("{least} to {most}") }
}

/// As precise as it is of use.
fn span(span: Duration) -> String {
    match span.as_secs() {
        0 if span.as_millis() < 1 => "0ms".into(),
        0 => format!("{}ms", span.as_millis()),
        1..60 => format!("{:.1}s", span.as_secs_f64()),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}
