//! Finds the units of debug information that have wanted addresses, and reads no others: by the
//! table `.debug_aranges`, and by the ranges of the units that the table leaves out. Knows no
//! functions.

use super::ending::{self, Rounds};
use super::lines::Reader;
use gimli::{DebugInfoOffset, UnitHeader, UnitType};
use std::collections::BTreeMap;

type Dwarf<'a> = gimli::Dwarf<Reader<'a>>;

/// The number of bytes that are looked at to read the header of a unit: the kernel maps some pages
/// around it.
pub(super) const HEADER: u64 = 64 * 1024;

/// Calls `each` with each unit that may have some of the sorted `addresses`, in the order of the
/// file, until the search is to end. `looked_at` is told how many bytes of the others were looked at.
///
/// # Errors
/// The first error of `each`, after all units; or a unit cannot be told from the next one, which
/// ends the search.
pub(super) fn for_each<'a>(
    dwarf: &Dwarf<'a>,
    addresses: &[u64],
    looked_at: &dyn Fn(u64),
    mut each: impl FnMut(UnitHeader<Reader<'a>>) -> Result<(), gimli::Error>,
) -> Result<(), gimli::Error> {
    let listed = Listed::new(dwarf, addresses);
    let mut read = Ok(());
    if listed.has_all {
        let wanted = listed.units.iter().filter(|(_, is_wanted)| **is_wanted);
        for (&offset, _) in wanted.take_while(|_| !ending::is_over()) {
            read = read.and(dwarf.unit_header(DebugInfoOffset(offset)).and_then(&mut each));
        }
        return read;
    }
    let mut units = dwarf.units();
    while !ending::is_over()
        && let Some(header) = units.next()?
    {
        let offset = header.debug_info_offset().map(|offset| offset.0);
        let is_wanted = offset.and_then(|offset| listed.units.get(&offset)).copied().unwrap_or(true);
        if is_wanted && !matches!(header.type_(), UnitType::Type { .. } | UnitType::SplitType { .. }) {
            read = read.and(each(header));
        } else {
            looked_at(HEADER.min(header.length_including_self() as u64));
        }
    }
    read
}

/// What the table says.
struct Listed {
    /// By the offsets of the units: whether one of the addresses is there. A unit without ranges in
    /// the table is not in it.
    units: BTreeMap<usize, bool>,
    /// Each of the addresses is in a unit of the table.
    has_all: bool,
}

impl Listed {
    fn new(dwarf: &Dwarf<'_>, addresses: &[u64]) -> Listed {
        let (mut units, mut is_found) = (BTreeMap::new(), vec![false; addresses.len()]);
        let (mut headers, mut rounds) = (dwarf.debug_aranges.headers(), Rounds::default());
        // What cannot be read is left to the units themselves.
        while !rounds.is_over()
            && let Ok(Some(header)) = headers.next()
        {
            let (mut entries, mut is_empty, mut is_wanted) = (header.entries(), true, false);
            let read = loop {
                match entries.next() {
                    _ if rounds.is_over() => break false,
                    Ok(Some(entry)) => {
                        let found = within(addresses, entry.range(), |&address| address);
                        is_empty &= entry.range().begin >= entry.range().end;
                        is_wanted |= !found.is_empty();
                        is_found[found].fill(true);
                    }
                    Ok(None) => break !is_empty,
                    Err(_) => break false,
                }
            };
            if read {
                *units.entry(header.debug_info_offset().0).or_default() |= is_wanted;
            }
        }
        Listed { has_all: !addresses.is_empty() && is_found.iter().all(|is_found| *is_found), units }
    }
}

/// The indexes of the sorted addresses that are in that range.
pub(super) fn within<T>(sorted: &[T], range: gimli::Range, address: impl Fn(&T) -> u64) -> std::ops::Range<usize> {
    // Code that the linker has left out has the address 0, where no code is.
    if range.begin == 0 || range.begin >= range.end {
        return 0..0;
    }
    let from = sorted.partition_point(|one| address(one) < range.begin);
    from..from + sorted[from..].partition_point(|one| address(one) < range.end)
}
