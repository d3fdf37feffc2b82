//! Names in one program or library: by its debug information, and by its symbol tables where that
//! has no names. All addresses are relative to the file.

use super::Texts;
use super::budget::Budget;
use super::dwarf::{self, Frame};
use super::sections::{self, Bytes, Elf};
use super::table;
use crate::flame::Line;
use crate::os::mapped::MappedFile;
use crate::profile::loader::{Loaded, Origin, Source};
use gimli::{EndianSlice, NativeEndian, SectionId};
use object::Object;
use std::fs::File;

/// What is found for the addresses of one file.
pub(super) struct Found {
    /// For each address the function there, and before it the functions inlined into it, the
    /// innermost first. Empty if nothing is known.
    pub(super) lines: Vec<Vec<Line>>,
    /// Files that could not be read, and why, as sentences.
    pub(super) unread: Vec<String>,
    /// All of it is by debug information that could be read.
    pub(super) is_final: bool,
}

/// The lines of the sorted `addresses` in that program or library. Keeps nothing that was read.
pub(super) fn names(
    loaded: &Loaded,
    source: Option<&Source>,
    addresses: &[u64],
    texts: &mut Texts,
    budget: &mut Budget,
) -> Found {
    let name = loaded.name.display();
    let mut taken = 0;
    let mut found = Naming { addresses, texts, budget, taken: &mut taken, unread: Vec::new(), is_informed: false };
    let lines = if loaded.origin == Origin::Vdso {
        found.of(loaded, source, Bytes::InMemory(vdso(loaded)))
    } else {
        let file = source.map_or_else(|| Err("it was not searched".into()), Source::file);
        file.and_then(|file| {
            let mapped = MappedFile::new(&file).map_err(|cause| cause.to_string())?;
            found.of(loaded, source, Bytes::OfFile(&mapped))
        })
    };
    let (mut unread, is_informed) = (found.unread, found.is_informed);
    budget.give_back(taken);
    let lines = lines.unwrap_or_else(|cause| {
        unread.push(format!("{name} cannot be read: {cause}. Its functions have no names."));
        vec![Vec::new(); addresses.len()]
    });
    Found { lines, is_final: is_informed && unread.is_empty(), unread }
}

/// The bytes of the kernel's own library, which stays as long as the process lives. The tables that
/// name its sections are behind its last segment, on the same page.
fn vdso(loaded: &Loaded) -> &'static [u8] {
    const PAGE: u64 = 4096;
    let length = loaded.range.end.next_multiple_of(PAGE) - loaded.range.start;
    // SAFETY: the kernel has mapped whole pages, readable, for as long as the process lives.
    unsafe { std::slice::from_raw_parts(loaded.range.start as *const u8, length as usize) }
}

struct Naming<'n> {
    addresses: &'n [u64],
    texts: &'n mut Texts,
    budget: &'n mut Budget,
    /// The bytes taken from the budget.
    taken: &'n mut u64,
    unread: Vec<String>,
    /// There is debug information.
    is_informed: bool,
}

impl Naming<'_> {
    /// Reads the file with these bytes, and its separate debug information.
    fn of(&mut self, loaded: &Loaded, source: Option<&Source>, bytes: Bytes<'_>) -> Result<Vec<Vec<Line>>, String> {
        let own = sections::parse(bytes)?;
        let apart = if has_debug_information(&own) { None } else { separate(&own, loaded, source) };
        let mapped = apart.as_ref().and_then(|file| MappedFile::new(file).ok());
        let debug = mapped.as_ref().and_then(|mapped| sections::parse(Bytes::OfFile(mapped)).ok());
        let mut lines = vec![Vec::new(); self.addresses.len()];
        let (informed, informed_by) = match (&debug, &mapped) {
            (Some(debug), Some(mapped)) => (debug, Bytes::OfFile(mapped)),
            _ => (&own, bytes),
        };
        self.is_informed = has_debug_information(informed);
        if self.is_informed
            && let Err(cause) = self.by_debug_information(informed, informed_by, &mut lines)
        {
            let name = loaded.name.display();
            self.unread.push(format!(
                "the debug information of {name} cannot be read: {cause}. \
                 Inlined functions, files and lines of it are missing."
            ));
        }
        self.by_tables(loaded, &own, debug.as_ref(), &mut lines);
        Ok(lines)
    }

    /// Adds the lines of all addresses that the debug information in `file` describes.
    fn by_debug_information<'a>(
        &mut self,
        file: &Elf<'a>,
        bytes: Bytes<'a>,
        lines: &mut [Vec<Line>],
    ) -> Result<(), String> {
        let sections = gimli::DwarfSections::load(|id| match id {
            SectionId::DebugAbbrev
            | SectionId::DebugAddr
            | SectionId::DebugAranges
            | SectionId::DebugInfo
            | SectionId::DebugLine
            | SectionId::DebugLineStr
            | SectionId::DebugRanges
            | SectionId::DebugRngLists
            | SectionId::DebugStr
            | SectionId::DebugStrOffsets => sections::contents(file, bytes, id.name(), self.budget, self.taken),
            // They have no names and no lines.
            _ => Ok(Default::default()),
        })?;
        let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, NativeEndian));
        let (frames, read) = dwarf::frames(&dwarf, self.addresses, &|count| bytes.looked_at(count));
        // The name is empty for a function without a description; the tables may have its name.
        let line = |frame: Frame<'_>, texts: &mut Texts| {
            let name = frame.name.map_or_else(Default::default, String::from_utf8_lossy);
            texts.line(&name, &frame.file, frame.line)
        };
        for (lines, frames) in lines.iter_mut().zip(frames) {
            lines.extend(frames.into_iter().map(|frame| line(frame, self.texts)));
        }
        read.map_err(|cause| cause.to_string())
    }

    /// Adds names from the symbol tables to functions that have none so far.
    fn by_tables(&mut self, loaded: &Loaded, own: &Elf<'_>, debug: Option<&Elf<'_>>, lines: &mut [Vec<Line>]) {
        let is_nameless = |lines: &[Line]| lines.last().is_none_or(|line| line.system_name.is_empty());
        let places: Vec<usize> = (0..lines.len()).filter(|&place| is_nameless(&lines[place])).collect();
        if places.is_empty() {
            return;
        }
        let addresses: Vec<u64> = places.iter().map(|&place| self.addresses[place]).collect();
        let mut full: Vec<&Elf<'_>> =
            [debug, Some(own)].into_iter().flatten().filter(|elf| table::is_full(elf)).collect();
        let mut unpacked = None;
        if full.is_empty() {
            unpacked = sections::mini_debug_file(own, self.budget, self.taken).unwrap_or_else(|cause| {
                let name = loaded.name.display();
                self.unread
                    .push(format!("the symbols of {name} cannot be read: {cause}. Some functions have no names."));
                None
            });
        }
        let mini = unpacked.as_deref().and_then(|bytes| sections::parse(Bytes::InMemory(bytes)).ok());
        let dynamic = full.is_empty().then_some(own);
        full.extend(&mini);
        for (place, name) in places.into_iter().zip(table::names(&full, dynamic, &addresses)) {
            let Some(name) = name else { continue };
            match lines[place].last_mut() {
                Some(line) => *line = self.texts.line(&name, &line.file, line.line),
                None => lines[place].push(self.texts.line(&name, "", 0)),
            }
        }
    }
}

fn has_debug_information(file: &Elf<'_>) -> bool {
    sections::has(file, SectionId::DebugInfo.name())
}

/// The file with separate debug information, where distributions put it, recognized by its build
/// id.
fn separate(file: &Elf<'_>, loaded: &Loaded, source: Option<&Source>) -> Option<File> {
    let link = file.gnu_debuglink().ok().flatten().map(|(name, _)| name);
    let fits = |file: &File| {
        let Ok(mapped) = MappedFile::new(file) else { return false };
        let Ok(elf) = sections::parse(Bytes::OfFile(&mapped)) else { return false };
        elf.build_id().ok().flatten().is_some_and(|id| id == loaded.build_id)
    };
    source?.debug_files(&loaded.name, &loaded.build_id, link).find(fits)
}
