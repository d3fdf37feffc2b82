//! Only the units that are needed are read. Over the budget, files are reported as unread, and the
//! other names are found.

use super::Texts;
use super::budget::Budget;
use super::sections::{self, Bytes};
use super::{dwarf, elf, units};
use crate::profile::loader::History;
use gimli::{EndianSlice, NativeEndian};
use object::{Object, ObjectSymbol};
use std::cell::Cell;
use std::ffi::CString;
use std::process::Command;

#[test]
fn over_the_memory_budget_names_come_from_symbols() {
    let folder = std::env::temp_dir().join(format!("selvedge-budget-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, library) = (folder.join("b.c"), folder.join("libb.so"));
    std::fs::write(
        &source,
        "static inline int in(int x) { return x * 3; } int budget_burn(int x) { return in(x) + 1; }",
    )
    .unwrap();
    let run = |command: &mut Command| assert!(command.status().expect("cc and binutils are there").success());
    run(Command::new("cc").args(["-g", "-O1", "-shared", "-fPIC", "-Wl,--build-id", "-o"]).args([&library, &source]));
    run(Command::new("objcopy").arg("--compress-debug-sections=zlib").arg(&library));
    let file = CString::new(library.to_str().unwrap()).unwrap();
    // SAFETY: a library of this test, whose constructors do nothing. It is never closed.
    let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null());
    // SAFETY: the handle was just given.
    let burn = unsafe { libc::dlsym(handle, c"budget_burn".as_ptr()) } as u64;
    let history = History::of_now();
    std::fs::remove_dir_all(&folder).unwrap();
    let index = history.find(burn, history.generation()).unwrap();
    let loaded = history.get(index);
    let names = |budget: &mut Budget| {
        let found = elf::names(loaded, history.source(index), &[burn - loaded.bias], &mut Texts::default(), budget);
        let line = found.lines[0].last().cloned().unwrap();
        (line.function.to_string(), line.line, found.unread.join(" "))
    };
    let mut budget = Budget::of(1 << 20);
    assert_eq!(names(&mut budget), ("budget_burn".into(), 1, String::new()));
    assert_eq!(budget.left(), 1 << 20, "all of it was given back");
    let (name, line, unread) = names(&mut Budget::of(0));
    assert_eq!((&*name, line), ("budget_burn", 0));
    let said = "takes 1 MiB of memory, and 0 MiB are left for finding names. \
                Inlined functions, files and lines of it are missing.";
    assert!(unread.starts_with("the debug information of ") && unread.ends_with(said), "{unread}");
}

/// Twenty units of debug information; the table of their ranges is there, incomplete, or missing.
#[test]
fn units_without_wanted_addresses_are_not_read() {
    const UNITS: usize = 20;
    let folder = std::env::temp_dir().join(format!("selvedge-units-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let run = |command: &mut Command| assert!(command.status().expect("cc and binutils are there").success());
    // (Units that the table lists, units that may be looked into for one address.)
    for (listed, looked_into) in [(UNITS, 1), (UNITS / 2, 1 + UNITS / 2), (0, UNITS)] {
        let mut objects = Vec::new();
        for number in 0..UNITS {
            let (source, object) = (folder.join(format!("u{number}.c")), folder.join(format!("u{number}.o")));
            std::fs::write(&source, format!("int unit_{number}(int x) {{\n return x * {number}; }}")).unwrap();
            run(Command::new("cc").args(["-g", "-c", "-fPIC", "-o"]).args([&object, &source]));
            if number >= listed {
                let remove = ["--remove-section=.debug_aranges", "--remove-section=.rela.debug_aranges"];
                run(Command::new("objcopy").args(remove).arg(&object));
            }
            objects.push(object);
        }
        let library = folder.join("libunits.so");
        run(Command::new("cc").args(["-shared", "-o"]).arg(&library).args(&objects));
        let bytes = std::fs::read(&library).unwrap();
        let bytes = Bytes::InMemory(&bytes);
        let file = sections::parse(bytes).unwrap();
        let address = |name: &str| file.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap().address();
        let (mut budget, mut taken) = (Budget::of(1 << 20), 0);
        let load = |id: gimli::SectionId| sections::contents(&file, bytes, id.name(), &mut budget, &mut taken);
        let sections = gimli::DwarfSections::load(load).unwrap();
        let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, NativeEndian));
        // The first of the library, and one left out by the incomplete table.
        for (name, most) in [("unit_3", looked_into), ("unit_17", if listed == UNITS { 1 } else { UNITS })] {
            let (wanted, count, passed_over) = ([address(name) + 1], Cell::new(0), Cell::new(0));
            let looked_at = |bytes| passed_over.set(passed_over.get() + usize::from(bytes > 0));
            units::for_each(&dwarf, &wanted, &looked_at, |_| {
                count.set(count.get() + 1);
                Ok(())
            })
            .unwrap();
            // By the table alone no other unit's header is read. Else each counts as looked at.
            let is_listed = listed == UNITS || name == "unit_3" && listed > 0;
            let others = if is_listed { 0 } else { UNITS - count.get() };
            assert_eq!(passed_over.get(), others, "{name}, of {listed} listed");
            assert!(count.get() <= most, "{name}: {} units, of {listed} listed", count.get());
            let (frames, read) = dwarf::frames(&dwarf, &wanted, &|_| ());
            read.unwrap();
            assert_eq!(frames[0][0].name, Some(name.as_bytes()));
            assert_eq!(frames[0][0].line, 1, "{frames:?}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
