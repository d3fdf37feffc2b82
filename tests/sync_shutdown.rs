//! A shutdown makes no Till go before its time, and one that is pending then is not lost.

use selvedge::{Config, Runtime, Signal, Till};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

// One test: there is one runtime in a process at a time.
#[test]
fn pending_tills_are_told_apart_from_expired_ones() {
    let runtime = Runtime::start(Config::new("first")).unwrap();
    let (expired, pending, hour) =
        (Till::after(Duration::ZERO), Till::after(Duration::from_millis(300)), Till::after(Duration::from_secs(3600)));
    let ran: Vec<_> = ["expired", "pending", "hour"].map(Signal::new).into();
    for (till, ran) in [&expired, &pending, &hour].into_iter().zip(&ran) {
        let ran = ran.clone();
        till.on_go(move || assert!(ran.go()));
    }
    assert!(ran[0].wait_for_go_timeout(DEADLINE));
    runtime.shutdown().unwrap();
    assert!(expired.is_go() && !hour.is_go() && !ran[2].is_go(), "no wait for an hour ends because of a shutdown");

    // Waits need no timer; targets go on with the next one.
    assert!(pending.wait_for_go_timeout(DEADLINE));
    let runtime = Runtime::start(Config::new("second")).unwrap();
    let another = Signal::new("another");
    let goes = another.clone();
    Till::after(Duration::from_millis(1)).on_go(move || assert!(goes.go()));
    assert!(another.wait_for_go_timeout(DEADLINE) && ran[1].wait_for_go_timeout(DEADLINE));
    assert!(!hour.is_go() && !ran[2].is_go());
    runtime.shutdown().unwrap();
}
