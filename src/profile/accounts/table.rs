//! The accounts as a table for people: a line for each thread, and below it its longest waits.

use super::account::{Account, WaitTotal};
use crate::thread::pool_names::without_numbers;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// Waits of one thread that are shown.
const MAX_WAITS: usize = 4;

/// Threads that ended waits of one name and are shown.
const MAX_ENDERS: usize = 3;

/// More siblings than this whose names differ in a number only are shown as one.
const MAX_ALIKE: usize = 8;

/// The runtime's own threads are below this.
const RUNTIME: &str = "main/selvedge";

pub(in crate::profile) struct Table {
    rows: Vec<Account>,
    /// The runtime's own threads.
    runtime: Option<Account>,
}

impl Table {
    pub(in crate::profile) fn new(accounts: &[Account]) -> Table {
        let mut alike: HashMap<String, usize> = HashMap::new();
        for account in accounts {
            *alike.entry(without_numbers(account.path())).or_default() += 1;
        }
        let (mut rows, mut runtime): (Vec<Account>, Option<Account>) = (Vec::new(), None);
        let mut pools: HashMap<String, usize> = HashMap::new();
        for account in accounts {
            if is_runtimes_own(account.path()) {
                match &mut runtime {
                    Some(known) => known.take_in(account.clone(), format!("{RUNTIME}/*").into()),
                    None => runtime = Some(account.clone()),
                }
                continue;
            }
            let path = without_numbers(account.path());
            if alike[&path] <= MAX_ALIKE {
                rows.push(account.clone());
            } else if let Some(&index) = pools.get(&path) {
                rows[index].take_in(account.clone(), path.into());
            } else {
                pools.insert(path, rows.len());
                rows.push(account.clone());
            }
        }
        Table { rows, runtime }
    }
}

/// The sums of all accounts but those of the runtime's own threads, as a part of a line.
pub(in crate::profile) fn sums(accounts: &[Account]) -> String {
    let of = |part: fn(&Account) -> Duration| {
        time(accounts.iter().filter(|account| !is_runtimes_own(account.path())).map(part).sum())
    };
    format!(
        "{} lived: {} CPU, {} runnable, {} in waits, {} outside",
        of(Account::lifetime),
        of(Account::cpu),
        of(Account::runnable),
        of(|account| account.waits().iter().map(WaitTotal::total).sum()),
        of(Account::outside),
    )
}

/// Returns `true` for the path of a thread of the runtime's own.
pub(in crate::profile) fn is_runtimes_own(path: &str) -> bool {
    path.strip_prefix(RUNTIME).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || self.rows.iter().chain(&self.runtime);
        let width = all().map(|account| label(account).chars().count()).chain(["thread".len()]).max().unwrap_or(0);
        writeln!(
            f,
            "{:width$}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}",
            "thread", "lifetime", "cpu", "runnable", "waits", "outside"
        )?;
        for account in all() {
            let waits: Duration = account.waits().iter().map(WaitTotal::total).sum();
            let runnable = if account.is_runnable_known() { time(account.runnable()) } else { "?".into() };
            write!(
                f,
                "{:width$}  {:>9}  {:>9}  {runnable:>9}  {:>9}  {:>9}",
                label(account),
                time(account.lifetime()),
                time(account.cpu()),
                time(waits),
                time(account.outside()),
            )?;
            // Within a hundredth the parts close: they are measured apart.
            if account.excess() > account.lifetime() / 100 {
                write!(f, "  the parts are {} more than the lifetime", time(account.excess()))?;
            }
            writeln!(f)?;
            for wait in account.waits().iter().take(MAX_WAITS).filter(|wait| is_worth_it(wait, account)) {
                writeln!(f, "  {wait}")?;
            }
        }
        if all().any(|account| !account.is_runnable_known()) {
            writeln!(f, "?: this kernel does not count the time in its run queue (schedstat); it is part of outside.")?;
        }
        Ok(())
    }
}

/// Waits of less than a thousandth of the lifetime are left out.
fn is_worth_it(wait: &WaitTotal, account: &Account) -> bool {
    wait.total() > account.lifetime() / 1_000
}

fn label(account: &Account) -> String {
    match account.members() {
        1 => account.path().to_owned(),
        members => format!("{} ({members} threads)", account.path()),
    }
}

impl fmt::Display for WaitTotal {
    /// `1.20 s for queue "jobs" in 12 waits, the longest 300 ms; ended by main/walker 1.10 s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = if self.count() == 1 { "wait" } else { "waits" };
        write!(f, "{} for {} \"{}\" in {} {waits}", time(self.total()), self.kind(), self.name(), self.count())?;
        if self.count() > 1 {
            write!(f, ", the longest {}", time(self.longest()))?;
        }
        let enders = self.ended_by();
        for (index, (name, took)) in enders.iter().take(MAX_ENDERS).enumerate() {
            let before = if index == 0 { "; ended by " } else { ", " };
            write!(f, "{before}{name} {}", time(*took))?;
        }
        if let Some(more) = enders.len().checked_sub(MAX_ENDERS).filter(|more| *more > 0) {
            write!(f, " and {more} more")?;
        }
        Ok(())
    }
}

/// With three digits: `12.3 ms`.
pub(in crate::profile) fn time(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    let (value, unit) = match nanos {
        n if n >= 1e9 => (n / 1e9, "s"),
        n if n >= 1e6 => (n / 1e6, "ms"),
        n if n >= 1e3 => (n / 1e3, "µs"),
        n => return format!("{n:.0} ns"),
    };
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::WaitTotals;

    fn account(path: &str) -> Account {
        let ms = Duration::from_millis;
        Account::new(path.into(), ms(1_500), ms(300), Some(ms(20)), WaitTotals::default())
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let shown: Vec<String> =
            [0, 999, 1_000, 99_949, 99_951, 1_234_567, 12_345_678_901].map(|n| time(Duration::from_nanos(n))).into();
        assert_eq!(shown, ["0 ns", "999 ns", "1.00 µs", "99.9 µs", "100 µs", "1.23 ms", "12.3 s"]);
    }

    #[test]
    fn many_siblings_alike_are_one_line_and_the_runtimes_threads_are_the_last() {
        let mut accounts = vec![account("main"), account("main/selvedge/log"), account("main/selvedge/sampler")];
        accounts.extend((0..9).map(|n| account(&format!("main/reader-{n}"))));
        accounts.extend((0..2).map(|n| account(&format!("main/writer-{n}"))));
        let text = Table::new(&accounts).to_string();
        let first: Vec<&str> = text.lines().map(|line| line.split("  ").next().unwrap()).collect();
        let expected = [
            "thread",
            "main",
            "main/reader-* (9 threads)",
            "main/writer-0",
            "main/writer-1",
            "main/selvedge/* (2 threads)",
        ];
        assert_eq!(first.iter().map(|text| text.trim_end()).collect::<Vec<_>>(), expected, "{text}");
        assert!(text.contains("  13.5 s "), "{text}");
        assert!(text.contains("1.18 s"), "outside: {text}");
        let expected = "18.0 s lived: 3.60 s CPU, 240 ms runnable, 0 ns in waits, 14.2 s outside";
        assert_eq!(sums(&accounts), expected);
    }
}
