//! The minimum and maximum width of a part of a pattern, counted in grapheme clusters, which a
//! reader takes for letters.

use std::io;

use log4rs::encode::{Style, Write};
use unicode_segmentation::UnicodeSegmentation;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Width {
    pub(super) fill: char,
    pub(super) align_right: bool,
    pub(super) cut_left: bool,
    pub(super) least: Option<usize>,
    pub(super) greatest: Option<usize>,
}

impl Width {
    pub(super) fn is_any(&self) -> bool {
        self.least.is_none() && self.greatest.is_none()
    }

    /// Lets `write` write, then brings what it wrote to this width.
    pub(super) fn apply<W: Write + ?Sized>(
        &self,
        out: &mut W,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut collected = Collected { pieces: Vec::new(), text: Vec::new() };
        write(&mut collected)?;
        collected.end_text();
        let pieces = collected.pieces;
        let width: usize = pieces.iter().map(Piece::width).sum();
        let too_wide = self.greatest.filter(|greatest| width > *greatest);
        let missing = self.least.map_or(0, |least| least.saturating_sub(width));
        match too_wide {
            Some(greatest) if self.cut_left => cut_left(&pieces, width - greatest, out)?,
            Some(greatest) => cut_right(&pieces, greatest, out)?,
            None => {}
        }
        // A least width above the greatest one: log4rs then writes both, and so do we.
        if missing > 0 && self.align_right {
            self.pad(missing, out)?;
        }
        if missing > 0 || too_wide.is_none() {
            pieces.iter().try_for_each(|piece| piece.write(out))?;
        }
        if missing > 0 && !self.align_right {
            self.pad(missing, out)?;
        }
        Ok(())
    }

    fn pad<W: Write + ?Sized>(&self, count: usize, out: &mut W) -> io::Result<()> {
        let mut bytes = [0; 4];
        let fill = self.fill.encode_utf8(&mut bytes).as_bytes();
        (0..count).try_for_each(|_| out.write_all(fill))
    }
}

enum Piece {
    Text { text: String, width: usize },
    Style(Style),
}

impl Piece {
    fn width(&self) -> usize {
        match self {
            Piece::Text { width, .. } => *width,
            Piece::Style(_) => 0,
        }
    }

    fn write<W: Write + ?Sized>(&self, out: &mut W) -> io::Result<()> {
        match self {
            Piece::Text { text, .. } => out.write_all(text.as_bytes()),
            Piece::Style(style) => out.set_style(style),
        }
    }
}

fn cut_left<W: Write + ?Sized>(pieces: &[Piece], mut cut: usize, out: &mut W) -> io::Result<()> {
    for piece in pieces {
        match piece {
            Piece::Text { text, width } if cut < *width => {
                out.write_all(&text.as_bytes()[bytes_of(text, cut)..])?;
                cut = 0;
            }
            Piece::Text { width, .. } => cut -= width,
            Piece::Style(style) => out.set_style(style)?,
        }
    }
    Ok(())
}

/// Styles behind the cut are kept, so that a colour ends.
fn cut_right<W: Write + ?Sized>(pieces: &[Piece], mut room: usize, out: &mut W) -> io::Result<()> {
    for piece in pieces {
        match piece {
            Piece::Text { text, .. } => {
                out.write_all(&text.as_bytes()[..bytes_of(text, room)])?;
                room = room.saturating_sub(piece.width());
            }
            Piece::Style(style) => out.set_style(style)?,
        }
    }
    Ok(())
}

/// The length of the first `count` clusters.
fn bytes_of(text: &str, count: usize) -> usize {
    text.grapheme_indices(true).nth(count).map_or(text.len(), |(at, _)| at)
}

struct Collected {
    pieces: Vec<Piece>,
    text: Vec<u8>,
}

impl Collected {
    fn end_text(&mut self) {
        if !self.text.is_empty() {
            let text = String::from_utf8_lossy(&std::mem::take(&mut self.text)).into_owned();
            let width = text.graphemes(true).count();
            self.pieces.push(Piece::Text { text, width });
        }
    }
}

impl io::Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Collected {
    fn set_style(&mut self, style: &Style) -> io::Result<()> {
        self.end_text();
        self.pieces.push(Piece::Style(style.clone()));
        Ok(())
    }
}
