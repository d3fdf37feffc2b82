//! From addresses to functions, files and lines. Knows no samples and no threads.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod budget;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod dwarf;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod elf;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod files;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
#[path = "portable.rs"]
mod files;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod lines;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod sections;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod table;
#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests;

pub(super) use files::OfThisProcess;

use crate::flame::{Line, Location, Module};
use std::collections::HashMap;
use std::sync::Arc;

/// An address that is to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) address: u64,
    /// It is that of the instruction itself; otherwise a return address, whose call is meant.
    pub(super) exact: bool,
    /// Of the loader's list: what the address means.
    pub(super) generation: u32,
}

impl Wanted {
    fn instruction(self) -> u64 {
        if self.exact { self.address } else { self.address.wrapping_sub(1) }
    }
}

/// Names addresses; the tests have one of their own.
pub(super) trait Resolve {
    /// Finds the locations of all of these at once, which takes less time and memory than one after
    /// the other.
    fn prepare(&mut self, _wanted: &mut dyn Iterator<Item = Wanted>) {}

    /// The location of `address` as it was in that generation of the loader's list. `exact`: the
    /// instruction itself; otherwise a return address, whose call is meant.
    fn resolve(&mut self, address: u64, exact: bool, generation: u32) -> Location;

    /// The files that locations refer to by index.
    fn modules(&mut self) -> Vec<Module>;

    /// Files that could not be read since the last call, and why, as sentences.
    fn unread(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// What kind of file that is: of a location's module.
    fn role(&self, module: Option<usize>) -> Role;
}

/// What kind of file code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Program,
    /// The C library, or the loader, which belongs to it. In a program that is linked statically,
    /// it is a part of the program.
    CLibrary,
    Library,
    /// The files are not known on this system, or the code is in none.
    Unknown,
}

/// Texts, each kept once.
#[derive(Default)]
struct Texts(HashMap<String, Arc<str>>);

impl Texts {
    fn shared(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.0.get(&text) {
            return known.clone();
        }
        let shared: Arc<str> = text.as_str().into();
        self.0.insert(text, shared.clone());
        shared
    }

    /// A line of that function, called `mangled` by the linker; neither need be known.
    fn line(&mut self, mangled: &str, file: &str, line: u32) -> Line {
        let function = if mangled.is_empty() { "[unnamed]".into() } else { demangled(mangled) };
        Line {
            function: self.shared(placed(function, file)),
            system_name: self.shared(mangled.into()),
            file: self.shared(file.into()),
            line,
        }
    }

    /// Code that has no name but where it lies.
    fn remark(&mut self, text: String) -> Line {
        let name = self.shared(text);
        Line { function: name.clone(), system_name: name, file: "".into(), line: 0 }
    }
}

/// As people write it: Rust's names without their hash, C++'s without parameters; all others as
/// they are.
pub(super) fn demangled(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    let cpp = || cpp_demangle::Symbol::new(name).ok()?.demangle(&options).ok();
    // `malloc@@GLIBC_2.2.5`: the version is the linker's affair; `__GI_malloc`: glibc's own name
    // for it.
    let plain = || {
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        name.strip_prefix("__GI_").unwrap_or(name).to_owned()
    };
    if name.starts_with("_Z") { cpp().unwrap_or_else(plain) } else { plain() }
}

/// A Rust function without its path, which is what `debug = "line-tables-only"` leaves of inlined
/// ones, gets the file that it is in, and loses its type parameters: `{closure#0}
/// (thread/spawn.rs)`.
pub(super) fn placed(function: String, file: &str) -> String {
    let name = match function.find('<') {
        Some(0) | None => function.as_str(),
        Some(parameters) => &function[..parameters],
    };
    if name.starts_with('<') || name.contains("::") || !file.ends_with(".rs") {
        return function;
    }
    let folder = file.rsplit('/').nth(1).map_or(0, |folder| folder.len() + 1);
    let name_of_file = file.rsplit('/').next().map_or(0, str::len);
    format!("{name} ({})", &file[file.len() - name_of_file - folder..])
}
