//! Where the calling thread's stack lies. No thread asks for another thread's: its `pthread_t` is freed when it ends.

use std::cell::OnceCell;
use std::mem::MaybeUninit;
use std::ops::Range;

thread_local! {
    static OWN: OnceCell<Option<Range<u64>>> = const { OnceCell::new() };
}

/// Returns `true` if this is in a variable of the calling thread. A thread's first call takes about a microsecond.
pub(crate) fn is_on_own_stack<T>(place: &T) -> bool {
    let address = std::ptr::from_ref(place) as u64;
    own().is_some_and(|own| own.contains(&address))
}

/// The addresses of the calling thread's stack; `None` if the system does not tell. Asks the system once for each thread.
pub(crate) fn own() -> Option<Range<u64>> {
    OWN.try_with(|own| own.get_or_init(bounds).clone()).unwrap_or_else(|_| bounds())
}

fn bounds() -> Option<Range<u64>> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: pthread_self() is the calling thread, which lives during the call; `attributes` is writable for one
    // pthread_attr_t.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
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
        let address = &raw const local as u64;
        assert!(super::own().unwrap().contains(&address));
        let others = std::thread::spawn(|| super::own().unwrap()).join().unwrap();
        assert!(!others.contains(&address), "{others:x?}");
    }
}
