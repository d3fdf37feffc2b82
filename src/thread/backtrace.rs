//! The frames of a backtrace that are the program's own: without the panic's machinery, and without
//! the code that starts threads.

use std::backtrace::Backtrace;

/// The lines of a backtrace between the panic's machinery and the thread's own start.
pub(crate) fn own_frames(backtrace: &Backtrace) -> Vec<String> {
    let text = backtrace.to_string();
    // Each frame is a line " 12: path::to::function", and mostly a second one " at
    // file:line:column".
    let mut frames: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        match trimmed.split_once(": ") {
            Some((number, name)) if number.bytes().all(|b| b.is_ascii_digit()) => frames.push((name, Vec::new())),
            _ => {
                if let Some((_, places)) = frames.last_mut() {
                    places.push(trimmed);
                }
            }
        }
    }
    // From the outermost entry into the panic's machinery, past what of the standard library called
    // it.
    let end = frames.iter().position(|(name, places)| is_start(name, places)).unwrap_or(frames.len());
    let entry = frames[..end].iter().rposition(|(name, _)| is_entry(name)).map_or(0, |at| at + 1);
    let inner = frames[entry..end].iter().take_while(|(name, _)| is_raising(name)).count();
    let mut lines = Vec::new();
    for (name, places) in &frames[entry + inner..end] {
        lines.push(format!("at {name}"));
        lines.extend(places.iter().map(|place| format!("   {place}")));
    }
    lines
}

fn is_entry(name: &str) -> bool {
    name.ends_with("rust_begin_unwind") || name.contains("std::panicking::begin_panic")
}

fn is_raising(name: &str) -> bool {
    name.starts_with("core::") || name.starts_with("<core::") || name.starts_with("std::panic")
}

/// The frames that a thread of ours, or `main`, starts from. By the file too: not all debug
/// information has whole names.
fn is_start(name: &str, places: &[&str]) -> bool {
    // Where this crate lay when it was built: "src/", or an absolute path.
    let sources = file!().trim_end_matches("thread/backtrace.rs");
    let is_ours = |place: &str| {
        let at = place.rfind(sources).map(|at| &place[at + sources.len()..]);
        at.is_some_and(|file| {
            ["thread/spawn.rs", "thread/scope.rs", "runtime/run.rs"].iter().any(|our| file.starts_with(our))
        })
    };
    name.contains("__rust_begin_short_backtrace")
        || name.contains("selvedge::thread::spawn::")
        || name.contains("selvedge::thread::scope::")
        || name.contains("selvedge::runtime::")
        || places.iter().any(|place| is_ours(place))
}
