//! The context of a thread (pairs of a key and a value), as other threads see it: dumps read it at
//! any time. While a recording runs, each context has a number, which the thread's signal handler
//! puts into its samples. The room `thread` has the map itself; `identity` and `slot` publish it.
//!
//! Invariant: a number is given to one context only, and never again.

use std::sync::Arc;

/// A key and a value.
pub(crate) type Pair = (Arc<str>, Arc<str>);

/// A context that is not empty. A clone shares its pairs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Context {
    /// By key.
    pub(crate) pairs: Arc<[Pair]>,
}

#[cfg(feature = "profiling")]
pub(super) use self::numbered::number;
#[cfg(feature = "profiling")]
pub(crate) use self::numbered::{ContextNumbers, number_contexts};

/// The numbers of contexts, for one recording.
#[cfg(feature = "profiling")]
mod numbered {
    use super::Context;
    use crate::model::locks::Mutex;
    use crate::os::fork::PerProcess;
    use std::collections::{BTreeMap, HashMap};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// Contexts with a number at a time. Beyond that, contexts are forgotten that no thread has and
    /// no sample was seen of; and if there are none, a new context has the keys alone.
    const MAX: usize = if cfg!(test) { 16 } else { 4096 };

    /// More contexts than this of keys alone are one.
    const MAX_KEYS: usize = MAX / 8;

    /// A search for unused contexts that finds fewer is not repeated before `MAX` further new
    /// contexts. It reads all contexts under the lock that each thread takes for a new one, so many
    /// new contexts must share its cost.
    const FEW: usize = MAX / 16;

    /// The newest ones that are not forgotten: samples of them may be on their way.
    const NEWEST: usize = MAX / 4;

    /// In the place of a value.
    const OTHERS: &str = "[others]";

    /// Set while a recording runs. Relaxed: a context that is set while a recording begins is given
    /// its number by the recording.
    static IS_ON: AtomicBool = AtomicBool::new(false);
    static NUMBERS: PerProcess<Mutex<Numbers>> = PerProcess::new(Mutex::new(Numbers::new()), Mutex::default);

    /// While this lives, contexts have numbers. One recording at a time.
    pub(crate) struct ContextNumbers(());

    pub(crate) fn number_contexts() -> ContextNumbers {
        let before = std::mem::take(&mut *NUMBERS.lock());
        drop(before);
        IS_ON.store(true, Ordering::Relaxed);
        ContextNumbers(())
    }

    impl ContextNumbers {
        /// The context with that number, and its number. If it was forgotten meanwhile, the
        /// context that stands for all others.
        pub(crate) fn find(number: u64) -> (u64, Context) {
            let mut numbers = NUMBERS.lock();
            match numbers.by_number.get(&number) {
                Some(context) => (number, context.clone()),
                None => numbers.others(),
            }
        }

        /// Returns `true` if contexts lost their values, since there were too many.
        pub(crate) fn are_too_many() -> bool {
            NUMBERS.lock().are_too_many
        }
    }

    impl Drop for ContextNumbers {
        fn drop(&mut self) {
            IS_ON.store(false, Ordering::Relaxed);
            let before = std::mem::take(&mut *NUMBERS.lock());
            drop(before);
        }
    }

    /// The number of the context while a recording runs; 0: none.
    pub(in crate::wait) fn number(context: Option<&Context>) -> u64 {
        match context {
            Some(context) if IS_ON.load(Ordering::Relaxed) => NUMBERS.lock().number(context),
            _ => 0,
        }
    }

    #[derive(Default)]
    struct Numbers {
        by_number: BTreeMap<u64, Context>,
        /// `None` before the first one.
        numbers: Option<HashMap<Context, u64>>,
        /// Contexts of keys alone.
        keys: usize,
        are_too_many: bool,
        /// So many new contexts come before all are searched for unused ones again.
        pause: usize,
        /// How often all contexts were searched for unused ones.
        #[cfg(test)]
        scans: usize,
    }

    impl Numbers {
        const fn new() -> Numbers {
            Numbers {
                by_number: BTreeMap::new(),
                numbers: None,
                keys: 0,
                are_too_many: false,
                pause: 0,
                #[cfg(test)]
                scans: 0,
            }
        }

        fn number(&mut self, context: &Context) -> u64 {
            if let Some(number) = self.known(context) {
                return number;
            }
            if self.by_number.len() >= MAX + self.keys {
                match self.pause {
                    0 => self.forget(),
                    _ => self.pause -= 1,
                }
            }
            if self.by_number.len() < MAX + self.keys {
                return self.add(context.clone());
            }
            self.are_too_many = true;
            let keys = context.pairs.iter().map(|(key, _)| (key.clone(), OTHERS.into()));
            let keys = Context { pairs: keys.collect() };
            match self.known(&keys) {
                Some(number) => number,
                None if self.keys >= MAX_KEYS => self.others().0,
                None => self.add_keys(keys).0,
            }
        }

        fn add_keys(&mut self, keys: Context) -> (u64, Context) {
            self.keys += 1;
            (self.add(keys.clone()), keys)
        }

        /// The context that stands for those whose keys are too many, and for forgotten ones.
        fn others(&mut self) -> (u64, Context) {
            self.are_too_many = true;
            let others = Context { pairs: [("context".into(), OTHERS.into())].into() };
            let known = self.known(&others).and_then(|number| Some((number, self.by_number.get(&number)?.clone())));
            known.unwrap_or_else(|| self.add_keys(others))
        }

        fn known(&self, context: &Context) -> Option<u64> {
            self.numbers.as_ref()?.get(context).copied()
        }

        fn add(&mut self, context: Context) -> u64 {
            static LAST: AtomicU64 = AtomicU64::new(0);
            let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            self.by_number.insert(number, context.clone());
            self.numbers.get_or_insert_default().insert(context, number);
            number
        }

        /// Forgets the oldest contexts that no thread has, and that no accounting has asked for:
        /// only the two maps have them.
        fn forget(&mut self) {
            #[cfg(test)]
            {
                self.scans += 1;
            }
            let unused = |context: &Context| Arc::strong_count(&context.pairs) == 2;
            let unused: Vec<u64> =
                self.by_number.iter().filter(|(_, context)| unused(context)).map(|(number, _)| *number).collect();
            let old = unused.len().saturating_sub(NEWEST);
            if old < FEW {
                self.pause = MAX;
            }
            for number in unused.iter().take(old) {
                if let Some((context, numbers)) = self.by_number.remove(number).zip(self.numbers.as_mut()) {
                    numbers.remove(&context);
                    self.keys -= usize::from(self.keys > 0 && is_keys_alone(&context));
                }
            }
        }
    }

    /// Its values were left out.
    fn is_keys_alone(context: &Context) -> bool {
        context.pairs.iter().all(|(_, value)| **value == *OTHERS)
    }

    #[cfg(all(test, not(selvedge_model)))]
    mod tests {
        use super::*;

        fn context(pairs: &[(&str, &str)]) -> Context {
            Context { pairs: pairs.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect() }
        }

        #[test]
        fn equal_contexts_have_one_number() {
            let mut numbers = Numbers::default();
            let first = numbers.number(&context(&[("request", "17")]));
            assert_ne!(numbers.number(&context(&[("request", "18")])), first);
            assert_eq!(numbers.number(&context(&[("request", "17")])), first);
        }

        #[test]
        fn contexts_that_no_sample_has_are_forgotten() {
            let mut numbers = Numbers::default();
            let kept = context(&[("request", "kept")]);
            let number = numbers.number(&kept);
            for n in 0..100_000 {
                numbers.number(&context(&[("request", &n.to_string())]));
                assert!(numbers.by_number.len() <= MAX);
            }
            assert!(!numbers.are_too_many);
            assert_eq!(numbers.number(&kept), number);
            let newest = numbers.number(&context(&[("request", "99999")]));
            assert_eq!(numbers.by_number.keys().last(), Some(&newest));
        }

        #[test]
        fn contexts_in_use_are_seldom_searched() {
            let mut numbers = Numbers::default();
            let used: Vec<_> = (0..MAX).map(|n| context(&[("used", &n.to_string())])).collect();
            for context in &used {
                numbers.number(context);
            }
            for n in 0..100 * MAX {
                numbers.number(&context(&[("request", &n.to_string())]));
            }
            assert!(numbers.scans <= 100, "{} scans", numbers.scans);
            assert!(numbers.are_too_many);
            // The uses end, so there is room again.
            drop(used);
            let values: Vec<_> = (0..2 * MAX).map(|n| context(&[("late", &n.to_string())])).collect();
            for context in &values {
                numbers.number(context);
            }
            assert!(values.iter().any(|context| numbers.known(context).is_some()), "no late value is kept");
        }

        #[test]
        fn too_many_contexts_keep_their_keys() {
            let mut numbers = Numbers::default();
            let all: Vec<_> = (0..100).map(|n| context(&[("request", &n.to_string())])).collect();
            let given: Vec<u64> = all.iter().map(|context| numbers.number(context)).collect();
            assert!(numbers.are_too_many);
            let last = &numbers.by_number[given.last().unwrap()];
            assert_eq!(*last.pairs, [("request".into(), OTHERS.into())]);
            for n in 0..100 {
                numbers.number(&context(&[(&format!("key-{n}"), "x")]));
            }
            let last = numbers.number(&context(&[("another", "x")]));
            assert_eq!(*numbers.by_number[&last].pairs, [("context".into(), OTHERS.into())]);
            assert!(numbers.by_number.len() <= MAX + MAX_KEYS + 1);
        }
    }
}
