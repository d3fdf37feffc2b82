//! The file that a program or library was loaded from: opened, and compared with the module in
//! memory, while that is possible. Knows no addresses in memory.

use super::debug_files::debug_files;
use super::notes::build_id;
use crate::os::maps::MappedPart;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What identifies a file.
pub(super) struct Marks<'a> {
    /// Empty if the linker has written none.
    pub(super) build_id: &'a [u8],
    /// The program headers, byte for byte.
    pub(super) headers: &'a [u8],
    /// Where the system lists it; `None` without `/proc`. Asked if there is no build id.
    pub(super) mapped: &'a dyn Fn() -> Option<&'a MappedPart>,
}

/// The open file, or its path, or why it was not found.
#[derive(Debug)]
pub(in crate::profile) enum Source {
    /// Kept open: it stays readable if it is renamed or removed, or if the process changes its root
    /// folder or its rights.
    Kept {
        file: File,
        stamp: Stamp,
        /// Its debug information, if that is where distributions put it. Not compared yet.
        debug: Option<File>,
    },
    /// It is opened when it is needed, and compared with its stamp.
    Named(PathBuf, Stamp),
    /// Why it was not found, as a part of a sentence.
    Unknown(String),
}

/// A file as it was when it was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::profile) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of the file with that metadata.
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Source {
    /// The first of `candidates` with those marks. `keep`: it stays open.
    pub(super) fn find(candidates: impl Iterator<Item = PathBuf>, marks: &Marks<'_>, keep: bool) -> Source {
        let (mut why, mut last) = (None, PathBuf::new());
        for candidate in candidates {
            if candidate == last {
                continue;
            }
            match open(&candidate, marks) {
                Ok((file, stamp)) if keep => {
                    let place = debug_files(&candidate, marks.build_id, None).into_iter().next();
                    let debug = place.and_then(|place| open_regular(&place).ok());
                    return Source::Kept { file, stamp, debug };
                }
                Ok((_, stamp)) => return Source::Named(candidate, stamp),
                Err(cause) => why = why.or(Some(cause)),
            }
            last = candidate;
        }
        Source::Unknown(why.map_or_else(|| "the loader does not name its file".into(), |cause| cause.to_string()))
    }

    /// What the file was when it was found; `None` if it was not found.
    pub(in crate::profile) fn stamp(&self) -> Option<Stamp> {
        match self {
            Source::Kept { stamp, .. } | Source::Named(_, stamp) => Some(*stamp),
            Source::Unknown(_) => None,
        }
    }

    /// The file as it was found, for `symbols/elf.rs`, which reads names and lines from it.
    ///
    /// # Errors
    /// As a part of a sentence: it cannot be opened any more, or was changed.
    pub(in crate::profile) fn file(&self) -> Result<File, String> {
        let (file, stamp) = match self {
            // The program may have closed all descriptors that it did not open, and opened others.
            Source::Kept { file, stamp, .. } => (file.try_clone(), stamp),
            Source::Named(path, stamp) => (open_regular(path), stamp),
            Source::Unknown(why) => return Err(why.clone()),
        };
        let file = file.map_err(|cause| cause.to_string())?;
        match file.metadata() {
            Ok(metadata) if Stamp::of(&metadata) == *stamp => Ok(file),
            Ok(_) => Err("it was changed or replaced after it was loaded".into()),
            Err(cause) => Err(cause.to_string()),
        }
    }
}

impl Source {
    /// Files that may have its debug information. `link`: the name in the file's `.gnu_debuglink`.
    pub(in crate::profile) fn debug_files(
        &self,
        name: &Path,
        build_id: &[u8],
        link: Option<&[u8]>,
    ) -> impl Iterator<Item = File> {
        let kept = match self {
            Source::Kept { debug: Some(debug), .. } => debug.try_clone().ok(),
            _ => None,
        };
        let others = debug_files(name, build_id, link);
        kept.into_iter().chain(others.into_iter().filter_map(|place| open_regular(&place).ok()))
    }
}

/// Opens the file if it has those marks.
fn open(path: &Path, marks: &Marks<'_>) -> io::Result<(File, Stamp)> {
    let file = open_regular(path)?;
    let metadata = file.metadata()?;
    if is_it(&file, &metadata, marks)? {
        return Ok((file, Stamp::of(&metadata)));
    }
    Err(io::Error::other("another file has its name by now"))
}

/// Opens a regular file only: opening a FIFO would block.
fn open_regular(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(path)
}

/// Returns `true` if this is the file with those marks: it has their build id; or there is none,
/// and the program headers are the same, and nothing that the system lists says otherwise.
fn is_it(file: &File, metadata: &Metadata, marks: &Marks<'_>) -> io::Result<bool> {
    const HEADER: u64 = 56;
    let mut start = [0; 64];
    file.read_exact_at(&mut start, 0)?;
    let word = |bytes: &[u8], at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if !start.starts_with(b"\x7fELF\x02") {
        return Ok(false);
    }
    let count = u64::from(u16::from_ne_bytes([start[56], start[57]]));
    let mut headers = vec![0; (count * HEADER) as usize];
    file.read_exact_at(&mut headers, word(&start, 32))?;
    if marks.build_id.is_empty() {
        let is_listed = (marks.mapped)().is_none_or(|mapped| {
            // Overlays and some file systems list other devices than `stat` names: numbers of two
            // devices are not compared.
            let same_device = (libc::major(metadata.dev()), libc::minor(metadata.dev()))
                == (mapped.device.0 as libc::c_uint, mapped.device.1 as libc::c_uint);
            if same_device { metadata.ino() == mapped.inode } else { !mapped.is_deleted }
        });
        return Ok(headers == marks.headers && is_listed);
    }
    const LONGEST_NOTE: u64 = 1 << 20;
    for header in headers.chunks_exact(HEADER as usize) {
        let kind = u32::from_ne_bytes(header[..4].try_into().expect("four bytes"));
        let (offset, length) = (word(header, 8), word(header, 32));
        if kind != libc::PT_NOTE || length > LONGEST_NOTE {
            continue;
        }
        let mut notes = vec![0; length as usize];
        file.read_exact_at(&mut notes, offset)?;
        if let Some(found) = build_id(&notes) {
            return Ok(found == marks.build_id);
        }
    }
    Ok(false)
}
