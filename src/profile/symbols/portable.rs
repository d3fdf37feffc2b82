//! In place of `files.rs` on systems without ELF files: the names of this process's code by the
//! backtrace crate.

use super::{Resolve, Role, Texts, ending};
use crate::flame::{Location, Module};
use crate::profile::loader::History;

/// The names of this process's code. Dropping it frees the parsed symbols.
pub(in crate::profile) struct OfThisProcess(Texts);

impl OfThisProcess {
    pub(in crate::profile) fn new(_: History) -> OfThisProcess {
        OfThisProcess(Texts::default())
    }

    /// There is no history here.
    #[cfg(feature = "push")]
    pub(in crate::profile) fn renew(&mut self, _: History) {}

    /// Frees the parsed symbols.
    #[cfg(feature = "push")]
    pub(in crate::profile) fn rest(&self) {
        backtrace::clear_symbol_cache();
    }
}

impl Drop for OfThisProcess {
    fn drop(&mut self) {
        backtrace::clear_symbol_cache();
    }
}

impl Resolve for OfThisProcess {
    fn resolve(&mut self, address: u64, exact: bool, _: u32) -> Location {
        // The crate takes each address for a return address, and resolves the byte before it.
        let looked_up = if exact { address.wrapping_add(1) } else { address };
        let mut lines = Vec::new();
        if !ending::is_over() {
            backtrace::resolve(looked_up as usize as *mut _, |symbol| {
                let name = symbol.name().map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
                let file = symbol.filename().map_or_else(String::new, |file| file.to_string_lossy().into_owned());
                lines.push(self.0.line(&name.unwrap_or_default(), &file, symbol.lineno().unwrap_or(0)));
            });
        }
        if lines.is_empty() {
            lines.push(self.0.remark("[unknown code]".into()));
        }
        Location { address: looked_up.wrapping_sub(1), module: None, lines }
    }

    fn modules(&mut self) -> Vec<Module> {
        Vec::new()
    }

    fn role(&self, _: Option<usize>) -> Role {
        Role::Unknown
    }
}
