//! A log file: lines are collected in a buffer and written at the end of a batch. Makes the file
//! again when it was moved or removed. Knows nothing of queues.
//!
//! The open file outlives its path: if the path cannot be looked at, or a moved or rolled file cannot be
//! made again, the open file is written on. A file that is made again has the owner and the mode of the
//! file before.
//!
//! Invariants
//! 1. What is in the buffer has not been written. A write that stops half-way leaves exactly the
//!    rest. So no line is torn or written twice, however often a full disk interrupts.
//! 2. The buffer ends at the end of a record.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::line_buffer::{Buffer, Encoder};
use super::output::Buffered;
use super::record::Captured;
use super::rolling::{Outcome, Policy, Rolling};
use crate::os::log_file;
use crate::os::tell::remark;
use crate::yaml::plain_path;

/// A batch that is longer is written in pieces.
const PIECE: usize = 64 * 1024;
/// The most bytes that are kept while the file cannot be written. Records beyond are dropped and
/// counted.
const MOST_HELD: usize = 16 * 1024 * 1024;
/// How often the writer checks that the path still names its file, which may have been moved away
/// to be rotated.
const CHECK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    encoder: Encoder,
    buffer: Vec<u8>,
    file: Option<File>,
    identity: Option<(u64, u64)>,
    /// Of the file that was opened last; `None` if that was no regular file. A file that is made again has
    /// its owner and its mode.
    metadata: Option<Metadata>,
    /// How many bytes the open file has. Known for a rolling one only.
    length: u64,
    rolling: Option<Rolling>,
    last_check: Instant,
    last_progress: Option<Instant>,
    /// stderr knows that the file was moved and cannot be made again.
    is_told: bool,
}

impl LogFile {
    /// Opens the file, making its folder; without `append`, empties it. A FIFO without a reader is
    /// opened later.
    ///
    /// `rolling`: when it is rolled; `reload`: the program has started before.
    pub(super) fn open(
        path: &Path,
        append: bool,
        encoder: Encoder,
        rolling: Option<Policy>,
        reload: bool,
    ) -> io::Result<LogFile> {
        // The program may change its directory, and the file may have to be made again.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut log = LogFile {
            rolling: rolling.map(|policy| Rolling::new(policy, &path, reload)),
            path,
            length: 0,
            encoder,
            buffer: Vec::new(),
            file: None,
            identity: None,
            metadata: None,
            last_check: Instant::now(),
            last_progress: None,
            is_told: false,
        };
        match log.reopen() {
            Err(error) if !log_file::is_without_reader(&error) => return Err(error),
            _ => {}
        }
        let length = log.length;
        let is_due = log.rolling.as_mut().is_some_and(|rolling| rolling.opened(length));
        if let (false, Some(file)) = (append || is_due, &log.file)
            && file.metadata()?.is_file()
            && log_file::own_descriptor(&log.path).is_none()
        {
            file.set_len(0)?;
            log.length = 0;
        }
        Ok(log)
    }

    /// Opens the file at the path, in the place of the open one. On an error the open one stays.
    fn reopen(&mut self) -> io::Result<()> {
        let rolls = self.rolling.as_ref().map(Rolling::rolls);
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = self.open_or_make()?;
        let metadata = file.metadata()?;
        if let (Some(rolling), Some(rolls)) = (&mut self.rolling, rolls) {
            rolling.reopened(rolls, metadata.len());
        }
        (self.identity, self.length) = (log_file::identity(&metadata), metadata.len());
        (self.last_check, self.is_told) = (Instant::now(), false);
        self.file = Some(file);
        self.metadata = metadata.is_file().then_some(metadata);
        Ok(())
    }

    fn open_or_make(&self) -> io::Result<File> {
        if let Some(file) = log_file::own_descriptor(&self.path) {
            return Ok(file);
        }
        // The mode may have been changed since the file was opened.
        let now = self.file.as_ref().and_then(|file| file.metadata().ok()).filter(Metadata::is_file);
        if let Some(before) = now.as_ref().or(self.metadata.as_ref()) {
            match log_file::make_as(before, &self.path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
        log_file::open_for_log(&self.path, OpenOptions::new().append(true).create(true))
    }

    /// The open file has become an archive. Until there is a new one, it is written on.
    fn leave_archive(&mut self) -> io::Result<()> {
        let Err(error) = self.reopen() else { return Ok(()) };
        let is_named = |file: &File| file.metadata().is_ok_and(|file| !log_file::is_deleted(&file));
        if !self.file.as_ref().is_some_and(is_named) {
            self.file = None;
            return Err(error);
        }
        if !std::mem::replace(&mut self.is_told, true) {
            let path = plain_path(&self.path);
            let cause = format!("{path} was rolled, and cannot be made again: {error}");
            remark(&format!("selvedge: the log file {cause}; its archive is written on"));
        }
        Ok(())
    }

    /// The file was moved. Without a new one the open one is written on, and the next check tries
    /// again.
    fn follow_path(&mut self) {
        self.last_check = Instant::now();
        // A deleted file is no place for records: `write_buffer` holds them until there is another.
        let is_deleted = |file: &File| file.metadata().is_ok_and(|file| log_file::is_deleted(&file));
        if let Err(error) = self.reopen()
            && !self.file.as_ref().is_some_and(is_deleted)
            && !std::mem::replace(&mut self.is_told, true)
        {
            let path = plain_path(&self.path);
            let cause = format!("{path} was moved, and cannot be made again: {error}");
            remark(&format!("selvedge: the log file {cause}; the moved file is written on"));
        }
    }

    /// Returns `true` if the path leads to no file any more, or to another one. An error that does
    /// not tell is no reason to give up the open file.
    fn is_moved(&self) -> bool {
        match fs::metadata(&self.path) {
            Ok(there) => log_file::identity(&there) != self.identity,
            Err(error) => log_file::is_missing(&error),
        }
    }
}

impl Buffered for LogFile {
    fn asks_directly(&self) -> bool {
        self.encoder.is_direct()
    }

    fn push_directly(&mut self, captured: &Captured) -> anyhow::Result<bool> {
        if self.buffer.len() >= MOST_HELD {
            return Ok(false);
        }
        self.encoder.append_directly(&mut Buffer::new(&mut self.buffer, false), captured).map(|()| true)
    }

    fn is_due_before(&mut self, captured: &Captured) -> bool {
        let length = self.length + self.buffer.len() as u64;
        self.rolling.as_mut().is_some_and(|rolling| rolling.is_due_at(captured.time(), length))
    }

    fn is_full(&mut self) -> bool {
        let length = self.length + self.buffer.len() as u64;
        self.rolling.as_mut().is_some_and(|rolling| rolling.is_full(length))
    }

    fn push(&mut self, record: &::log::Record<'_>) -> anyhow::Result<bool> {
        if self.buffer.len() >= MOST_HELD {
            return Ok(false);
        }
        self.encoder.append(&mut Buffer::new(&mut self.buffer, false), record).map(|()| true)
    }

    fn is_long(&self) -> bool {
        self.buffer.len() >= PIECE
    }

    fn held(&self) -> &[u8] {
        &self.buffer
    }

    fn forget(&mut self) {
        self.buffer.clear();
    }

    fn explain(&self, error: &io::Error) -> String {
        let path = plain_path(&self.path);
        if log_file::is_without_reader(error) {
            format!("{path} has no reader")
        } else if error.kind() == io::ErrorKind::WouldBlock {
            format!("the reader of {path} does not read")
        } else {
            format!("{error}, writing {path}")
        }
    }

    fn last_progress(&self) -> Option<Instant> {
        self.last_progress
    }

    /// Rolls the file as well, if that is due.
    fn write_out(&mut self) -> io::Result<()> {
        self.write_buffer()?;
        let Some(rolling) = &mut self.rolling else { return Ok(()) };
        if self.file.is_none() {
            return Ok(());
        }
        match rolling.roll(&self.path, self.identity) {
            Outcome::Kept => Ok(()),
            Outcome::Moved => {
                self.follow_path();
                Ok(())
            }
            Outcome::Rolled => self.leave_archive(),
        }
    }
}

impl LogFile {
    /// After a roll the file may still have to be made: that it cannot be is a failure, although
    /// nothing is to be written. A FIFO may have no reader before the first record.
    fn open_if_closed(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        self.reopen().or_else(|error| if log_file::is_without_reader(&error) { Ok(()) } else { Err(error) })
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return self.open_if_closed();
        }
        if self.file.is_some() && self.rolling.as_ref().is_some_and(Rolling::is_outdated) {
            self.leave_archive()?;
        }
        if self.file.is_some() && self.last_check.elapsed() >= CHECK_EVERY {
            self.last_check = Instant::now();
            if self.is_moved() {
                self.follow_path();
            }
        }
        loop {
            let Some(file) = &mut self.file else {
                self.reopen()?;
                continue;
            };
            let written = write_some(file, &self.buffer);
            // A file without metadata is assumed to be there: else its records would be
            // written twice.
            let metadata = file.metadata();
            self.length = metadata.as_ref().map_or(self.length, |file| file.len());
            let is_gone = metadata.is_ok_and(|file| log_file::is_deleted(&file) && file.is_file());
            if is_gone {
                // Held meanwhile: a new file must not get its number.
                let _old = self.file.take();
                let before = self.identity;
                self.reopen()?;
                // The records went into a file without a name. They are written again, into the new
                // file, if there is one: a path may lead to a file that has no name (/dev/stdout to
                // a temporary file).
                if self.identity != before {
                    continue;
                }
            }
            return match written {
                (_, None) => {
                    self.last_progress = Some(Instant::now());
                    self.buffer.clear();
                    self.buffer.shrink_to(2 * PIECE);
                    Ok(())
                }
                (count, Some(error)) => {
                    self.buffer.drain(..count);
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.last_progress = None;
                    } else if count > 0 {
                        self.last_progress = Some(Instant::now());
                    }
                    if error.kind() == io::ErrorKind::BrokenPipe {
                        // The next reader of a FIFO gets a new opening.
                        self.file = None;
                    }
                    Err(error)
                }
            };
        }
    }
}

/// How much was written, and why not all.
fn write_some(file: &mut File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut done = 0;
    while done < bytes.len() {
        match file.write(&bytes[done..]) {
            Ok(0) => return (done, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}
