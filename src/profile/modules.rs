//! Which files are mapped at which addresses.

use crate::flame::Module;

/// The files with code in this process, the program itself first; empty where the system does not tell.
pub(super) fn loaded() -> Vec<Module> {
    let maps =
        if cfg!(target_os = "linux") { std::fs::read("/proc/self/maps").unwrap_or_default() } else { Vec::new() };
    let mut modules = parse(&String::from_utf8_lossy(&maps));
    let program = std::env::current_exe().ok();
    // Stable: the others keep the order of their addresses.
    modules.sort_by_key(|module| program.as_deref() != Some(std::path::Path::new(&module.file)));
    modules
}

/// The executable parts of lines such as `55d0-55e0 r-xp 00001000 fe:00 1234    /usr/bin/indexer`.
pub(super) fn parse(maps: &str) -> Vec<Module> {
    maps.lines().filter_map(module).collect()
}

fn module(line: &str) -> Option<Module> {
    let mut rest = line;
    let mut field = || {
        let trimmed = rest.trim_start();
        let (field, after) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        rest = after;
        field
    };
    let (range, permissions, file_offset, _device, _inode) = (field(), field(), field(), field(), field());
    // What is left is the file's name, which may contain spaces.
    let file = rest.trim_start();
    if permissions.as_bytes().get(2) != Some(&b'x') || file.is_empty() {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    Some(Module { start: hex(start)?, end: hex(end)?, file_offset: hex(file_offset)?, file: file.into() })
}
