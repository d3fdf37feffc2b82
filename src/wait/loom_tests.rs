//! Loom models of the change flags at published waits. See `model/loom_tests.rs`.

use super::{ChangeFlags, Slot};
use crate::model::loom_tests::check;
use loom::thread;
use std::sync::Arc;
use std::time::Instant;

/// If the flag is not raised, nothing has changed. If it is raised, the next reading finds the change.
#[test]
fn loom_change_flag_comes_before_each_change_only() {
    check(3, || {
        let (slot, mut flags) = (Arc::<Slot>::default(), ChangeFlags::default());
        let mut known = slot.read_times(&mut Vec::new()).changes;
        assert!(slot.arm(known, &mut flags, 5));
        let theirs = slot.clone();
        let changes = thread::spawn(move || (0..2).for_each(|_| theirs.change(Instant::now, |_| ())));
        for _ in 0..3 {
            let (before, mut seen) = (slot.read_times(&mut Vec::new()).changes, false);
            flags.drain(|number| seen |= number == 5);
            if !seen {
                assert_eq!(before, known, "it had changed without a flag");
                continue;
            }
            let now = slot.read_times(&mut Vec::new()).changes;
            assert_ne!(now, known, "a flag without a change");
            known = now;
            if !slot.arm(known, &mut flags, 5) {
                break;
            }
        }
        changes.join().unwrap();
    });
}

/// Two flags of one word: one is raised while the sampler drains the other. It is seen then, or the next time.
#[test]
fn loom_change_flag_that_is_raised_while_its_word_is_drained_is_not_lost() {
    check(3, || {
        let mut flags = ChangeFlags::default();
        let (first, second) = (flags.flag(5), flags.flag(6));
        first.raise();
        let raises = thread::spawn(move || second.raise());
        let mut seen = Vec::new();
        flags.drain(|number| seen.push(number));
        raises.join().unwrap();
        flags.drain(|number| seen.push(number));
        assert_eq!(seen, [5, 6]);
    });
}
