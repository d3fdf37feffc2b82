//! What a forked child is: the place where the rest of the crate learns that it runs in one.
//!
//! A child has one thread, the thread that called `fork`, and a copy of all memory: of threads that
//! are not there, and of locks that they hold and no thread will release. So nothing is repaired in
//! the child. Instead a number goes up in it, the *generation*, and what describes the threads of a
//! process is kept in a [`PerProcess`], which begins anew in each generation: the tree and what
//! belongs to a thread in it, the observers of threads, the runtime, the recording.
//!
//! The number goes up in `fork` itself, by `pthread_atfork`. `vfork`, `posix_spawn` and a bare
//! system call do not run that; a child made by them may only `exec`. To read it costs one load.

use super::process;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The number of forks between the first process that called [`watch`] and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// From now on each fork is counted. A function that makes something which a forked child must not
/// take for its own calls this first.
#[inline]
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    extern "C" fn nothing() {}
    extern "C" fn in_child() {
        // Relaxed: there is one thread.
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    ONCE.call_once(|| process::at_fork(nothing, nothing, in_child));
}

/// The generation of this process. It differs between a process and its forked child.
#[inline]
pub(crate) fn generation() -> u32 {
    // Relaxed: it changes only while there is one thread, whose later threads see it.
    GENERATION.load(Ordering::Relaxed)
}

/// A value that a forked child does not take from its parent: there it is a new one. The parent's
/// stays in memory and is neither used nor dropped, since another thread may have been in the
/// middle of changing it.
pub(crate) struct PerProcess<T> {
    made_in: u32,
    own: ManuallyDrop<T>,
    anew: fn() -> T,
    /// The newest first. A node is never changed, nor freed before `self` is.
    children: AtomicPtr<Child<T>>,
}

struct Child<T> {
    generation: u32,
    value: T,
    older: *mut Child<T>,
}

impl<T> PerProcess<T> {
    /// For a static: the first process has `own`; each child begins with what `anew` gives.
    pub(crate) const fn new(own: T, anew: fn() -> T) -> PerProcess<T> {
        PerProcess { made_in: 0, own: ManuallyDrop::new(own), anew, children: AtomicPtr::new(ptr::null_mut()) }
    }

    /// For a value that is not a static: the calling process has `own`.
    pub(crate) fn here(own: T, anew: fn() -> T) -> PerProcess<T> {
        watch();
        PerProcess {
            made_in: generation(),
            own: ManuallyDrop::new(own),
            anew,
            children: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Returns `true` if this is a forked child of the process that made it.
    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        self.made_in != generation()
    }
}

impl<T: Send> PerProcess<T> {
    #[cold]
    fn in_child(&self) -> &T {
        let generation = generation();
        // Acquire, and Release below: a thread that finds a node finds it complete.
        let mut newest = self.children.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or made by `Box::into_raw` below, published whole, and not freed while
            // `self` is borrowed.
            if let Some(child) = unsafe { newest.as_ref() }
                && child.generation == generation
            {
                return &child.value;
            }
            let child = Box::new(Child { generation, value: (self.anew)(), older: newest });
            let child = Box::into_raw(child);
            match self.children.compare_exchange(newest, child, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: as above.
                Ok(_) => return unsafe { &(*child).value },
                Err(other) => {
                    // SAFETY: from `Box::into_raw` above, and no other thread has seen it.
                    drop(unsafe { Box::from_raw(child) });
                    newest = other;
                }
            }
        }
    }
}

// T: Send, because a child's value may be made by one thread and dropped by another. `Sync` of
// `self` asks for `T: Sync`.
impl<T: Send> Deref for PerProcess<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        if self.is_inherited() { self.in_child() } else { &self.own }
    }
}

impl<T: Send + fmt::Debug> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if !self.is_inherited() {
            // SAFETY: it is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.own) };
        }
        let mut next = *self.children.get_mut();
        while !next.is_null() {
            // SAFETY: from `Box::into_raw` in `in_child`, in this list once, and nothing borrows
            // `self` any more.
            let child = unsafe { Box::from_raw(next) };
            next = child.older;
        }
    }
}

impl<T: Default> Default for PerProcess<T> {
    fn default() -> PerProcess<T> {
        PerProcess::here(T::default(), T::default)
    }
}
