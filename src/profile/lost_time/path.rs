//! The critical path: backwards from the end of a thread or of a span, and where the thread waited,
//! on in the thread that ended the wait.
//!
//! Invariant: the steps cover the time without a gap or an overlap.

use super::course::{Activity, Courses, Doing};
use crate::profile::trace::TracedEnder;

/// What one thread did on the path, without interruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathStep {
    pub(super) thread: usize,
    pub(super) from: u64,
    pub(super) till: u64,
    /// Each with its nanoseconds. They add up to the step.
    pub(super) parts: Vec<(Activity, u64)>,
}

/// The steps from `from` to `till`, at which the path ends in `thread`; the first step first.
pub(super) fn steps(courses: &Courses<'_>, mut thread: usize, from: u64, till: u64) -> Vec<PathStep> {
    let mut steps = Vec::new();
    let mut at = till;
    // The threads that the path has come through at this very time.
    let mut here = Vec::new();
    while at > from {
        let course = &courses.threads[thread];
        here.push(thread);
        let mut whole = |begin: u64, activity| {
            steps.push(PathStep { thread, from: begin, till: at, parts: vec![(activity, at - begin)] });
            begin
        };
        let (begin, next) = if at > course.end {
            (whole(course.end.max(from), Activity::Absent), None)
        } else if at <= course.begin {
            match course.born_by.filter(|spawner| !here.contains(spawner)) {
                Some(spawner) => (at, Some(spawner)),
                None => (whole(from, Activity::Absent), None),
            }
        } else {
            let stretch = course.stretch_before(at);
            let begin = stretch.begin.max(from);
            match stretch.doing {
                Doing::Runnable => (whole(begin, Activity::Runnable), None),
                Doing::Own(_) => {
                    let mut pieces: Vec<PathStep> = Vec::new();
                    course.own(stretch, begin, at, &mut |activity, nanos, till| match pieces.last_mut() {
                        Some(piece) if piece.till == till => piece.parts.push((activity, nanos)),
                        last => {
                            let from = last.map_or(begin, |piece| piece.till);
                            pieces.push(PathStep { thread, from, till, parts: vec![(activity, nanos)] });
                        }
                    });
                    steps.extend(pieces.into_iter().rev());
                    (begin, None)
                }
                Doing::Wait(wait) => match *courses.ender(thread, wait) {
                    TracedEnder::Thread(by) if stretch.end == at && !here.contains(&by) => (at, Some(by)),
                    _ => (whole(begin, course.dead_end(wait)), None),
                },
            }
        };
        if begin < at {
            here.clear();
        }
        at = begin;
        thread = next.unwrap_or(thread);
    }
    steps.reverse();
    steps
}

/// The path of the root thread over the whole trace.
pub(super) fn path_of_run(courses: &Courses<'_>) -> Vec<PathStep> {
    match courses.threads.first() {
        Some(_) => steps(courses, 0, courses.trace.begin, courses.trace.end),
        None => Vec::new(),
    }
}
