//! The texts of log records, by numbers that events name. In bounded memory: the newest are kept.

use std::collections::VecDeque;
use std::sync::Arc;

/// Memory of the texts that are kept.
const BUDGET: usize = if cfg!(test) { 4 << 10 } else { 4 << 20 };

/// Bytes of a text that are kept.
const LONGEST: usize = 512;

/// What a text takes besides its bytes.
const OVERHEAD: usize = 32;

/// The numbers of texts begin with 1.
#[derive(Clone, Default)]
pub(super) struct Texts {
    /// How many were forgotten.
    forgotten: u64,
    /// The oldest first.
    kept: VecDeque<Arc<str>>,
    bytes: usize,
}

impl Texts {
    /// Keeps the text, or its beginning, and gives its number.
    pub(super) fn add(&mut self, text: &str) -> u64 {
        let text: Arc<str> = match text.len() {
            0..=LONGEST => text.into(),
            _ => {
                let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                format!("{}…", &text[..end]).into()
            }
        };
        self.bytes += text.len() + OVERHEAD;
        self.kept.push_back(text);
        while self.bytes > BUDGET
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.len() + OVERHEAD;
            self.forgotten += 1;
        }
        self.forgotten + self.kept.len() as u64
    }

    /// `None`: it is not kept any more.
    pub(super) fn get(&self, number: u64) -> Option<&Arc<str>> {
        let index = number.checked_sub(self.forgotten + 1)?;
        self.kept.get(usize::try_from(index).ok()?)
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn the_newest_texts_are_kept_by_their_numbers() {
        let mut texts = Texts::default();
        let numbers: Vec<u64> = (0..1_000).map(|n| texts.add(&format!("record {n}"))).collect();
        assert_eq!(numbers, (1..=1_000).collect::<Vec<_>>());
        assert!(texts.bytes <= BUDGET && texts.get(0).is_none() && texts.get(1).is_none());
        assert_eq!((texts.get(1_000).map(|text| &**text), texts.get(1_001)), (Some("record 999"), None));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut texts = Texts::default();
        let number = texts.add(&"ä".repeat(10_000));
        let text = texts.get(number).unwrap();
        assert!(text.len() <= LONGEST + 3 && text.ends_with("ä…"), "{text}");
    }
}
