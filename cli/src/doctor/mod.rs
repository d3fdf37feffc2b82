//! `selvedge doctor`: what this machine, and a program on it, permit; what each restriction costs,
//! and the line that lifts it. It reads files below `/proc`, and opens perf events of its own.

mod elf;
mod machine;
mod perf;
mod program;
mod rings;

use crate::args::Which;
use crate::fault::{Exit, Fault};
use crate::find;
use crate::text::plain;

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    /// How it is.
    now: String,
    /// `None`: nothing to change.
    advice: Option<Advice>,
}

struct Advice {
    costs: String,
    line: String,
}

impl Finding {
    fn good(what: &'static str, now: impl Into<String>) -> Finding {
        Finding { what, now: now.into(), advice: None }
    }

    fn costly(
        what: &'static str,
        now: impl Into<String>,
        costs: impl Into<String>,
        line: impl Into<String>,
    ) -> Finding {
        Finding { what, now: now.into(), advice: Some(Advice { costs: costs.into(), line: line.into() }) }
    }
}

pub(crate) fn run(which: &Which) -> Result<Exit, Fault> {
    // A pid is looked into even if its program has no socket: that is then one of the findings.
    let pid = match which.program.as_deref().map(str::parse::<u32>) {
        None => None,
        Some(Ok(pid)) => Some(pid),
        Some(Err(_)) => Some(find::program(which)?.info.pid),
    };
    if let Some(pid) = pid.filter(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
        return Err(Fault::new(Exit::NotFound, format!("there is no process {pid}")));
    }
    let mut findings = machine::findings(pid);
    if let Some(pid) = pid {
        findings.extend(program::findings(pid, which));
    }
    let mut out = String::new();
    for Finding { what, now, advice } in &findings {
        let mark = if advice.is_none() { "ok  " } else { "  ! " };
        out += &format!("{mark} {what}: {}\n", plain(now));
        if let Some(Advice { costs, line }) = advice {
            out += &format!("       costs: {}\n       do:    {}\n", plain(costs), plain(line));
        }
    }
    let wrong = findings.iter().filter(|finding| finding.advice.is_some()).count();
    out += &match wrong {
        0 => "nothing to change\n".to_owned(),
        _ => format!("{} to change\n", crate::text::count(wrong, "thing")),
    };
    if pid.is_none() {
        out += "name a program by its pid to look into its limits, its seccomp filter and its debug information too\n";
    }
    crate::print(out.as_bytes())?;
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}

/// The text of a file below `/proc` or `/sys`, trimmed.
fn read(path: impl AsRef<std::path::Path>) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
