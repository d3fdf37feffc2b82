//! Work with a known split, whose shares a profile must find again.
#![allow(unreachable_pub)] // shared by tests and a bench

use std::hint::black_box;

#[inline(never)]
pub fn spin(rounds: u64) -> u64 {
    let mut x = rounds;
    for i in 0..rounds {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
    }
    x
}

#[inline(never)]
pub fn three_parts() -> u64 {
    black_box(spin(30_000))
}

#[inline(never)]
pub fn one_part() -> u64 {
    black_box(spin(10_000))
}
