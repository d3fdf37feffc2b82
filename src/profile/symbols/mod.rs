//! Names: from addresses to functions, files and lines. Knows no samples and no threads.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod budget;
#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod crafted_tests;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod dwarf;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod elf;
mod ending;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod files;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
#[path = "portable.rs"]
mod files;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod known;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod lines;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod sections;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod table;
#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod units;

#[cfg(feature = "inspect")]
pub(crate) use ending::names_until;
pub(super) use files::OfThisProcess;
#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
pub(super) use files::SEARCHES;

use crate::flame::{Line, Location, Module};
use std::collections::HashMap;
use std::sync::Arc;

/// An address that is to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) address: u64,
    /// It is the instruction itself; otherwise a return address, and the call before it is named.
    pub(super) exact: bool,
    /// The generation of the loader's list in which the address is looked up.
    pub(super) generation: u32,
}

impl Wanted {
    fn instruction(self) -> u64 {
        if self.exact { self.address } else { self.address.wrapping_sub(1) }
    }
}

/// Names addresses. A trait, so that tests can name made-up addresses.
pub(super) trait Resolve {
    /// Finds the locations of all these addresses at once, which takes less time and memory than
    /// one after the other.
    fn prepare(&mut self, _wanted: &mut dyn Iterator<Item = Wanted>) {}

    /// The location of `address` in that generation of the loader's list. `exact`: as in
    /// [`Wanted`].
    fn resolve(&mut self, address: u64, exact: bool, generation: u32) -> Location;

    /// The files that locations refer to by index.
    fn modules(&mut self) -> Vec<Module>;

    /// Files that could not be read since the last call, and why, as sentences.
    fn unread(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// The kind of file of a location's module.
    fn role(&self, module: Option<usize>) -> Role;
}

/// The kind of file that code comes from.
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
    /// The text as a shared string.
    fn shared(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.0.get(&text) {
            return known.clone();
        }
        let shared: Arc<str> = text.as_str().into();
        self.0.insert(text, shared.clone());
        shared
    }

    /// A line of the function with that linker name; name and file may be empty.
    fn line(&mut self, mangled: &str, file: &str, line: u32) -> Line {
        let function = if mangled.is_empty() { "[unnamed]".into() } else { demangled(mangled) };
        Line {
            function: self.shared(placed(function, file)),
            system_name: self.shared(mangled.into()),
            file: self.shared(file.into()),
            line,
        }
    }

    /// A line for code without a name: `text` says where it is.
    fn remark(&mut self, text: String) -> Line {
        let name = self.shared(text);
        Line { function: name.clone(), system_name: name, file: "".into(), line: 0 }
    }
}

/// A text of limited length. A C++ name of a few hundred bytes may repeat its parts so often that its
/// text has no end; `rustc_demangle` has the same limit.
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        const MOST: usize = 1_000_000;
        if self.0.len() + text.len() > MOST {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The name as in the source: a Rust name without its hash, a C++ name without parameters, any
/// other name unchanged.
pub(super) fn demangled(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    let cpp = || {
        let (symbol, mut bounded) = (cpp_demangle::Symbol::new(name).ok()?, Bounded(String::new()));
        symbol.structured_demangle(&mut bounded, &options).ok()?;
        Some(bounded.0)
    };
    // `malloc@@GLIBC_2.2.5` has the linker's version; `__GI_malloc` is glibc's internal name.
    let plain = || {
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        name.strip_prefix("__GI_").unwrap_or(name).to_owned()
    };
    if name.starts_with("_Z") { cpp().unwrap_or_else(plain) } else { plain() }
}

/// Adds the file to a Rust function without a path, and removes its type parameters: `{closure#0}
/// (thread/spawn.rs)`. With `debug = "line-tables-only"`, inlined functions have no paths.
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
