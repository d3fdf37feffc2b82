//! Any bytes as the answer of a server to which a profile was pushed: taken, refused, or to be tried again, with a
//! sentence for the log; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| selvedge::push_fuzz::check(bytes));
