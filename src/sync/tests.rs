//! What can only be seen from inside the gate: when a permit is put back, and when it is handed over.

use super::gate::Gate;
use super::limit::Limit;
use crate::wait::publish;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_permit_is_handed_over_once_in_a_while() {
    let gate = Arc::new(Gate::new(0));
    let has_it = Arc::new(AtomicBool::new(false));
    let waiter = thread::spawn({
        let (gate, has_it) = (gate.clone(), has_it.clone());
        move || {
            let outcome = gate.acquire_slow(Limit::NONE, || publish("permit", Arc::from("test")));
            has_it.store(true, Ordering::SeqCst);
            outcome
        }
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while !gate.is_awaited() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    // From now on permits are due to be handed over: this one never lies where a greedy thread could take it.
    gate.be_fair_now();
    gate.release();
    assert!(!gate.try_acquire() && gate.available() == 0);
    assert_eq!(waiter.join().unwrap(), Ok(()));
    assert!(has_it.load(Ordering::SeqCst));

    // The next is not due yet: it is put back, and anyone may have it.
    gate.release();
    assert!(gate.try_acquire());
}
