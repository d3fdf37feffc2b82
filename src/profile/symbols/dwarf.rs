//! Functions, inlined functions and lines, by debug information in the DWARF format. Reads only
//! what the wanted addresses need, unit by unit, and keeps nothing of a unit. `units.rs` finds the
//! units, `lines.rs` the lines.

use super::ending::Rounds;
use super::lines::{self, Reader};
use super::units::{self, within};
use gimli::{AttributeValue, EntriesRaw, UnitOffset, UnitRef};

type Dwarf<'a> = gimli::Dwarf<Reader<'a>>;
type Unit<'a> = gimli::Unit<Reader<'a>>;

/// A function at an address, or a function that is inlined there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The linker's name.
    pub(super) name: Option<&'a [u8]>,
    /// Empty if it is not known.
    pub(super) file: String,
    /// 0 if it is not known.
    pub(super) line: u32,
}

/// What is found for one address.
#[derive(Clone, Default)]
struct At<'a> {
    address: u64,
    /// The outermost function first. Each has the place of its call, which is in the function
    /// before it.
    chain: Vec<Call<'a>>,
    /// The file and line of the instruction.
    place: Option<(String, u32)>,
}

#[derive(Clone)]
struct Call<'a> {
    name: Option<&'a [u8]>,
    file: String,
    line: u32,
}

/// For each of the sorted `addresses` its frames, the innermost first. Empty if nothing is known.
/// `looked_at` is told how many bytes were looked at since the last call.
///
/// # Errors
/// A part of the information cannot be read. The frames of the other parts are returned
/// nevertheless.
pub(super) fn frames<'a>(
    dwarf: &Dwarf<'a>,
    addresses: &[u64],
    looked_at: &dyn Fn(u64),
) -> (Vec<Vec<Frame<'a>>>, Result<(), gimli::Error>) {
    let mut found: Vec<At<'a>> = addresses.iter().map(|&address| At { address, ..At::default() }).collect();
    let mut others = Others { dwarf, looked_at, starts: None, last: None };
    let read = units::for_each(dwarf, addresses, looked_at, |header| {
        let length = header.length_including_self();
        let unit = dwarf.unit(header)?;
        look_into(&UnitRef::new(dwarf, &unit), &mut found, &mut others)?;
        looked_at(length as u64);
        Ok(())
    });
    (found.into_iter().map(At::frames).collect(), read)
}

impl<'a> At<'a> {
    /// The frames of the address, the innermost first.
    fn frames(self) -> Vec<Frame<'a>> {
        let mut frames = Vec::with_capacity(self.chain.len());
        let (mut file, mut line) = match self.place {
            Some(place) => place,
            None if self.chain.is_empty() => return frames,
            None => Default::default(),
        };
        for call in self.chain.into_iter().rev() {
            frames.push(Frame { name: call.name, file, line });
            (file, line) = (call.file, call.line);
        }
        if frames.is_empty() {
            // The line is known, the function is not.
            frames.push(Frame { name: None, file, line });
        }
        frames
    }
}

/// Adds the frames of the addresses that lie in the unit.
fn look_into<'a>(
    unit: &UnitRef<'_, Reader<'a>>,
    found: &mut [At<'a>],
    others: &mut Others<'_, 'a>,
) -> Result<(), gimli::Error> {
    let (mut inside, mut has_ranges) = (Inside::default(), false);
    let mut ranges = unit.unit_ranges()?;
    while let Some(range) = ranges.next()? {
        has_ranges |= range.begin < range.end;
        inside.add(found, range);
    }
    // A unit without ranges does not say which addresses are its own, but its lines do.
    let mut inside = if has_ranges { inside.indexes() } else { (0..found.len()).collect() };
    inside.retain(|&index| found[index].chain.is_empty());
    if inside.is_empty() {
        return Ok(());
    }
    let addresses: Vec<u64> = inside.iter().map(|&index| found[index].address).collect();
    let places = lines::places(unit, &addresses)?;
    for (&index, place) in inside.iter().zip(places) {
        found[index].place = place.or(found[index].place.take());
    }
    let mut entries = unit.entries_raw(None)?;
    Walk { unit, others, found, all: &inside, unnamed: inside.len() }.entries(&mut entries)
}

/// The indexes of addresses that lie in some ranges. A file may repeat a range without end: at most a few
/// times as many are kept as there are addresses.
#[derive(Default)]
struct Inside(Vec<usize>);

impl Inside {
    fn add(&mut self, found: &[At<'_>], range: gimli::Range) {
        self.0.extend(within(found, range, |at| at.address));
        if self.0.len() > 2 * found.len() {
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        self.0.sort_unstable();
        self.0.dedup();
    }

    /// Sorted, each once.
    fn indexes(mut self) -> Vec<usize> {
        self.tidy();
        self.0
    }
}

/// A walk through the entries of one unit, in the order in which they are written.
struct Walk<'w, 'u, 'o, 'a> {
    unit: &'w UnitRef<'u, Reader<'a>>,
    others: &'w mut Others<'o, 'a>,
    found: &'w mut [At<'a>],
    /// Indexes of the addresses that are in the unit, sorted.
    all: &'w [usize],
    /// The number of these addresses for which no function was found so far.
    unnamed: usize,
}

/// A function, or an inlined function, whose entries are read.
struct Open {
    /// How many entries are around it.
    level: isize,
    /// How many functions it is inlined into.
    inlined: usize,
    /// The sorted indexes of the addresses in it.
    inside: Vec<usize>,
}

/// The maximum number of functions within each other. A function that is nested deeper counts as a part of
/// the function around it: a file may nest without end.
const MOST_NESTED: usize = 256;

/// The attributes of a function or an inlined function.
#[derive(Default)]
struct Attributes<'a> {
    low: Option<u64>,
    high: Option<u64>,
    size: Option<u64>,
    ranges: Option<AttributeValue<Reader<'a>>>,
    linkage_name: Option<AttributeValue<Reader<'a>>>,
    name: Option<AttributeValue<Reader<'a>>>,
    origin: Option<AttributeValue<Reader<'a>>>,
    call_file: Option<u64>,
    call_line: u32,
}

impl<'a> Walk<'_, '_, '_, 'a> {
    /// Reads the entries, up to the end of the last function that is needed. Without recursion: the file
    /// says how deep the entries are nested.
    fn entries(&mut self, entries: &mut EntriesRaw<'_, Reader<'a>>) -> Result<(), gimli::Error> {
        // The innermost is the last.
        let (mut open, mut rounds): (Vec<Open>, _) = (Vec::new(), Rounds::default());
        loop {
            let level = entries.next_depth();
            while open.last().is_some_and(|function| level <= function.level) {
                open.pop();
            }
            if open.is_empty() && (self.unnamed == 0 || entries.is_empty()) || rounds.is_over() {
                return Ok(());
            }
            open.extend(self.entry(entries, &open)?);
        }
    }

    /// Reads the next entry. Returns it if it is a function in which others may be.
    fn entry(&mut self, entries: &mut EntriesRaw<'_, Reader<'a>>, open: &[Open]) -> Result<Option<Open>, gimli::Error> {
        let level = entries.next_depth();
        let Some(abbreviation) = entries.read_abbreviation()? else { return Ok(None) };
        let around = open.last().filter(|around| !around.inside.is_empty());
        let (inlined, candidates) = match (abbreviation.tag(), around) {
            (gimli::DW_TAG_subprogram, _) if open.len() < MOST_NESTED => (0, self.all),
            (gimli::DW_TAG_inlined_subroutine, Some(around)) if open.len() < MOST_NESTED => {
                (around.inlined + 1, &*around.inside)
            }
            _ => return entries.skip_attributes(abbreviation.attributes()).map(|()| None),
        };
        let mut attributes = Attributes::default();
        for specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(*specification)?;
            attributes.take(self.unit, attribute)?;
        }
        let mut inside = Inside::default();
        attributes.for_each_range(self.unit, |range| inside.add(self.found, range))?;
        let mut inside = inside.indexes();
        // An inlined function is a part of the function around it. Only the first unit that has the
        // function counts.
        inside.retain(|index| candidates.binary_search(index).is_ok() && self.found[*index].chain.len() == inlined);
        if !inside.is_empty() {
            let call = Call {
                name: self.name(&attributes)?,
                file: attributes.call_file.map_or_else(String::new, |file| lines::file(self.unit, file)),
                line: attributes.call_line,
            };
            for &index in &inside {
                self.found[index].chain.push(call.clone());
            }
            self.unnamed -= if inlined == 0 { inside.len() } else { 0 };
            (self.others.looked_at)(TEXT);
        }
        Ok(Some(Open { level, inlined, inside }))
    }

    /// The linker's name of the function, its name in the source, or the name of the entry it
    /// refers to.
    fn name(&mut self, attributes: &Attributes<'a>) -> Result<Option<&'a [u8]>, gimli::Error> {
        for own in [attributes.linkage_name, attributes.name].into_iter().flatten() {
            if let Ok(name) = self.unit.attr_string(own) {
                return Ok(Some(name.slice()));
            }
        }
        Ok(attributes.origin.and_then(|origin| self.others.name(self.unit, origin, MOST_STEPS)))
    }
}

impl<'a> Attributes<'a> {
    /// Keeps the attribute if it is needed.
    fn take(
        &mut self,
        unit: &UnitRef<'_, Reader<'a>>,
        attribute: gimli::Attribute<Reader<'a>>,
    ) -> Result<(), gimli::Error> {
        let value = attribute.value();
        match attribute.name() {
            gimli::DW_AT_low_pc => self.low = unit.attr_address(value)?,
            gimli::DW_AT_high_pc => match value {
                AttributeValue::Udata(size) => self.size = Some(size),
                other => self.high = unit.attr_address(other)?,
            },
            gimli::DW_AT_ranges => self.ranges = Some(value),
            gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => self.linkage_name = Some(value),
            gimli::DW_AT_name => self.name = Some(value),
            gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => self.origin = Some(value),
            gimli::DW_AT_call_file => match value {
                // Before version 5, 0 means that there is none.
                AttributeValue::FileIndex(file) if file > 0 || unit.header.version() >= 5 => {
                    self.call_file = Some(file)
                }
                _ => {}
            },
            gimli::DW_AT_call_line => self.call_line = attribute.udata_value().unwrap_or(0) as u32,
            _ => {}
        }
        Ok(())
    }

    /// Calls `each` with each range of addresses of the function.
    fn for_each_range(
        &self,
        unit: &UnitRef<'_, Reader<'a>>,
        mut each: impl FnMut(gimli::Range),
    ) -> Result<(), gimli::Error> {
        if let Some(ranges) = self.ranges {
            if let Some(mut ranges) = unit.attr_ranges(ranges)? {
                while let Some(range) = ranges.next()? {
                    each(range);
                }
            }
        } else if let Some(begin) = self.low
            && let Some(end) = self.high.or(self.size.and_then(|size| begin.checked_add(size)))
        {
            each(gimli::Range { begin, end });
        }
        Ok(())
    }
}

/// The maximum number of steps from entry to entry to find a name: the steps may lead in a circle.
const MOST_STEPS: usize = 16;

/// The number of bytes that are looked at to read a name somewhere in a file: the kernel maps some
/// pages around it.
const TEXT: u64 = 64 * 1024;

/// The units that entries of other units refer to.
struct Others<'u, 'a> {
    dwarf: &'u Dwarf<'a>,
    looked_at: &'u dyn Fn(u64),
    /// The offsets of the units. `None`: not needed so far.
    starts: Option<Vec<usize>>,
    /// The unit that was needed last, and its offset.
    last: Option<(usize, Unit<'a>)>,
}

impl<'u, 'a> Others<'u, 'a> {
    /// The name of the entry that `origin`, in that unit, refers to.
    fn name(
        &mut self,
        unit: &UnitRef<'_, Reader<'a>>,
        origin: AttributeValue<Reader<'a>>,
        steps: usize,
    ) -> Option<&'a [u8]> {
        let steps = steps.checked_sub(1)?;
        let (offset, elsewhere) = match origin {
            AttributeValue::UnitRef(offset) => (offset, None),
            AttributeValue::DebugInfoRef(offset) => {
                let start = self.start(offset.0)?;
                (UnitOffset(offset.0 - start), Some(start))
            }
            _ => return None,
        };
        let Some(start) = elsewhere else {
            return match Others::own_name(unit, offset)? {
                Ok(name) => Some(name),
                Err(next) => self.name(unit, next, steps),
            };
        };
        let other = match self.last.take() {
            Some((known, other)) if known == start => other,
            _ => self.dwarf.unit(self.dwarf.unit_header(gimli::DebugInfoOffset(start)).ok()?).ok()?,
        };
        let dwarf = self.dwarf;
        let found = match Others::own_name(&UnitRef::new(dwarf, &other), offset) {
            Some(Err(next)) => self.name(&UnitRef::new(dwarf, &other), next, steps),
            own => own.and_then(Result::ok),
        };
        self.last = Some((start, other));
        found
    }

    /// The entry's name, or the reference to the entry that has it.
    #[allow(clippy::type_complexity)] // a name or a reference
    fn own_name(
        unit: &UnitRef<'_, Reader<'a>>,
        offset: UnitOffset,
    ) -> Option<Result<&'a [u8], AttributeValue<Reader<'a>>>> {
        let mut entries = unit.entries_raw(Some(offset)).ok()?;
        let abbreviation = entries.read_abbreviation().ok()??;
        let (mut name, mut origin) = (None, None);
        for specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(*specification).ok()?;
            match attribute.name() {
                gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => {
                    if let Ok(linkage) = unit.attr_string(attribute.value()) {
                        return Some(Ok(linkage.slice()));
                    }
                }
                gimli::DW_AT_name => name = unit.attr_string(attribute.value()).ok(),
                gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => origin = Some(attribute.value()),
                _ => {}
            }
        }
        name.map(|name| Ok(name.slice())).or(origin.map(Err))
    }

    /// The offset of the unit in which that offset lies.
    fn start(&mut self, offset: usize) -> Option<usize> {
        let dwarf = self.dwarf;
        let looked_at = self.looked_at;
        let starts = self.starts.get_or_insert_with(|| {
            let (mut starts, mut units, mut rounds) = (Vec::new(), dwarf.units(), Rounds::default());
            while !rounds.is_over()
                && let Ok(Some(header)) = units.next()
            {
                looked_at(units::HEADER.min(header.length_including_self() as u64));
                starts.extend(header.debug_info_offset().map(|offset| offset.0));
            }
            starts
        });
        starts[..starts.partition_point(|&start| start <= offset)].last().copied()
    }
}
