//! Claim: looking at `please_stop` costs one atomic load.

mod support;

use selvedge::Signal;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Contest, scaled, time};
use tokio_util::sync::CancellationToken;

fn main() {
    let n = scaled(2_000_000, 100);
    let (signal, flag, token) =
        (Signal::new("please_stop"), Arc::new(AtomicBool::new(false)), CancellationToken::new());
    Contest::new("look at a signal that has not gone", n)
        .with("selvedge Signal::is_go", || time(n, || black_box(&signal).is_go()))
        .with("Arc<AtomicBool>, Acquire", || time(n, || black_box(&flag).load(Ordering::Acquire)))
        .with("tokio-util CancellationToken", || time(n, || black_box(&token).is_cancelled()))
        .run(300);
}
