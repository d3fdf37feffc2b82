//! Writes to stdout and stderr without the standard library's lock and buffer: a thread of the
//! program may hold that lock for as long as it likes, and must not stop the log or a report by it.
//!
//! Text goes out in pieces of whole lines. A pipe takes a piece of at most [`PIECE`] bytes at once
//! or not at all, so lines up to that length are not torn, also if others write to the same pipe.

use super::fork::{self, PerProcess};
use std::io;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

/// Where to write. Only the log writes to stdout.
#[cfg_attr(not(feature = "log4rs"), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    #[cfg(feature = "log4rs")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }

    /// Keeps a line that is longer than a piece in one piece among everything that this crate
    /// writes to the stream. `None`: another writer had it for all of [`TURN`]. A forked child does
    /// not inherit it: the writer may be a thread that is not there.
    fn turn(self) -> Option<MutexGuard<'static, ()>> {
        type Locks = [Mutex<()>; 2];
        static LOCKS: PerProcess<Locks> = PerProcess::new([const { Mutex::new(()) }; 2], Locks::default);
        fork::watch();
        let begin = Instant::now();
        loop {
            match LOCKS[self as usize].try_lock() {
                Ok(turn) => return Some(turn),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if begin.elapsed() >= TURN => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(50)),
            }
        }
    }
}

/// The smallest PIPE_BUF of the supported systems is 512; on Linux it is 4096, one page of a pipe.
const PIECE: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// How long a writer waits for another writer of this crate. Afterwards it writes all the same: a
/// torn line is better than none.
const TURN: Duration = Duration::from_millis(100);

/// Writes all of `bytes`, which end at the end of a line. Returns how many bytes were written, and
/// why not all.
///
/// Blocks while the reader of a pipe or terminal does not read, also if the descriptor was made
/// non-blocking. With `standstill` it gives up (`TimedOut`) after that time in which nothing could
/// be written.
pub(crate) fn write(stream: Stream, bytes: &[u8], standstill: Option<Duration>) -> (usize, Option<io::Error>) {
    let _turn = stream.turn();
    let mut done = 0;
    let mut deadline = standstill.map(|standstill| Instant::now() + standstill);
    while done < bytes.len() {
        let rest = &bytes[done..];
        let piece = &rest[..piece_length(rest, standstill.is_some())];
        // With a deadline no write may block: a pipe that is ready has room for a piece.
        if deadline.is_some()
            && let Err(error) = raw::wait_until_ready(stream, deadline)
        {
            return (done, Some(error));
        }
        match raw::write(stream, piece) {
            Ok(0) => return (done, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                done += count;
                deadline = standstill.map(|standstill| Instant::now() + standstill);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The descriptor is non-blocking, mostly because another process that shares it has
            // made it so.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Err(error) = raw::wait_until_ready(stream, deadline) {
                    return (done, Some(error));
                }
            }
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

/// As many whole lines as fit into a piece. A longer line is a piece by itself, unless no piece may
/// be longer.
fn piece_length(bytes: &[u8], is_limited: bool) -> usize {
    if bytes.len() <= PIECE {
        return bytes.len();
    }
    match bytes[..PIECE].iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        None if is_limited => PIECE,
        None => bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1),
    }
}

/// Returns `true` if the stream is a terminal.
pub(crate) fn is_terminal(stream: Stream) -> bool {
    use std::io::IsTerminal;
    match stream {
        Stream::Stdout => io::stdout().is_terminal(),
        Stream::Stderr => io::stderr().is_terminal(),
    }
}

/// Returns `true` if what is written to the stream comes to the same file, pipe or terminal as
/// stderr.
#[cfg(feature = "log4rs")]
pub(crate) fn leads_to_stderr(stream: Stream) -> bool {
    stream == Stream::Stderr || raw::is_same(stream, Stream::Stderr)
}

#[cfg(unix)]
mod raw {
    use super::Stream;
    use std::io;
    use std::time::Instant;

    #[cfg(feature = "log4rs")]
    pub(super) fn is_same(one: Stream, other: Stream) -> bool {
        let place = |stream| {
            // SAFETY: all-zero is a valid value of stat, which is numbers only.
            let mut found: libc::stat = unsafe { std::mem::zeroed() };
            // SAFETY: `found` is writable for one stat. A descriptor that is closed is an error of
            // the call.
            (unsafe { libc::fstat(descriptor(stream), &raw mut found) } == 0).then_some((found.st_dev, found.st_ino))
        };
        place(one).is_some_and(|one| place(other) == Some(one))
    }

    fn descriptor(stream: Stream) -> libc::c_int {
        match stream {
            Stream::Stdout => libc::STDOUT_FILENO,
            Stream::Stderr => libc::STDERR_FILENO,
        }
    }

    pub(super) fn write(stream: Stream, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: `bytes` is readable for its length. A descriptor that is closed is an error of
        // the call.
        let count = unsafe { libc::write(descriptor(stream), bytes.as_ptr().cast(), bytes.len()) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Returns when a write would not block; an error of the stream is left to the write.
    pub(super) fn wait_until_ready(stream: Stream, deadline: Option<Instant>) -> io::Result<()> {
        loop {
            // Rounded up, so that the last look is not before the deadline.
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.map_or(-1, |left| i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX));
            let mut polled = libc::pollfd { fd: descriptor(stream), events: libc::POLLOUT, revents: 0 };
            // SAFETY: `polled` is one writable pollfd, as the count says.
            match unsafe { libc::poll(&raw mut polled, 1, timeout) } {
                0 => return Err(io::ErrorKind::TimedOut.into()),
                1.. => return Ok(()),
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// Elsewhere there is no descriptor to write to: the standard library's streams, and their locks.
#[cfg(not(unix))]
mod raw {
    use super::Stream;
    use std::io::{self, Write};
    use std::time::Instant;

    #[cfg(feature = "log4rs")]
    pub(super) fn is_same(one: Stream, other: Stream) -> bool {
        super::is_terminal(one) && super::is_terminal(other)
    }

    pub(super) fn write(stream: Stream, bytes: &[u8]) -> io::Result<usize> {
        match stream {
            Stream::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()?;
            }
            Stream::Stderr => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    pub(super) fn wait_until_ready(_stream: Stream, _deadline: Option<Instant>) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{PIECE, piece_length};

    #[test]
    fn pieces_end_with_lines() {
        let line = |length: usize| [vec![b'x'; length - 1], vec![b'\n']].concat();
        let short = line(100).repeat(PIECE / 100 + 1);
        assert_eq!(piece_length(&short, false), PIECE / 100 * 100);
        assert_eq!(piece_length(&line(PIECE), false), PIECE);
        let long = [line(PIECE + 1), line(10)].concat();
        assert_eq!(piece_length(&long, false), PIECE + 1);
        assert_eq!(piece_length(&long, true), PIECE);
        assert_eq!(piece_length(&[line(10), line(2 * PIECE)].concat(), false), 10);
        assert_eq!(piece_length(&[b'x'; 2 * PIECE], false), 2 * PIECE);
    }

    #[cfg(all(unix, feature = "log4rs"))]
    #[test]
    fn a_forked_child_does_not_wait_for_its_parents_turn() {
        use super::Stream;
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let writer = std::thread::spawn(move || {
            let turn = Stream::Stderr.turn();
            tell.send(turn.is_some()).unwrap();
            let _ = ends.recv();
        });
        assert!(told.recv().unwrap());
        let has_turn = crate::os::for_tests::in_forked_child(|| Stream::Stderr.turn().is_some());
        drop(end);
        writer.join().unwrap();
        assert!(has_turn, "the child has waited for a thread that is not there");
    }
}
