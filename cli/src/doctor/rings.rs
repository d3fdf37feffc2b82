//! What `Engine::Ring` needs: the kernel's rings of samples, of which each processor has one, and
//! each thread an event for each processor. The numbers are the library's; a test compares them.

use super::machine::amount;
use super::perf::{self, EXCLUDE_HYPERVISOR, EXCLUDE_KERNEL, INHERIT, INHERIT_THREAD, REMOVE_ON_EXEC};
use super::{Finding, read};

/// With more processors `Engine::Auto` keeps to signals.
const MOST_PROCESSORS: u64 = 16;
/// KiB of a ring, at least.
const SHORTEST_RING: u64 = 128;
/// KiB of a ring for 100 ms of samples at 1000 Hz.
const USUAL_RING: u64 = 1024;
/// KiB of the page before each ring.
const HEAD: u64 = 4;
/// What the kernel lets each user lock for each processor if its setting cannot be read, in KiB.
const USUAL_SETTING: u64 = 516;

/// `memory`: RLIMIT_MEMLOCK in bytes, `files`: RLIMIT_NOFILE.
pub(super) fn findings(pid: Option<u32>, memory: Option<u64>, files: Option<u64>) -> Vec<Finding> {
    // SAFETY: it takes a number, and returns one.
    let processors = u64::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1).max(1);
    let flags = INHERIT | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR;
    // Without any perf events, the finding about them says so.
    let (Ok(()), refused) = (perf::open(flags), perf::open(flags | INHERIT_THREAD | REMOVE_ON_EXEC).err()) else {
        return Vec::new();
    };
    if let Some(error) = refused {
        let costs = "above the kernel's tick signals sample, which interrupt system calls";
        let now = format!("refused: {error}; they need Linux 5.13");
        return vec![Finding::costly("rings of samples (Engine::Ring)", now, costs, "use Linux 5.13 or later")];
    }
    let mut findings = vec![of_processors(processors)];
    if is_unlimited(pid) {
        findings
            .push(Finding::good(MEMORY, "no limit for this program: it has a capability, or the kernel asks for none"));
    } else if let Some(memory) = memory {
        let setting = read("/proc/sys/kernel/perf_event_mlock_kb").and_then(|text| text.parse().ok());
        findings.push(of_memory(processors, setting.unwrap_or(USUAL_SETTING), memory));
    }
    findings.extend(files.map(|files| of_files(processors, files, pid.and_then(threads))));
    findings
}

fn of_processors(processors: u64) -> Finding {
    let what = "rings of samples (Engine::Ring)";
    if processors <= MOST_PROCESSORS {
        return Finding::good(
            what,
            format!("one for each of {processors} processors; `Engine::Auto` takes them above the kernel's tick"),
        );
    }
    let now = format!(
        "{processors} processors: a new thread would take {processors} events, so `Engine::Auto` keeps to signals; \
         `profile: {{ engine: ring }}` takes rings all the same"
    );
    Finding::good(what, now)
}

const MEMORY: &str = "memory for rings (RLIMIT_MEMLOCK, kernel.perf_event_mlock_kb)";

/// `setting`: KiB for each processor. `limit`: bytes beyond them.
fn of_memory(processors: u64, setting: u64, limit: u64) -> Finding {
    let possible = (setting * processors).saturating_add(limit / 1024);
    let has_room = |ring: u64| processors * (ring + HEAD) <= possible;
    let limit = if limit == u64::MAX { amount(limit) } else { format!("{} KiB", limit / 1024) };
    let now = format!("{setting} KiB for each of {processors} processors, and {limit}");
    // Of all programs of the user together, as for the kernel.
    let needed = (processors * (USUAL_RING + HEAD)).saturating_sub(setting * processors).next_power_of_two();
    let line = format!("ulimit -l {needed}   (systemd: LimitMEMLOCK={needed}K)");
    let mut ring = USUAL_RING;
    while ring >= SHORTEST_RING && !has_room(ring) {
        ring /= 2;
    }
    match ring {
        USUAL_RING => Finding::good(MEMORY, format!("{now}: enough for 1000 Hz")),
        ring if ring >= SHORTEST_RING => {
            let costs = format!(
                "rings of {ring} KiB: the sampler wakes up more often, and samples that find a full ring are lost"
            );
            Finding::costly(MEMORY, now, costs, line)
        }
        _ => Finding::costly(
            MEMORY,
            now,
            "no rings: above the kernel's tick signals sample, which interrupt system calls",
            line,
        ),
    }
}

/// `threads`: of the program, if one is looked at.
fn of_files(processors: u64, limit: u64, threads: Option<u64>) -> Finding {
    let what = "open files for rings (RLIMIT_NOFILE)";
    // A quarter, and one for each ring.
    let possible = (limit / 4 / processors).saturating_sub(1);
    let of_program = threads.map_or(String::new(), |threads| format!("; the program has {threads}"));
    let now = format!("{}: enough for {possible} threads, with an event for each processor{of_program}", amount(limit));
    let wanted = threads.unwrap_or(64) + 1;
    if possible >= wanted {
        return Finding::good(what, now);
    }
    let needed = ((wanted + 1) * processors * 4).next_power_of_two();
    let costs =
        "if a recording starts with more threads, signals sample; later threads are sampled with their parent's events";
    Finding::costly(what, now, costs, format!("ulimit -n {needed}   (systemd: LimitNOFILE={needed})"))
}

/// The kernel counts no locked memory of a program with CAP_IPC_LOCK, or where it trusts all.
fn is_unlimited(pid: Option<u32>) -> bool {
    const IPC_LOCK: u64 = 1 << 14;
    let process = pid.map_or("self".to_owned(), |pid| pid.to_string());
    let capabilities = status(&process, "CapEff:").and_then(|text| u64::from_str_radix(&text, 16).ok());
    let paranoid: Option<i32> = read("/proc/sys/kernel/perf_event_paranoid").and_then(|text| text.parse().ok());
    capabilities.is_some_and(|all| all & IPC_LOCK != 0) || paranoid.is_some_and(|level| level < 0)
}

fn threads(pid: u32) -> Option<u64> {
    status(&pid.to_string(), "Threads:")?.parse().ok()
}

/// A line of `/proc/PID/status`.
fn status(process: &str, name: &str) -> Option<String> {
    let text = read(format!("/proc/{process}/status"))?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The library has these numbers in its own code, which this command does not depend on.
    #[test]
    fn the_numbers_are_the_librarys() {
        let library = include_str!("../../../src/profile/engines/timer/kernel_rings/mod.rs");
        for line in [
            format!("const MOST_PROCESSORS: usize = {MOST_PROCESSORS};"),
            format!("const SHORTEST_RING: usize = {SHORTEST_RING} << 10;"),
            "const STACK: u32 = 8 * 1024;".to_owned(),
            "const REST_OF_RECORD: usize = 512;".to_owned(),
            "const FILLED_AFTER: Duration = Duration::from_millis(100);".to_owned(),
        ] {
            assert!(library.contains(&line), "{line}");
        }
        // At 1000 Hz.
        assert_eq!((100 * (8 * 1024 + 512u64)).next_power_of_two(), USUAL_RING * 1024);
        let files = include_str!("../../../src/os/perf.rs");
        assert!(files.contains("limit.rlim_cur.saturating_sub(open) / 4"));
    }

    #[test]
    fn memory_for_rings_is_told_with_a_line() {
        let line = |finding: Finding| finding.advice.map(|advice| (advice.costs, advice.line));
        assert!(line(of_memory(2, 516, 8 << 20)).is_none());
        assert!(line(of_memory(64, 516, u64::MAX)).is_none());
        let (costs, advice) = line(of_memory(8, 516, 64 << 10)).unwrap();
        assert!(costs.starts_with("rings of 512 KiB"), "{costs}");
        assert_eq!(advice, "ulimit -l 4096   (systemd: LimitMEMLOCK=4096K)");
        assert!(line(of_memory(8, 516, 4096 << 10)).is_none(), "the line that was told suffices");
        let (costs, _) = line(of_memory(2, 100, 0)).unwrap();
        assert!(costs.starts_with("no rings"), "{costs}");
    }

    #[test]
    fn files_for_rings_are_told_with_a_line() {
        let line = |finding: Finding| finding.advice.map(|advice| advice.line);
        assert_eq!(line(of_files(2, 1024, None)), None);
        assert_eq!(line(of_files(2, 1024, Some(200))).as_deref(), Some("ulimit -n 2048   (systemd: LimitNOFILE=2048)"));
        assert_eq!(line(of_files(2, 2048, Some(200))), None);
        assert_eq!(line(of_files(16, u64::MAX, Some(20_000))), None);
        assert!(of_processors(16).now.starts_with("one for each") && of_processors(17).now.contains("engine: ring"));
        assert!(of_processors(64).advice.is_none());
    }
}
