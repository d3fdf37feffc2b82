//! What holds for one program: its socket, its debug information, and whether it can be read.

use super::elf::{self, Debug};
use super::{Finding, read};
use crate::args::Which;
use crate::find;

pub(super) fn findings(pid: u32, which: &Which) -> Vec<Finding> {
    let mut findings = vec![socket(which), debug_information(pid)];
    findings.extend(throttled(pid));
    findings
}

fn socket(which: &Which) -> Finding {
    let what = "socket";
    match find::program(which) {
        Ok(program) => {
            let listens =
                format!("{} answers at {}, selvedge {}", program.info.name, program.place, program.info.selvedge);
            Finding::good(what, listens)
        }
        Err(fault) => Finding::costly(
            what,
            fault.text.lines().next().unwrap_or_default(),
            "ps, top, dump, record and open cannot look at it",
            "SELVEDGE_INSPECT=unix ./program   (built with the feature `inspect`)",
        ),
    }
}

fn debug_information(pid: u32) -> Finding {
    let what = "debug information";
    let link = format!("/proc/{pid}/exe");
    let name = std::fs::read_link(&link).map(|path| path.display().to_string()).unwrap_or_default();
    match elf::debug(link.as_ref()) {
        Ok(Debug::Whole) => Finding::good(what, format!("{name} has it: names, files, lines, inlined functions")),
        Ok(Debug::Elsewhere(file)) => Finding::good(what, format!("{name} names a file that has it: {file}")),
        Ok(Debug::Lines) => Finding::costly(
            what,
            format!("{name} has lines only"),
            "inlined functions are missing, and names lack their modules",
            "debug = \"limited\" in [profile.release] of Cargo.toml",
        ),
        Ok(Debug::Names) => Finding::costly(
            what,
            format!("{name} has names of functions only"),
            "stacks have no files, no lines and no inlined functions",
            "debug = \"limited\" in [profile.release] of Cargo.toml",
        ),
        Ok(Debug::Nothing) => Finding::costly(
            what,
            format!("{name} has none, and no names: it is stripped"),
            "stacks are addresses",
            "strip = false and debug = \"limited\" in [profile.release] of Cargo.toml",
        ),
        Err(why) => Finding::good(what, format!("unknown: {link} cannot be read: {why}")),
    }
}

/// Whether the control group of the program throttles it.
fn throttled(pid: u32) -> Option<Finding> {
    let group = read(format!("/proc/{pid}/cgroup"))?;
    let path = group.lines().find_map(|line| line.strip_prefix("0::"))?;
    let text = read(format!("/sys/fs/cgroup{path}/cpu.stat"))?;
    let number = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok()).unwrap_or(0)
    };
    let (periods, throttled) = (number("nr_periods"), number("nr_throttled"));
    let what = "CPU of the control group";
    if throttled * 10 <= periods {
        return (periods > 0).then(|| Finding::good(what, format!("throttled in {throttled} of {periods} periods")));
    }
    Some(Finding::costly(
        what,
        format!("throttled in {throttled} of {periods} periods"),
        "the program is slow although its threads use little CPU and wait for nothing",
        "docker run --cpus 2 …   (systemd: CPUQuota=200%)",
    ))
}
