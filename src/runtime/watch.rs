//! Looks for deadlocks now and then, on a thread of the tree, and logs each once. How they are
//! found is in `thread::deadlock`.

use super::exit;
use crate::thread::deadlock::{self, Finding, Kind};
use crate::thread::tree::Node;
use crate::thread::{Builder, Thread};
use log::Level;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Starts the thread that searches, every `after`, for waits that have lasted that long. A search
/// costs one wake-up, and nothing in the waiting threads.
pub(super) fn start(main: &Arc<Node>, after: Duration) -> io::Result<()> {
    let builder = Builder::new("watcher").parent(&Thread::from_node(main.clone())).runtime();
    let spawned = builder.spawn(move |please_stop| {
        let mut watch = Watch::default();
        while !please_stop.wait_for_go_timeout(after) {
            watch.check(&deadlock::search(after));
        }
    });
    spawned.map(drop)
}

/// What was found, by its key.
#[derive(Default)]
struct Watch {
    reported: BTreeSet<Vec<(u64, u64)>>,
    /// To be reported if the next search finds it too.
    suspected: BTreeSet<Vec<(u64, u64)>>,
}

impl Watch {
    fn check(&mut self, findings: &[Finding]) {
        let mut now = Watch::default();
        for finding in findings {
            let key = finding.key();
            // A circle without doubt is certain. That a holder has ended, or that a handle is the
            // last one, must be found twice, since threads begin and end meanwhile.
            let sure = finding.kind == Kind::Circle && finding.doubt.is_none();
            if self.reported.contains(&key) {
                now.reported.insert(key);
            } else if sure || self.suspected.contains(&key) {
                report(finding);
                now.reported.insert(key);
            } else {
                now.suspected.insert(key);
            }
        }
        // A finding that is gone is forgotten: if it comes back, it is a new one.
        *self = now;
    }
}

fn report(found: &Finding) {
    let finding = text(found);
    match (&found.doubt, found.kind) {
        (None, _) => exit::tell_aside("watcher", Level::Error, finding),
        (Some(_), Kind::Circle | Kind::HolderEnded) => exit::tell_aside("watcher", Level::Warn, finding),
        // A program that lends handles to another library's threads would be told of each long
        // wait. Only a dump shows these.
        (Some(_), Kind::NoHandleLeft) => log::debug!("{finding}"),
    }
}

/// With the stacks of the waiting threads.
#[cfg(feature = "profiling")]
fn text(found: &Finding) -> String {
    let (mut text, dump) = (String::new(), crate::dump::dump());
    // A String takes everything.
    let _ = found.write(&mut text, |thread| dump.stack_of(thread));
    text
}

#[cfg(not(feature = "profiling"))]
fn text(found: &Finding) -> String {
    found.to_string()
}
