//! Draws the flamegraph as an SVG, by inferno: the threads in blue at the bottom, and above them
//! the code that they ran. Knows folded lines, not samples.

use super::collapse::Collapse;
use super::folded::{Folded, by_frames};
use super::labels::Labels;
use super::prune::prune;
use super::{FlameOptions, Stacks, escape, folded, subtitle};
use inferno::differential;
use inferno::flamegraph::color::{Color, MultiPalette, Palette, PaletteMap};
use inferno::flamegraph::{self, Direction, Options};
use std::collections::HashSet;
use std::io::{self, Write};
use std::time::Duration;

/// A frame is left out if it is narrower than this share of the picture, in percent.
const NARROWEST: f64 = 0.01;

const GREY: Color = Color { r: 190, g: 190, b: 190 };

const BLUE: Color = Color { r: 120, g: 165, b: 225 };
const VIOLET: Color = Color { r: 185, g: 150, b: 220 };
const BROWN: Color = Color { r: 200, g: 165, b: 120 };

/// What ended a wait has its own colour. A thread has that of threads, so the last two of these are
/// beginnings of names.
const COLOURED: [(&str, Color); 5] = [
    ("[ended by the clock]", VIOLET),
    ("[ended by the system]", BROWN),
    ("[outside]", BROWN),
    ("[ended by ", BLUE),
    ("[held by ", BLUE),
];

/// The maximum number of frames of a picture, at about 300 bytes each. Above that, the narrowest
/// frames are merged.
const MOST_FRAMES: usize = 6_000;

pub(super) fn write(
    stacks: &Stacks,
    title: &str,
    subtitle: &str,
    options: &FlameOptions,
    out: impl Write,
) -> io::Result<()> {
    let pruned = prune(&Folded::new(stacks, options), MOST_FRAMES);
    let mut lines = pruned.lines;
    if lines.iter().all(|line| line.ends_with(" 0")) {
        // inferno reports an error for no lines; here the result is an empty picture.
        lines = vec!["[no samples] 1".into()];
    }
    let mut colours = colours(stacks, options);
    let mut inferno = Options::default();
    titles(&mut inferno, options, title, Some(subtitle));
    remark(&mut inferno, hidden(stacks, options));
    remark(&mut inferno, narrow(pruned.left_out));
    inferno.colors = Palette::Multi(MultiPalette::Rust);
    inferno.palette_map = Some(&mut colours);
    (inferno.factor, inferno.count_name) = unit(stacks);
    draw(&mut inferno, lines.iter().map(String::as_str), out)
}

/// Red: the frame's share has grown; blue: it has shrunk. Shares, so that a longer recording is not
/// redder.
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
    lines.sort_unstable_by(|a, b| by_frames(without_weights(a), without_weights(b)));
    if after_text.len() <= 1 {
        lines = vec!["[no samples] 1 1"];
    }
    let mut inferno = Options::default();
    titles(&mut inferno, options, title, None);
    remark(&mut inferno, hidden(after, options));
    (inferno.factor, inferno.count_name) = unit(after);
    draw(&mut inferno, lines.into_iter(), out)
}

/// The frames of a line with two weights.
fn without_weights(line: &str) -> &str {
    line.rsplitn(3, ' ').nth(2).unwrap_or(line)
}

/// Draws lines that are sorted by their frames.
fn draw<'a>(
    inferno: &mut Options<'_>,
    lines: impl DoubleEndedIterator<Item = &'a str>,
    out: impl Write,
) -> io::Result<()> {
    let mut picture = Vec::new();
    flamegraph::from_lines(inferno, lines.rev(), &mut picture)?;
    let picture = String::from_utf8(picture).map_err(io::Error::other)?;
    subtitle::write_broken(&picture, out)
}

/// The settings that all pictures share.
fn titles(inferno: &mut Options<'_>, options: &FlameOptions, title: &str, subtitle: Option<&str>) {
    inferno.title = escape::text(options.title.as_deref().unwrap_or(title));
    inferno.subtitle = options.subtitle.as_deref().or(subtitle).map(escape::text);
    inferno.direction = if options.icicle { Direction::Inverted } else { Direction::Straight };
    inferno.deterministic = true;
    // inferno would sort the lines as text, or refuse another order, and draw a frame twice. It takes the
    // lines of a chart as they are, the last line first.
    inferno.flame_chart = true;
    inferno.min_width = NARROWEST;
    inferno.name_type = "Frame:".into();
}

/// Adds to the subtitle how much is not in the picture.
fn remark(inferno: &mut Options<'_>, remark: Option<String>) {
    let Some(remark) = remark else { return };
    let subtitle = inferno.subtitle.get_or_insert_default();
    let separator = if subtitle.is_empty() { "" } else { " · " };
    subtitle.push_str(separator);
    subtitle.push_str(&escape::text(&remark));
}

fn narrow(left_out: usize) -> Option<String> {
    (left_out > 0).then(|| format!("{left_out} narrow frames summed up"))
}

/// The number of the runtime's threads that are left out, and their time.
fn hidden(stacks: &Stacks, options: &FlameOptions) -> Option<String> {
    let labels = Labels::new(options, std::iter::empty());
    let hidden = || stacks.stacks.iter().filter(|stack| labels.is_hidden(&stack.label));
    let threads: HashSet<&str> = hidden().map(|stack| &*stack.label).collect();
    let time = Duration::from_nanos(hidden().map(|stack| stack.weight).sum());
    let plural = if threads.len() == 1 { "" } else { "s" };
    (!threads.is_empty()).then(|| format!("{} thread{plural} of the runtime hidden ({time:.1?})", threads.len()))
}

/// Weights are shown in milliseconds, or in microseconds where a stack has less than one
/// millisecond.
fn unit(stacks: &Stacks) -> (f64, String) {
    match stacks.stacks.iter().map(|stack| stack.weight).min() {
        Some(least) if least < 1_000_000 => (1e-3, "µs".into()),
        _ => (1e-6, "ms".into()),
    }
}

/// Blue for threads, grey for most remarks. For code, inferno's palette distinguishes the standard
/// library.
fn colours(stacks: &Stacks, options: &FlameOptions) -> PaletteMap {
    let mut map = PaletteMap::default();
    let labels = Labels::new(options, stacks.stacks.iter().map(|stack| &*stack.label));
    for stack in &stacks.stacks {
        for (depth, part) in labels.shown(&stack.label).unwrap_or_default().iter().enumerate() {
            // Steps in brightness, so that a thread looks different from its parent.
            let step = 14 * (depth % 3) as u8;
            map.insert(escape::frame(part), Color { r: BLUE.r + step, g: BLUE.g + step, b: BLUE.b + step });
        }
    }
    for line in stacks.locations.iter().filter(|location| location.address == 0).flat_map(|location| &location.lines) {
        let coloured = COLOURED.iter().find(|(name, _)| line.function.starts_with(name));
        map.insert(escape::frame(&labels.frame(&line.function)), coloured.map_or(GREY, |(_, colour)| *colour));
    }
    for mark in Collapse::new(options.collapse.as_deref()).marks() {
        map.insert(escape::frame(mark), GREY);
    }
    map
}
