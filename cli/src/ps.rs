//! `selvedge ps`: the threads as text or JSON.

use crate::args::Which;
use crate::fault::Fault;
use crate::looks::Looks;
use crate::model::Threads;
use crate::text::{percent, plain, plain_json, span};
use crate::tree::{self, Shown};
use crate::{find, http};
use std::fmt::Write;

pub(crate) fn run(which: &Which, json: bool, all: bool, filter: &str) -> Result<(), Fault> {
    let program = find::program(which)?;
    if json {
        let answer = http::get(&program.place, "/threads", http::PATIENCE)?;
        let text = String::from_utf8_lossy(&answer.body);
        return crate::print(format!("{}\n", plain_json(text.trim_end())).as_bytes());
    }
    let (looks, threads) = Looks::look_twice(&program.place)?;
    crate::print(page(&threads, &looks, Shown { fold: !all, filter }).as_bytes())
}

fn page(threads: &Threads, looks: &Looks, shown: Shown<'_>) -> String {
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
        line(format!("{:>7}  {:>7}  {:width$}  {}", percent(row.share), span(row.age), row.label, row.what));
    }
    if rows.is_empty() {
        line(format!("no thread has \"{}\" in its path, state or wait", plain(shown.filter)));
    }
    for other in threads.others.iter().filter(|other| other.path.contains(shown.filter)) {
        let share = looks.other_shares.get(&other.os_thread).copied().unwrap_or(0.0);
        let age = other.age_s.map_or(String::new(), span);
        line(format!("{:>7}  {age:>7}  {:width$}  {}", percent(share), plain(&other.path), plain(&other.state)));
    }
    let queues = tree::queues(threads, looks);
    if !queues.is_empty() && shown.filter.is_empty() {
        line("\nQUEUES".to_owned());
        queues.into_iter().for_each(|queue| line(format!("  {queue}")));
    }
    out
}
