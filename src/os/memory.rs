//! How much more memory this process can take before it is refused, or killed for it. Linux only.

use std::path::{Path, PathBuf};

/// Bytes that are free for this process by each limit that the system tells of: its own limits of
/// addresses and of data, the limits of its control groups, the machine's memory. `None` if it
/// tells of none.
pub(crate) fn free() -> Option<u64> {
    // SAFETY: each is called with a place that is writable for one rlimit. The names of limits have
    // other types in other C libraries.
    let addresses = own(|limit| unsafe { libc::getrlimit(libc::RLIMIT_AS, limit) }, 0);
    // SAFETY: as above.
    let data = own(|limit| unsafe { libc::getrlimit(libc::RLIMIT_DATA, limit) }, 5);
    let own = [addresses, data];
    own.into_iter().chain([groups(), machine()]).flatten().min()
}

/// The bytes that remain below the limit that `get` reads. `field`: where in `/proc/self/statm` it
/// stands how many pages count.
fn own(get: impl FnOnce(&mut libc::rlimit) -> libc::c_int, field: usize) -> Option<u64> {
    let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let failed = get(&mut found) != 0;
    if failed || found.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    // SAFETY: has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let used = pages.split_ascii_whitespace().nth(field)?.parse::<u64>().ok()? * page;
    Some(found.rlim_cur.saturating_sub(used))
}

fn machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    field(&text, "MemAvailable:").map(|kilobytes| kilobytes * 1024)
}

/// The files of a version of control groups: the limit, what is used, and what of that the kernel
/// can take back.
struct Version {
    root: &'static str,
    limit: &'static str,
    used: &'static str,
    reclaimable: [&'static str; 2],
}

const FIRST: Version = Version {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: ["total_active_file", "total_inactive_file"],
};
const SECOND: Version = Version {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    used: "memory.current",
    reclaimable: ["active_file", "inactive_file"],
};

/// The bytes that remain below the limits of this process's group and of the groups above it.
fn groups() -> Option<u64> {
    let list = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let version = match controllers {
            "" => SECOND,
            _ if controllers.split(',').any(|name| name == "memory") => FIRST,
            _ => return None,
        };
        free_in(&version, path)
    };
    list.lines().filter_map(group).min()
}

fn free_in(version: &Version, path: &str) -> Option<u64> {
    let root = Path::new(version.root);
    let own = root.join(path.trim_start_matches('/'));
    // A container that does not see above its own group has that at the root; the path says
    // something else.
    let own = if own.join(version.limit).exists() { own } else { PathBuf::from(root) };
    own.ancestors().take_while(|group| group.starts_with(root)).filter_map(|group| free_of(version, group)).min()
}

fn free_of(version: &Version, group: &Path) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    let limit: u64 = read(version.limit)?.trim().parse().ok()?;
    let used: u64 = read(version.used)?.trim().parse().ok()?;
    let statistics = read("memory.stat").unwrap_or_default();
    let reclaimable: u64 = version.reclaimable.iter().filter_map(|name| field(&statistics, name)).sum();
    Some(limit.saturating_sub(used.saturating_sub(reclaimable)))
}

/// The number that follows `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    lines.find_map(|mut words| (words.next()? == name).then(|| words.next()?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reclaimable_memory_of_a_group_counts_as_free() {
        let folder = std::env::temp_dir().join(format!("selvedge-memory-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("memory.max", "67108864\n");
        write("memory.current", "50000000\n");
        write("memory.stat", "anon 1\nfile 2\ninactive_file 20000000\nactive_file 1000\n");
        assert_eq!(free_of(&SECOND, &folder), Some(67108864 - 50000000 + 20001000));
        write("memory.max", "max\n");
        assert_eq!(free_of(&SECOND, &folder), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(free().is_some_and(|free| free > 1 << 20));
    }
}
