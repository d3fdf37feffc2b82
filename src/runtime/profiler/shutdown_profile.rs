//! A flamegraph of the shutdown: what the threads do between being asked to stop and their end. A
//! thread of its own takes the samples, from the stop of `main` on.

use super::files::{LogLine, write};
use crate::model::locks::Mutex;
use crate::os::tell::tell;
use crate::profile::{FlameOptions, Window};
use crate::signal::{Reason, Signal};
use crate::thread::tree::{self, Node};
use crate::thread::{Builder, JoinHandle, Thread};
use log::Level;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A shutdown that is over sooner gets no picture.
const SOON: Duration = Duration::from_millis(50);

/// Between two samples of the threads, and at least ten times as long as one sample takes: taking
/// samples of a thousand threads must not keep them from ending.
const INTERVAL: Duration = Duration::from_millis(10);

/// The profile of the shutdown, from when `main` is asked to stop.
pub(super) struct ShutdownProfile {
    name: String,
    file: PathBuf,
    over: Signal,
    watching: Arc<Mutex<Option<JoinHandle<Window>>>>,
}

impl ShutdownProfile {
    /// Waits for the stop of `main`, without a thread.
    pub(super) fn prepare(name: &str, output: &Path, main: &Arc<Node>) -> ShutdownProfile {
        let file = output.join(format!("{name}.shutdown.svg"));
        // One of an earlier run would be taken for this one's.
        let _ = std::fs::remove_file(&file);
        let shutdown = ShutdownProfile {
            name: name.to_owned(),
            file,
            over: Signal::new("all have stopped"),
            watching: Arc::default(),
        };
        let (over, watching, root) = (shutdown.over.clone(), shutdown.watching.clone(), Arc::downgrade(main));
        main.please_stop.on_go(move || {
            let Some(root) = root.upgrade() else { return };
            let parent = Thread::from_node(root.clone());
            let run = move |_: &Signal| watch(&root, &over);
            match Builder::new("shutdown-profile").parent(&parent).runtime().spawn(run) {
                Ok(handle) => *watching.lock() = Some(handle),
                Err(error) => {
                    tell(
                        Level::Warn,
                        module_path!(),
                        &format!("no picture of the shutdown: no thread for it: {error}"),
                    );
                }
            }
        });
        shutdown
    }

    /// All have stopped. Writes the picture, if it took long enough for one, and returns what is to
    /// be told of it.
    pub(super) fn finish(self, reason: Option<&Reason>) -> Option<LogLine> {
        self.over.go_unexplained();
        let handle = self.watching.lock().take()?;
        let profile = match handle.join() {
            Ok(window) => window.close(),
            Err(failure) => return Some(LogLine::new(Level::Error, format!("no picture of the shutdown: {failure}"))),
        };
        let profile = profile?;
        let since = reason.map_or_else(String::new, |reason| format!(", after this: {}", reason.text()));
        let options = FlameOptions::new()
            .title(format!("{}: what threads did instead of stopping", self.name))
            .subtitle(format!(
                "wall time of each thread from being asked to its end, {:.1?} in all{since}",
                profile.duration()
            ));
        let file = self.file.display();
        Some(match write(&self.file, |out| profile.write_flamegraph(out, &options)) {
            Ok(()) => LogLine::new(Level::Info, format!("what threads did instead of stopping is drawn in {file}")),
            Err(error) => LogLine::new(Level::Error, format!("no picture of the shutdown in {file}: {error}")),
        })
    }
}

impl Drop for ShutdownProfile {
    /// Without an end in order, a watch that has begun or is to come would go on forever.
    fn drop(&mut self) {
        self.over.go_unexplained();
    }
}

fn watch(main: &Arc<Node>, over: &Signal) -> Window {
    let began = Instant::now();
    let mut window = Window::open(began, INTERVAL);
    let mut wait = SOON;
    while !over.wait_for_go_timeout(wait) {
        let began = Instant::now();
        window.snapshot(&living(main));
        wait = INTERVAL.max(10 * began.elapsed());
    }
    window
}

/// Every thread below `node` that has not stopped, the oldest first.
fn living(node: &Arc<Node>) -> Vec<Thread> {
    let mut threads = Vec::new();
    tree::walk(vec![node.clone()], |node| {
        let thread = Thread::from_node(node.clone());
        if thread.is_alive() && !thread.is_runtimes_own() {
            threads.push(thread);
        }
        node.children_by_age()
    });
    threads
}
