//! The files that are mapped into this process's memory, as the kernel lists them. Linux only.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A part of a file that is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MappedPart {
    pub(crate) range: Range<u64>,
    /// The file's number in its file system; that of the device as the file system itself has it,
    /// which is not always what `stat` says.
    pub(crate) inode: u64,
    pub(crate) device: (u64, u64),
    pub(crate) path: PathBuf,
    /// The file was removed, or has another name now.
    pub(crate) is_deleted: bool,
}

/// All mapped parts of files, by address.
///
/// # Errors
/// `/proc` is not mounted, or the system refuses.
pub(crate) fn files() -> io::Result<Vec<MappedPart>> {
    Ok(std::fs::read("/proc/self/maps")?.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// The part in which `address` lies; `None` if there is none.
pub(crate) fn at(files: &[MappedPart], address: u64) -> Option<&MappedPart> {
    let after = files.partition_point(|file| file.range.start <= address);
    files[..after].last().filter(|file| file.range.contains(&address))
}

/// From a line like `7f3c1000-7f3c3000 r-xp 00001000 fe:00 4711    /lib/libc.so.6`.
fn parse(line: &[u8]) -> Option<MappedPart> {
    const DELETED: &[u8] = b" (deleted)";
    let from = line.iter().position(|&byte| byte == b'/')?;
    let mut fields = std::str::from_utf8(&line[..from]).ok()?.split_ascii_whitespace();
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let (start, end) = fields.next()?.split_once('-')?;
    let (major, minor) = fields.nth(2)?.split_once(':')?;
    let inode = fields.next()?.parse().ok()?;
    let path = &line[from..];
    let stripped = path.strip_suffix(DELETED);
    // The kernel adds the word to the path without a mark: there may be a file of such a name.
    let is_deleted = stripped.is_some() && std::fs::symlink_metadata(OsStr::from_bytes(path)).is_err();
    let path = if is_deleted { stripped.unwrap_or(path) } else { path };
    Some(MappedPart {
        range: hex(start)?..hex(end)?,
        inode,
        device: (hex(major)?, hex(minor)?),
        // The one byte that the kernel escapes, as it would end the line.
        path: OsStr::from_bytes(&replace(path, b"\\012", b'\n')).into(),
        is_deleted,
    })
}

fn replace(text: &[u8], escaped: &[u8], byte: u8) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, others)) = rest.split_first() {
        let (next, after) = match rest.strip_prefix(escaped) {
            Some(after) => (byte, after),
            None => (first, others),
        };
        plain.push(next);
        rest = after;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let part = parse(b"7f3c1000-7f3c3000 r-xp 00001000 fe:0a 4711     /a b/lib\\012c.so (deleted)").unwrap();
        assert_eq!((part.range, part.inode, part.device), (0x7f3c_1000..0x7f3c_3000, 4711, (0xfe, 10)));
        assert_eq!((part.path.to_str().unwrap(), part.is_deleted), ("/a b/lib\nc.so", true));
        assert_eq!(parse(b"7ffc1000-7ffc3000 rw-p 00000000 00:00 0    [stack]"), None);
        assert_eq!(parse(b"7ffc1000-7ffc3000 rw-p 00000000 00:00 0"), None);
    }

    #[test]
    fn a_name_ending_in_deleted_is_no_deletion() {
        let path = std::env::temp_dir().join(format!("selvedge-maps-{} (deleted)", std::process::id()));
        std::fs::write(&path, "x").unwrap();
        let part = parse(format!("1000-2000 r--p 00000000 fe:00 7 {}", path.display()).as_bytes()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((&part.path, part.is_deleted), (&path, false));
    }

    #[test]
    fn this_code_lies_in_the_test_program() {
        let here = this_code_lies_in_the_test_program as fn() as usize as u64;
        let files = files().unwrap();
        assert_eq!(at(&files, here).map(|file| &file.path), Some(&std::env::current_exe().unwrap()));
        assert_eq!(at(&files, 8), None);
    }
}
