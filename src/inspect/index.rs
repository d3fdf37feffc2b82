//! The list of Go's endpoints, for people.

use super::program::Program;
use super::response::Response;
use crate::dump::look;

/// Name, and what it has.
const PROFILES: [(&str, &str); 9] = [
    ("allocs", "There is no profile of allocations yet."),
    ("block", "Where threads have waited, if the program counts waits; block?seconds=5 counts them for so long."),
    ("cmdline", "The arguments of the program, separated by NUL."),
    ("goroutine", "What each thread does: its stack. debug=1 and debug=2 are text."),
    ("heap", "There is no profile of the heap yet."),
    ("mutex", "Where locks were let go that others waited for; mutex?seconds=5 as above."),
    ("profile", "CPU time of all threads. seconds says for how long; clock=wall has waits as well."),
    ("symbol", "Names of addresses."),
    ("threadcreate", "Where the threads were spawned."),
];

pub(super) fn index(program: &Program) -> Response {
    let threads = look(None).0.threads().count();
    let row = |(name, what): &(&str, &str)| {
        let count = if ["goroutine", "threadcreate"].contains(name) { threads.to_string() } else { String::new() };
        let debug = if ["goroutine", "threadcreate"].contains(name) { "?debug=1" } else { "" };
        format!("<tr><td>{count}</td><td><a href=\"{name}{debug}\">{name}</a></td><td>{what}</td></tr>\n")
    };
    let rows: String = PROFILES.iter().map(row).collect();
    let name = escaped(&program.name);
    let title = format!("/debug/pprof/ of {name}");
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body>\n\
         <h1>{title}</h1>\n<table>\n<tr><th>Count</th><th>Profile</th><th>What it has</th></tr>\n{rows}</table>\n\
         <p><a href=\"goroutine?debug=2\">the stacks of all threads</a></p>\n</body></html>\n"
    );
    Response::new(200, "text/html; charset=utf-8", body)
}

/// Text, and never markup.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
