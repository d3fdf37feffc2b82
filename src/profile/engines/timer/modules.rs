//! The module list: which code is loaded, and where its unwinding tables are. Reads them from the
//! loader, so it must not be called by a signal handler.

use super::unwind::{Module, Modules, Table, is_start_of_threads_known};
use crate::profile::loader::{Counters, History, Loaded, counters, iterate};
use std::ops::Range;
use std::sync::Arc;

/// The modules as they were last listed.
#[derive(Default)]
pub(super) struct ModuleList {
    counters: Counters,
    known: Vec<Key>,
    modules: Modules,
    /// What was unloaded since is kept too, since names are found last.
    history: History,
}

/// Distinguishes a library from a later one at the same address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    code: Range<u64>,
    tables: Range<u64>,
    name: Vec<u8>,
}

/// Finds out where threads start, once for the process, before modules are listed for walks. Blocks
/// until a new thread has walked its own stack. If the system gives no thread, the next call tries
/// again.
pub(super) fn learn_start_of_threads() {
    if !is_start_of_threads_known()
        && let Some(modules) = ModuleList::default().renew()
    {
        modules.learn_start_of_threads();
    }
}

impl ModuleList {
    /// Lists the modules again if something was loaded or unloaded. Returns the new list then.
    pub(super) fn renew(&mut self) -> Option<Modules> {
        // Before the list is made: a library that is loaded meanwhile is found the next time.
        let counters = counters();
        if counters == self.counters && !self.known.is_empty() {
            return None;
        }
        self.counters = counters;
        let mut seen = Vec::new();
        iterate(&mut |info, place| {
            self.history.see(Loaded::of(info, place));
            let Some(found) = UnwindTables::of(info, place) else { return };
            if !self.known.contains(&found.key) {
                // Now, while the loader's lock is held: it is still mapped. A module that was at
                // the same address is gone.
                self.modules.remove(found.key.code.start);
                self.modules.add(found.module());
            }
            seen.push(found.key);
        });
        for gone in self.known.iter().filter(|key| !seen.contains(key)) {
            if !seen.iter().any(|key| key.code.start == gone.code.start) {
                self.modules.remove(gone.code.start);
            }
        }
        self.known = seen;
        self.history.find_files();
        self.modules.find_starts();
        Some(self.modules.clone())
    }

    /// Where the code lies.
    #[cfg(test)]
    pub(super) fn code(&self) -> Vec<Range<u64>> {
        self.known.iter().map(|key| key.code.clone()).collect()
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }
}

/// The unwinding tables of a module, as the loader describes it.
struct UnwindTables {
    key: Key,
    base: u64,
    /// `.eh_frame_hdr`, relative to the base, as `frames` and `readable` are.
    header: Range<u64>,
    frames: Range<u64>,
    /// The segments that can be read.
    readable: Vec<Range<u64>>,
    /// It is never unloaded.
    stays: bool,
}

impl UnwindTables {
    /// The tables of the module that the loader describes. `None`: it has none, or unusual ones.
    fn of(info: &libc::dl_phdr_info, place: usize) -> Option<UnwindTables> {
        let base = info.dlpi_addr;
        // SAFETY: the loader's own table, of so many entries.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let range = |header: &libc::Elf64_Phdr| header.p_vaddr..header.p_vaddr.saturating_add(header.p_memsz);
        let loaded: Vec<_> = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(range).collect();
        let header = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME).map(range)?;
        let (start, end) = (loaded.iter().map(|range| range.start).min()?, loaded.iter().map(|range| range.end).max()?);
        // The addresses of a module with a "negative" base would overflow, here and in the
        // unwinder.
        base.checked_add(end)?;
        if header.end.saturating_sub(header.start) < 8 || !loaded.iter().any(|range| holds(range, &header)) {
            return None;
        }
        // SAFETY: the table's eight first bytes, mapped as the check above says.
        let head = unsafe { std::slice::from_raw_parts((base + header.start) as *const u8, 8) };
        // The version, and the encoding of the address of the frames: all linkers write a distance
        // of 32 bits from here.
        let [1, 0x1b, _, _, distance @ ..] = head else { return None };
        let distance = i64::from(i32::from_le_bytes(distance.try_into().ok()?));
        let frames = (header.start + 4).checked_add_signed(distance)?;
        let within = loaded.iter().find(|range| range.contains(&frames))?;
        let frames = frames..within.end;
        // SAFETY: has no preconditions.
        let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
        let name = if info.dlpi_name.is_null() {
            Vec::new()
        } else {
            // SAFETY: the loader's own text, not null.
            unsafe { std::ffi::CStr::from_ptr(info.dlpi_name) }.to_bytes().to_vec()
        };
        let key = Key { code: base + start..base + end, tables: base + header.start..base + frames.start, name };
        let can_be_read =
            |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_R != 0;
        let readable = headers.iter().filter(can_be_read).map(range).collect();
        Some(UnwindTables { key, base, header, frames, readable, stays: place == 0 || (vdso != 0 && base == vdso) })
    }

    /// Called under the loader's lock: the tables are mapped while they are copied.
    fn module(&self) -> Module {
        let table = |range: &Range<u64>| {
            let start = (self.base + range.start) as *const u8;
            // SAFETY: in a segment that the loader has mapped; 'static is true of modules that
            // stay, and the others are copied before their memory can go.
            let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(start, (range.end - range.start) as usize) };
            bytes
        };
        let keep =
            |bytes: &'static [u8]| if self.stays { Table::Mapped(bytes) } else { Table::Copied(Arc::from(bytes)) };
        let frames = table(&self.frames);
        let frames = &frames[..length(frames)];
        // A part that can be written as well may change, and is read as it is then.
        let lasting = self.readable.iter().filter(|_| self.stays);
        Module {
            range: self.key.code.clone(),
            base: self.base,
            header: (self.header.start, keep(table(&self.header))),
            frames: (self.frames.start, keep(frames)),
            lasting: lasting.map(|part| self.base + part.start..self.base + part.end).collect(),
        }
    }
}

fn holds(outer: &Range<u64>, inner: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// The length of the frames in bytes. Each entry starts with its length; the last length is 0.
fn length(frames: &[u8]) -> usize {
    let mut at = 0;
    while let Some(bytes) = frames.get(at..at + 4) {
        match u32::from_le_bytes(bytes.try_into().expect("four bytes")) {
            0 => return at + 4,
            // Followed by a length of 64 bits, which is not needed here.
            u32::MAX => return frames.len(),
            length => at += 4 + length as usize,
        }
    }
    frames.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_made_once_while_nothing_changes() {
        let mut module_list = ModuleList::default();
        assert!(module_list.renew().is_some());
        assert!(module_list.known.len() >= 3, "the program, libc and the loader: {:?}", module_list.known);
        // Another test may load something meanwhile, but not forever.
        assert!((0..100).any(|_| module_list.renew().is_none()));
        let here = tests as fn() as usize as u64;
        assert_eq!(module_list.known.iter().position(|key| key.code.contains(&here)), Some(0));
        fn tests() {}
    }

    #[test]
    fn frames_end_at_their_empty_entry() {
        let mut frames = vec![4, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0, 7, 7];
        assert_eq!(length(&frames), 12);
        frames[8] = 200;
        assert_eq!(length(&frames), frames.len());
        assert_eq!(length(&[]), 0);
    }
}
