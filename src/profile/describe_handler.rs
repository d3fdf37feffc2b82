//! Describes a handler of a signal that is not this crate's, for messages. Finds the name and the
//! file of its function.

use super::loader::History;
use super::symbols::{OfThisProcess, Resolve};
use crate::os::sigprof::Handler;

/// What that handler does with a SIGPROF, as a part of a sentence. Takes long: it may read the
/// program's debug information.
pub(super) fn describe_handler(handler: Handler) -> String {
    let function = match handler {
        Handler::Default => return "the system's default answer to it, which ends the process".into(),
        Handler::Ignored => return "the process ignores it".into(),
        Handler::Function(function) => function as u64,
    };
    let (name, file) = find(function);
    let name = name.unwrap_or_else(|| "[unknown code]".to_owned());
    if name.starts_with("selvedge::profile::engines::") {
        return format!(
            "another copy of selvedge{file} answers it, from its first recording or dump to the end of the process; \
             only one copy can record and dump stacks (`cargo tree -d` shows copies that are linked together)"
        );
    }
    format!("`{name}`{file} answers it; if that is another profiler, stop it first")
}

/// The function at an address, as a part of a sentence; `None` if its name is not found. Takes
/// long: it may read the program's debug information.
pub(crate) fn describe_function(function: usize) -> Option<String> {
    let (name, file) = find(function as u64);
    name.filter(|name| !name.starts_with('[')).map(|name| format!("`{name}`{file}"))
}

/// The name of a function, and its file as ` in FILE`.
fn find(function: u64) -> (Option<String>, String) {
    let history = History::of_now();
    let generation = history.generation();
    let mut names = OfThisProcess::new(history);
    let location = names.resolve(function, true, generation);
    let name = location.lines.last().map(|line| line.function.to_string());
    let module = location.module.and_then(|module| names.modules().into_iter().nth(module));
    (name, module.map_or_else(String::new, |module| format!(" in {}", module.file)))
}
