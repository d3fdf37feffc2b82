//! Reading that a signal can end: lines of a terminal, a pipe, a socket. Knows `signal`, `wait` and
//! `os`.

use crate::os::poll::{Interest, Waker, until_ready};
use crate::signal::{OnGoScoped, Signal};
use crate::wait::{self, Ender, WaitDescription};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

/// How much is read at once.
const CHUNK: usize = 8192;

/// The lines of `input`, until its end or until `till` goes: for standard input, pipes and sockets.
/// A plain `read` of these does not end when a signal goes.
///
/// When `till` has gone, the whole lines that were read already are still given, and nothing more
/// is read. So a loop that passes on each line with a plain [`Queue::add`](crate::Queue::add) loses
/// no line that it has taken from `input`. What was read of an unfinished line is in
/// [`LinesTill::rest`]. At the end of `input`, a last line without a line feed is given as a line.
///
/// Lines come without their line feed, and without a carriage return before it, as from
/// [`BufRead::lines`](std::io::BufRead::lines). The descriptor is duplicated and read directly,
/// some kilobytes at once: nothing else should read from it, not even through [`std::io::stdin`].
/// Unix only.
///
/// Each item is an error if reading failed, which is then the last item, or if the line is not
/// UTF-8 ([`ErrorKind::InvalidData`]), after which the next line follows. The next item blocks
/// until there is a line, and shows as `input "stdin"` (else `input "descriptor 7"`) in dumps.
///
/// # Errors
/// No descriptor is to be had for the duplicate or for the wake-up.
///
/// ```
/// use selvedge::{Signal, lines_till};
/// use std::io::Write;
///
/// let (reader, mut writer) = std::io::pipe()?;
/// let please_stop = Signal::new("please_stop");
/// let mut lines = lines_till(reader, &please_stop)?;
/// writer.write_all(b"to be\nor not\nto")?;
/// assert_eq!(lines.next().unwrap()?, "to be");
/// please_stop.go();
/// assert_eq!(lines.next().unwrap()?, "or not"); // Has been read already.
/// assert!(lines.next().is_none());
/// assert_eq!(lines.rest(), b"to");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn lines_till(input: impl AsFd, till: &Signal) -> io::Result<LinesTill> {
    let input = input.as_fd();
    let name = match input.as_raw_fd() {
        0 => Arc::from("stdin"),
        other => Arc::from(format!("descriptor {other}")),
    };
    let file = File::from(input.try_clone_to_owned()?);
    let (woken, target) = arm(till)?;
    let text = Text { bytes: Vec::new(), given: 0, searched: 0 };
    Ok(LinesTill { file, woken, target, till: till.clone(), name, text, is_over: false })
}

/// A waker that can be read once `till` has gone, and the target that wakes it.
fn arm(till: &Signal) -> io::Result<(Arc<Waker>, OnGoScoped)> {
    let woken = Arc::new(Waker::new()?);
    let wakes = woken.clone();
    Ok((woken, till.on_go_first_scoped(move || wakes.wake())))
}

/// The lines of an input, until a signal goes; made by [`lines_till`].
pub struct LinesTill {
    file: File,
    /// Can be read once `till` has gone.
    woken: Arc<Waker>,
    target: OnGoScoped,
    till: Signal,
    name: Arc<str>,
    text: Text,
    /// The input has ended, or cannot be read any more.
    is_over: bool,
}

/// What was read.
struct Text {
    bytes: Vec<u8>,
    /// Bytes at the beginning that were given out.
    given: usize,
    /// No line feed is before this.
    searched: usize,
}

impl Text {
    /// The next line, without its end, if all of it is there.
    fn line(&mut self) -> Option<Vec<u8>> {
        let Some(at) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let end = self.searched + at;
        let mut line = self.bytes[self.given..end].to_vec();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        (self.given, self.searched) = (end + 1, end + 1);
        Some(line)
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.given..]
    }

    /// Reads a chunk; 0 at the end.
    fn read_from(&mut self, file: &mut File) -> io::Result<usize> {
        self.bytes.drain(..self.given);
        self.searched -= self.given;
        self.given = 0;
        let before = self.bytes.len();
        self.bytes.resize(before + CHUNK, 0);
        let outcome = file.read(&mut self.bytes[before..]);
        self.bytes.truncate(before + outcome.as_ref().map_or(0, |count| *count));
        outcome
    }
}

impl LinesTill {
    /// The bytes that were read and are in no line that was given out: the beginning of an
    /// unfinished line, once the lines have ended because the signal went.
    pub fn rest(&self) -> &[u8] {
        self.text.rest()
    }

    /// Blocks for more and takes it; 0 at the end. `Interrupted` if the signal has gone.
    fn read(&mut self) -> io::Result<usize> {
        if self.woken.is_inherited() {
            let (woken, target) = arm(&self.till)?;
            self.woken = woken;
            // Not dropped: that could wait for a thread of the parent process.
            std::mem::forget(std::mem::replace(&mut self.target, target));
        }
        let published = WaitDescription::new("input", self.name.clone()).limited(true).publish();
        // False also after a signal handler has run on this thread: a read would block then.
        wait::begin_sleep();
        while !until_ready(self.file.as_fd(), Interest::Read, Some(&self.woken), None)? {
            if self.till.is_go() {
                wait::ended_by(|| self.till.ender());
                return Err(ErrorKind::Interrupted.into());
            }
        }
        wait::ended_by(|| Ender::OUTSIDE);
        drop(published);
        self.text.read_from(&mut self.file)
    }
}

impl Iterator for LinesTill {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        loop {
            if let Some(line) = self.text.line() {
                return Some(as_text(line));
            }
            if self.is_over || self.till.is_go() {
                return None;
            }
            match self.read() {
                Ok(0) => {
                    self.is_over = true;
                    let last = std::mem::take(&mut self.text.bytes).split_off(self.text.given);
                    (self.text.given, self.text.searched) = (0, 0);
                    return (!last.is_empty()).then(|| as_text(last));
                }
                Ok(_) => {}
                // WouldBlock: another reader of the same descriptor was faster, and it is a
                // non-blocking one.
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

fn as_text(line: Vec<u8>) -> io::Result<String> {
    String::from_utf8(line).map_err(|_| io::Error::new(ErrorKind::InvalidData, "the line is not valid UTF-8"))
}

impl fmt::Debug for LinesTill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinesTill({}, till {})", self.name, self.till.name())
    }
}

#[cfg(all(test, feature = "log4rs", not(selvedge_model)))]
mod tests {
    use super::*;
    use crate::os::for_tests::in_forked_child;
    use std::time::Duration;

    #[test]
    fn a_forked_child_ends_its_own_lines_alone() {
        let (reader, _writer) = io::pipe().unwrap();
        let till = Signal::new("till");
        let mut lines = lines_till(reader, &till).unwrap();
        let parents = lines.woken.clone();
        let has_ended = in_forked_child(|| {
            let goes = till.clone();
            std::thread::spawn(move || goes.go());
            lines.next().is_none()
        });
        assert!(has_ended, "no signal of the child ends its lines");
        // Otherwise a wait of this process would turn without end: the signal has not gone here.
        assert!(!until_ready(parents.as_fd(), Interest::Read, None, Some(Duration::ZERO)).unwrap());
        assert!(!till.is_go());
    }
}
