//! From addresses to functions, files and lines.

use crate::flame::{Line, Location, Module};
use std::collections::HashMap;
use std::sync::Arc;

/// Names addresses; the tests have one of their own.
pub(super) trait Resolve {
    /// The location of `address`. `exact`: the instruction itself; otherwise a return address, whose call is meant.
    fn resolve(&mut self, address: u64, exact: bool) -> Location;

    /// The files that locations refer to by index.
    fn modules(&mut self) -> Vec<Module>;
}

/// This process, by its debug information and symbol tables. Dropping it gives back what was parsed of them.
pub(super) struct OfThisProcess {
    modules: Vec<Module>,
    texts: HashMap<String, Arc<str>>,
}

impl OfThisProcess {
    pub(super) fn new() -> OfThisProcess {
        OfThisProcess { modules: super::modules::loaded(), texts: HashMap::new() }
    }
}

impl Drop for OfThisProcess {
    fn drop(&mut self) {
        backtrace::clear_symbol_cache();
    }
}

impl Resolve for OfThisProcess {
    fn resolve(&mut self, address: u64, exact: bool) -> Location {
        // The crate takes every address for a return address, and looks one byte before it.
        let looked_up = if exact { address.wrapping_add(1) } else { address };
        let instruction = looked_up.wrapping_sub(1);
        let module = self.modules.iter().position(|module| (module.start..module.end).contains(&instruction));
        let mut lines = Vec::new();
        backtrace::resolve(looked_up as usize as *mut _, |symbol| lines.push(line(&mut self.texts, symbol)));
        if lines.is_empty() {
            lines.push(self.unnamed(instruction, module));
        }
        Location { address: instruction, module, lines }
    }

    fn modules(&mut self) -> Vec<Module> {
        std::mem::take(&mut self.modules)
    }
}

impl OfThisProcess {
    /// `[libfoo.so+0x1234]`: the address as it stands in the file, so that others can look it up.
    fn unnamed(&mut self, instruction: u64, module: Option<usize>) -> Line {
        let name = match module.map(|module| &self.modules[module]) {
            Some(module) => {
                let file = module.file.rsplit('/').next().unwrap_or(&module.file);
                format!("[{file}+{:#x}]", instruction - module.start + module.file_offset)
            }
            None => "[unknown code]".into(),
        };
        let name = shared(&mut self.texts, name);
        Line { function: name.clone(), system_name: name, file: "".into(), line: 0 }
    }
}

fn line(texts: &mut HashMap<String, Arc<str>>, symbol: &backtrace::Symbol) -> Line {
    let name = symbol.name();
    // The alternate form leaves out the hash.
    let function = name.as_ref().map_or_else(|| String::from("[unnamed]"), |name| format!("{name:#}"));
    let system_name = name.map_or_else(String::new, |name| String::from_utf8_lossy(name.as_bytes()).into_owned());
    let file = symbol.filename().map_or_else(String::new, |file| file.to_string_lossy().into_owned());
    Line {
        function: shared(texts, placed(function, &file)),
        system_name: shared(texts, system_name),
        file: shared(texts, file),
        line: symbol.lineno().unwrap_or(0),
    }
}

/// A Rust function without its path, which is what `debug = "line-tables-only"` leaves of inlined ones, gets the file that
/// it is in, and loses its type parameters: `{closure#0} (thread/spawn.rs)`.
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

fn shared(texts: &mut HashMap<String, Arc<str>>, text: String) -> Arc<str> {
    if let Some(known) = texts.get(&text) {
        return known.clone();
    }
    let shared: Arc<str> = text.as_str().into();
    texts.insert(text, shared.clone());
    shared
}
