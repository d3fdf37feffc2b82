//! Loom models of the bells at published waits. See `model/loom_tests.rs`.

use super::{Bells, Slot};
use crate::model::loom_tests::check;
use loom::thread;
use std::sync::Arc;
use std::time::Instant;

/// If the bell has not rung, nothing has changed. If it has rung, the next look finds the change.
#[test]
fn loom_bell_rings_before_each_change_and_never_without_one() {
    check(3, || {
        let (slot, mut bells) = (Arc::<Slot>::default(), Bells::default());
        let mut known = slot.read_times(&mut Vec::new()).changes;
        assert!(slot.hang_up(known, &mut bells, 5));
        let theirs = slot.clone();
        let changes = thread::spawn(move || (0..2).for_each(|_| theirs.change(Instant::now, |_| ())));
        for _ in 0..3 {
            let (before, mut heard) = (slot.read_times(&mut Vec::new()).changes, false);
            bells.hear(|number| heard |= number == 5);
            if !heard {
                assert_eq!(before, known, "it had changed, and did not ring");
                continue;
            }
            let now = slot.read_times(&mut Vec::new()).changes;
            assert_ne!(now, known, "it rang, and had not changed");
            known = now;
            if !slot.hang_up(known, &mut bells, 5) {
                break;
            }
        }
        changes.join().unwrap();
    });
}
