//! What holds for each program of this user: the kernel's settings, and the limits that this
//! command itself has, as a program started beside it would have them.

use super::perf::{self, EXCLUDE_HYPERVISOR, EXCLUDE_KERNEL};
use super::{Finding, read, rings};

pub(super) fn findings(pid: Option<u32>) -> Vec<Finding> {
    let limits = read(format!("/proc/{}/limits", pid.map_or("self".to_owned(), |pid| pid.to_string())));
    let limit = |name: &str| limits.as_deref().and_then(|text| soft_limit(text, name));
    let mut findings = vec![tick(), perf_events(), seccomp(pid), schedstat()];
    findings.extend(limit("Max pending signals").map(pending_signals));
    findings.extend(limit("Max open files").map(open_files));
    findings.extend(rings::findings(pid, limit("Max locked memory"), limit("Max open files")));
    findings.extend(limit("Max processes").map(processes));
    findings.extend(pids_of_group());
    findings.push(folder());
    findings
}

/// A line of `/proc/PID/limits`: the name, the soft limit, the hard limit. `u64::MAX`: unlimited.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

pub(super) fn amount(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() }
}

/// The coarse clock moves once in a tick.
fn tick_hertz() -> Option<u64> {
    let mut step = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `step` is writable for one timespec.
    let failed = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut step) } != 0;
    let nanoseconds = u64::try_from(step.tv_nsec).ok().filter(|&step| step > 0)?;
    (!failed).then(|| 1_000_000_000 / nanoseconds)
}

fn tick() -> Finding {
    let now = tick_hertz()
        .map_or("unknown".to_owned(), |hertz| format!("{hertz} Hz: up to that rate a profile needs no perf events"));
    Finding::good("kernel tick", now)
}

fn perf_events() -> Finding {
    let what = "perf events";
    let paranoid: Option<i32> = read("/proc/sys/kernel/perf_event_paranoid").and_then(|text| text.parse().ok());
    let level = paranoid.map_or(String::new(), |level| format!(" (kernel.perf_event_paranoid is {level})"));
    let rate = tick_hertz().map_or("the kernel's tick".to_owned(), |hertz| format!("{hertz} Hz"));
    let costs = format!("a profile has at most {rate}; above that the timer is used, and the log says so");
    match (perf::open(EXCLUDE_HYPERVISOR), perf::open(EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR)) {
        (Ok(()), _) => Finding::good(what, format!("permitted, with the kernel's part{level}")),
        (_, Ok(())) => Finding::good(
            what,
            format!(
                "permitted, without the kernel's part{level}: time in the kernel \
            is counted to the function that called it"
            ),
        ),
        (_, Err(error)) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Finding::costly(what, "this kernel has none", costs, "use a kernel with CONFIG_PERF_EVENTS")
        }
        (_, Err(error)) if paranoid.is_some_and(|level| level > 2) => {
            Finding::costly(what, format!("refused{level}: {error}"), costs, "sudo sysctl kernel.perf_event_paranoid=2")
        }
        (_, Err(error)) => Finding::costly(
            what,
            format!("refused{level}: {error}; a seccomp filter or a missing capability does that in containers"),
            costs,
            "docker run --cap-add PERFMON … (or a seccomp profile that permits perf_event_open)",
        ),
    }
}

fn seccomp(pid: Option<u32>) -> Finding {
    let what = "seccomp";
    let process = pid.map_or("self".to_owned(), |pid| pid.to_string());
    let status = read(format!("/proc/{process}/status")).unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim);
    match mode {
        Some("0") => Finding::good(what, "no filter"),
        Some("2") => Finding::good(what, "a filter is set; the findings here tell what of it matters"),
        Some("1") => Finding::costly(
            what,
            "strict mode: only read, write and exit",
            "no thread can be started or sampled",
            "start the program without strict seccomp",
        ),
        _ => Finding::good(what, "unknown: the kernel tells nothing"),
    }
}

fn schedstat() -> Finding {
    let what = "schedstat";
    // This process has waited for a processor at least once, so the kernel counts if the second number is there.
    let counts = read("/proc/thread-self/schedstat").filter(|text| text.split_whitespace().count() == 3);
    match counts {
        Some(_) => Finding::good(what, "counted: accounts tell runnable time"),
        None => Finding::costly(
            what,
            "not counted",
            "in the accounts, time without a processor is part of \"outside\"",
            "use a kernel with CONFIG_SCHED_INFO, and mount /proc",
        ),
    }
}

/// As many threads can be sampled as signals may be pending for the user.
fn pending_signals(limit: u64) -> Finding {
    let what = "pending signals (RLIMIT_SIGPENDING)";
    if limit >= 1024 {
        return Finding::good(
            what,
            format!("{}: as many threads have timers, of all of this user's programs", amount(limit)),
        );
    }
    let costs = format!("at most {limit} threads of this user are sampled; others are [unsampled]");
    Finding::costly(what, amount(limit), costs, "ulimit -i 8192   (systemd: LimitSIGPENDING=8192)")
}

fn open_files(limit: u64) -> Finding {
    let what = "open files (RLIMIT_NOFILE)";
    if limit >= 1024 {
        return Finding::good(what, format!("{}: a quarter of them may be perf events", amount(limit)));
    }
    let costs = format!("with signals, at most {} threads have perf events; others keep the timer", limit / 4);
    Finding::costly(what, amount(limit), costs, "ulimit -n 4096   (systemd: LimitNOFILE=4096)")
}

fn processes(limit: u64) -> Finding {
    let what = "threads (RLIMIT_NPROC)";
    if limit >= 1024 {
        return Finding::good(what, format!("{} of this user", amount(limit)));
    }
    let costs = "a spawn beyond that is an error of the system";
    Finding::costly(
        what,
        format!("{} of this user", amount(limit)),
        costs,
        "ulimit -u 4096   (systemd: LimitNPROC=4096)",
    )
}

/// The limit of the control group on threads, if there is one.
fn pids_of_group() -> Option<Finding> {
    let group = read("/proc/self/cgroup")?;
    let path = group.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
    let folder = format!("/sys/fs/cgroup{path}");
    let most: u64 = read(format!("{folder}/pids.max")).or_else(|| read("/sys/fs/cgroup/pids.max"))?.parse().ok()?;
    let now: u64 = read(format!("{folder}/pids.current")).and_then(|text| text.parse().ok()).unwrap_or(0);
    let what = "threads (pids.max of the control group)";
    if most.saturating_sub(now) >= 100 {
        return Some(Finding::good(what, format!("{now} of {most}")));
    }
    let costs = format!("a spawn fails after {} more threads", most.saturating_sub(now));
    Some(Finding::costly(
        what,
        format!("{now} of {most}"),
        costs,
        "docker run --pids-limit 4096 …   (systemd: TasksMax=4096)",
    ))
}

fn folder() -> Finding {
    let what = "folder of the sockets";
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if std::path::Path::new(&folder).is_dir() => {
            Finding::good(what, format!("{}/selvedge", std::path::Path::new(&folder).display()))
        }
        _ => {
            let folder = std::env::temp_dir().join(format!("selvedge-{}", crate::find::user()));
            Finding::good(what, format!("{} (XDG_RUNTIME_DIR names no folder)", folder.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 524288               files     \n\
                    Max processes             unlimited            unlimited            processes \n";
        assert_eq!(soft_limit(text, "Max open files"), Some(1024));
        assert_eq!(soft_limit(text, "Max processes"), Some(u64::MAX));
        assert_eq!(soft_limit(text, "Max pending signals"), None);
        let own = read("/proc/self/limits").unwrap();
        for name in ["Max open files", "Max processes", "Max pending signals"] {
            assert!(soft_limit(&own, name).is_some(), "{name}");
        }
    }

    #[test]
    fn small_limits_are_told_with_a_line() {
        for finding in [pending_signals(10), open_files(100), processes(50)] {
            assert!(finding.advice.unwrap().line.starts_with("ulimit"));
        }
        assert!(
            [pending_signals(1 << 14), open_files(1024), processes(u64::MAX)].iter().all(|one| one.advice.is_none())
        );
    }
}
