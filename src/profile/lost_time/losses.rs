//! What threads did while others waited for them. While A waits for B, A's time is B's doing; and
//! while B waits then for C, it is C's.
//!
//! Invariants
//! 1. What a thread's waits are blamed on adds up to its waits, to the nanosecond.
//! 2. A wait is followed only to a thread whose own wait was over before. So no circle is followed:
//!    a thread cannot have ended a wait while it slept itself.
//! 3. Before the birth of a thread, the time is its spawner's. The spawner, too, is followed only to
//!    what was over before that birth.

use super::course::{Activity, Courses, Doing};
use crate::profile::trace::TracedEnder;
use std::collections::HashMap;

/// At most so many pieces of time are looked at. The waits after that are blamed on the thread that
/// ended them, without what it did.
const MOST_PIECES: u64 = 50_000_000;

/// Time that one thread lost by waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Loss {
    /// The waiting thread.
    pub(super) of: usize,
    /// The thread that did something meanwhile; the waiting thread itself if no other was involved.
    pub(super) by: usize,
    /// `None`: not followed, because there were too many waits.
    pub(super) activity: Option<Activity>,
}

/// A part of a wait that is to be followed: what `thread` did from `from` to `till`.
struct Open {
    thread: usize,
    from: u64,
    till: u64,
    /// When the wait was over, or the thread was born, that led here.
    limit: u64,
}

/// For each loss its nanoseconds.
pub(super) fn losses(courses: &Courses<'_>) -> HashMap<Loss, u64> {
    losses_within(courses, MOST_PIECES)
}

fn losses_within(courses: &Courses<'_>, most: u64) -> HashMap<Loss, u64> {
    let mut losses = HashMap::new();
    let mut pieces = 0;
    let mut open = Vec::new();
    for (of, course) in courses.threads.iter().enumerate() {
        for stretch in course.between(course.begin, course.end) {
            let Doing::Wait(wait) = stretch.doing else { continue };
            let mut add = |by, activity, nanos| *losses.entry(Loss { of, by, activity }).or_default() += nanos;
            let TracedEnder::Thread(by) = *courses.ender(of, wait) else {
                add(of, Some(course.dead_end(wait)), stretch.end - stretch.begin);
                continue;
            };
            if pieces > most {
                add(by, None, stretch.end - stretch.begin);
                continue;
            }
            let limit = courses.over(of, wait);
            open.push(Open { thread: by, from: stretch.begin, till: stretch.end, limit });
            while let Some(part) = open.pop() {
                pieces += follow(courses, &part, &mut open, &mut |activity, nanos| {
                    add(part.thread, Some(activity), nanos);
                });
            }
        }
    }
    losses
}

/// Tells what the thread did itself; what it waited for is opened. Returns the number of pieces.
fn follow(courses: &Courses<'_>, part: &Open, open: &mut Vec<Open>, add: &mut impl FnMut(Activity, u64)) -> u64 {
    let &Open { thread, from, till, limit } = part;
    let course = &courses.threads[thread];
    let (born, died) = (course.begin.clamp(from, till), course.end.clamp(from, till));
    if from < born {
        match course.born_by {
            Some(spawner) if course.begin < limit => {
                open.push(Open { thread: spawner, from, till: born, limit: course.begin });
            }
            _ => add(Activity::Absent, born - from),
        }
    }
    if died.max(born) < till {
        add(Activity::Absent, till - died.max(born));
    }
    let mut pieces = 1;
    for stretch in course.between(from, till) {
        pieces += 1;
        let (begin, end) = (stretch.begin.max(from), stretch.end.min(till));
        match stretch.doing {
            Doing::Runnable => add(Activity::Runnable, end - begin),
            Doing::Own(_) => course.own(stretch, begin, end, &mut |activity, nanos, _| add(activity, nanos)),
            Doing::Wait(wait) => match *courses.ender(thread, wait) {
                TracedEnder::Thread(by) if courses.over(thread, wait) < limit => {
                    open.push(Open { thread: by, from: begin, till: end, limit: courses.over(thread, wait) });
                }
                _ => add(course.dead_end(wait), end - begin),
            },
        }
    }
    pieces
}
