//! Files and lines, by the line programs of debug information. Runs a program from its beginning until
//! all wanted addresses are found, and keeps only what they need. Knows no functions.

use super::ending::Rounds;
use gimli::{EndianSlice, NativeEndian, UnitRef};

/// A part of the debug information.
pub(super) type Reader<'a> = EndianSlice<'a, NativeEndian>;

/// For each of the sorted `addresses` the file and the line of the instruction there. `None`: the
/// unit does not say.
pub(super) fn places(
    unit: &UnitRef<'_, Reader<'_>>,
    addresses: &[u64],
) -> Result<Vec<Option<(String, u32)>>, gimli::Error> {
    let Some(program) = unit.line_program.clone() else { return Ok(vec![None; addresses.len()]) };
    let mut found: Vec<Option<(u64, u32)>> = vec![None; addresses.len()];
    let mut missing = addresses.len();
    let mut rows = program.rows();
    // The row before, in the same sequence, and whether the sequence is of code that the linker has
    // left out.
    let mut before: Option<(u64, u64, u32)> = None;
    let mut is_left_out = false;
    let mut rounds = Rounds::default();
    while !rounds.is_over()
        && let Some((_, row)) = rows.next_row()?
    {
        let address = row.address();
        match before {
            None => is_left_out = address == 0,
            Some((from, file, line)) if from < address && !is_left_out => {
                let first = addresses.partition_point(|&wanted| wanted < from);
                let hit = addresses[first..].iter().take_while(|wanted| **wanted < address).count();
                for place in found[first..first + hit].iter_mut().filter(|place| place.is_none()) {
                    *place = Some((file, line));
                    missing -= 1;
                }
                if missing == 0 {
                    break;
                }
            }
            Some(_) => {}
        }
        let line = row.line().map_or(0, |line| line.get() as u32);
        before = (!row.end_sequence()).then_some((address, row.file_index(), line));
    }
    Ok(found.into_iter().map(|place| place.map(|(index, line)| (file(unit, index), line))).collect())
}

/// The longest path that is kept, in bytes: the system opens no longer one. Each inlined call has its own.
const LONGEST_PATH: usize = 4096;

/// The path of the file with that number in the unit's line program; empty if there is none, or if it is
/// too long.
pub(super) fn file(unit: &UnitRef<'_, Reader<'_>>, index: u64) -> String {
    let Some(header) = unit.line_program.as_ref().map(gimli::IncompleteLineProgram::header) else {
        return String::new();
    };
    let Some(file) = header.file(index) else { return String::new() };
    let text = |value| unit.attr_string(value).ok();
    // Number 0 is the folder of the unit.
    let folder = if file.directory_index() != 0 { file.directory(header).and_then(text) } else { None };
    let mut path = String::new();
    for part in [unit.comp_dir, folder, text(file.path_name())].into_iter().flatten() {
        if path.len() + part.len() >= LONGEST_PATH {
            return String::new();
        }
        push(&mut path, &part.to_string_lossy());
    }
    path
}

/// Appends a part to the path. An absolute part replaces it.
fn push(path: &mut String, part: &str) {
    if part.starts_with('/') {
        path.clear();
    } else if !path.is_empty() && !path.ends_with('/') {
        path.push('/');
    }
    path.push_str(part);
}
