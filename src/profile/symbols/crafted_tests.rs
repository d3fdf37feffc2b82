//! Files that are damaged, or made to harm: the thread that finds names ends its work, in bounded memory
//! and on a small stack.

use super::{demangled, dwarf};
use gimli::{EndianSlice, NativeEndian, SectionId};
use std::time::{Duration, Instant};

/// A stack on which no recursion gets far.
const SMALL_STACK: usize = 512 << 10;

/// How deep entries are nested.
const DEEP: usize = 100_000;

/// An entry's number in the table of abbreviations.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Kind {
    Unit = 1,
    Function = 2,
    Inlined = 3,
    Block = 4,
}

/// The table: each kind has entries in it. All but blocks have a name and a range.
fn abbreviations() -> Vec<u8> {
    let named = |kind: Kind, tag: u8| vec![kind as u8, tag, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0];
    let tables = [
        named(Kind::Unit, 0x11),
        named(Kind::Function, 0x2e),
        named(Kind::Inlined, 0x1d),
        vec![Kind::Block as u8, 0x0b, 1, 0, 0, 0],
    ];
    tables.concat()
}

fn named(kind: Kind, name: &str, from: u64, length: u32) -> Vec<u8> {
    let (from, length) = (from.to_ne_bytes(), length.to_ne_bytes());
    [&[kind as u8], name.as_bytes(), &[0], &from[..], &length[..]].concat()
}

/// A unit with the entries.
fn unit(entries: &[u8]) -> Vec<u8> {
    // Version 4, the table at offset 0, addresses of eight bytes.
    let rest = [&4u16.to_ne_bytes()[..], &0u32.to_ne_bytes(), &[8], entries].concat();
    [&(rest.len() as u32).to_ne_bytes()[..], &rest].concat()
}

/// The names of the functions at each address, the innermost first; and `true` if all could be read.
fn names(info: Vec<u8>, addresses: &[u64]) -> (Vec<Vec<String>>, bool) {
    let addresses = addresses.to_vec();
    let find = move || {
        let load = |id| {
            Ok::<_, gimli::Error>(match id {
                SectionId::DebugInfo => info.clone(),
                SectionId::DebugAbbrev => abbreviations(),
                _ => Vec::new(),
            })
        };
        let sections = gimli::DwarfSections::load(load).unwrap();
        let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, NativeEndian));
        let (frames, read) = dwarf::frames(&dwarf, &addresses, &|_| ());
        let name = |frame: &dwarf::Frame<'_>| String::from_utf8_lossy(frame.name.unwrap_or_default()).into_owned();
        (frames.iter().map(|frames| frames.iter().map(name).collect()).collect(), read.is_ok())
    };
    std::thread::Builder::new().stack_size(SMALL_STACK).spawn(find).unwrap().join().unwrap()
}

#[test]
fn entries_may_be_nested_without_end() {
    for kind in [Kind::Function, Kind::Inlined, Kind::Block] {
        let nested = match kind {
            Kind::Block => vec![Kind::Block as u8],
            kind => named(kind, "nested", 0x1000, 0x1000),
        };
        let mut entries = named(Kind::Unit, "unit", 0x1000, 0x9000);
        entries.extend(named(Kind::Function, "outer", 0x1000, 0x1000));
        entries.extend(nested.repeat(DEEP));
        entries.extend(named(Kind::Inlined, "innermost", 0x1000, 0x1000));
        entries.extend(vec![0; DEEP + 2]);
        entries.extend(named(Kind::Function, "next", 0x3000, 0x1000));
        entries.extend([0, 0]);
        let (found, is_read) = names(unit(&entries), &[0x1800, 0x3800]);
        assert!(is_read, "{kind:?}");
        assert_eq!(found[1], ["next"], "{kind:?}");
        let around = &found[0];
        assert_eq!(around.last().unwrap(), "outer", "{kind:?}");
        match kind {
            // A function in another one is not inlined into it.
            Kind::Unit | Kind::Function => assert_eq!(around.len(), 1),
            Kind::Inlined => assert_eq!(around.len(), 256),
            Kind::Block => assert_eq!(around, &["innermost", "outer"]),
        }
    }
}

#[test]
fn entries_without_an_end_are_an_error() {
    let mut entries = named(Kind::Unit, "unit", 0x1000, 0x9000);
    entries.extend(named(Kind::Function, "outer", 0x1000, 0x1000));
    entries.extend(named(Kind::Inlined, "inner", 0x1000, 0x1000).repeat(3));
    let (found, is_read) = names(unit(&entries), &[0x1800]);
    assert_eq!((found[0].last().map(String::as_str), is_read), (Some("outer"), false));
}

/// The number in base 36 of a part that a C++ name has had before.
fn base_36(mut number: usize) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap().to_ascii_uppercase());
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// `f<p<p<…>, p<…>, …>>`: each level has the one below it `times` times.
fn repeating(levels: usize, times: usize) -> String {
    let mut name = format!("_Z1fI{}ii", "1pI".repeat(levels));
    for level in 0..levels {
        let part = format!("S{}_", base_36(levels + level));
        name.push_str(&format!("E{}", if level + 1 < levels { part.repeat(times) } else { String::new() }));
    }
    name + "Evv"
}

#[test]
fn a_name_that_repeats_itself_without_end_stays_as_it_is() {
    assert_eq!(demangled(&repeating(1, 1)), "f<p<int, int> >");
    assert_eq!(demangled(&repeating(2, 1)), "f<p<p<int, int>, p<int, int> > >");
    let name = repeating(6, 100);
    let began = Instant::now();
    assert_eq!(demangled(&name), name, "a text of 100,000,000,000 parts");
    assert!(began.elapsed() < Duration::from_secs(100));
}

#[test]
fn names_may_be_nested_without_end() {
    let nested =
        ["_ZN", "_Z1fI", "_RNvN", "_RIN", "_RINvC1af", "_RINvC1afT", "_RINvC1afDB", "_ZNK", "_Z1fP", "_RINvC1afR"];
    let texts = nested.iter().flat_map(|begin| {
        let ends = ["1pI", "N", "P", "R", "T", "I", "F", "S_", "B_", "M", "X", "L"];
        ends.map(|end| format!("{begin}{}", end.repeat(DEEP)))
    });
    let texts: Vec<String> = texts.collect();
    let work = move || texts.iter().map(|text| demangled(text).len()).max();
    let longest = std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
    assert!(longest.unwrap() <= 1_000_000 + 3 * DEEP);
}
