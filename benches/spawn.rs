//! Claim: a thread in the tree (parent, please_stop, name, failure kept) costs what a bare one
//! costs.

mod support;

use std::hint::black_box;
use std::thread;
use support::{Contest, scaled, time};

fn main() {
    let n = scaled(50, 3);
    Contest::new("spawn and join one named thread", n)
        .with("selvedge::spawn", || time(n, || selvedge::spawn("worker", |_please_stop| black_box(7)).join().unwrap()))
        .with("std::thread::Builder", || time(n, || std_spawn().join().unwrap()))
        .run(200);

    let batch = scaled(100, 3);
    Contest::new("spawn 100, then join 100; per thread", batch)
        .with("selvedge::spawn", || {
            time(1, || {
                let threads: Vec<_> =
                    (0..batch).map(|_| selvedge::spawn("worker", |_please_stop| black_box(7))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<i32>()
            })
        })
        .with("std::thread::Builder", || {
            time(1, || {
                let threads: Vec<_> = (0..batch).map(|_| std_spawn()).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<i32>()
            })
        })
        .run(200);
}

fn std_spawn() -> thread::JoinHandle<i32> {
    thread::Builder::new().name("worker".to_owned()).spawn(|| black_box(7)).expect("a thread")
}
