//! Asking threads that end, that block the signal, or whose ids another thread had before.

use super::*;
use crate::os::CpuClock;
use std::sync::atomic::AtomicUsize;

#[test]
fn a_request_is_answered_once_and_not_after_removal() {
    // An id that no thread of this process has.
    let id = (1 << 22) - 3000;
    let entry = table::claim(id).unwrap();
    let request = Arc::new(StackRequest::new(Arc::default()));
    // SAFETY: it lives to the end of the test.
    unsafe { entry.set_request(Arc::as_ptr(&request)) };
    let (mut met, registers) = (0, registers());
    let mut signal = || {
        table::enter(id, |found| {
            met += 1;
            // SAFETY: this thread plays the handler of that one.
            unsafe { found.request.unwrap().reply(&registers) };
        });
    };
    assert!(request.read_reply().is_none());
    signal();
    signal();
    let Some((Reply::Stack { addresses, ending }, _)) = request.read_reply() else { panic!("no answer") };
    // It is on no stack that the request knows.
    assert_eq!((addresses.len(), ending), (1, Ending::Leaf));
    assert!(entry.clear_request().is_over());
    signal();
    assert_eq!(met, 2);
}

/// Some hundred rounds, while threads that are asked end, and new ones get their ids.
#[test]
fn threads_may_end_while_a_request_is_pending() {
    let stop = crate::Signal::new("stop");
    let seen = stop.clone();
    let churn = crate::spawn("asked-churn", move |_| {
        while !seen.is_go() {
            let brief: Vec<_> = (0..8).map(|n| crate::spawn(format!("asked-{n}"), move |_| n)).collect();
            brief.into_iter().for_each(|thread| assert!(thread.join().unwrap() < 8));
        }
    });
    let (mut told, mut ended, mut batches) = (0, 0, 0);
    let deadline = Instant::now() + Duration::from_secs(30);
    // Some are met in their midst, some too late; how many, is the machine's to say.
    while (batches < 200 || told < 100 || ended < 10) && Instant::now() < deadline {
        batches += 1;
        let mut threads = vec![Thread::current(), churn.thread().clone()];
        threads.extend(churn.thread().children());
        // A thread that starts or ends may be kept from its processor while it reads the list of
        // observers.
        let Ok(replies) = request_stacks(&threads, &[]) else { continue };
        assert_eq!(replies.len(), threads.len());
        told += replies.iter().filter(|reply| matches!(reply, Reply::Stack { .. })).count();
        ended += replies.iter().filter(|reply| **reply == Reply::Ended).count();
        // All of them were taken back: nothing is left to be found by the next one with that id.
        let own = CpuClock::of_current().unwrap().thread();
        table::enter(own, |found| assert!(found.request.is_none()));
    }
    stop.go();
    churn.join().unwrap();
    assert!(told >= 100 && ended >= 10, "{told} told, {ended} ended, in {batches} batches");
}

/// As if the thread had got the kernel id of another one, whose guard was leaked, and whose stack
/// is gone.
#[test]
fn a_request_and_a_slot_of_another_thread_are_ignored() {
    use super::super::slot::{Arena, Slot, StackBounds};
    handler::install().unwrap();
    let asked = |question_for: fn(u64) -> u64| {
        let id = CpuClock::of_current().unwrap().thread();
        let owner = question_for(crate::os::thread_handle());
        let request = Arc::new(StackRequest { owner, stack: 0..u64::MAX, ..StackRequest::new(Arc::default()) });
        let slot = Arc::new(Slot::new(Arena::default(), owner, StackBounds::Known(0..1)));
        let entry = table::claim(id).unwrap();
        // SAFETY: both live until they were taken, below. Only the signal that is sent here comes
        // to this thread, which no recording knows.
        unsafe { (entry.set_request(Arc::as_ptr(&request)), entry.set_slot(Arc::as_ptr(&slot))) };
        sigprof::send(id).unwrap();
        entry.clear_slot();
        assert!(entry.clear_request().is_over());
        (request.read_reply().is_some(), !slot.is_empty())
    };
    let on_new_thread = |owner| std::thread::spawn(move || asked(owner)).join().unwrap();
    assert_eq!(on_new_thread(|own| own), (true, true));
    assert_eq!(on_new_thread(|own| own + 4096), (false, false));
}

#[test]
fn a_thread_that_blocks_sigprof_is_sent_no_request() {
    let (go, blocked) = (crate::Signal::new("go"), crate::Signal::new("blocked"));
    let (wait, told) = (go.clone(), blocked.clone());
    let thread = crate::spawn("asked-blocking", move |_| {
        // SAFETY: all-zero is a valid set; both are writable, and filled before they are read; the
        // thread ends soon.
        unsafe {
            let (mut all, mut pending): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
            told.go();
            wait.wait_for_go();
            libc::sigpending(&mut pending);
            libc::sigismember(&pending, libc::SIGPROF) == 1
        }
    });
    assert!(blocked.wait_for_go_timeout(Duration::from_secs(30)));
    let replies = request_stacks(&[thread.thread().clone()], &[]);
    go.go();
    let is_pending = thread.join().unwrap();
    let why = "it blocks SIGPROF, by which threads are asked for their stacks";
    assert_eq!((replies, is_pending), (Ok(vec![Reply::Unavailable(why.into())]), false));
}

/// As each thread does while its handler of SIGPROF runs, perhaps for long: the handler may be kept
/// from its processor.
#[test]
fn a_request_waits_while_sigprof_is_briefly_blocked() {
    const ROUNDS: usize = 40;
    let (request_now, stop) = (Arc::new(AtomicUsize::new(0)), crate::Signal::new("stop"));
    let (asked, stopped) = (request_now.clone(), stop.clone());
    let thread = crate::spawn("asked-for-a-moment", move |_| {
        let mask = |how, set: &libc::sigset_t| {
            // SAFETY: the set was filled.
            unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) };
        };
        // SAFETY: all-zero is a valid set, and it is writable.
        let all = unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            all
        };
        for round in 1..=ROUNDS {
            mask(libc::SIG_BLOCK, &all);
            asked.store(round, Ordering::SeqCst);
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(20) {
                std::hint::spin_loop();
            }
            mask(libc::SIG_UNBLOCK, &all);
            while asked.load(Ordering::SeqCst) == round && !stopped.is_go() {
                std::hint::spin_loop();
            }
        }
    });
    let mut replies = Vec::new();
    for round in 1..=ROUNDS {
        while request_now.load(Ordering::SeqCst) != round {
            std::thread::yield_now();
        }
        replies = request_stacks(&[thread.thread().clone()], &[]).unwrap();
        if matches!(replies[..], [Reply::Stack { .. }]) {
            break;
        }
        request_now.store(0, Ordering::SeqCst);
    }
    stop.go();
    thread.join().unwrap();
    assert!(matches!(replies[..], [Reply::Stack { .. }]), "{replies:?}");
}

fn registers() -> Registers {
    // SAFETY: all-zero is a valid ucontext_t.
    let context: libc::ucontext_t = unsafe { std::mem::zeroed() };
    // SAFETY: a ucontext_t, as the kernel would give it.
    unsafe { Registers::interrupted((&raw const context).cast()) }
}
