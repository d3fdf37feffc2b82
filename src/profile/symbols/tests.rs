//! Over the budget, files are reported as unread, and the other names are found.

use super::Texts;
use super::budget::Budget;
use super::elf;
use crate::profile::loader::History;
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
