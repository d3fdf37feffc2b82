//! Stack requests to threads that end, that block SIGPROF, or whose ids another thread had before.

use super::request::StackRequest;
use super::request_stacks;
use crate::os::{CpuClock, sigprof};
use crate::profile::engines::timer::sample_flags::SampleFlags;
use crate::profile::engines::timer::slot::{Arena, Slot, StackBounds};
use crate::profile::engines::timer::unwind::Registers;
use crate::profile::engines::timer::{handler, table};
use crate::profile::raw::{Ending, Reply};
use crate::thread::Thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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
            // SAFETY: this thread plays the handler of the thread with that id.
            unsafe { found.request.unwrap().reply(&registers) };
        });
    };
    assert!(request.read_reply().is_none());
    signal();
    signal();
    let Some((Reply::Stack { addresses, ending }, _)) = request.read_reply() else { panic!("no reply") };
    // It is on no stack that the request knows.
    assert_eq!((addresses.len(), ending), (1, Ending::Leaf));
    assert!(entry.clear_request().is_over());
    signal();
    assert_eq!(met, 2);
}

/// Some hundred batches, while their targets end, and new threads get their ids.
#[test]
fn threads_may_end_while_a_request_is_pending() {
    let stop = crate::Signal::new("stop");
    let seen = stop.clone();
    let churn = crate::spawn("request-churn", move |_| {
        while !seen.is_go() {
            let brief: Vec<_> = (0..8).map(|n| crate::spawn(format!("request-{n}"), move |_| n)).collect();
            brief.into_iter().for_each(|thread| assert!(thread.join().unwrap() < 8));
        }
    });
    let (mut replied, mut ended, mut batches) = (0, 0, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    // Some requests come in time, some too late; how many depends on the machine.
    while (batches < 200 || replied < 100 || ended < 10) && Instant::now() < deadline {
        batches += 1;
        let mut threads = vec![Thread::current(), churn.thread().clone()];
        threads.extend(churn.thread().children());
        // A thread that starts or ends may be kept from its processor while it reads the list of
        // observers.
        let Ok(replies) = request_stacks(&threads, &[]) else { continue };
        assert_eq!(replies.len(), threads.len());
        replied += replies.iter().filter(|reply| matches!(reply, Reply::Stack { .. })).count();
        ended += replies.iter().filter(|reply| **reply == Reply::Ended).count();
        // All requests were cleared: the next thread with that id finds none.
        let own = CpuClock::of_current().unwrap().thread();
        table::enter(own, |found| assert!(found.request.is_none()));
    }
    stop.go();
    churn.join().unwrap();
    assert!(replied >= 100 && ended >= 10, "{replied} replied, {ended} ended, in {batches} batches");
}

/// As if the kernel had given the thread the id of another thread, whose guard was leaked, and
/// whose stack is gone.
#[test]
fn a_request_and_a_slot_of_another_thread_are_ignored() {
    handler::install().unwrap();
    let send = |owner_for: fn(u64) -> u64| {
        let id = CpuClock::of_current().unwrap().thread();
        let owner = owner_for(crate::os::thread_handle());
        let mut request = StackRequest::new(Arc::default());
        request.open(owner, 0..u64::MAX);
        let request = Arc::new(request);
        let mut flags = SampleFlags::default();
        let number = flags.add(id);
        let slot = Slot::new(Arena::default(), owner, StackBounds::Known(0..1), false, flags.flag(number));
        let slot = Arc::new(slot);
        let entry = table::claim(id).unwrap();
        // SAFETY: both live until they are cleared, below. Only the signal that is sent here comes
        // to this thread, which no recording samples.
        unsafe { (entry.set_request(Arc::as_ptr(&request)), entry.set_slot(Arc::as_ptr(&slot))) };
        sigprof::send(id).unwrap();
        entry.clear_slot();
        assert!(entry.clear_request().is_over());
        let mut flagged = false;
        flags.drain(|found| flagged |= found == id);
        assert_eq!(flagged, !slot.is_empty(), "a sample has its flag");
        (request.read_reply().is_some(), flagged)
    };
    let on_new_thread = |owner| std::thread::spawn(move || send(owner)).join().unwrap();
    assert_eq!(on_new_thread(|own| own), (true, true));
    assert_eq!(on_new_thread(|own| own + 4096), (false, false));
}

/// One batch runs at a time, and another test's may take its time.
fn request_soon(threads: &[Thread]) -> Vec<Reply> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match request_stacks(threads, &[]) {
            Ok(replies) => return replies,
            Err(why) => assert!(Instant::now() < deadline, "{why:?}"),
        }
    }
}

#[test]
fn a_thread_that_blocks_sigprof_is_sent_no_request() {
    let (go, blocked) = (crate::Signal::new("go"), crate::Signal::new("blocked"));
    let (wait, told) = (go.clone(), blocked.clone());
    let thread = crate::spawn("request-blocked", move |_| {
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
    assert!(blocked.wait_for_go_timeout(Duration::from_secs(100)));
    let replies = request_soon(&[thread.thread().clone()]);
    go.go();
    let is_pending = thread.join().unwrap();
    let why = "it blocks SIGPROF, by which threads are asked for their stacks";
    assert_eq!((replies, is_pending), (vec![Reply::Unavailable(why.into())], false));
}

/// As each thread does while its handler of SIGPROF runs, which may take long if the thread is
/// given no processor.
#[test]
fn a_request_waits_while_sigprof_is_briefly_blocked() {
    const ROUNDS: usize = 40;
    let (request_now, stop) = (Arc::new(AtomicUsize::new(0)), crate::Signal::new("stop"));
    let (asked, stopped) = (request_now.clone(), stop.clone());
    let thread = crate::spawn("request-postponed", move |_| {
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
        replies = request_stacks(&[thread.thread().clone()], &[]).unwrap_or_default();
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
