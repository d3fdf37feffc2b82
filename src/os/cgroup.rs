//! What the control group of this process may use of CPU and memory, and what it has used: both
//! versions of Linux's control groups. Other systems have no such files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What all processes of the group may use and have used, since the group was made. A number that
/// the system does not tell is `None` or 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// How many processors the group may use at a time; `None`: all.
    pub(crate) cpus: Option<f64>,
    pub(crate) cpu: Duration,
    /// The scheduler's periods in which some process ran, and in how many of them the group had
    /// used up its share.
    pub(crate) periods: u64,
    pub(crate) throttled: u64,
    /// How long the group's threads were kept from running, summed over all processors.
    pub(crate) throttled_time: Duration,
    /// Bytes; `None`: no limit.
    pub(crate) memory_limit: Option<u64>,
    /// Bytes: the most memory that was used at a time.
    pub(crate) memory_peak: Option<u64>,
    /// How often it was at the limit, and something had to be given back first.
    pub(crate) at_limit: u64,
    /// Processes that were killed since nothing could be given back.
    pub(crate) killed: u64,
}

/// What is known now; `None` if the system has no control groups.
pub(crate) fn read() -> Option<Usage> {
    read_below(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// `groups` is the text of `/proc/self/cgroup`.
fn read_below(root: &Path, groups: &str) -> Option<Usage> {
    if root.join("cgroup.controllers").exists() {
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        return Some(second_version(&folders(root, path)));
    }
    // `4:cpu,cpuacct:/path`
    let path_of = |controller: &str| {
        groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then(|| folders(&root.join(controller), path))
        })
    };
    Some(first_version(&path_of("cpu")?, &path_of("cpuacct")?, &path_of("memory")?))
}

/// The folder of the group, then the folders of the groups around it, the innermost first. Each may
/// have a limit. In a container the path is often one of the host's, and the mounted folder is the
/// group's own.
fn folders(mounted: &Path, path: &str) -> Vec<PathBuf> {
    let own = mounted.join(path.trim_start_matches('/'));
    let own = if own.is_dir() && !path.contains("..") { own } else { mounted.to_owned() };
    own.ancestors().take_while(|folder| folder.starts_with(mounted)).map(Path::to_owned).collect()
}

fn second_version(folders: &[PathBuf]) -> Usage {
    let quota = |folder: &Path| {
        let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    };
    let (cpus, by_cpu) = tightest(folders, quota);
    let (memory_limit, by_memory) = tightest(folders, |folder| number(folder, "memory.max"));
    let cpu = |key| entry(by_cpu, "cpu.stat", key).unwrap_or(0);
    let events = |key| entry(by_memory, "memory.events", key).unwrap_or(0);
    Usage {
        cpus,
        cpu: Duration::from_micros(cpu("usage_usec")),
        periods: cpu("nr_periods"),
        throttled: cpu("nr_throttled"),
        throttled_time: Duration::from_micros(cpu("throttled_usec")),
        memory_limit,
        memory_peak: number(by_memory, "memory.peak").or_else(|| number(by_memory, "memory.current")),
        at_limit: events("max"),
        killed: events("oom_kill"),
    }
}

fn first_version(cpu: &[PathBuf], accounting: &[PathBuf], memory: &[PathBuf]) -> Usage {
    let quota = |folder: &Path| {
        // -1: no limit, which is not a number here.
        Some(number(folder, "cpu.cfs_quota_us")? as f64 / number(folder, "cpu.cfs_period_us")? as f64)
    };
    // Where there is no limit, this is the largest multiple of a page.
    const NONE: u64 = 1 << 60;
    let (cpus, by_cpu) = tightest(cpu, quota);
    let limit = |folder: &Path| number(folder, "memory.limit_in_bytes").filter(|limit| *limit < NONE);
    let (memory_limit, by_memory) = tightest(memory, limit);
    let stat = |key| entry(by_cpu, "cpu.stat", key).unwrap_or(0);
    let used = accounting.first().and_then(|folder| number(folder, "cpuacct.usage"));
    Usage {
        cpus,
        cpu: Duration::from_nanos(used.unwrap_or(0)),
        periods: stat("nr_periods"),
        throttled: stat("nr_throttled"),
        throttled_time: Duration::from_nanos(stat("throttled_time")),
        memory_limit,
        memory_peak: number(by_memory, "memory.max_usage_in_bytes"),
        at_limit: number(by_memory, "memory.failcnt").unwrap_or(0),
        killed: entry(by_memory, "memory.oom_control", "oom_kill").unwrap_or(0),
    }
}

/// The smallest limit, and the folder that has it; without any, the innermost folder.
fn tightest<T: PartialOrd + Copy>(folders: &[PathBuf], limit: impl Fn(&Path) -> Option<T>) -> (Option<T>, &Path) {
    let limits = folders.iter().filter_map(|folder| Some((limit(folder)?, folder)));
    match limits.reduce(|least, next| if next.0 < least.0 { next } else { least }) {
        Some((limit, folder)) => (Some(limit), folder),
        None => (None, folders.first().map_or(Path::new("/"), PathBuf::as_path)),
    }
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

/// The value of `key` in a file with one line `key value` for each key.
fn entry(folder: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(folder.join(file)).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Folder {
            let folder = Folder(std::env::temp_dir().join(format!("selvedge-cgroup-{}-{name}", std::process::id())));
            for (file, text) in files {
                let file = folder.0.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            folder
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_tightest_limit_of_the_groups_around_counts() {
        let root = Folder::new(
            "second",
            &[
                ("cgroup.controllers", "cpu memory"),
                ("pod/cpu.max", "150000 100000\n"),
                ("pod/cpu.stat", "usage_usec 2500000\nnr_periods 40\nnr_throttled 7\nthrottled_usec 300000\n"),
                ("pod/memory.max", "max\n"),
                ("pod/service/cpu.max", "max 100000\n"),
                ("pod/service/memory.max", "1048576\n"),
                ("pod/service/memory.peak", "900000\n"),
                ("pod/service/memory.events", "low 0\nmax 3\noom 1\noom_kill 1\n"),
            ],
        );
        let usage = read_below(&root.0, "0::/pod/service\n").unwrap();
        let expected = Usage {
            cpus: Some(1.5),
            cpu: Duration::from_micros(2_500_000),
            periods: 40,
            throttled: 7,
            throttled_time: Duration::from_millis(300),
            memory_limit: Some(1 << 20),
            memory_peak: Some(900_000),
            at_limit: 3,
            killed: 1,
        };
        assert_eq!(usage, expected);
        // The path of the host, in a container that sees only its own group.
        assert_eq!(read_below(&root.0, "0::/kubepods/burstable/x\n"), Some(Usage::default()));
        assert_eq!(read_below(&root.0, "0::/../pod\n"), Some(Usage::default()));
        assert_eq!(read_below(&root.0, "1:name=systemd:/\n"), None);
    }

    #[test]
    fn groups_of_the_first_version_are_read_too() {
        let root = Folder::new(
            "first",
            &[
                ("cpu/box/cpu.cfs_quota_us", "50000\n"),
                ("cpu/box/cpu.cfs_period_us", "100000\n"),
                ("cpu/box/cpu.stat", "nr_periods 10\nnr_throttled 2\nthrottled_time 5000000\n"),
                ("cpu/cpu.cfs_quota_us", "-1\n"),
                ("cpu/cpu.cfs_period_us", "100000\n"),
                ("cpuacct/box/cpuacct.usage", "7000000\n"),
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/memory.max_usage_in_bytes", "4096\n"),
                ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"),
            ],
        );
        let usage = read_below(&root.0, "3:cpu,cpuacct:/box\n4:memory:/gone\n0::/\n").unwrap();
        assert_eq!((usage.cpus, usage.throttled, usage.throttled_time), (Some(0.5), 2, Duration::from_millis(5)));
        assert_eq!((usage.cpu, usage.memory_limit, usage.memory_peak), (Duration::from_millis(7), None, Some(4096)));
        assert_eq!(read_below(&root.0, "4:memory:/\n"), None);
    }
}
