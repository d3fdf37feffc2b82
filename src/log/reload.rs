//! Reads the log4rs file again when it changes, on a thread of the tree.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::wiring::Wiring;
use crate::thread::tree::Node;
use crate::thread::{Builder, Thread};

/// What tells a changed file from the same one; its text would do as well, but is read only if this
/// differs.
type Look = Option<(SystemTime, u64, Option<(u64, u64)>)>;

/// Starts the thread that looks after the file each `every`.
pub(crate) fn start(main: &Arc<Node>, file: PathBuf, every: Duration, wiring: Wiring) -> io::Result<()> {
    // The program may change its directory; paths go on to mean what they meant.
    let (file, folder) = (std::path::absolute(&file).unwrap_or(file), std::env::current_dir().unwrap_or_default());
    let mut seen = look(&file);
    let builder = Builder::new("log-reload").parent(&Thread::from_node(main.clone())).runtime();
    let spawned = builder.spawn(move |please_stop| {
        let mut every = every;
        while !please_stop.wait_for_go_timeout(every) {
            let now = look(&file);
            if now != seen {
                seen = now;
                every = reload(&file, &folder, every, wiring);
            }
        }
    });
    spawned.map(drop)
}

fn look(file: &Path) -> Look {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), crate::os::log_file::identity(&metadata)))
}

/// How long to wait from now on.
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
            // Without a rate it would never be looked at again; the old one is kept, so that it can
            // be put back.
            refresh.unwrap_or(every)
        }
        Err(error) => {
            let text = format!("the changed file is not used, the log stays as it was: {error}");
            // The person who has changed the file may look at either.
            super::tell_log_and_stderr(::log::Level::Error, "selvedge::log", &text);
            every
        }
    }
}
