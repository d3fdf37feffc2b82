//! Where a run lost time: which threads kept others waiting, and what the run had to wait for. Works
//! on a trace; knows no rings, no engine and no addresses.
//!
//! | file | what it is |
//! |---|---|
//! | `course` | what each thread did at each nanosecond |
//! | `losses` | the waits of all threads, followed to what other threads did meanwhile |
//! | `path` | the critical path, backwards from its end |
//! | `reference` | both again, nanosecond by nanosecond, for `tests` |
//! | `shown` | what threads did, as frames and as words |
//! | `blame`, `critical_path` | the two results, as users hold them |

mod blame;
mod course;
mod critical_path;
mod losses;
mod path;
#[cfg(test)]
mod reference_tests;
mod shown;
#[cfg(test)]
mod tests;

pub use self::blame::{Blame, Cause, WaitingThread};
pub use self::critical_path::{CriticalPath, PathFunction, Step};

use self::course::Courses;
use self::path::{path_of_run, steps};
use crate::profile::trace::{Trace, TracedSpan};
use crate::profile::traced_stacks::TracedStacks;

/// The critical path of the whole recording: from the end of the root thread.
pub(super) fn critical_path(trace: &Trace, named: &TracedStacks) -> CriticalPath {
    let courses = Courses::new(trace);
    let what = trace.threads.first().map_or("nothing", |root| &root.path).to_owned();
    CriticalPath::new(&courses, named, what, &path_of_run(&courses))
}

/// The critical path of the longest call of that span. `None`: there was none.
pub(super) fn critical_path_of(trace: &Trace, named: &TracedStacks, span: &str) -> Option<CriticalPath> {
    let all = trace.threads.iter().enumerate().flat_map(|(index, thread)| thread.spans.iter().map(move |s| (index, s)));
    let (thread, longest) =
        all.filter(|(_, known)| &*known.name == span).max_by_key(|(_, known)| known.end.saturating_sub(known.begin))?;
    let &TracedSpan { begin, end, .. } = longest;
    let courses = Courses::new(trace);
    let path = steps(&courses, thread, begin.max(trace.begin), end.min(trace.end));
    Some(CriticalPath::new(&courses, named, format!("span \"{span}\""), &path))
}
