//! Where the calling thread's stack lies. No thread asks for another thread's: its `pthread_t` is
//! freed when it ends.

use std::cell::OnceCell;
use std::mem::MaybeUninit;
use std::ops::Range;

thread_local! {
    static OWN: OnceCell<Option<Range<u64>>> = const { OnceCell::new() };
}

/// Returns `true` if `value` lies on the calling thread's stack. A thread's first call takes about
/// a microsecond.
pub(crate) fn is_on_own_stack<T>(place: &T) -> bool {
    let address = std::ptr::from_ref(place) as u64;
    own().is_some_and(|own| own.contains(&address))
}

/// The addresses of the calling thread's stack; `None` if the system does not tell. Asks the system
/// once for each thread.
pub(crate) fn own() -> Option<Range<u64>> {
    OWN.try_with(|own| own.get_or_init(bounds).clone()).unwrap_or_else(|_| bounds())
}

fn bounds() -> Option<Range<u64>> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: pthread_self() is the calling thread, which lives during the call; `attributes` is
    // writable for one pthread_attr_t.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        // Of the main thread it asks `/proc`, which may not be mounted.
        return super::is_main_thread().then(first).flatten();
    }
    let (mut start, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: initialized by the successful call; both places are writable.
    let failed = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut start, &mut size) };
    // SAFETY: initialized above, and not used again.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    let start = start as u64;
    (failed == 0).then_some(start..start.checked_add(size as u64)?)
}

/// The stack that the kernel gives to a new process, as far as it may grow. `None`: the kernel does
/// not tell.
fn first() -> Option<Range<u64>> {
    const PAGE: u64 = 4096;
    const USUAL: u64 = 8 << 20;
    // The name under which the program was started is what the kernel puts on the stack first,
    // before there is a program. SAFETY: has no preconditions.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) };
    // The loader gives a name of its own if it was started as the program; the random bytes are a
    // little further on the stack. SAFETY: has no preconditions.
    let random = unsafe { libc::getauxval(libc::AT_RANDOM) };
    if random == 0 {
        return None;
    }
    let end = if name > random && name - random < USUAL { name } else { random } / PAGE * PAGE + PAGE;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable for one rlimit.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) } != 0;
    let length = if failed || limit.rlim_cur == libc::RLIM_INFINITY { USUAL } else { limit.rlim_cur };
    Some(end.saturating_sub(length)..end)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_stack_is_known_without_proc() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let end = u64::from_str_radix(line.split([' ', '-']).nth(1).unwrap(), 16).unwrap();
        assert_eq!(super::first().map(|stack| stack.end), Some(end));
    }

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
