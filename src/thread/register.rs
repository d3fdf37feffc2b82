//! Registering threads that this crate has not spawned: the public face of `registration.rs`.

use super::current::lives_in_tree;
use super::handle::Thread;
use super::panic;
use super::policy::SpawnSettings;
use super::registration::Registration;
use super::roots::{current, new_child};
use crate::os::process::stay_loaded;
use std::io;
use std::rc::Rc;

/// The calling thread, which this crate has not spawned, is in the tree while this lives. See
/// [`register`].
#[must_use = "the thread leaves the tree when this is dropped"]
pub struct Registered(Rc<Registration>);

/// Brings the calling thread into the tree until the guard drops. Its parent is the thread that it
/// is known as so far; `main`, if it is not known. It gets a path, a `please_stop`, and a place in
/// the profile. Its children are stopped and joined when the guard drops. Its parent asks it to
/// stop and waits for the guard to drop, so it should look at its `please_stop`.
///
/// # Blocking
/// This call does not block. Dropping the guard blocks until the thread's children have ended.
///
/// # Panics in the thread
/// A panic in a registered thread is logged when it happens, with its place and backtrace. If it
/// unwinds the guard, it is a [`Failure`](crate::Failure) of this thread. Its parent gets the
/// failure, as from a spawned thread that no thread joins. In the end it is in the report, and the
/// exit code is 1.
///
/// The owner of the thread may have caught the panic and handled it
/// (`std::thread::JoinHandle::join`). This crate cannot know that, and a thread that was lost must
/// not look like success. A panic that is caught before the guard drops is no failure. Where the
/// owner handles panics, call `catch_unwind` within the registration. Pools whose start hook
/// registers do that.
///
/// # Which threads
/// For threads of other libraries: a callback, a pool's start hook. A registered thread that
/// registers again is its own child; the outer guard, if it is dropped first, counts until the
/// inner one has been dropped.
///
/// A guard that is leaked (`mem::forget`) counts until its thread ends. A guard that the body of a
/// spawned thread has leaked counts until that body ends. Its children are stopped then too. A
/// thread that ends does not wait for them, but its parent does.
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
/// It works at any time, so a callback may call it. A thread that is not in the tree yet may
/// register while a runtime ends. Then its parent is the next `main`, and the runtime that ends
/// does not wait for the guard.
#[track_caller]
pub fn register(name: impl AsRef<str>) -> Registered {
    match register_below(None, name.as_ref(), SpawnSettings::here()) {
        Ok(registered) => registered,
        Err(_) => unreachable!("without a named parent there is always one to be had"),
    }
}

/// [`register`] for a thread whose end the program does not see: it stays in the tree until it
/// ends. Does nothing on a thread that is in the tree, so a job may begin with it: the second call
/// of a thread costs some nanoseconds.
///
/// For pools without a start hook, and for threads of C libraries that call back again and again.
/// Such a thread may live longer than the program's own threads, so nothing waits for it. When its
/// parent (`main`) ends, its `please_stop` goes, and the threads that it has spawned are stopped
/// and joined. Then it leaves the tree. If the end has to wait for a job, use [`register`] in that
/// job.
///
/// The next call after that brings the thread into the tree again, below the next `main`. That may
/// be while the first `main` still ends. Its end does not wait for what the thread spawns from then
/// on, and the log names such threads.
///
/// A thread-local keeps the registration, and its destructor ends it. Called from a destructor that
/// runs after that one it does nothing. A library that is loaded by `dlopen` stays in memory from
/// the first call on.
///
/// # Blocking
/// It does not block, and no thread waits for the end of this one.
///
/// # Panics in the thread
/// A panic is logged with its place and backtrace. It makes no failure, since the pool catches it,
/// or the thread ends by it.
///
/// ```
/// use selvedge::{Thread, register_once};
///
/// fn job() {
///     register_once("decoder");
///     assert_eq!(Thread::current().path(), "main/decoder");
/// }
/// std::thread::spawn(|| (0..1000).for_each(|_| job())).join().unwrap();
/// ```
#[track_caller]
pub fn register_once(name: impl AsRef<str>) {
    if !lives_in_tree() {
        register_for_good(name.as_ref(), SpawnSettings { is_lent: true, ..SpawnSettings::here() });
    }
}

#[cold]
fn register_for_good(name: &str, settings: SpawnSettings) {
    // The process's main thread, which the tree may not have met yet.
    drop(current());
    if lives_in_tree() {
        return;
    }
    panic::install_hook();
    // A destructor of a thread-local is left with the system.
    stay_loaded();
    Registration::begin_for_good(|| new_child(None, name, settings).ok().map(|(node, _)| node));
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
