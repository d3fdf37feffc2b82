//! Where a thread's stack lies.

use std::cell::OnceCell;
use std::mem::MaybeUninit;
use std::ops::Range;

thread_local! {
    static OWN: OnceCell<Option<Range<u64>>> = const { OnceCell::new() };
}

/// Whether this is in a variable of the calling thread. The first question of a thread costs about a microsecond.
pub(crate) fn is_on_own_stack<T>(place: &T) -> bool {
    let address = std::ptr::from_ref(place) as u64;
    // SAFETY: the calling thread lives.
    let own = || unsafe { bounds(super::thread_handle()) };
    OWN.try_with(|bounds| bounds.get_or_init(own).as_ref().is_some_and(|own| own.contains(&address))).unwrap_or(false)
}

/// The addresses of the stack of a living thread, given by its `pthread_t`; `None` if the system does not tell.
///
/// # Safety
/// The thread must not have ended, or not have been joined yet: its handle is read through.
pub(crate) unsafe fn bounds(thread: u64) -> Option<Range<u64>> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the caller's word on `thread`; `attributes` is writable for one pthread_attr_t.
    if unsafe { libc::pthread_getattr_np(thread as libc::pthread_t, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut start, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: initialized by the successful call; both places are writable.
    let failed = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut start, &mut size) };
    // SAFETY: initialized above, and not used again.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    let start = start as u64;
    (failed == 0).then_some(start..start.checked_add(size as u64)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_local_variable_is_on_the_stack() {
        let local = 0u8;
        assert!(super::is_on_own_stack(&local) && !super::is_on_own_stack(&*Box::new(local)));
        // SAFETY: the calling thread lives.
        let bounds = unsafe { super::bounds(crate::os::thread_handle()) }.unwrap();
        assert!(bounds.contains(&(&raw const local as u64)), "{bounds:x?}");
        // SAFETY: the thread is alive until it is joined, which the closure waits for.
        std::thread::scope(|scope| {
            let (give, handle) = std::sync::mpsc::channel();
            let (done, wait) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                let local = 0u8;
                give.send((crate::os::thread_handle(), &raw const local as u64)).unwrap();
                let _ = wait.recv();
            });
            let (thread, address) = handle.recv().unwrap();
            // SAFETY: that thread waits for `done`.
            let others = unsafe { super::bounds(thread) }.unwrap();
            drop(done);
            assert!(others.contains(&address) && !others.contains(&(&raw const local as u64)));
        });
    }
}
