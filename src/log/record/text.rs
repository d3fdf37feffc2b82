//! The text of a captured record. A short text lies in the record itself. So the caller writes into
//! one piece of memory, and reads nothing there that the writer thread has in its cache.
//!
//! Invariant: while `is_long` is `false`, `short[..length]` is UTF-8, since only whole `str`s are
//! added to it.

use std::fmt;

/// Most messages fit, with the names and the diagnostic context.
const SHORT: usize = 136;

pub(super) struct Text {
    /// The text is in `long`, and not in `short`.
    is_long: bool,
    /// How many bytes of `short` are used.
    length: usize,
    short: [u8; SHORT],
    /// May have memory from an earlier text.
    long: String,
}

impl Text {
    pub(super) const fn new() -> Text {
        Text { is_long: false, length: 0, short: [0; SHORT], long: String::new() }
    }

    /// Begins a new text. Only stores: a load would wait for the cache line.
    #[inline]
    pub(super) fn begin(&mut self) {
        (self.is_long, self.length) = (false, 0);
    }

    #[inline]
    pub(super) fn push_str(&mut self, piece: &str) {
        match self.short.get_mut(self.length..self.length + piece.len()) {
            Some(place) if !self.is_long => {
                place.copy_from_slice(piece.as_bytes());
                self.length += piece.len();
            }
            _ => self.push_long(piece),
        }
    }

    #[cold]
    fn push_long(&mut self, piece: &str) {
        if !self.is_long {
            let mut long = std::mem::take(&mut self.long);
            long.clear();
            long.push_str(self.as_str());
            (self.long, self.is_long) = (long, true);
        }
        self.long.push_str(piece);
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        if self.is_long { self.long.len() } else { self.length }
    }

    #[inline]
    pub(super) fn as_str(&self) -> &str {
        if self.is_long {
            return &self.long;
        }
        let used = &self.short[..self.length];
        // SAFETY: the bytes are UTF-8, by the invariant above.
        unsafe { std::str::from_utf8_unchecked(used) }
    }

    /// How many bytes it has on the heap.
    pub(super) fn heap(&self) -> usize {
        self.long.capacity()
    }
}

impl fmt::Write for Text {
    #[inline]
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.push_str(piece);
        Ok(())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_whole_at_each_length() {
        let mut text = Text::new();
        // Twice, since a text that was long keeps its memory.
        for _ in 0..2 {
            for length in 0..=2 * SHORT {
                let (head, tail) = ("\u{e4}".repeat(length / 2), "x".repeat(length % 2));
                text.begin();
                assert_eq!((text.as_str(), text.len()), ("", 0));
                head.split_inclusive('\u{e4}').for_each(|piece| text.push_str(piece));
                text.push_str(&tail);
                text.push_str("");
                assert_eq!(text.as_str(), format!("{head}{tail}"));
                assert_eq!((text.len(), text.is_long), (length, length > SHORT));
            }
        }
        assert!(text.heap() > 0);
    }
}
