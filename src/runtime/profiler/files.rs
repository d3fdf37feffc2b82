//! Writes the files of a profile, and collects the lines that the log gets about them. Logs nothing
//! itself.

use crate::error::{Error, Kind};
use log::Level;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A line for the log about a file, logged once all files are written.
pub(in crate::runtime) struct LogLine {
    pub(in crate::runtime) level: Level,
    pub(in crate::runtime) target: &'static str,
    pub(in crate::runtime) text: String,
}

impl LogLine {
    pub(super) fn new(level: Level, text: String) -> LogLine {
        LogLine { level, target: "selvedge::runtime::profiler", text }
    }

    /// A table that the program has asked for by name. The console without settings shows it.
    pub(super) fn table(text: String) -> LogLine {
        LogLine { level: Level::Info, target: "selvedge::accounts", text }
    }
}

/// Written beside and then renamed, so that a reader never finds half a file.
pub(super) fn write(file: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<(), Error>) -> Result<(), Error> {
    let refused = |error| Error::new(Kind::Io, "cannot write").because(error);
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut out = BufWriter::new(File::create(&part).map_err(refused)?);
    let written = fill(&mut out).and_then(|()| out.flush().map_err(refused));
    drop(out);
    let done = written.and_then(|()| std::fs::rename(&part, file).map_err(refused));
    if done.is_err() {
        // On a disk that is full, what came of it is in the way.
        let _ = std::fs::remove_file(&part);
    }
    done
}
