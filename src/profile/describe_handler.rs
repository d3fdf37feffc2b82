//! Describes a handler of SIGPROF that is not the timer engine's, for messages. Finds the name and
//! the file of its function.

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
    let history = History::of_now();
    let generation = history.generation();
    let mut names = OfThisProcess::new(history);
    let location = names.resolve(function, true, generation);
    let name = location.lines.last().map_or("[unknown code]", |line| &*line.function).to_owned();
    let module = location.module.and_then(|module| names.modules().into_iter().nth(module));
    let file = module.map_or_else(String::new, |module| format!(" in {}", module.file));
    if name.starts_with("selvedge::profile::engines::") {
        return format!(
            "another copy of selvedge{file} answers it, from its first recording or dump to the end of the process; \
             only one copy can record and dump stacks (`cargo tree -d` shows copies that are linked together)"
        );
    }
    format!("`{name}`{file} answers it; if that is another profiler, stop it first")
}
