//! Which debug information a program's file has: the names of its sections, and nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Debug {
    Whole,
    /// In the file that `.gnu_debuglink` or the like names.
    Elsewhere(String),
    Lines,
    Names,
    Nothing,
}

/// More sections have only damaged files.
const MOST_SECTIONS: usize = 4096;
const HEADER: usize = 64;

/// # Errors
/// The file cannot be read, or is no 64-bit little-endian ELF file.
pub(super) fn debug(path: &Path) -> Result<Debug, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let names = sections(&file).ok_or("it is no 64-bit ELF file, or it is damaged")?;
    let has = |wanted: &str| names.iter().any(|name| name == wanted || *name == wanted.replacen('.', ".z", 1));
    Ok(if has(".debug_info") && has(".debug_line") {
        Debug::Whole
    } else if has(".gnu_debuglink") || has(".gnu_debugaltlink") {
        Debug::Elsewhere("the one of .gnu_debuglink".to_owned())
    } else if has(".debug_line") {
        Debug::Lines
    } else if has(".symtab") {
        Debug::Names
    } else {
        Debug::Nothing
    })
}

fn at(file: &File, offset: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn number(bytes: &[u8], offset: usize, length: usize) -> Option<u64> {
    let field = bytes.get(offset..offset + length)?;
    Some(field.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
}

/// The names of the sections.
fn sections(file: &File) -> Option<Vec<String>> {
    let header = at(file, 0, HEADER)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size) = (number(&header, 40, 8)?, number(&header, 58, 2)?);
    let (count, of_names) = (number(&header, 60, 2)?, number(&header, 62, 2)?);
    let (size, count) = (usize::try_from(size).ok()?, usize::try_from(count).ok()?);
    if size < HEADER || count > MOST_SECTIONS {
        return None;
    }
    let entries = at(file, table, size.checked_mul(count)?)?;
    let entry = |index: usize| entries.get(index * size..(index + 1) * size);
    let names = entry(usize::try_from(of_names).ok()?)?;
    let length = usize::try_from(number(names, 32, 8)?).ok().filter(|&length| length < 1 << 20)?;
    let names = at(file, number(names, 24, 8)?, length)?;
    let name = |index: usize| {
        let begin = usize::try_from(number(entry(index)?, 0, 4)?).ok()?;
        let rest = names.get(begin..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    Some((0..count).filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_this_test_has_names() {
        let found = debug(&std::env::current_exe().unwrap()).unwrap();
        assert!(matches!(found, Debug::Whole | Debug::Lines | Debug::Names), "{found:?}");
    }

    #[test]
    fn other_files_are_no_elf() {
        assert!(debug(Path::new("/proc/self/status")).is_err());
        assert!(debug(Path::new("/nowhere")).is_err());
    }
}
