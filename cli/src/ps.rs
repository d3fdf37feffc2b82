//! `selvedge ps`: the threads as text or JSON.

use crate::args::Which;
use crate::fault::Fault;
use crate::looks::Looks;
use crate::model::Threads;
use crate::text::{percent, plain, plain_json, span};
use crate::tree::{self, Shown};
use crate::{find, http};
use std::fmt::Write;
use std::io::IsTerminal;

pub(crate) fn run(which: &Which, json: bool, all: bool, filter: &str) -> Result<(), Fault> {
    let program = find::program(which)?;
    if json {
        let answer = http::get(&program.place, "/threads", http::PATIENCE)?;
        let text = String::from_utf8_lossy(&answer.body);
        return crate::print(format!("{}\n", plain_json(text.trim_end())).as_bytes());
    }
    let (looks, threads) = Looks::look_twice(&program.place)?;
    let shown = Shown { fold: !all, filter };
    crate::print(page(&threads, &looks, shown, terminal_width().unwrap_or(usize::MAX)).as_bytes())
}

/// `None` if the output goes to no terminal.
fn terminal_width() -> Option<usize> {
    let (columns, _) = std::io::stdout().is_terminal().then(ratatui::crossterm::terminal::size)?.ok()?;
    Some(usize::from(columns)).filter(|&columns| columns > 0)
}

/// The text, or as much of it as fits on one line.
fn cut(text: &str, columns: usize) -> String {
    match text.char_indices().nth(columns) {
        None => text.to_owned(),
        Some(_) => text.chars().take(columns - 1).chain(['…']).collect(),
    }
}

/// `columns`: rows of threads are cut there, so that each is one line of the terminal.
fn page(threads: &Threads, looks: &Looks, shown: Shown<'_>, columns: usize) -> String {
    let mut out = format!("{}\n", tree::title(threads));
    let problems = tree::problems(threads);
    if !problems.is_empty() {
        out += "\n";
        problems.iter().for_each(|text| out += &format!("! {}\n", text.replace('\n', "\n  ")));
    }
    let rows = tree::rows(threads, shown);
    let width = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0).clamp(6, 60);
    let mut line = |text: String| writeln!(out, "{}", text.trim_end()).expect("writing to a String cannot fail");
    line(format!("\n{:>7}  {:>7}  {:width$}  STATE", "CPU", "AGE", "THREAD"));
    for row in &rows {
        let text = format!("{:>7}  {:>7}  {:width$}  {}", percent(row.share), span(row.age), row.label, row.what);
        line(cut(&text, columns));
    }
    if rows.is_empty() {
        line(format!("no thread has \"{}\" in its path, state or wait", plain(shown.filter)));
    }
    for other in threads.others.iter().filter(|other| other.path.contains(shown.filter)) {
        let share = looks.other_shares.get(&other.os_thread).copied().unwrap_or(0.0);
        let age = other.age_s.map_or(String::new(), span);
        let text = format!("{:>7}  {age:>7}  {:width$}  {}", percent(share), plain(&other.path), plain(&other.state));
        line(cut(&text, columns));
    }
    let queues = tree::queues(threads, looks);
    if !queues.is_empty() && shown.filter.is_empty() {
        line("\nQUEUES".to_owned());
        queues.into_iter().for_each(|queue| line(format!("  {queue}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Thread, Wait};

    #[test]
    fn a_row_is_one_line_of_the_terminal() {
        let name = "(main/merger stopped | main child_failed | …) ü".repeat(4);
        let wait = Wait { kind: "signal".to_owned(), name, ..Wait::default() };
        let main = Thread { id: 1, path: "main".to_owned(), waiting_for: Some(wait), ..Thread::default() };
        let threads = Threads { threads: vec![main], ..Threads::default() };
        let row = |columns| {
            let text = page(&threads, &Looks::default(), Shown { fold: true, filter: "" }, columns);
            text.lines().find(|line| line.contains("waits for signal")).unwrap().to_owned()
        };
        assert!(row(usize::MAX).chars().count() > 200);
        assert_eq!(row(100).chars().count(), 100);
        assert!(row(100).ends_with('…'));
        assert_eq!(cut("main", 4), "main");
    }
}
