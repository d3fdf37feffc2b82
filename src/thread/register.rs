//! Registering threads that this crate has not spawned: the public face of `registration.rs`.

use super::handle::Thread;
use super::panic;
use super::policy::SpawnSettings;
use super::registration::Registration;
use super::roots::new_child;
use std::io;
use std::rc::Rc;

/// The calling thread, which this crate has not spawned, is in the tree while this lives. See
/// [`register`].
#[must_use = "the thread leaves the tree when this is dropped"]
pub struct Registered(Rc<Registration>);

/// Brings the calling thread into the tree, below the thread that it is known as so far (`main`, if
/// it is not known), until the guard drops: it gets a path, a `please_stop`, a place in the
/// profile; its children are stopped and joined when the guard drops. Its parent asks it to stop
/// and waits for the guard to drop, so it should look at its `please_stop`.
///
/// # Blocking
/// This call does not block. Dropping the guard blocks until the thread's children have ended.
///
/// # Which threads
/// For threads of other libraries: a callback, a pool's start hook. A registered thread that
/// registers again is its own child; the outer guard, if it is dropped first, counts until the
/// inner one has been dropped.
///
/// A guard that is leaked (`mem::forget`) counts until its thread ends, or until the body of the
/// thread ends in which it was made. Its children are stopped then too. A thread that ends does not
/// wait for them, but its parent does.
///
/// ```
/// std::thread::spawn(|| {
///     let registered = selvedge::register("callback");
///     assert_eq!(registered.thread().path(), "main/callback");
/// })
/// .join()
/// .unwrap();
/// ```
///
/// It works at any time, so a callback may call it: of a thread that is not in the tree yet, which
/// registers while a runtime ends, the parent is the `main` that comes after. That runtime does not
/// wait for the guard.
#[track_caller]
pub fn register(name: impl AsRef<str>) -> Registered {
    match register_below(None, name.as_ref(), SpawnSettings::here()) {
        Ok(registered) => registered,
        Err(_) => unreachable!("without a named parent there is always one to be had"),
    }
}

pub(super) fn register_below(parent: Option<&Thread>, name: &str, settings: SpawnSettings) -> io::Result<Registered> {
    panic::install_hook();
    let (node, _) = new_child(parent.map(Thread::node), name, settings)?;
    Ok(Registered(Registration::begin(node)))
}

impl Registered {
    /// The thread, as the tree knows it now.
    pub fn thread(&self) -> Thread {
        Thread(self.0.node().clone())
    }
}
