//! The last records of each thread. They are kept on the thread, and are shown in the report of its
//! failure.

use std::cell::RefCell;
use std::time::SystemTime;

use ::log::Level;

use super::record::Captured;
use crate::thread::foreign_locals::local_time;

/// How many records the report of a failure shows.
const KEPT: usize = 10;

/// Longer messages are cut, and say so: a person reads the report as a whole.
const LONGEST: usize = 500;

struct Kept {
    at: SystemTime,
    level: Level,
    message: String,
    /// How many bytes of the message are left out.
    left_out: usize,
}

struct Ring {
    kept: Vec<Kept>,
    /// The oldest, once it is full.
    next: usize,
}

thread_local! {
    static RECENT: RefCell<Ring> = const { RefCell::new(Ring { kept: Vec::new(), next: 0 }) };
}

/// Keeps a record that the calling thread has logged.
pub(super) fn note(captured: &Captured) {
    note_parts(captured.at, captured.level, captured.message());
}

pub(super) fn note_parts(at: SystemTime, level: Level, message: &str) {
    let (message, left_out) = cut(message, LONGEST);
    // The ring is not borrowed already, since no code of the user's runs in here. It may be gone,
    // if the thread is ending.
    let _ = RECENT.try_with(|ring| {
        let Ok(mut ring) = ring.try_borrow_mut() else { return };
        if ring.kept.len() < KEPT {
            return ring.kept.push(Kept { at, level, message: message.to_owned(), left_out });
        }
        let oldest = ring.next;
        ring.next = (oldest + 1) % KEPT;
        let kept = &mut ring.kept[oldest];
        (kept.at, kept.level, kept.left_out) = (at, level, left_out);
        // Into the memory that the old text has.
        kept.message.clear();
        kept.message.push_str(message);
    });
}

/// The last lines of the calling thread, the oldest first. Called when a thread fails, by
/// `thread/failure_context.rs`: the runtime has installed it there.
pub(crate) fn of_this_thread() -> Vec<String> {
    let lines = RECENT.try_with(|ring| {
        let ring = ring.try_borrow().ok()?;
        let (late, early) = ring.kept.split_at(ring.next);
        Some(early.iter().chain(late).map(line).collect())
    });
    lines.ok().flatten().unwrap_or_default()
}

fn line(kept: &Kept) -> String {
    let time = local_time(kept.at).format("%H:%M:%S%.3f");
    format!("{time} {:<5} {}{}", kept.level, kept.message, mark(kept.left_out))
}

/// As much of the message as `longest` bytes hold, and how many bytes are left out.
pub(super) fn cut(message: &str, longest: usize) -> (&str, usize) {
    let mut end = message.len().min(longest);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    (&message[..end], message.len() - end)
}

/// What stands at the end of a message that was cut; empty behind a whole one.
pub(super) fn mark(left_out: usize) -> String {
    if left_out == 0 {
        String::new()
    } else {
        format!(" … cut ({left_out} more byte{})", if left_out == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_record_of_a_failure_says_so() {
        // A thread of its own: each has its own records.
        let lines = std::thread::spawn(|| {
            note_parts(SystemTime::now(), Level::Info, &"x".repeat(LONGEST + 7));
            note_parts(SystemTime::now(), Level::Info, &"y".repeat(LONGEST));
            // The memory of the first is taken again.
            (2..=KEPT).for_each(|_| note_parts(SystemTime::now(), Level::Info, "short"));
            of_this_thread()
        });
        let lines = lines.join().unwrap();
        assert!(lines[0].ends_with(&"y".repeat(LONGEST)) && lines[KEPT - 1].ends_with("short"), "{lines:?}");
        let line = std::thread::spawn(|| {
            note_parts(SystemTime::now(), Level::Info, &"x".repeat(LONGEST + 7));
            of_this_thread().remove(0)
        });
        assert!(line.join().unwrap().ends_with("xx … cut (7 more bytes)"));
    }
}
