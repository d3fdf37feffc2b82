//! Any bytes as a request to a running program: an answer with a known status, and a sentence if it is an error;
//! never a panic, and nothing for a client without the token or by another site's name.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use selvedge::inspect_fuzz::Programs;

fuzz_target!(|bytes: &[u8]| {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(Programs::default).check(bytes);
});
