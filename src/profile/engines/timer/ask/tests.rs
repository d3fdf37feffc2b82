//! Asking threads that end, that block the signal, or whose ids another thread had before.

use super::*;
use crate::os::CpuClock;
use std::sync::atomic::AtomicUsize;

#[test]
fn a_question_is_answered_once_and_by_nobody_when_it_was_taken() {
    // An id that no thread of this process has.
    let id = (1 << 22) - 3000;
    let entry = table::claim(id).unwrap();
    let question = Arc::new(Question::new(Arc::default()));
    // SAFETY: it lives to the end of the test.
    unsafe { entry.ask(Arc::as_ptr(&question)) };
    let (mut met, registers) = (0, registers());
    let mut signal = || {
        table::enter(id, |found| {
            met += 1;
            // SAFETY: this thread plays the handler of that one.
            unsafe { found.question.unwrap().answer(&registers) };
        });
    };
    assert!(question.read().is_none());
    signal();
    signal();
    let Some((Reply::Stack { addresses, ending }, _)) = question.read() else { panic!("no answer") };
    // It is on no stack that the question knows.
    assert_eq!((addresses.len(), ending), (1, Ending::Leaf));
    assert!(entry.take_question().is_over());
    signal();
    assert_eq!(met, 2);
}

/// Some hundred rounds, while threads that are asked end, and new ones get their ids.
#[test]
fn threads_that_end_while_they_are_asked_do_no_harm() {
    let stop = crate::Signal::new("stop");
    let seen = stop.clone();
    let churn = crate::spawn("asked-churn", move |_| {
        while !seen.is_go() {
            let brief: Vec<_> = (0..8).map(|n| crate::spawn(format!("asked-{n}"), move |_| n)).collect();
            brief.into_iter().for_each(|thread| assert!(thread.join().unwrap() < 8));
        }
    });
    let (mut told, mut ended, mut rounds) = (0, 0, 0);
    let deadline = Instant::now() + Duration::from_secs(30);
    // Some are met in their midst, some too late; how many, is the machine's to say.
    while (rounds < 200 || told < 100 || ended < 10) && Instant::now() < deadline {
        rounds += 1;
        let mut threads = vec![Thread::current(), churn.thread().clone()];
        threads.extend(churn.thread().children());
        // A thread that starts or ends may be kept from its processor while it reads the list of
        // observers.
        let Ok(replies) = ask(&threads, &[]) else { continue };
        assert_eq!(replies.len(), threads.len());
        told += replies.iter().filter(|reply| matches!(reply, Reply::Stack { .. })).count();
        ended += replies.iter().filter(|reply| **reply == Reply::Ended).count();
        // All of them were taken back: nothing is left to be found by the next one with that id.
        let own = CpuClock::of_current().unwrap().thread();
        table::enter(own, |found| assert!(found.question.is_none()));
    }
    stop.go();
    churn.join().unwrap();
    assert!(told >= 100 && ended >= 10, "{told} told, {ended} ended, in {rounds} rounds");
}

/// As if the thread had got the kernel id of another one, whose guard was leaked, and whose stack
/// is gone.
#[test]
fn a_question_and_a_slot_of_another_thread_are_not_touched() {
    use super::super::slot::{Arena, Slot, Stack};
    handler::install().unwrap();
    let asked = |question_for: fn(u64) -> u64| {
        let id = CpuClock::of_current().unwrap().thread();
        let owner = question_for(crate::os::thread_handle());
        let question = Arc::new(Question { owner, stack: 0..u64::MAX, ..Question::new(Arc::default()) });
        let slot = Arc::new(Slot::new(Arena::default(), owner, Stack::Known(0..1)));
        let entry = table::claim(id).unwrap();
        // SAFETY: both live until they were taken, below. Only the signal that is sent here comes
        // to this thread, which no recording knows.
        unsafe { (entry.ask(Arc::as_ptr(&question)), entry.give(Arc::as_ptr(&slot))) };
        sigprof::send(id).unwrap();
        entry.take();
        assert!(entry.take_question().is_over());
        (question.read().is_some(), !slot.is_empty())
    };
    let on_new_thread = |owner| std::thread::spawn(move || asked(owner)).join().unwrap();
    assert_eq!(on_new_thread(|own| own), (true, true));
    assert_eq!(on_new_thread(|own| own + 4096), (false, false));
}

#[test]
fn a_thread_that_blocks_the_signal_is_not_sent_it() {
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
    let replies = ask(&[thread.thread().clone()], &[]);
    go.go();
    let is_pending = thread.join().unwrap();
    let why = "it blocks SIGPROF, by which threads are asked for their stacks";
    assert_eq!((replies, is_pending), (Ok(vec![Reply::Unasked(why.into())]), false));
}

/// As each thread does while its handler of SIGPROF runs, perhaps for long: the handler may be kept
/// from its processor.
#[test]
fn a_thread_that_blocks_the_signal_for_a_moment_is_asked_after_it() {
    const ROUNDS: usize = 40;
    let (ask_now, stop) = (Arc::new(AtomicUsize::new(0)), crate::Signal::new("stop"));
    let (asked, stopped) = (ask_now.clone(), stop.clone());
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
        while ask_now.load(Ordering::SeqCst) != round {
            std::thread::yield_now();
        }
        replies = ask(&[thread.thread().clone()], &[]).unwrap();
        if matches!(replies[..], [Reply::Stack { .. }]) {
            break;
        }
        ask_now.store(0, Ordering::SeqCst);
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
