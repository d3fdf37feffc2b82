//! Writes stacks in three formats: folded lines, a flamegraph as SVG, a pprof file. Knows stacks
//! and labels, not threads or samples. Of the crate it uses only the error type.

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
mod subtitle;
mod svg;
#[cfg(test)]
mod tests;

pub(crate) use names::{Names, is_plumbing};
pub use options::FlameOptions;
pub(crate) use pprof::Facts;
#[cfg(feature = "push")]
pub(crate) use protobuf::Message;
pub(crate) use stacks::{Line, Location, Module, Stack, Stacks};

use crate::error::{Error, Kind};
use std::io::Write;

/// Folded lines: one for each stack, sorted. Equal stacks are added up.
pub(crate) fn write_folded(stacks: &Stacks, mut out: impl Write) -> Result<(), Error> {
    // All frames, for programs that read them.
    let options = FlameOptions::new().keep_pools().collapse([""; 0]);
    for line in folded::lines(stacks, &options) {
        writeln!(out, "{line}").map_err(|cause| unwritten("folded stacks", cause))?;
    }
    out.flush().map_err(|cause| unwritten("folded stacks", cause))
}

/// The flamegraph. `options` override `title` and `subtitle`.
pub(crate) fn write_svg(
    stacks: &Stacks,
    title: &str,
    subtitle: &str,
    options: &FlameOptions,
    out: impl Write,
) -> Result<(), Error> {
    svg::write(stacks, title, subtitle, options, out).map_err(|cause| unwritten("flamegraph", cause))
}

/// The flamegraph of `after`. Colours show what has changed since `before`.
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

/// A gzipped `profile.proto` that has the number of samples of each stack as its only value.
#[cfg(feature = "inspect")]
pub(crate) fn write_counts(stacks: &Stacks, kind: &str, out: impl Write) -> Result<(), Error> {
    pprof::write_counts(stacks, kind, out).map_err(|cause| unwritten("pprof file", cause))
}

fn unwritten(what: &str, cause: std::io::Error) -> Error {
    Error::new(Kind::Io, format!("the {what} could not be written")).because(cause)
}
