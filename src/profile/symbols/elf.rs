//! One program or library: its functions by its debug information, else by its symbol table. Addresses are the file's.

use super::Texts;
use crate::flame::Line;
use crate::os::mapped::Mapped;
use crate::profile::loader::{Loaded, Origin};
use addr2line::{Context, gimli};
use object::{CompressionFormat, Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::io::Read;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

type Reader = gimli::EndianSlice<'static, gimli::NativeEndian>;

/// What a file tells of its functions; nothing, if it cannot be read or is not what was loaded.
#[derive(Default)]
pub(super) struct Image {
    context: Option<Context<Reader>>,
    symbols: Vec<Symbol>,
    // Last: the others borrow from it, and are dropped before.
    _bytes: Vec<Bytes>,
}

/// What the others borrow from: it stays where it is when this is moved.
enum Bytes {
    Mapped(Mapped),
    Owned(Box<[u8]>),
}

struct Symbol {
    range: Range<u64>,
    name: &'static str,
}

/// No section is unpacked that claims to be longer.
const LONGEST_SECTION: u64 = 4 << 30;

impl Image {
    pub(super) fn open(loaded: &Loaded) -> Image {
        let bytes = match loaded.origin {
            Origin::Program => Mapped::open(Path::new("/proc/self/exe")).ok().map(Bytes::Mapped),
            Origin::Library => Mapped::open(&loaded.name).ok().map(Bytes::Mapped),
            Origin::Vdso => Some(Bytes::of_vdso(loaded)),
        };
        bytes.and_then(|bytes| Image::of(bytes, loaded)).unwrap_or_default()
    }

    fn of(bytes: Bytes, loaded: &Loaded) -> Option<Image> {
        // SAFETY: kept in the same `Image`, dropped after all that borrows.
        let file = object::File::parse(unsafe { bytes.for_ever() }).ok()?;
        // Another file lies there by now: its names would be wrong.
        if file.build_id().ok().flatten().unwrap_or_default() != loaded.build_id && loaded.origin != Origin::Vdso {
            return None;
        }
        let mut kept = vec![bytes];
        let apart = if has_debug_information(&file) { None } else { separate(&file, loaded) };
        // SAFETY: as above.
        let debug = apart.as_ref().and_then(|bytes| object::File::parse(unsafe { bytes.for_ever() }).ok());
        let tables = [debug.as_ref(), Some(&file)];
        let symbols = tables.into_iter().flatten().map(symbols).find(|symbols| !symbols.is_empty()).unwrap_or_default();
        let context = context(debug.as_ref().unwrap_or(&file), &mut kept);
        kept.extend(apart);
        Some(Image { context, symbols, _bytes: kept })
    }

    /// The function there, and before it those inlined into it, innermost first; empty if nothing is known.
    pub(super) fn lines(&self, address: u64, texts: &mut Texts) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(context) = &self.context
            && let Ok(mut frames) = context.find_frames(address).skip_all_loads()
        {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
                let name = name.as_deref().or_else(|| self.symbol(address)).unwrap_or_default();
                let (file, line) = frame.location.map_or(("", 0), |at| (at.file.unwrap_or(""), at.line.unwrap_or(0)));
                lines.push(texts.line(name, file, line));
            }
        }
        if lines.is_empty() {
            lines.extend(self.symbol(address).map(|name| texts.line(name, "", 0)));
        }
        lines
    }

    fn symbol(&self, address: u64) -> Option<&str> {
        let after = self.symbols.partition_point(|symbol| symbol.range.start <= address);
        let symbol = self.symbols[..after].last()?;
        symbol.range.contains(&address).then_some(symbol.name)
    }
}

impl Bytes {
    /// The kernel's own library stays as long as the process lives. Behind its last segment, to the end of the page, are the
    /// tables that name its sections.
    fn of_vdso(loaded: &Loaded) -> Bytes {
        const PAGE: u64 = 4096;
        let length = loaded.range.end.next_multiple_of(PAGE) - loaded.range.start;
        // SAFETY: mapped whole pages, by the kernel, readable, for as long as the process lives.
        let bytes = unsafe { std::slice::from_raw_parts(loaded.range.start as *const u8, length as usize) };
        Bytes::Owned(bytes.into())
    }

    /// # Safety
    /// What is returned must be gone before `self` is dropped. `self` may be moved.
    unsafe fn for_ever(&self) -> &'static [u8] {
        // SAFETY: the caller's word; both kinds keep their bytes behind a pointer, so that a move does not move them.
        unsafe { std::mem::transmute::<&[u8], &'static [u8]>(self) }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(mapped) => mapped,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

fn has_debug_information(file: &object::File<'static>) -> bool {
    file.section_by_name(".debug_info").is_some()
}

/// A file that has only the debug information: where distributions put it, told by its build id.
fn separate(file: &object::File<'static>, loaded: &Loaded) -> Option<Bytes> {
    let places = debug_files(&loaded.name, &loaded.build_id, file.gnu_debuglink().ok().flatten().map(|(name, _)| name));
    let fits = |bytes: &Bytes| {
        let id = object::File::parse(&**bytes).ok().and_then(|file| file.build_id().ok().flatten().map(<[u8]>::to_vec));
        id.is_some_and(|id| id == loaded.build_id)
    };
    places.iter().filter_map(|place| Mapped::open(place).ok()).map(Bytes::Mapped).find(fits)
}

/// Where debug information of a file may be: those that have no build id cannot be told from others.
fn debug_files(file: &Path, build_id: &[u8], link: Option<&[u8]>) -> Vec<PathBuf> {
    let Some((first, rest)) = build_id.split_first() else { return Vec::new() };
    let root = Path::new("/usr/lib/debug");
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut places = vec![root.join(format!(".build-id/{first:02x}/{rest}.debug"))];
    if let (Some(link), Some(folder)) = (link.and_then(|link| std::str::from_utf8(link).ok()), file.parent()) {
        places.extend([folder.join(link), folder.join(".debug").join(link)]);
        places.extend(folder.strip_prefix("/").map(|folder| root.join(folder).join(link)));
    }
    // Its own name would be the file itself, in which there is nothing.
    places.retain(|place| place != file);
    places
}

/// The functions of the symbol table, by address; of those at one address the longest.
fn symbols(file: &object::File<'static>) -> Vec<Symbol> {
    let all = if file.symbol_table().is_some() { file.symbols() } else { file.dynamic_symbols() };
    let functions = all.filter(|symbol| symbol.is_definition() && symbol.kind() == SymbolKind::Text);
    let mut symbols: Vec<Symbol> = functions
        .filter_map(|symbol| {
            let (start, name) = (symbol.address(), symbol.name().ok()?);
            Some(Symbol { range: start..start.saturating_add(symbol.size()), name })
        })
        .collect();
    symbols.sort_unstable_by(|a, b| (a.range.start, b.range.end, a.name).cmp(&(b.range.start, a.range.end, b.name)));
    symbols.dedup_by_key(|symbol| symbol.range.start);
    // What was written in assembler has no length: it goes on to the next.
    for at in 0..symbols.len() {
        if symbols[at].range.is_empty() {
            symbols[at].range.end = symbols.get(at + 1).map_or(u64::MAX, |next| next.range.start);
        }
    }
    symbols
}

fn context(file: &object::File<'static>, kept: &mut Vec<Bytes>) -> Option<Context<Reader>> {
    if !has_debug_information(file) {
        return None;
    }
    let section = |id: gimli::SectionId| -> Result<Reader, gimli::Error> {
        let bytes = file.section_by_name(id.name()).and_then(|section| contents(&section, kept)).unwrap_or(&[]);
        Ok(gimli::EndianSlice::new(bytes, gimli::NativeEndian))
    };
    Context::from_dwarf(gimli::Dwarf::load(section).ok()?).ok()
}

/// Unpacked if need be.
fn contents(section: &object::Section<'static, '_>, kept: &mut Vec<Bytes>) -> Option<&'static [u8]> {
    let data = section.compressed_data().ok()?;
    match data.format {
        CompressionFormat::None => Some(data.data),
        CompressionFormat::Zlib if data.uncompressed_size <= LONGEST_SECTION => {
            let mut bytes = Vec::new();
            let mut unpacked = flate2::read::ZlibDecoder::new(data.data).take(data.uncompressed_size);
            unpacked.read_to_end(&mut bytes).ok()?;
            let bytes = Bytes::Owned(bytes.into());
            // SAFETY: kept with the image, dropped after all that borrows.
            let contents = unsafe { bytes.for_ever() };
            kept.push(bytes);
            Some(contents)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_files_are_looked_for_by_build_id_and_by_link() {
        let places = debug_files(Path::new("/opt/a/libx.so"), &[0xab, 0x01, 0xff], Some(b"libx.debug"));
        let expected = [
            "/usr/lib/debug/.build-id/ab/01ff.debug",
            "/opt/a/libx.debug",
            "/opt/a/.debug/libx.debug",
            "/usr/lib/debug/opt/a/libx.debug",
        ];
        assert_eq!(places, expected.map(PathBuf::from));
        assert_eq!(debug_files(Path::new("/opt/a/libx.so"), &[1, 2], Some(b"libx.so")).len(), 3);
        assert!(debug_files(Path::new("/opt/a/libx.so"), &[], Some(b"libx.debug")).is_empty());
    }
}
