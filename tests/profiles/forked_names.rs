//! A child that is forked while another thread finds the names of a profile does not wait for that thread.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use selvedge::profile::{self, Options, Profile};
use selvedge::{Till, spawn};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Seconds that a child may take.
const ALARM: u32 = 60;

/// Nothing has asked for its names.
fn unnamed() -> Profile {
    let recording = profile::start(Options::new().frequency(1000).waits(true)).unwrap();
    let began = Instant::now();
    let computing = spawn("computing", move |_| {
        while began.elapsed() < Duration::from_millis(20) {
            black_box(began);
        }
        Till::after(Duration::from_millis(1)).wait_for_go();
    });
    computing.join().unwrap();
    recording.finish()
}

#[test]
fn a_child_that_is_forked_while_names_are_found_ends() {
    let _alone = crate::ONE_AT_A_TIME.lock();
    let mut without = 0;
    for round in 0..40 {
        let profile = unnamed();
        std::thread::scope(|s| {
            s.spawn(|| profile.top(1));
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(100 * round) {
                std::hint::spin_loop();
            }
            // SAFETY: the child finds names, or does not, and ends.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: ends a child that hangs.
                unsafe { libc::alarm(ALARM) };
                let is_without = profile.top(1).entries().is_empty();
                // SAFETY: ends the child.
                unsafe { libc::_exit(i32::from(is_without)) };
            }
            let mut status = 0;
            // SAFETY: waits for this process's child.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert!(libc::WIFEXITED(status), "round {round}: the child was ended by signal {}", libc::WTERMSIG(status));
            without += libc::WEXITSTATUS(status);
        });
        assert!(!profile.top(1).entries().is_empty(), "the parent has its names");
    }
    println!("{without} of 40 children were forked while names were found");
}
