//! Numbers for texts: where in the source a log record was made. Bounded: texts beyond a number of
//! them share the last one.

use std::collections::HashMap;
use std::sync::Arc;

/// Texts that are told apart.
pub(super) const MOST: usize = 4096;

/// What texts beyond [`MOST`] are called.
const OTHERS: &str = "[others]";

#[derive(Default)]
pub(super) struct Places {
    numbers: HashMap<(Arc<str>, u32), u32>,
    texts: Vec<Arc<str>>,
}

impl Places {
    /// The number of that line of a file, made if need be.
    pub(super) fn number(&mut self, file: &str, line: u32) -> u32 {
        // A key is made for each call: a log record takes a hundred times as long.
        let key = (Arc::from(file), line);
        if let Some(&number) = self.numbers.get(&key) {
            return number;
        }
        let number = self.texts.len().min(MOST) as u32;
        match self.texts.len() {
            MOST => self.texts.push(OTHERS.into()),
            known if known < MOST => {
                self.texts.push(format!("{file}:{line}").into());
                self.numbers.insert(key, number);
            }
            _ => (),
        }
        number
    }

    /// The texts by their numbers.
    pub(super) fn texts(&self) -> Vec<Arc<str>> {
        self.texts.clone()
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn too_many_places_share_a_number() {
        let mut places = Places::default();
        assert_eq!([places.number("a.rs", 1), places.number("b.rs", 1), places.number("a.rs", 1)], [0, 1, 0]);
        for line in 0..10_000 {
            places.number("c.rs", line);
        }
        assert_eq!([places.number("c.rs", 9_999), places.number("b.rs", 1)], [MOST as u32, 1]);
        let texts = places.texts();
        assert_eq!((texts.len(), &*texts[1], &*texts[MOST]), (MOST + 1, "b.rs:1", OTHERS));
    }
}
