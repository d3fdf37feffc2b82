//! The flamegraph as an SVG, drawn by inferno: threads in blue at the bottom, the code that they ran upon them.

use super::Stacks;
use super::folded;
use super::labels::Labels;
use inferno::differential;
use inferno::flamegraph::color::{Color, MultiPalette, Palette, PaletteMap};
use inferno::flamegraph::{self, Options};
use std::io::{self, Write};

/// How a flamegraph is drawn. The default titles say what was recorded.
///
/// ```
/// # use selvedge::profile::FlameOptions;
/// let options = FlameOptions::new().title("indexer, first hour");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlameOptions {
    title: Option<String>,
    subtitle: Option<String>,
    pub(super) pools_folded: bool,
    pub(super) subtree: Option<String>,
    pub(super) threads_dropped: bool,
    pub(super) unabridged: bool,
}

impl FlameOptions {
    /// The default options.
    pub fn new() -> FlameOptions {
        FlameOptions::default()
    }

    /// The line over the picture; by default `<program>: CPU time of all threads`.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> FlameOptions {
        self.title = Some(title.into());
        self
    }

    /// The line under the title; by default samples, rate, duration, and how much of the CPU time they have seen.
    #[must_use]
    pub fn subtitle(mut self, subtitle: impl Into<String>) -> FlameOptions {
        self.subtitle = Some(subtitle.into());
        self
    }

    /// Threads whose names differ in the number at their end only, `reader-1` to `reader-8` of one parent, are one:
    /// `reader-*`.
    #[must_use]
    pub fn fold_pools(mut self) -> FlameOptions {
        self.pools_folded = true;
        self
    }

    /// Only that thread, given by its path, and all below it.
    #[must_use]
    pub fn subtree(mut self, path: impl Into<String>) -> FlameOptions {
        self.subtree = Some(path.into());
        self
    }

    /// Functions with their whole names, type parameters and all, and with those that do nothing but call a closure or catch
    /// its panic: `FnOnce::call_once` and the like. By default, functions that differ in type parameters only are one.
    #[must_use]
    pub fn unabridged(mut self) -> FlameOptions {
        self.unabridged = true;
        self
    }

    /// The code of all threads together, without the threads.
    #[must_use]
    pub fn without_threads(mut self) -> FlameOptions {
        self.threads_dropped = true;
        self
    }
}

/// A frame is left out if it is narrower than this share of the picture, in percent.
const NARROWEST: f64 = 0.01;

pub(super) fn write(
    stacks: &Stacks,
    title: &str,
    subtitle: &str,
    options: &FlameOptions,
    out: impl Write,
) -> io::Result<()> {
    let mut lines = folded::lines(stacks, options);
    if lines.iter().all(|line| line.ends_with(" 0")) {
        // inferno takes it for an error; for us a picture of nothing is an answer too.
        lines = vec!["[no samples] 1".into()];
    }
    let mut colours = colours(stacks, options);
    let mut inferno = Options::default();
    inferno.title = options.title.as_deref().unwrap_or(title).into();
    inferno.subtitle = Some(options.subtitle.as_deref().unwrap_or(subtitle).into());
    inferno.colors = Palette::Multi(MultiPalette::Rust);
    inferno.deterministic = true;
    inferno.palette_map = Some(&mut colours);
    inferno.min_width = NARROWEST;
    inferno.name_type = "Frame:".into();
    (inferno.factor, inferno.count_name) = unit(stacks);
    flamegraph::from_lines(&mut inferno, lines.iter().map(String::as_str), out)
}

/// Red has grown, blue has shrunk, as shares: a longer recording is not a redder one.
pub(super) fn write_difference(
    before: &Stacks,
    after: &Stacks,
    title: &str,
    options: &FlameOptions,
    out: impl Write,
) -> io::Result<()> {
    let text = |stacks| folded::lines(stacks, options).join("\n") + "\n";
    let (before, after_text) = (text(before), text(after));
    let mut lines = Vec::new();
    let differences = differential::Options { normalize: before.len() > 1, strip_hex: false };
    differential::from_readers(differences, before.as_bytes(), after_text.as_bytes(), &mut lines)?;
    let text = String::from_utf8_lossy(&lines);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    if after_text.len() <= 1 {
        lines = vec!["[no samples] 1 1"];
    }
    let mut inferno = Options::default();
    inferno.title = options.title.as_deref().unwrap_or(title).into();
    inferno.subtitle = options.subtitle.clone();
    inferno.deterministic = true;
    inferno.min_width = NARROWEST;
    inferno.name_type = "Frame:".into();
    (inferno.factor, inferno.count_name) = unit(after);
    flamegraph::from_lines(&mut inferno, lines, out)
}

/// Weights are shown in milliseconds, or in microseconds where a stack has less than one millisecond.
fn unit(stacks: &Stacks) -> (f64, String) {
    match stacks.stacks.iter().map(|stack| stack.weight).min() {
        Some(least) if least < 1_000_000 => (1e-3, "µs".into()),
        _ => (1e-6, "ms".into()),
    }
}

/// Blue for the labels, grey for remarks; inferno's palette tells the standard library from the rest.
fn colours(stacks: &Stacks, options: &FlameOptions) -> PaletteMap {
    let mut map = PaletteMap::default();
    let labels = Labels::new(options, stacks.stacks.iter().map(|stack| &*stack.label));
    for stack in &stacks.stacks {
        for (depth, part) in labels.shown(&stack.label).unwrap_or_default().iter().enumerate() {
            // Steps in brightness, so that a thread is told from its parent.
            let step = 14 * (depth % 3) as u8;
            map.insert(folded::escape(part), Color { r: 120 + step, g: 165 + step, b: 225 + step });
        }
    }
    for line in stacks.locations.iter().filter(|location| location.address == 0).flat_map(|location| &location.lines) {
        map.insert(folded::escape(&line.function), Color { r: 190, g: 190, b: 190 });
    }
    map
}
