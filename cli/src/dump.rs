//! `selvedge dump`: what each thread does, with its stack.

use crate::args::Which;
use crate::fault::Fault;
use crate::text::{plain_json, plain_lines};
use crate::{find, http};
use std::time::Duration;

/// The program has answered before. The first dump reads its debug information, which takes long in
/// a debug build.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(which: &Which, json: bool) -> Result<(), Fault> {
    let program = find::program(which)?;
    let path = if json { "/threads?stacks=1" } else { "/dump" };
    let answer = http::get(&program.place, path, PATIENCE)?;
    let text = String::from_utf8_lossy(&answer.body);
    let text = if json { plain_json(text.trim_end()) } else { plain_lines(text.trim_end()) };
    crate::print(format!("{text}\n").as_bytes())
}
