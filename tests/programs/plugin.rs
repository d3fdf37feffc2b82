//! A library that uses this crate, for a program that loads it with `dlopen` and closes it again.
#![allow(unsafe_code)] // functions by their names

use selvedge::{Config, Queue, Runtime, Signal, register, spawn};

/// Nothing of the crate is used: 7.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_idle() -> i32 {
    7
}

/// A runtime with threads, a log, a dump and a recording, to its end in order. Returns 1 if all of
/// it went well.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_whole_run() -> i32 {
    let Ok(runtime) = Runtime::start(Config::new("plugin")) else { return 2 };
    #[cfg(feature = "profiling")]
    let Ok(recording) = selvedge::profile::start(selvedge::profile::Options::new().frequency(1000)) else { return 3 };
    let queue: Queue<u64> = Queue::bounded("numbers", 4);
    let from = queue.clone();
    let adder = spawn("adder", move |_| from.iter().sum::<u64>());
    queue.extend(0..1000).unwrap();
    queue.close();
    let sum = adder.join().unwrap();
    let has_stacks = selvedge::dump().to_string().contains("main");
    #[cfg(feature = "profiling")]
    recording.finish();
    i32::from(runtime.shutdown().is_ok() && sum == 499_500 && has_stacks)
}

/// Threads, a recording and a registration that no code ends.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_leave_all() -> i32 {
    #[cfg(feature = "profiling")]
    {
        use selvedge::profile::{Engine, Options, start};
        // With a signal handler, which stays.
        let Ok(recording) = start(Options::new().engine(Engine::Timer).frequency(1000)) else { return 3 };
        std::mem::forget(recording);
    }
    let begun = Signal::new("begun");
    let told = begun.clone();
    std::mem::forget(spawn("works", move |please_stop| {
        told.go();
        while !please_stop.is_go() {
            std::hint::black_box((0..1000).sum::<u64>());
        }
    }));
    begun.wait_for_go();
    std::mem::forget(register("caller"));
    1
}
