//! Writes the files of a profile, and collects the lines that the log gets about them. Logs nothing
//! itself.

use super::part::create_beside;
use crate::error::{Error, Kind};
use log::Level;
use std::io::{BufWriter, Write};
use std::path::Path;

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

/// Written beside and then renamed, so that a reader never finds half a file, also if several processes
/// write it at once.
pub(super) fn write(file: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<(), Error>) -> Result<(), Error> {
    let refused = |error| Error::new(Kind::Io, "cannot write").because(error);
    let (out, part) = create_beside(file, ".part").map_err(refused)?;
    let mut out = BufWriter::new(out);
    let written = fill(&mut out).and_then(|()| out.flush().map_err(refused));
    drop(out);
    let done = written.and_then(|()| std::fs::rename(&part, file).map_err(refused));
    if done.is_err() {
        // On a disk that is full, what came of it is in the way.
        let _ = std::fs::remove_file(&part);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("selvedge-profile-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn put(file: &Path, text: &str) {
        let refused = |error| Error::new(Kind::Io, "cannot write").because(error);
        write(file, |out| out.write_all(text.as_bytes()).map_err(refused)).expect("written");
    }

    #[test]
    fn files_written_at_once_are_whole() {
        let folder = folder("at-once");
        let file = folder.join("prog.folded");
        let round = |writer: usize| {
            // More than the writer's buffer.
            let text = format!("main;writer_{writer} 1\n").repeat(2_000);
            for _ in 0..50 {
                put(&file, &text);
                let found = fs::read_to_string(&file).expect("a file");
                assert_eq!(found, found[..text.len() / 2_000].repeat(2_000));
            }
        };
        let round = &round;
        std::thread::scope(|scope| (0..4).for_each(|writer| drop(scope.spawn(move || round(writer)))));
        let left: Vec<_> = fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["prog.folded"]);
        fs::remove_dir_all(folder).expect("removed");
    }

    #[cfg(unix)]
    #[test]
    fn links_of_others_are_not_followed() {
        let folder = folder("link");
        let [file, part, victim] = ["prog.folded", "prog.folded.part", "victim"].map(|name| folder.join(name));
        fs::write(&victim, "mine").expect("a victim");
        for link in [&file, &part] {
            std::os::unix::fs::symlink(&victim, link).expect("a link");
        }
        put(&file, "main 1\n");
        assert_eq!(fs::read_to_string(&victim).expect("still there"), "mine");
        assert!(file.symlink_metadata().expect("a file").is_file());
        fs::remove_dir_all(folder).expect("removed");
    }
}
