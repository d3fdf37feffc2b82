//! The sections of an ELF file: maps or unpacks each section when it is read. Knows no names of
//! functions.

use super::budget::Budget;
use super::ending;
use crate::os::mapped::MappedFile;
use object::{CompressionFormat, Object, ObjectSection, ReadRef};
use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;

/// Where the bytes of a file in the ELF format are.
#[derive(Clone, Copy)]
pub(super) enum Bytes<'a> {
    OfFile(&'a MappedFile<'a>),
    InMemory(&'a [u8]),
}

pub(super) type Elf<'a> = object::File<'a, Bytes<'a>>;

impl Bytes<'_> {
    /// Why the system has refused to map a part of the file at the last read.
    fn refusal(self) -> Option<std::io::Error> {
        match self {
            Bytes::OfFile(file) => file.take_refusal(),
            Bytes::InMemory(_) => None,
        }
    }

    /// Notes that so many bytes were looked at.
    pub(super) fn looked_at(self, count: u64) {
        if let Bytes::OfFile(file) = self {
            file.looked_at(count);
        }
    }
}

impl<'a> ReadRef<'a> for Bytes<'a> {
    fn len(self) -> Result<u64, ()> {
        match self {
            Bytes::OfFile(file) => Ok(file.length()),
            Bytes::InMemory(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        match self {
            Bytes::OfFile(file) => file.part(offset, size).map_err(|_| ()),
            Bytes::InMemory(bytes) => bytes.read_bytes_at(offset, size),
        }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        if let Bytes::InMemory(bytes) = self {
            return bytes.read_bytes_at_until(range, delimiter);
        }
        // A text, which mostly ends soon.
        let whole = range.end.checked_sub(range.start).ok_or(())?;
        let mut length = whole.min(256);
        loop {
            let bytes = self.read_bytes_at(range.start, length)?;
            match bytes.iter().position(|&byte| byte == delimiter) {
                Some(end) => return Ok(&bytes[..end]),
                None if length == whole => return Err(()),
                None => length = (length * 16).min(whole),
            }
        }
    }
}

/// Parses the headers of the file.
///
/// # Errors
/// As a part of a sentence: it is damaged, or the system refuses to map it.
pub(super) fn parse<'a>(bytes: Bytes<'a>) -> Result<Elf<'a>, String> {
    if let Bytes::OfFile(file) = bytes {
        // The one error that is not the parser's: a limit of addresses, for example.
        file.part(0, file.length().min(64)).map_err(|cause| cause.to_string())?;
    }
    object::File::parse(bytes).map_err(|cause| cause.to_string())
}

/// Returns `true` if there is a section of that name with anything in it.
pub(super) fn has(file: &Elf<'_>, name: &str) -> bool {
    section(file, name).is_some_and(|section| section.size() > 0)
}

/// The section of that name, or its form packed by older GNU tools, which has a name of its own.
fn section<'a, 'f>(file: &'f Elf<'a>, name: &str) -> Option<object::Section<'a, 'f, Bytes<'a>>> {
    let packed = || name.strip_prefix(".debug_").map(|rest| format!(".zdebug_{rest}"));
    file.section_by_name(name).or_else(|| file.section_by_name(&packed()?))
}

/// The section of that name, unpacked if need be; empty if there is none. Adds the bytes taken from
/// the budget to `taken`.
///
/// # Errors
/// As a part of a sentence: it cannot be read or unpacked, or would take too much memory.
pub(super) fn contents<'a>(
    file: &Elf<'a>,
    bytes: Bytes<'a>,
    name: &str,
    budget: &mut Budget,
    taken: &mut u64,
) -> Result<Cow<'a, [u8]>, String> {
    let Some(section) = section(file, name) else { return Ok(Cow::Borrowed(&[])) };
    let failed = |cause: &dyn std::fmt::Display| format!("its section {name} cannot be read: {cause}");
    let data = section.compressed_data().map_err(|cause| {
        // A limit of addresses, for example; otherwise the file is damaged.
        match bytes.refusal() {
            Some(refusal) => failed(&refusal),
            None => failed(&cause),
        }
    })?;
    let length = data.uncompressed_size;
    match data.format {
        CompressionFormat::None => Ok(Cow::Borrowed(data.data)),
        CompressionFormat::Zlib => {
            unpack(flate2::read::ZlibDecoder::new(data.data), length, true, name, budget, taken).map(Cow::Owned)
        }
        CompressionFormat::Zstandard => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(data.data).map_err(|cause| failed(&cause))?;
            unpack(decoder, length, true, name, budget, taken).map(Cow::Owned)
        }
        other => Err(failed(&format!("it is packed in the format {other:?}, which this program does not know"))),
    }
}

/// The symbol table of a program that was stripped of all others: an ELF file, packed by xz, in the
/// section `.gnu_debugdata`. `None` if there is none.
///
/// # Errors
/// As [`contents`].
pub(super) fn mini_debug_file(file: &Elf<'_>, budget: &mut Budget, taken: &mut u64) -> Result<Option<Vec<u8>>, String> {
    const NAME: &str = ".gnu_debugdata";
    let Some(section) = file.section_by_name(NAME) else { return Ok(None) };
    let packed = section.data().map_err(|cause| format!("its section {NAME} cannot be read: {cause}"))?;
    // The maximum of the decoder's own memory; the file says how much it needs.
    let most = usize::try_from(budget.left() / 2).unwrap_or(usize::MAX);
    let decoder = xz4rust::XzDecoder::in_heap_with_alloc_dict_size(xz4rust::DICT_SIZE_MIN, most);
    let buffer = const { std::num::NonZeroUsize::new(8192).expect("not zero") };
    // The reader needs a source with a static lifetime, so it gets a copy.
    let packed = std::io::Cursor::new(packed.to_vec());
    let reader = xz4rust::XzReader::new_with_buffer_size_and_decoder(packed, buffer, decoder);
    // The unpacked length is not known before.
    let (length, before) = (budget.left() / 2, *taken);
    let unpacked = unpack(reader, length, false, NAME, budget, taken)?;
    let used = unpacked.len() as u64;
    budget.give_back(length - used);
    *taken = before + used;
    if used == length {
        return Err(format!("its section {NAME}, unpacked, takes more than {} MiB of memory", length >> 20));
    }
    Ok(Some(unpacked))
}

/// Unpacks at most `length` bytes.
fn unpack(
    from: impl Read,
    length: u64,
    length_is_known: bool,
    name: &str,
    budget: &mut Budget,
    taken: &mut u64,
) -> Result<Vec<u8>, String> {
    budget.take(length, &format!("its section {name}, unpacked,"))?;
    *taken += length;
    let mut bytes = Vec::new();
    if length_is_known {
        bytes.try_reserve_exact(length as usize).map_err(|cause| format!("its section {name}, unpacked: {cause}"))?;
    }
    UntilOver(from)
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(|cause| format!("its section {name} is damaged: {cause}"))?;
    Ok(bytes)
}

/// Reads until the search is to end, which is an error then.
struct UntilOver<R>(R);

impl<R: Read> Read for UntilOver<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        /// A decoder may fill the whole buffer at once.
        const MOST: usize = 1 << 20;
        if ending::is_over() {
            return Err(io::Error::other("the search was ended"));
        }
        let most = buffer.len().min(MOST);
        self.0.read(&mut buffer[..most])
    }
}
