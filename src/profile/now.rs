//! The present stacks of threads, for dumps: lets the engine request them, and names their
//! functions. Knows no recording.

use super::engines;
use super::loader::History;
use super::raw::{Ending, Reply};
use super::symbols::{OfThisProcess, Resolve, Wanted};
use super::trim;
use crate::flame::{Line, Location};
use crate::thread::Thread;
use std::collections::HashMap;

pub(crate) use crate::flame::Line as Frame;

/// The stack of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    /// The leaf first, without the machinery at the root. Inlined functions are frames of their
    /// own. `cut`: why the stack is not complete.
    Of { frames: Vec<Frame>, cut: Option<&'static str> },
    /// It has ended meanwhile.
    Ended,
    /// No reply came in time.
    Silent,
    /// No request could be sent, and why, as a sentence.
    Unavailable(String),
}

/// The replies of threads, as addresses.
pub(crate) struct Replies(Vec<Reply>);

/// Requests the stacks of these threads, and then of the threads with these kernel ids. Each is
/// interrupted for some microseconds. A recording that runs at the same time is not disturbed.
///
/// # Errors
/// Why no request can be sent, as a part of a sentence.
pub(crate) fn request_stacks(threads: &[Thread], unregistered: &[i32]) -> Result<Replies, String> {
    engines::request_stacks(threads, unregistered).map(Replies)
}

impl Replies {
    /// Names the functions: the larger the program's debug information, the longer this takes. Also
    /// returns which files could not be read, and why, as sentences.
    pub(crate) fn resolve(self) -> (Vec<Stack>, Vec<String>) {
        let history = History::of_now();
        let generation = history.generation();
        let (mut names, mut known) = (OfThisProcess::new(history), HashMap::new());
        let addresses = self.0.iter().filter_map(|reply| match reply {
            Reply::Stack { addresses, .. } => Some(addresses.iter().enumerate()),
            _ => None,
        });
        names.prepare(&mut addresses.flatten().map(|(index, &address)| Wanted {
            address,
            exact: index == 0,
            generation,
        }));
        let stacks = self.0.into_iter().map(|reply| stack(reply, generation, &mut names, &mut known)).collect();
        (stacks, names.unread())
    }
}

/// The functions at these addresses, each with the functions inlined there; `None` if not known.
#[cfg(feature = "inspect")]
pub(crate) fn names(addresses: &[u64]) -> Vec<Option<String>> {
    let history = History::of_now();
    let generation = history.generation();
    let mut names = OfThisProcess::new(history);
    names.prepare(&mut addresses.iter().map(|&address| Wanted { address, exact: true, generation }));
    let name = |&address: &u64| {
        let location = names.resolve(address, true, generation);
        location.module?;
        location.lines.last().map(|line| line.function.to_string())
    };
    addresses.iter().map(name).collect()
}

/// Names the stack in the reply, and hides its machinery.
fn stack(reply: Reply, generation: u32, names: &mut dyn Resolve, known: &mut HashMap<(u64, bool), Location>) -> Stack {
    let (addresses, ending) = match reply {
        Reply::Stack { addresses, ending } => (addresses, ending),
        Reply::Ended => return Stack::Ended,
        Reply::Silent => return Stack::Silent,
        Reply::Unavailable(why) => return Stack::Unavailable(why),
    };
    let (mut lines, mut roles) = (Vec::<Line>::with_capacity(addresses.len()), Vec::with_capacity(addresses.len()));
    for (index, &address) in addresses.iter().enumerate() {
        let exact = index == 0;
        let location = known.entry((address, exact)).or_insert_with(|| names.resolve(address, exact, generation));
        lines.extend_from_slice(&location.lines);
        roles.resize(lines.len(), names.role(location.module));
    }
    // The callers of `run` only lead to it.
    let run = lines.iter().rposition(trim::is_run);
    if let Some(run) = run {
        lines.truncate(run + 1);
    }
    let whole = lines.len();
    if ending == Ending::Root || run.is_some() {
        let mut machinery = trim::Machinery::default();
        while let [before @ .., line] = lines.as_slice()
            && machinery.goes_on(line, roles[before.len()], before.last())
        {
            lines.pop();
        }
    }
    let cut = match ending {
        _ if lines.len() < whole => None,
        Ending::Root => None,
        Ending::Deep => Some("[deeper than the limit]"),
        Ending::Broken => Some("[the way on was not found]"),
        Ending::Leaf => Some("[not on the thread's own stack, or at its edge]"),
    };
    Stack::Of { frames: lines, cut }
}
