//! The algebra of signals, and random programs of goes, waits and cancels against a model that is
//! too simple to be wrong.

use crate::random::Random;
use selvedge::{OnGo, Signal};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LEAVES: usize = 5;

/// An expression over the leaves, and what it should say.
#[derive(Clone, Debug)]
enum Expression {
    Leaf(usize),
    Never,
    Gone,
    Any(Vec<Expression>),
    All(Vec<Expression>),
}

use Expression::{All, Any, Gone, Leaf, Never};

impl Expression {
    fn random(random: &mut Random, depth: usize) -> Expression {
        match random.index(if depth == 0 { 6 } else { 10 }) {
            0 => Never,
            1 => Gone,
            2..6 => Leaf(random.index(LEAVES)),
            kind => {
                let parts = (0..random.index(4)).map(|_| Expression::random(random, depth - 1)).collect();
                if kind < 8 { Any(parts) } else { All(parts) }
            }
        }
    }

    fn holds(&self, gone: &[bool]) -> bool {
        match self {
            Leaf(leaf) => gone[*leaf],
            Never => false,
            Gone => true,
            Any(parts) => parts.iter().any(|part| part.holds(gone)),
            All(parts) => parts.iter().all(|part| part.holds(gone)),
        }
    }

    /// By the operators if there are two parts, else by `any` and `all`.
    fn build(&self, leaves: &[Signal]) -> Signal {
        match self {
            Leaf(leaf) => leaves[*leaf].clone(),
            Never => Signal::never(),
            Gone => Signal::gone(),
            Any(parts) => match parts.as_slice() {
                [a, b] => a.build(leaves) | b.build(leaves),
                _ => Signal::any(parts.iter().map(|part| part.build(leaves))),
            },
            All(parts) => match parts.as_slice() {
                [a, b] => a.build(leaves) & b.build(leaves),
                _ => Signal::all(parts.iter().map(|part| part.build(leaves))),
            },
        }
    }
}

fn leaves() -> Vec<Signal> {
    (0..LEAVES).map(|leaf| Signal::new(format!("s{leaf}"))).collect()
}

/// Both sides of a law say the same, whichever leaves have gone before they are built and whichever
/// go after.
fn same(seed: u64, left: Expression, right: Expression) {
    for early in 0..1 << LEAVES {
        let signals = leaves();
        let mut gone = [false; LEAVES];
        for leaf in (0..LEAVES).filter(|leaf| early >> leaf & 1 == 1) {
            signals[leaf].go();
            gone[leaf] = true;
        }
        let (a, b) = (left.build(&signals), right.build(&signals));
        for leaf in 0..=LEAVES {
            assert_eq!(left.holds(&gone), right.holds(&gone), "no law: {left:?} = {right:?}");
            assert_eq!(a.is_go(), left.holds(&gone), "seed {seed}: {left:?} with {gone:?}");
            assert_eq!(b.is_go(), right.holds(&gone), "seed {seed}: {right:?} with {gone:?}");
            if leaf < LEAVES {
                signals[leaf].go();
                gone[leaf] = true;
            }
        }
    }
}

#[test]
fn the_laws_hold() {
    for seed in 0..150 {
        let mut random = Random(seed);
        let mut one = || Expression::random(&mut random, 2);
        let (a, b, c) = (one(), one(), one());
        for (join, zero, one) in [(Any as fn(Vec<_>) -> _, Never, Gone), (All, Gone, Never)] {
            let of = |parts: &[&Expression]| join(parts.iter().map(|part| (*part).clone()).collect());
            same(seed, of(&[&a, &zero]), a.clone());
            same(seed, of(&[&a, &one]), one.clone());
            same(seed, of(&[&a, &a]), a.clone());
            same(seed, of(&[&a, &b]), of(&[&b, &a]));
            same(seed, of(&[&of(&[&a, &b]), &c]), of(&[&a, &of(&[&b, &c])]));
            same(seed, of(&[&of(&[&a, &b]), &c]), of(&[&a, &b, &c]));
        }
        let (any, all) = (
            |a: &_, b: &_| Any(vec![Expression::clone(a), Expression::clone(b)]),
            |a: &_, b: &_| All(vec![Expression::clone(a), Expression::clone(b)]),
        );
        same(seed, all(&a, &any(&b, &c)), any(&all(&a, &b), &all(&a, &c)));
        same(seed, any(&a, &all(&b, &c)), all(&any(&a, &b), &any(&a, &c)));
        same(seed, any(&a, &all(&a, &b)), a);
    }
}

struct Attached {
    target: OnGo,
    runs: Arc<AtomicUsize>,
    expression: usize,
    /// What the model says: it has run, it was cancelled, or neither.
    ran: bool,
    cancelled: bool,
}

#[test]
fn random_programs_do_what_the_model_says() {
    for seed in 0..2000 {
        let mut random = Random(seed);
        let signals = leaves();
        let mut gone = [false; LEAVES];
        let expressions: Vec<_> = (0..6).map(|_| Expression::random(&mut random, 3)).collect();
        let mut built: Vec<_> = expressions.iter().map(|expression| Some(expression.build(&signals))).collect();
        let mut attached: Vec<Attached> = Vec::new();
        for step in 0..40 {
            let at = format!("seed {seed}, step {step}");
            let which = random.index(expressions.len());
            let holds = expressions[which].holds(&gone);
            match random.index(8) {
                0 => {
                    let leaf = random.index(LEAVES);
                    assert_eq!(signals[leaf].go(), !gone[leaf], "{at}");
                    gone[leaf] = true;
                    for one in &mut attached {
                        one.ran |= !one.cancelled && expressions[one.expression].holds(&gone);
                    }
                }
                1 | 2 => {
                    if let Some(signal) = &built[which] {
                        let runs = Arc::new(AtomicUsize::new(0));
                        let counts = runs.clone();
                        let target = signal.on_go(move || {
                            counts.fetch_add(1, Ordering::SeqCst);
                        });
                        attached.push(Attached { target, runs, expression: which, ran: holds, cancelled: false });
                    }
                }
                3 if !attached.is_empty() => {
                    let count = attached.len();
                    let one = &mut attached[random.index(count)];
                    assert_eq!(one.target.cancel(), !one.ran, "{at}");
                    one.cancelled |= !one.ran;
                }
                4 => {
                    if let Some(signal) = &built[which] {
                        assert_eq!(signal.wait_for_go_timeout(Duration::ZERO), holds, "{at}");
                        if holds {
                            signal.wait_for_go();
                        }
                    }
                }
                5 => {
                    if let Some(signal) = &built[which] {
                        let till = &signals[random.index(LEAVES)];
                        if holds || till.is_go() {
                            assert_eq!(signal.wait_for_go_till(till), holds, "{at}");
                        }
                    }
                }
                6 => {
                    if let Some(signal) = &built[which] {
                        assert!(signal.receiver().is_empty(), "{at}");
                        let ended = signal.receiver().try_recv();
                        let disconnected = ended == Err(crossbeam_channel::TryRecvError::Disconnected);
                        assert_eq!(disconnected, holds, "{at}: {:?}", expressions[which]);
                    }
                }
                _ => {
                    // Dropped, with what is attached to it, or built anew.
                    built[which] = match built[which].take() {
                        Some(_) => None,
                        None => Some(expressions[which].build(&signals)),
                    };
                }
            }
            for (signal, expression) in built.iter().zip(&expressions) {
                if let Some(signal) = signal {
                    assert_eq!(signal.is_go(), expression.holds(&gone), "{at}: {expression:?}");
                }
            }
            for one in &attached {
                assert_eq!(one.runs.load(Ordering::SeqCst), usize::from(one.ran), "{at}");
            }
        }
    }
}

/// Deeper than any stack permits calls: `((a | b) & c) | d`, and so on. Its leaves, and the whole.
fn nested(depth: usize) -> (Vec<Signal>, Signal) {
    let mut leaves = vec![Signal::new("first")];
    let mut whole = leaves[0].clone();
    for level in 1..=depth {
        let leaf = Signal::new("leaf");
        whole = if level % 2 == 0 { &whole | &leaf } else { &whole & &leaf };
        leaves.push(leaf);
    }
    (leaves, whole)
}

/// On a stack that does not depend on the test harness.
fn on_a_small_stack(body: impl FnOnce() + Send + 'static) {
    let small = std::thread::Builder::new().stack_size(256 * 1024);
    small.spawn(body).unwrap().join().unwrap();
}

const DEPTH: usize = 100_000;

#[test]
fn a_deeply_nested_composite_is_dropped() {
    on_a_small_stack(|| {
        let (leaves, whole) = nested(DEPTH);
        let (other, both) = (whole.clone(), &whole | &Signal::new("beside"));
        drop(both);
        drop(other);
        drop(leaves);
        assert!(!whole.is_go());
    });
}

#[test]
fn a_deep_composite_goes_by_its_first_leaf() {
    on_a_small_stack(|| {
        let (leaves, whole) = nested(DEPTH);
        assert!(!whole.is_go() && whole.reason().is_none());
        leaves.iter().skip(1).step_by(2).for_each(|of_and| assert!(of_and.go()));
        assert!(!whole.is_go());
        leaves[0].go_because("the first");
        assert!(whole.is_go());
        assert_eq!(
            whole.reason().unwrap().text(),
            "the first",
            "the reason of an `&` is that of the part that went last"
        );
    });
}

#[test]
fn a_deep_composite_can_be_awaited_and_named() {
    on_a_small_stack(|| {
        let (leaves, whole) = nested(DEPTH);
        assert!(!whole.wait_for_go_timeout(Duration::from_millis(1)));
        assert!(whole.name().starts_with("((((") && whole.name().ends_with(" | leaf)"));
        leaves[DEPTH].go();
        assert!(whole.wait_for_go_timeout(Duration::from_millis(1)));
    });
}

#[test]
fn a_deeply_nested_composite_runs_its_targets() {
    on_a_small_stack(|| {
        let (leaves, whole) = nested(DEPTH);
        let runs = Arc::new(AtomicUsize::new(0));
        let count = runs.clone();
        drop(whole.on_go(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        assert!(whole.on_go(|| unreachable!("it was cancelled")).cancel());
        leaves[1].go();
        assert_eq!(runs.load(Ordering::SeqCst), 0);
        leaves[DEPTH].go();
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    });
}
