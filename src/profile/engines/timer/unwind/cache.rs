//! What is known of the code's addresses: rules that were found once, so that the tables are not
//! read for each frame of each walk. Knows no tables.

use super::module::Before;
use super::rule::{Kept, Rule};

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressInfo {
    pub(super) rule: Rule,
    pub(super) origin: Origin,
}

/// How a thread comes to an address, by what lies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Not as a return address.
    None = 0,
    /// By the return from a call.
    Call = 1,
    /// By the return from a signal handler.
    Signal = 2,
}

impl From<Before> for Origin {
    fn from(before: Before) -> Origin {
        match before {
            Before::NoCall => Origin::None,
            // What cannot be read may be a call.
            Before::Call(_) | Before::Hidden => Origin::Call,
            Before::EndOfSignal => Origin::Signal,
        }
    }
}

/// Rules found so far: 8 KiB for one thread. Used by one walk at a time.
pub(in super::super) struct Cache {
    entries: Box<[Entry]>,
    /// The generation of the modules by which the rules were found. 0: there are none.
    generation: u32,
}

/// A prime, as code addresses are multiples of many numbers.
const ENTRIES: usize = 509;

/// Packed, since each sampled thread has five hundred.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// The address above [`ADDRESS`] bits. Below it one bit, set if the address is exact, two with
    /// the [`Origin`], and four with the kind of the rule. 0: there is no entry.
    word: u64,
    /// Of [`Rule::Saved`]; `since` of [`Rule::Uncovered`].
    end: i32,
    /// Of [`Rule::Saved`], in words of the stack.
    frame_pointer: i16,
    link: i16,
}

const ADDRESS: u32 = 8;
const EXACT: u64 = 1 << 7;
const ORIGIN: u32 = 4;
/// The kind of a rule. `SAVED` has three more bits: which parts of it are set.
const KIND: u64 = 15;
const OUTERMOST: u64 = 1;
const EVALUATED: u64 = 2;
const UNCOVERED: u64 = 3;
const SAVED: u64 = 8;
const FROM_FRAME_POINTER: u64 = 1;
const FRAME_POINTER_AT: u64 = 2;
const LINK_AT: u64 = 4;

impl Default for Cache {
    fn default() -> Cache {
        Cache { entries: vec![Entry::default(); ENTRIES].into(), generation: 0 }
    }
}

impl Cache {
    /// What is known of `address`, by modules of that generation: from the cache, or else by `find`.
    ///
    /// # Signal safety
    /// Safe, if `find` is.
    #[inline]
    pub(super) fn get(
        &mut self,
        generation: u32,
        address: u64,
        exact: bool,
        find: impl FnOnce() -> AddressInfo,
    ) -> AddressInfo {
        if self.generation != generation {
            self.entries.fill(Entry::default());
            self.generation = generation;
        }
        let entry = &mut self.entries[(address % ENTRIES as u64) as usize];
        if let Some(known) = entry.get(address, exact) {
            return known;
        }
        let found = find();
        if let Some(new) = Entry::new(address, exact, found) {
            *entry = new;
        }
        found
    }
}

impl Entry {
    /// `None`: it is not kept.
    fn new(address: u64, exact: bool, AddressInfo { rule, origin }: AddressInfo) -> Option<Entry> {
        let (kind, end, frame_pointer, link) = match rule {
            // Code that is in no module may be replaced by other code at any time.
            Rule::NoModule => return None,
            Rule::Outermost => (OUTERMOST, 0, 0, 0),
            Rule::Evaluated => (EVALUATED, 0, 0, 0),
            Rule::Uncovered { since } => (UNCOVERED, since as i32, 0, 0),
            Rule::Saved { from_frame_pointer, end, frame_pointer, link } => {
                let bits = [
                    (from_frame_pointer, FROM_FRAME_POINTER),
                    (frame_pointer != Kept::InRegister, FRAME_POINTER_AT),
                    (link != Kept::InRegister, LINK_AT),
                ];
                let kind = bits.iter().filter(|(is_set, _)| *is_set).fold(SAVED, |kind, (_, bit)| kind | bit);
                (kind, end, words(frame_pointer)?, words(link)?)
            }
        };
        // An address of the kernel, which no module has.
        if address >> (u64::BITS - ADDRESS) != 0 {
            return None;
        }
        let exact = if exact { EXACT } else { 0 };
        Some(Entry { word: address << ADDRESS | exact | (origin as u64) << ORIGIN | kind, end, frame_pointer, link })
    }

    #[inline]
    fn get(&self, address: u64, exact: bool) -> Option<AddressInfo> {
        let is_same = self.word >> ADDRESS == address && (self.word & EXACT != 0) == exact;
        let (kind, end) = (self.word & KIND, self.end);
        if !is_same || kind == 0 {
            return None;
        }
        let rule = match kind {
            OUTERMOST => Rule::Outermost,
            EVALUATED => Rule::Evaluated,
            UNCOVERED => Rule::Uncovered { since: end as u32 },
            _ => {
                let kept = |bit, words: i16| {
                    if kind & bit == 0 { Kept::InRegister } else { Kept::At(i32::from(words) * WORD) }
                };
                let from_frame_pointer = kind & FROM_FRAME_POINTER != 0;
                let (frame_pointer, link) = (kept(FRAME_POINTER_AT, self.frame_pointer), kept(LINK_AT, self.link));
                Rule::Saved { from_frame_pointer, end, frame_pointer, link }
            }
        };
        let origin = match self.word >> ORIGIN & 3 {
            0 => Origin::None,
            1 => Origin::Call,
            _ => Origin::Signal,
        };
        Some(AddressInfo { rule, origin })
    }
}

const WORD: i32 = 8;

/// The distance in words. `None`: it is no whole number of words, or too large.
fn words(kept: Kept) -> Option<i16> {
    match kept {
        Kept::InRegister => Some(0),
        Kept::At(distance) if distance % WORD == 0 => (distance / WORD).try_into().ok(),
        Kept::At(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(from_frame_pointer: bool, end: i32, frame_pointer: Kept, link: Kept) -> Rule {
        Rule::Saved { from_frame_pointer, end, frame_pointer, link }
    }

    #[test]
    fn each_rule_comes_out_as_it_went_in() {
        let at = [Kept::InRegister, Kept::At(0), Kept::At(-8), Kept::At(-16), Kept::At(8), Kept::At(-262_144)];
        let mut rules =
            vec![Rule::Outermost, Rule::Evaluated, Rule::Uncovered { since: 0 }, Rule::Uncovered { since: u32::MAX }];
        for (frame_pointer, link) in at.into_iter().flat_map(|first| at.map(|second| (first, second))) {
            for end in [0, 8, -8, 12, i32::MAX, i32::MIN] {
                rules.extend([false, true].map(|from| saved(from, end, frame_pointer, link)));
            }
        }
        for rule in rules {
            for origin in [Origin::None, Origin::Call, Origin::Signal] {
                for (address, exact) in [(1, true), (0x7fff_ffff_fff1, false), ((1 << 56) - 1, true)] {
                    let (mut cache, known) = (Cache::default(), AddressInfo { rule, origin });
                    assert_eq!(cache.get(1, address, exact, || known), known);
                    assert_eq!(cache.get(1, address, exact, || panic!("{known:?} is not kept")), known);
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_found_each_time() {
        let far = saved(false, 16, Kept::InRegister, Kept::At(-262_152));
        let uneven = saved(true, 16, Kept::At(-12), Kept::At(-8));
        for (rule, address) in [(far, 5), (uneven, 5), (Rule::NoModule, 5), (Rule::Outermost, 1 << 56)] {
            let (mut cache, mut calls) = (Cache::default(), 0);
            for _ in 0..2 {
                let known = AddressInfo { rule, origin: Origin::Call };
                let find = || {
                    calls += 1;
                    known
                };
                assert_eq!(cache.get(1, address, false, find), known);
            }
            assert_eq!(calls, 2, "{rule:?}");
        }
    }

    #[test]
    fn other_addresses_and_modules_are_found_anew() {
        let mut cache = Cache::default();
        let mut find = |generation, address, exact| {
            let mut found = false;
            let known = AddressInfo { rule: Rule::Outermost, origin: Origin::None };
            cache.get(generation, address, exact, || {
                found = true;
                known
            });
            found
        };
        assert!(find(1, 0, false) && !find(1, 0, false) && find(1, 0, true));
        assert!(find(1, 509, true) && find(1, 0, true) && !find(1, 0, true) && find(1, 1, true));
        assert!(find(2, 0, true) && find(2, 1, true) && !find(2, 0, true));
    }
}
