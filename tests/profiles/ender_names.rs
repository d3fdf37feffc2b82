//! By which name a thread is known that has ended a wait and leaves the tree at once.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::support::until;
use selvedge::profile::{self, Options};
use selvedge::{Queue, register, spawn};

/// Fewer than a recording keeps apart for a thread.
const ENDERS: u32 = 48;

/// Each round has another thread, since a name is looked for when a thread is first met. A recording
/// looks for few: all others are one.
#[test]
fn a_thread_that_leaves_the_tree_at_once_is_known_by_its_path_there() {
    let _alone = crate::ONE_AT_A_TIME.lock();
    let _test = register("test");
    let mut without_name = 0;
    for _ in 0..40 {
        let recording = profile::start(Options::new().waits(true)).unwrap();
        let notes: Queue<u32> = Queue::unbounded("notes");
        let from = notes.clone();
        let reader = spawn("reader", move |_| while from.pop().is_some() {});
        let thread = reader.thread().clone();
        for note in 0..ENDERS {
            until("the reader waits", || thread.waiting_for().is_some());
            let add = || {
                let guard = register("leaver");
                notes.add(note).unwrap();
                // Meanwhile the reader looks for the name of the thread that has woken it.
                drop(guard);
            };
            std::thread::scope(|s| s.spawn(add).join().unwrap());
        }
        notes.close();
        reader.join().unwrap();
        let profile = recording.finish();
        let account = profile.accounts().iter().find(|account| account.path() == "main/test/reader").unwrap();
        let names: Vec<_> = account.waits().iter().flat_map(|wait| wait.ended_by()).map(|(by, _)| &**by).collect();
        assert!(names.contains(&"main/leaver"), "{names:?}");
        assert!(names.iter().all(|name| ["main/leaver", "main/test", "[unknown]"].contains(name)), "{names:?}");
        without_name += u32::from(names.contains(&"[unknown]"));
    }
    // A reader that lost its processor before it fell asleep finds a wake-up that is older than its sleep.
    assert!(without_name < 2, "{without_name} rounds had an ender without a name");
}
