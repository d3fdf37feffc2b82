//! The history of loaded code: which program and libraries were loaded when, and where. Reads it
//! from the dynamic loader. Knows files and addresses, no samples and no names of functions. Linux
//! only.

mod debug_files;
mod notes;
mod source;

pub(in crate::profile) use source::{Source, Stamp};

use crate::flame::Module;
use crate::os::maps::{self, MappedPart};
use crate::os::{perf, program};
use notes::build_id;
use source::Marks;
use std::cell::OnceCell;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A program or library in memory.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    /// All its segments, data too.
    pub(super) range: Range<u64>,
    /// The difference between an address in memory and in the file.
    pub(super) bias: u64,
    /// Its name for users: the file's path, or `[vdso]`.
    pub(super) name: PathBuf,
    /// The linker's build id; empty if there is none.
    pub(super) build_id: Vec<u8>,
    pub(super) origin: Origin,
    /// The executable segments: their addresses, and their offsets in the file.
    pub(super) code: Vec<(Range<u64>, u64)>,
    /// Its name in the loader.
    own_name: Vec<u8>,
    /// Its program headers, byte for byte.
    headers: Vec<u8>,
}

/// Where its file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Program,
    Library,
    /// In memory: the kernel gives it to each process.
    Vdso,
}

/// The modules that were loaded during a recording, also if they were unloaded since. Several
/// libraries may be loaded at the same address, one after the other. So the recording is divided
/// into generations, and within one generation each address belongs to one module.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    entries: Vec<Entry>,
    generation: u32,
}

#[derive(Clone, Debug)]
struct Entry {
    /// The first generation in which it is there.
    since: u32,
    loaded: Loaded,
    /// Its file. `None`: not searched yet.
    source: Option<Arc<Source>>,
}

/// The maximum number of files that are kept open; also at most a quarter of the files that the
/// process may still open.
const MOST_FILES: u64 = 64;

impl History {
    /// The modules that are loaded now.
    pub(super) fn of_now() -> History {
        let mut history = History::default();
        iterate(&mut |info, place| history.see(Loaded::of(info, place)));
        history.find_files();
        history
    }

    /// Adds a module that is loaded now, unless it is known.
    pub(super) fn see(&mut self, loaded: Option<Loaded>) {
        let Some(loaded) = loaded else { return };
        let overlaps = |known: &Loaded| known.range.start < loaded.range.end && loaded.range.start < known.range.end;
        match self.entries.iter().rev().find(|entry| overlaps(&entry.loaded)) {
            Some(entry) if entry.loaded.is_same(&loaded) => return,
            // From here on, the addresses belong to another module.
            Some(_) => self.generation += 1,
            None => {}
        }
        self.entries.push(Entry { since: self.generation, loaded, source: None });
    }

    /// Opens the files of modules that were seen since the last call. The caller must not hold the
    /// loader's lock: a file system may block it.
    pub(super) fn find_files(&mut self) {
        if self.entries.iter().all(|entry| entry.source.is_some()) {
            return;
        }
        let is_kept = |entry: &&Entry| matches!(entry.source.as_deref(), Some(Source::Kept { .. }));
        let kept = self.entries.iter().filter(is_kept).count() as u64;
        let mut files = MOST_FILES.min(kept + perf::files_to_spend()).saturating_sub(kept);
        // Read when it is needed: with ten thousand threads it is megabytes.
        let mapped = OnceCell::new();
        let mapped = || mapped.get_or_init(|| maps::files().unwrap_or_default()).as_slice();
        for entry in self.entries.iter_mut().filter(|entry| entry.source.is_none()) {
            let source = entry.loaded.find(mapped, files > 0);
            let spent = match &source {
                Source::Kept { debug, .. } => 1 + u64::from(debug.is_some()),
                Source::Named(..) | Source::Unknown(_) => 0,
            };
            files = files.saturating_sub(spent);
            entry.source = Some(Arc::new(source));
        }
    }

    /// The generation of samples that are taken now.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// The index of the module at that address in that generation.
    pub(super) fn find(&self, address: u64, generation: u32) -> Option<usize> {
        self.entries.iter().rposition(|entry| entry.since <= generation && entry.loaded.range.contains(&address))
    }

    pub(super) fn get(&self, index: usize) -> &Loaded {
        &self.entries[index].loaded
    }

    /// The file of the module with that index. `None`: it was not searched.
    pub(super) fn source(&self, index: usize) -> Option<&Source> {
        self.entries[index].source.as_deref()
    }

    /// All modules in the order of their indexes. The program is the first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Loaded> {
        self.entries.iter().map(|entry| &entry.loaded)
    }
}

impl Loaded {
    /// A module as the loader describes it. Called while the loader's lock is held, so that it is
    /// mapped. `None`: it has no code.
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
            // Only the contents of a segment are surely mapped.
            segments().map(range).any(|outer| outer.start <= range(header).start && range(header).end <= outer.end)
        });
        let build_id = notes.map(range).find_map(|note| {
            // SAFETY: within a segment that the loader has mapped and, as its lock is held, not
            // unmapped yet.
            let bytes =
                unsafe { std::slice::from_raw_parts(note.start as *const u8, (note.end - note.start) as usize) };
            build_id(bytes)
        });
        let own_name = own_name(info);
        let name = match origin {
            Origin::Program => program::path().unwrap_or_else(|| "/proc/self/exe".into()),
            Origin::Vdso => "[vdso]".into(),
            // The working directory may change later.
            Origin::Library => std::path::absolute(OsStr::from_bytes(&own_name)).unwrap_or_default(),
        };
        // SAFETY: the headers are plain numbers without padding.
        let headers =
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr.cast::<u8>(), std::mem::size_of_val(headers)) }.to_vec();
        let build_id = build_id.unwrap_or_default();
        Some(Loaded { range: start..end, bias, name, build_id, origin, code, own_name, headers })
    }

    /// Returns `true` if the loader describes both alike.
    fn is_same(&self, other: &Loaded) -> bool {
        self.range == other.range
            && self.bias == other.bias
            && self.own_name == other.own_name
            && self.headers == other.headers
            && self.build_id == other.build_id
    }

    /// Searches its file where the loader says, and where the system lists it.
    fn find<'m>(&self, mapped: impl Fn() -> &'m [MappedPart], keep: bool) -> Source {
        let listed = || maps::at(mapped(), self.range.start);
        let by_name: Option<PathBuf> = match self.origin {
            Origin::Vdso => return Source::Unknown("the kernel has no file of it".into()),
            Origin::Program => Some("/proc/self/exe".into()),
            Origin::Library => (!self.own_name.is_empty()).then(|| self.name.clone()),
        };
        let by_list = std::iter::once_with(|| {
            let mut more: Vec<PathBuf> = listed().map(|listed| listed.path.clone()).into_iter().collect();
            if self.origin == Origin::Program {
                more.extend([self.name.clone()]);
                more.extend(program::started_as());
            }
            // For a file that has no name any more; only a privileged process may open this one.
            more.extend(listed().map(|listed| {
                let Range { start, end } = listed.range;
                format!("/proc/self/map_files/{start:x}-{end:x}").into()
            }));
            more
        });
        let candidates = by_name.into_iter().chain(by_list.flatten());
        Source::find(candidates, &Marks { build_id: &self.build_id, headers: &self.headers, mapped: &listed }, keep)
    }

    /// Returns `true` for the C library, for its parts in older systems, and for the loader.
    pub(super) fn is_of_c(&self) -> bool {
        const PARTS: [&[u8]; 4] = [b"ld-linux", b"ld-musl", b"ld64.so", b"libpthread"];
        let name = self.name.file_name().unwrap_or_default().as_bytes();
        let has_threads = self.range.contains(&(libc::pthread_create as *const () as u64));
        has_threads || PARTS.iter().any(|part| name.starts_with(part))
    }

    /// Its executable segments, as a pprof file lists them.
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

/// The module's name in the loader: empty for the program, otherwise the path by which it was
/// opened.
fn own_name(info: &libc::dl_phdr_info) -> Vec<u8> {
    if info.dlpi_name.is_null() {
        return Vec::new();
    }
    // SAFETY: the loader's own text, not null.
    unsafe { std::ffi::CStr::from_ptr(info.dlpi_name) }.to_bytes().to_vec()
}

/// The numbers of modules that the loader has loaded and unloaded so far.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    adds: u64,
    subs: u64,
}

/// The loader's present numbers. 0 with an older loader, which does not have them.
pub(super) fn counters() -> Counters {
    let mut counters = Counters::default();
    unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, size: usize, counters: *mut libc::c_void) -> libc::c_int {
        // Older loaders give a shorter structure.
        if size >= std::mem::offset_of!(libc::dl_phdr_info, dlpi_subs) + 8 {
            // SAFETY: `info` is the loader's, `size` says that the fields are there; `counters` is
            // what `counters()` gave.
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

/// Calls `each` with each module of the process and its number. Number 0 is the program. The
/// loader's lock is held during the calls.
pub(super) fn iterate(each: &mut dyn FnMut(&libc::dl_phdr_info, usize)) {
    struct Data<'a> {
        each: &'a mut dyn FnMut(&libc::dl_phdr_info, usize),
        place: usize,
    }
    unsafe extern "C" fn next(info: *mut libc::dl_phdr_info, _: usize, data: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `data` is the variable below, which nothing else uses meanwhile; `info` is the
        // loader's.
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
        let (own_name, name) = (name.as_bytes().to_vec(), name.into());
        let (build_id, headers) = (vec![], vec![]);
        Some(Loaded { bias: range.start, range, name, build_id, origin: Origin::Library, code, own_name, headers })
    }

    #[test]
    fn an_address_is_resolved_in_its_generation() {
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
}
