//! Reads the log4rs file again when it changes, on a thread of the tree.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::refresh::{Refresh, Version};
use super::wiring::Wiring;
use crate::thread::tree::Node;
use crate::thread::{Builder, Thread};

/// A file that has changed and then stayed as it is for this long is taken as whole.
const SETTLED: Duration = Duration::from_secs(1);

/// Starts the thread that checks the file after each `every`. Called by the start of the runtime,
/// as `start_reload`, if the file has a `refresh_rate`.
pub(crate) fn start(main: &Arc<Node>, file: PathBuf, refresh: Refresh, wiring: Wiring) -> io::Result<()> {
    let mut watched = Watched::new(file, refresh);
    let builder = Builder::new("log-reload").parent(&Thread::from_node(main.clone())).runtime();
    let spawned = builder.spawn(move |please_stop| {
        while !please_stop.wait_for_go_timeout(watched.pause()) {
            if watched.has_changed() {
                watched.every = reload(&watched.file, &watched.folder, watched.every, wiring);
            }
        }
    });
    spawned.map(drop)
}

/// A file that is read again when it changes.
struct Watched {
    /// Absolute, because the program may change its directory; so is `folder`.
    file: PathBuf,
    folder: PathBuf,
    every: Duration,
    /// The version that was read last.
    seen: Version,
    /// A version that was not read, seen at the last look. It may be half-written.
    half: Option<Version>,
}

impl Watched {
    fn new(file: PathBuf, Refresh { every, seen }: Refresh) -> Watched {
        let folder = std::env::current_dir().unwrap_or_default();
        Watched { file: std::path::absolute(&file).unwrap_or(file), folder, every, seen, half: None }
    }

    /// How long to wait before the next look.
    fn pause(&self) -> Duration {
        self.half.map_or(self.every, |_| SETTLED)
    }

    /// Returns `true` if the file is not the version that was read, and has not changed since the last
    /// look. Then the caller reads it. A half-written file may be valid, and say something else.
    fn has_changed(&mut self) -> bool {
        let now = Version::of(&self.file);
        let is_whole = now != self.seen && self.half == Some(now);
        if is_whole {
            self.seen = now;
        }
        self.half = (now != self.seen).then_some(now);
        is_whole
    }
}

/// Returns how long to wait before the next check.
fn reload(file: &Path, folder: &Path, every: Duration, wiring: Wiring) -> Duration {
    let next = super::check::load_below(file, folder).and_then(|checked| {
        let refresh = checked.refresh.map(|refresh| refresh.every);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_change_since_the_file_was_read_is_seen() {
        let folder = std::env::temp_dir().join(format!("selvedge-reload-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("log4rs.yaml");
        let settings = "refresh_rate: 1h\nroot: { level: off }\n";
        fs::write(&file, settings).unwrap();
        let refresh = super::super::load(&file).unwrap().refresh.unwrap();
        assert!(!Watched::new(file.clone(), refresh).has_changed());
        // Between the reading and the start of the thread.
        fs::write(&file, format!("{settings}# changed\n")).unwrap();
        let mut watched = Watched::new(file.clone(), refresh);
        assert!(!watched.has_changed() && watched.pause() == SETTLED, "it may be half-written");
        fs::write(&file, format!("{settings}# changed again\n")).unwrap();
        assert!(!watched.has_changed() && watched.pause() == SETTLED, "it is written on");
        assert!(watched.has_changed());
        assert!(!watched.has_changed() && watched.pause() != SETTLED, "it is read once");
        fs::write(&file, settings).unwrap();
        assert!(!watched.has_changed() && watched.pause() == SETTLED);
        fs::remove_dir_all(folder).unwrap();
    }
}
