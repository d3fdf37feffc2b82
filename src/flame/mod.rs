//! Writes stacks down: folded lines, a flamegraph as SVG, a pprof file. Knows stacks and labels,
//! not threads; names nothing else in the crate but its error.

mod collapse;
mod escape;
mod folded;
mod labels;
mod names;
mod options;
mod pprof;
mod protobuf;
mod prune;
mod stacks;
mod svg;
#[cfg(test)]
mod tests;

pub(crate) use names::{Names, is_plumbing};
pub use options::FlameOptions;
pub(crate) use stacks::{Line, Location, Module, Stack, Stacks};

use crate::error::{Error, Kind};
use std::io::Write;
use std::time::{Duration, SystemTime};

/// What a pprof file tells besides its stacks.
pub(crate) struct Facts<'a> {
    /// What the weights measure: `cpu` or `wall`.
    pub(crate) clock: &'a str,
    pub(crate) started: SystemTime,
    pub(crate) duration: Duration,
    /// The clock's time between two samples.
    pub(crate) period: Duration,
    /// What the labels of the stacks name: `thread`.
    pub(crate) label_key: &'a str,
    /// Remarks for the readers of the file.
    pub(crate) comments: &'a [String],
}

/// One line for each stack, sorted, each as the sum of its equals.
pub(crate) fn write_folded(stacks: &Stacks, mut out: impl Write) -> Result<(), Error> {
    // All frames, for programs that read them.
    let options = FlameOptions::new().keep_pools().collapse([""; 0]);
    for line in folded::lines(stacks, &options) {
        writeln!(out, "{line}").map_err(|cause| unwritten("folded stacks", cause))?;
    }
    out.flush().map_err(|cause| unwritten("folded stacks", cause))
}

/// The picture. `options` override `title` and `subtitle`.
pub(crate) fn write_svg(
    stacks: &Stacks,
    title: &str,
    subtitle: &str,
    options: &FlameOptions,
    out: impl Write,
) -> Result<(), Error> {
    svg::write(stacks, title, subtitle, options, out).map_err(|cause| unwritten("flamegraph", cause))
}

/// The picture of `after`, coloured by what has changed since `before`.
pub(crate) fn write_svg_difference(
    before: &Stacks,
    after: &Stacks,
    title: &str,
    options: &FlameOptions,
    out: impl Write,
) -> Result<(), Error> {
    svg::write_difference(before, after, title, options, out).map_err(|cause| unwritten("flamegraph", cause))
}

/// A gzipped `profile.proto`.
pub(crate) fn write_pprof(stacks: &Stacks, facts: &Facts<'_>, out: impl Write) -> Result<(), Error> {
    pprof::write(stacks, facts, out).map_err(|cause| unwritten("pprof file", cause))
}

fn unwritten(what: &str, cause: std::io::Error) -> Error {
    Error::new(Kind::Io, format!("the {what} could not be written")).because(cause)
}
