//! Which code was loaded when, and where: asked of the loader. Knows files and addresses, no samples and no names of
//! functions. Linux only; elsewhere nothing is known.

use crate::flame::Module;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A program or library as it lies in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    /// All of it, data too.
    pub(super) range: Range<u64>,
    /// What was added to the addresses that stand in the file.
    pub(super) bias: u64,
    /// What it is called in names: the file's path, or `[vdso]`.
    pub(super) name: PathBuf,
    /// What the linker has marked it with; empty if with nothing.
    pub(super) build_id: Vec<u8>,
    pub(super) origin: Origin,
    /// Parts that can run: their addresses, and where they begin in the file.
    pub(super) code: Vec<(Range<u64>, u64)>,
}

/// Where the bytes of its file are to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Program,
    Library,
    /// In memory: the kernel gives it to each process.
    Vdso,
}

/// What was loaded during a recording, what has been unloaded since too. Libraries can lie, one after the other, at the same
/// place; so the time of a recording falls into generations, in each of which an address means one thing.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// From which generation on.
    loaded: Vec<(u32, Loaded)>,
    generation: u32,
}

impl History {
    /// What is loaded now.
    pub(super) fn of_now() -> History {
        let mut history = History::default();
        iterate(&mut |info, place| history.see(Loaded::of(info, place)));
        history
    }

    /// That is loaded now, and may have been before.
    pub(super) fn see(&mut self, loaded: Option<Loaded>) {
        let Some(loaded) = loaded else { return };
        let overlaps = |known: &Loaded| known.range.start < loaded.range.end && loaded.range.start < known.range.end;
        match self.loaded.iter().rev().find(|(_, known)| overlaps(known)) {
            Some((_, known)) if *known == loaded => return,
            // From here on addresses mean something else.
            Some(_) => self.generation += 1,
            None => {}
        }
        self.loaded.push((self.generation, loaded));
    }

    /// In which one samples are that are taken now.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Index of what lay at that address in that generation.
    pub(super) fn find(&self, address: u64, generation: u32) -> Option<usize> {
        self.loaded.iter().rposition(|(since, loaded)| *since <= generation && loaded.range.contains(&address))
    }

    pub(super) fn get(&self, index: usize) -> &Loaded {
        &self.loaded[index].1
    }

    /// In the order of their indexes; the program is the first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Loaded> {
        self.loaded.iter().map(|(_, loaded)| loaded)
    }
}

impl Loaded {
    /// While the loader's lock is held: what it tells of must be mapped. `None`: it has no code.
    pub(super) fn of(info: &libc::dl_phdr_info, place: usize) -> Option<Loaded> {
        let bias = info.dlpi_addr;
        // SAFETY: the loader's own table, of so many entries.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let range = |header: &libc::Elf64_Phdr| {
            let start = bias.wrapping_add(header.p_vaddr);
            start..start.saturating_add(header.p_memsz)
        };
        let segments = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
        let start = segments().map(|header| range(header).start).min()?;
        let end = segments().map(|header| range(header).end).max()?;
        let runs = segments().filter(|header| header.p_flags & libc::PF_X != 0);
        let code: Vec<_> = runs.map(|header| (range(header), header.p_offset)).collect();
        if code.is_empty() {
            return None;
        }
        // SAFETY: has no preconditions.
        let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
        let origin = match place {
            0 => Origin::Program,
            _ if vdso != 0 && (start..end).contains(&vdso) => Origin::Vdso,
            _ => Origin::Library,
        };
        let notes = headers.iter().filter(|header| header.p_type == libc::PT_NOTE).filter(|header| {
            // Only what lies in a segment is sure to be mapped.
            segments().map(range).any(|outer| outer.start <= range(header).start && range(header).end <= outer.end)
        });
        let build_id = notes.map(range).find_map(|note| {
            // SAFETY: within a segment that the loader has mapped and, as its lock is held, not unmapped yet.
            let bytes =
                unsafe { std::slice::from_raw_parts(note.start as *const u8, (note.end - note.start) as usize) };
            build_id(bytes)
        });
        let name = match origin {
            Origin::Program => std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()),
            Origin::Vdso => "[vdso]".into(),
            Origin::Library => path(info),
        };
        Some(Loaded { range: start..end, bias, name, build_id: build_id.unwrap_or_default(), origin, code })
    }

    /// Its parts that can run, as a profile's file lists them.
    pub(super) fn modules(&self) -> impl Iterator<Item = Module> {
        self.code.iter().map(|(range, file_offset)| Module {
            start: range.start,
            end: range.end,
            file_offset: *file_offset,
            file: self.name.to_string_lossy().into_owned(),
            build_id: self.build_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

/// The path that the library was opened by. The working directory may be another one later.
fn path(info: &libc::dl_phdr_info) -> PathBuf {
    if info.dlpi_name.is_null() {
        return PathBuf::new();
    }
    // SAFETY: the loader's own text, not null.
    let name = Path::new(OsStr::from_bytes(unsafe { std::ffi::CStr::from_ptr(info.dlpi_name) }.to_bytes()));
    std::path::absolute(name).unwrap_or_else(|_| name.into())
}

/// Of notes: each a length of name, length of contents, kind, and both of these filled up to four bytes.
fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    const GNU_BUILD_ID: u32 = 3;
    loop {
        let word = |at: usize| Some(u32::from_ne_bytes(notes.get(at..at + 4)?.try_into().ok()?));
        let (name, contents, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let from = 12 + name.checked_next_multiple_of(4)?;
        let till = from.checked_add(contents)?;
        let found = notes.get(from..till)?;
        if kind == GNU_BUILD_ID && notes.get(12..12 + name) == Some(b"GNU\0") {
            return Some(found.to_vec());
        }
        notes = notes.get(till.checked_next_multiple_of(4)?..)?;
    }
}

/// How many libraries the loader has loaded and unloaded so far.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    adds: u64,
    subs: u64,
}

pub(super) fn counters() -> Counters {
    let mut counters = Counters::default();
    unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, size: usize, counters: *mut libc::c_void) -> libc::c_int {
        // Older loaders tell less.
        if size >= std::mem::offset_of!(libc::dl_phdr_info, dlpi_subs) + 8 {
            // SAFETY: `info` is the loader's, `size` says that the fields are there; `counters` is what `counters()` gave.
            unsafe {
                *counters.cast::<Counters>() = Counters { adds: (*info).dlpi_adds, subs: (*info).dlpi_subs };
            }
        }
        1
    }
    // SAFETY: the callback takes what it is given here, and does not keep it.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut counters).cast()) };
    counters
}

/// Calls `each` with each module of the process, counted from 0, which is the program itself. The loader's lock is held.
pub(super) fn iterate(each: &mut dyn FnMut(&libc::dl_phdr_info, usize)) {
    struct Data<'a> {
        each: &'a mut dyn FnMut(&libc::dl_phdr_info, usize),
        place: usize,
    }
    unsafe extern "C" fn next(info: *mut libc::dl_phdr_info, _: usize, data: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `data` is the one below, and used by nobody else meanwhile; `info` is the loader's.
        let (data, info) = unsafe { (&mut *data.cast::<Data<'_>>(), &*info) };
        (data.each)(info, data.place);
        data.place += 1;
        0
    }
    let mut data = Data { each, place: 0 };
    // SAFETY: the callback takes what it is given here, and does not keep it.
    unsafe { libc::dl_iterate_phdr(Some(next), (&raw mut data).cast()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(range: Range<u64>, name: &str) -> Option<Loaded> {
        let code = vec![(range.clone(), 0)];
        Some(Loaded { bias: range.start, range, name: name.into(), build_id: vec![], origin: Origin::Library, code })
    }

    #[test]
    fn an_address_means_what_lay_there_in_its_generation() {
        let mut history = History::default();
        let name = |history: &History, address, generation| {
            history.find(address, generation).map(|index| history.get(index).name.to_str().unwrap().to_owned())
        };
        history.see(loaded(10..20, "a"));
        history.see(loaded(30..40, "b"));
        history.see(loaded(10..20, "a"));
        assert_eq!((history.generation(), history.all().count()), (0, 2));
        history.see(loaded(15..25, "c"));
        history.see(loaded(10..20, "a"));
        history.see(loaded(30..40, "b"));
        assert_eq!((history.generation(), history.all().count()), (2, 4));
        for (generation, found) in [(0, "a"), (1, "c"), (2, "a")] {
            assert_eq!(name(&history, 17, generation).as_deref(), Some(found));
            assert_eq!(name(&history, 30, generation).as_deref(), Some("b"));
        }
        // What was unloaded and not replaced is still known.
        assert_eq!(name(&history, 22, 2).as_deref(), Some("c"));
        assert_eq!(name(&history, 22, 0), None);
        assert_eq!(name(&history, 40, 2), None);
    }

    #[test]
    fn this_program_is_the_first_and_the_vdso_is_known() {
        let history = History::of_now();
        let here = this_program_is_the_first_and_the_vdso_is_known as fn() as usize as u64;
        assert_eq!(history.find(here, 0), Some(0));
        let program = history.get(0);
        assert_eq!((program.origin, &program.name), (Origin::Program, &std::env::current_exe().unwrap()));
        assert!(program.modules().any(|module| (module.start..module.end).contains(&here)));
        assert_eq!(history.all().filter(|loaded| loaded.origin == Origin::Vdso).count(), 1);
    }

    #[test]
    fn a_build_id_is_found_among_other_notes_and_half_a_note_is_none() {
        let note = |name: &[u8], kind: u32, contents: &[u8]| {
            let mut bytes = Vec::new();
            for word in [name.len() as u32, contents.len() as u32, kind] {
                bytes.extend(word.to_ne_bytes());
            }
            for part in [name, contents] {
                bytes.extend(part);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes
        };
        let notes = [note(b"Go\0", 3, &[9; 5]), note(b"GNU\0", 1, &[1]), note(b"GNU\0", 3, &[7; 20])].concat();
        assert_eq!(build_id(&notes), Some(vec![7; 20]));
        assert_eq!(build_id(&notes[..notes.len() - 1]), None);
        assert_eq!(build_id(&[0xff; 64]), None);
        assert_eq!(build_id(&[]), None);
    }
}
