//! What becomes of a file that is rolled: its archives `app.0.log`, `app.1.log`, …, the youngest
//! first.
//!
//! Invariants
//! 1. A roll that fails leaves the active file and all archives under their names: each step is
//!    undone.
//! 2. An archive is removed only if all names are taken, and only after the active file has become
//!    an archive.
//! 3. The work is bounded by the number of archives that exist, not by `count`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use log4rs::append::rolling_file::policy::compound::roll::Roll;
use log4rs::append::rolling_file::policy::compound::roll::fixed_window::FixedWindowRoller;

use crate::error::{drop_payload, panic_message};
use crate::os::log_file;
use crate::yaml::{plain, plain_path};

/// The archives of a `fixed_window` roller.
#[derive(Clone, Debug)]
pub(in crate::log) struct Archives {
    /// Absolute: the program may change its directory.
    folder: PathBuf,
    /// The pattern, parted at each `{}`.
    pieces: Vec<String>,
    base: u32,
    count: u32,
    compress: bool,
}

impl Archives {
    /// `pieces` is the pattern, parted at each `{}`, variables expanded; `folder` is where it is
    /// relative to.
    pub(in crate::log) fn new(folder: &Path, pieces: Vec<String>, base: u32, count: u32) -> Archives {
        // The empty path is no path to `absolute`.
        let folder = std::path::absolute(folder.join(".")).unwrap_or_else(|_| folder.to_owned());
        let compress = pieces.last().is_some_and(|end| compression(end).is_some());
        Archives { folder, pieces, base, count, compress }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(self.pieces.join(&number.to_string()))
    }

    fn is_number(&self, number: u64) -> bool {
        let base = u64::from(self.base);
        (base..base + u64::from(self.count)).contains(&number)
    }

    /// The number of the archive that has this path, if one has it.
    pub(in crate::log) fn number_of(&self, path: &Path) -> Option<u64> {
        let real = real(path);
        let text = real.to_string_lossy();
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).take(10).count();
        let numbers = (0..text.len()).filter(|start| text.is_char_boundary(*start)).flat_map(|start| {
            let rest = &text[start..];
            (1..=digits(rest)).filter_map(move |length| rest[..length].parse::<u64>().ok())
        });
        let mut tried = Vec::new();
        numbers.into_iter().find(|number| {
            let new = self.is_number(*number) && !tried.contains(number);
            tried.push(*number);
            new && self::real(&self.path(*number)) == real
        })
    }

    /// The path of an archive that both have, if there is one.
    pub(in crate::log) fn shared_with(&self, other: &Archives) -> Option<PathBuf> {
        // Of many numbers some are tried; patterns that differ and meet only beyond them are not
        // found.
        const TRIED: u64 = 100;
        let (mine, theirs) = (u64::from(self.base), u64::from(other.base));
        let both = mine.max(theirs);
        let mut numbers = (mine..mine + TRIED).chain(both..both + TRIED).filter(|number| self.is_number(*number));
        numbers.find_map(|number| {
            let path = self.path(number);
            other.number_of(&path).map(|_| path)
        })
    }

    /// Makes `active` the youngest archive.
    pub(super) fn take(&self, active: &Path) -> Result<(), String> {
        if self.count == 0 {
            return delete(active);
        }
        let base = u64::from(self.base);
        let first = self.path(base);
        make_folder(&first)?;
        let mut used = 0;
        while used < u64::from(self.count) && is_there(&self.path(base + used))? {
            used += 1;
        }
        let mut moves = Moves(Vec::new());
        let mut oldest = None;
        if used == u64::from(self.count) {
            used -= 1;
            let aside = beside(&self.path(base + used), ".oldest");
            moves.rename(self.path(base + used), aside.clone())?;
            oldest = Some(aside);
        }
        for number in (base..base + used).rev() {
            let to = self.path(number + 1);
            // The number may stand in the name of a folder.
            if to.parent() != first.parent() {
                make_folder(&to)?;
            }
            moves.rename(self.path(number), to)?;
        }
        if self.compress {
            self.compress(active, &first)?
        } else {
            take_over(active, &first)?
        }
        moves.0.clear();
        // If it cannot be removed, the next one takes its name.
        oldest.map_or(Ok(()), |oldest| delete(&oldest))
    }

    /// By log4rs, in whose features the compression is.
    fn compress(&self, active: &Path, first: &Path) -> Result<(), String> {
        let pattern = self.folder.join(self.pieces.join("{}"));
        let pattern = pattern.to_str().ok_or_else(|| format!("{} is not UTF-8", plain_path(&pattern)))?;
        // A window of one: the others have been moved.
        let before = fs::metadata(active);
        let roll = || FixedWindowRoller::builder().base(self.base).build(pattern, 1)?.roll(active);
        // log4rs prints its failure to stdout, and panics if that fails too. AssertUnwindSafe: what
        // it leaves half-done is the archive, which is removed.
        let cause = match catch_unwind(AssertUnwindSafe(roll)) {
            Ok(Ok(())) => {
                before.iter().for_each(|before| log_file::give_access(before, first));
                return Ok(());
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(payload) => {
                let message = plain(&panic_message(&*payload));
                drop_payload(payload);
                format!("it panicked: {message}")
            }
        };
        let _half = fs::remove_file(first);
        Err(format!("cannot compress it into {}: {cause}", plain_path(first)))
    }
}

/// How the name of a compressed archive ends, and the feature of log4rs that it needs. `None` for
/// other names.
pub(in crate::log) fn compression(name: &str) -> Option<(&'static str, &'static str)> {
    [("gz", "gzip"), ("zst", "zstd")].into_iter().find(|(ending, _)| {
        let rest = name.strip_suffix(ending).and_then(|rest| rest.strip_suffix('.'));
        rest.is_some()
    })
}

/// The ending of `name` if it is that of a compressed file, and log4rs does not compress it. log4rs
/// knows endings in lower case only.
pub(in crate::log) fn uncompressed(name: &str) -> Option<&str> {
    const COMPRESSED: [&str; 9] = ["gz", "zst", "zip", "bz2", "xz", "lz4", "7z", "tgz", "br"];
    let ending = name.rsplit_once('.')?.1;
    (compression(name).is_none() && COMPRESSED.contains(&&*ending.to_ascii_lowercase())).then_some(ending)
}

/// Whether log4rs has been compiled with that.
pub(in crate::log) fn can_compress(ending: &str) -> bool {
    FixedWindowRoller::builder().build(&format!("{{}}.{ending}"), 1).is_ok()
}

pub(super) fn delete(file: &Path) -> Result<(), String> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", plain_path(file)))
        }
        _ => Ok(()),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The path without links, as far as it exists.
pub(in crate::log) fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = whole.ancestors().find_map(|part| Some((part, fs::canonicalize(part).ok()?)));
    match existing.map(|(part, real)| (whole.strip_prefix(part), real)) {
        Some((Ok(rest), real)) if rest.as_os_str().is_empty() => real,
        Some((Ok(rest), real)) => real.join(rest),
        _ => whole,
    }
}

fn make_folder(of: &Path) -> Result<(), String> {
    let Some(folder) = of.parent() else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|error| {
        let stands = folder.ancestors().find(|part| fs::metadata(part).is_ok_and(|found| !found.is_dir()));
        let reason = stands.map_or(error.to_string(), |file| format!("{} is not a directory", plain_path(file)));
        format!("cannot make the folder {}: {reason}", plain_path(folder))
    })
}

fn is_there(archive: &Path) -> Result<bool, String> {
    match fs::symlink_metadata(archive) {
        Ok(found) if found.is_dir() => Err(format!("{} is a directory, not an archive", plain_path(archive))),
        Ok(_) => Ok(true),
        // Its folder may not be there yet, if the number is in the folder's name.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("cannot look for {}: {error}", plain_path(archive))),
    }
}

/// Renames, undone in reverse order when dropped.
struct Moves(Vec<(PathBuf, PathBuf)>);

impl Moves {
    fn rename(&mut self, from: PathBuf, to: PathBuf) -> Result<(), String> {
        let renamed = fs::rename(&from, &to);
        renamed.map_err(|error| cannot_rename(&from, &to, &error))?;
        self.0.push((from, to));
        Ok(())
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        for (from, to) in self.0.drain(..).rev() {
            let _best_effort = fs::rename(to, from);
        }
    }
}

fn cannot_rename(from: &Path, to: &Path, error: &io::Error) -> String {
    format!("cannot rename {} to {}: {error}", plain_path(from), plain_path(to))
}

/// Renames; where the archive is on another file system, copies.
fn take_over(active: &Path, archive: &Path) -> Result<(), String> {
    match fs::rename(active, archive) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_over(active, archive).map_err(|error| {
            let (active, archive) = (plain_path(active), plain_path(archive));
            format!("cannot copy {active} to {archive}, on another file system: {error}")
        }),
        Err(error) => Err(cannot_rename(active, archive, &error)),
    }
}

/// Others may write in the folder of the archives. So no link that is at `to` is followed.
fn copy_new(from: &Path, to: &Path) -> io::Result<()> {
    // A copy that did not end. No other process copies now: the roll has the lock.
    let _half = fs::remove_file(to);
    let mut source = File::open(from)?;
    let mut copy = log_file::make_as(&source.metadata()?, to)?;
    io::copy(&mut source, &mut copy).map(drop)
}

fn copy_over(active: &Path, archive: &Path) -> io::Result<()> {
    // Under another name until it is whole: a full disk may stop the copy half-way.
    let part = beside(archive, ".part");
    let whole = copy_new(active, &part).and_then(|()| fs::rename(&part, archive));
    if let Err(error) = whole {
        let _half = fs::remove_file(&part);
        return Err(error);
    }
    let emptied =
        fs::remove_file(active).or_else(|_| OpenOptions::new().write(true).truncate(true).open(active).map(drop));
    emptied.inspect_err(|_| {
        // Or it would be there twice.
        let _copy = fs::remove_file(archive);
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_no_link() {
        let folder = std::env::temp_dir().join(format!("selvedge-archive-copy-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let [active, archive, victim] = ["app.log", "app.1.log", "victim"].map(|name| folder.join(name));
        fs::write(&active, "records").expect("a log");
        fs::write(&victim, "mine").expect("a victim");
        std::os::unix::fs::symlink(&victim, folder.join("app.1.log.part")).expect("a link");
        copy_over(&active, &archive).expect("copied");
        let text = |file: &Path| fs::read_to_string(file).expect("a file");
        assert_eq!((&*text(&archive), &*text(&victim)), ("records", "mine"));
        assert!(!active.exists());
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn access_is_given_to_no_link_and_no_fifo() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("selvedge-archive-access-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let [log, link, fifo, victim] = ["app.log", "link", "fifo", "victim"].map(|name| folder.join(name));
        let mode = |file: &Path| fs::metadata(file).expect("a file").permissions().mode() & 0o777;
        for (file, mode) in [(&log, 0o666), (&victim, 0o600)] {
            fs::write(file, "text").expect("a file");
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("a mode");
        }
        std::os::unix::fs::symlink(&victim, &link).expect("a link");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
        let before = fs::metadata(&log).expect("a log");
        log_file::give_access(&before, &link);
        log_file::give_access(&before, &fifo);
        assert_eq!(mode(&victim), 0o600);
        log_file::give_access(&before, &victim);
        assert_eq!(mode(&victim), 0o666);
        fs::remove_dir_all(folder).expect("removed");
    }
}
