//! Reads the log4rs file again when it changes, on a thread of the tree.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::wiring::Wiring;
use crate::thread::tree::Node;
use crate::thread::{Builder, Thread};

/// Differs between a file and the same file after a change. The text of the file is read only if
/// this differs.
type Version = Option<(SystemTime, u64, Option<(u64, u64)>)>;

/// Starts the thread that checks the file after each `every`. Called by the start of the runtime,
/// as `start_reload`, if the file has a `refresh_rate`.
pub(crate) fn start(main: &Arc<Node>, file: PathBuf, every: Duration, wiring: Wiring) -> io::Result<()> {
    // Absolute, because the program may change its directory.
    let (file, folder) = (std::path::absolute(&file).unwrap_or(file), std::env::current_dir().unwrap_or_default());
    let mut seen = version(&file);
    let builder = Builder::new("log-reload").parent(&Thread::from_node(main.clone())).runtime();
    let spawned = builder.spawn(move |please_stop| {
        let mut every = every;
        while !please_stop.wait_for_go_timeout(every) {
            let now = version(&file);
            if now != seen {
                seen = now;
                every = reload(&file, &folder, every, wiring);
            }
        }
    });
    spawned.map(drop)
}

fn version(file: &Path) -> Version {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), crate::os::log_file::identity(&metadata)))
}

/// Returns how long to wait before the next check.
fn reload(file: &Path, folder: &Path, every: Duration, wiring: Wiring) -> Duration {
    let next = super::check::load_below(file, folder).and_then(|checked| {
        let refresh = checked.refresh;
        if checked.logs_nothing() {
            ::log::warn!(target: "selvedge::log", "{} has changed; from now on nothing is logged", file.display());
        }
        checked.install(wiring, true).map(|()| refresh)
    });
    match next {
        Ok(refresh) => {
            ::log::info!(target: "selvedge::log", "{} has changed and was read again", file.display());
            // Without a rate the file would never be checked again. The old rate stays, so that the
            // rate can be put back.
            refresh.unwrap_or(every)
        }
        Err(error) => {
            let text = format!("the changed file is not used, the log stays as it was: {error}");
            // A person that has changed the file may watch either.
            super::tell_log_and_stderr(::log::Level::Error, "selvedge::log", &text);
            every
        }
    }
}
