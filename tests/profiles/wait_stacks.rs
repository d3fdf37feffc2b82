//! The stacks of waits: each blocking call has the program's function on its stack, the times are the
//! program's own, and the thread that let go is charged.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::{retried, until_asleep};
use parking_lot::MutexGuard;
use pprof::protos::{self, Message};
use selvedge::profile::{self, Account, Options, Profile, WaitTotal};
use selvedge::{
    BinarySemaphore, JoinHandle, Lock, Monitor, Progress, Promise, Queue, Semaphore, Sequencer, Signal, Thread, Ticket,
    Till, spawn,
};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The calling thread is `main/test` from here on.
pub(crate) fn alone() -> (selvedge::Registered, MutexGuard<'static, ()>) {
    let guard = crate::ONE_AT_A_TIME.lock();
    (selvedge::register("test"), guard)
}

pub(crate) fn record(body: impl FnOnce()) -> Profile {
    let recording = profile::start(Options::new().waits(true)).unwrap();
    body();
    recording.finish()
}

/// The folded lines of the waits, with their nanoseconds.
pub(crate) fn folded(profile: &Profile) -> Vec<(String, u64)> {
    let mut text = Vec::new();
    profile.write_waits_folded(&mut text).unwrap();
    let line = |line: &str| line.rsplit_once(' ').map(|(stack, nanos)| (stack.to_owned(), nanos.parse().unwrap()));
    String::from_utf8(text).unwrap().lines().filter_map(line).collect()
}

/// The functions of a stack, the leaf first, with contentions, nanoseconds, and labels.
pub(crate) type Sample<'a> = (Vec<&'a str>, [i64; 2], HashMap<&'a str, &'a str>);

/// A pprof file of Go's kind, decoded by the types of the pprof crate.
pub(crate) struct GoProfile(protos::Profile);

impl GoProfile {
    fn read(write: impl FnOnce(&mut Vec<u8>)) -> GoProfile {
        let (mut file, mut bytes) = (Vec::new(), Vec::new());
        write(&mut file);
        flate2::read::GzDecoder::new(&file[..]).read_to_end(&mut bytes).unwrap();
        GoProfile(protos::Profile::decode(&bytes[..]).unwrap())
    }

    pub(crate) fn block(profile: &Profile) -> GoProfile {
        GoProfile::read(|out| profile.write_block(out).unwrap())
    }

    fn mutex(profile: &Profile) -> GoProfile {
        GoProfile::read(|out| profile.write_contention(out).unwrap())
    }

    fn text(&self, index: i64) -> &str {
        &self.0.string_table[index as usize]
    }

    pub(crate) fn samples(&self) -> Vec<Sample<'_>> {
        let functions: HashMap<u64, &str> = self.0.function.iter().map(|f| (f.id, self.text(f.name))).collect();
        let lines = |id: &u64| {
            let location = self.0.location.iter().find(|location| location.id == *id).unwrap();
            location.line.iter().map(|line| functions[&line.function_id]).collect::<Vec<_>>()
        };
        let sample = |sample: &protos::Sample| {
            let labels = sample.label.iter().map(|label| (self.text(label.key), self.text(label.str))).collect();
            (sample.location_id.iter().flat_map(lines).collect(), [sample.value[0], sample.value[1]], labels)
        };
        self.0.sample.iter().map(sample).collect()
    }

    /// Contentions and nanoseconds of the stacks that go through the function.
    pub(crate) fn through(&self, function: &str) -> [i64; 2] {
        let has = |(frames, ..): &&Sample<'_>| frames.iter().any(|frame| frame.contains(function));
        self.samples().iter().filter(has).fold([0, 0], |sum, (_, value, _)| [sum[0] + value[0], sum[1] + value[1]])
    }
}

/// How long a thread is kept waiting.
pub(crate) const KEPT: Duration = Duration::from_millis(60);

macro_rules! waits {
    ($($what:literal $function:ident($($value:ident: $type:ty),*) $body:block)*) => {
        $(#[inline(never)]
        pub(crate) fn $function($($value: $type),*) $body)*

        /// The functions, and what the blocking call in them waits for.
        const CALLS: &[(&str, &str)] = &[$((stringify!($function), $what)),*];
    };
}

waits! {
    "queue \"jobs\"" pop_a_value(jobs: &Queue<u8>) { assert_eq!(jobs.pop(), Some(1)); }
    "queue \"jobs\"" pop_till_a_stop(jobs: &Queue<u8>, stop: &Signal) { assert!(jobs.pop_till(stop).is_err()); }
    "room in queue \"full\"" add_without_room(full: &Queue<u8>) { full.add(2).unwrap(); }
    "signal \"ready\"" wait_for_a_signal(ready: &Signal) { ready.wait_for_go(); }
    "signal \"" wait_for_either(either: &Signal) { either.wait_for_go(); }
    "semaphore \"slots\"" acquire_a_permit(slots: &Semaphore) { drop(slots.acquire()); }
    "binary semaphore \"turnstile\"" wait_at_a_turnstile(turnstile: &BinarySemaphore) { turnstile.wait(); }
    "lock \"table\"" take_a_lock(table: &Lock<u8>) { drop(table.lock()); }
    "change in monitor \"room\"" wait_in_a_monitor(room: &Monitor<u8>) {
        let mut guard = room.enter();
        while *guard == 0 {
            guard.wait();
        }
    }
    "progress \"pages\"" wait_for_progress(pages: &Progress) { pages.wait_for(3); }
    "promise \"answer\"" wait_for_a_promise(answer: &Promise<u8>) { assert_eq!(*answer.wait().unwrap(), 7); }
    "turn \"output\"" wait_for_a_turn(ticket: Ticket) { drop(ticket.wait_turn()); }
    "thread \"main/test/all/child\"" join_a_thread(child: JoinHandle<()>) { child.join().unwrap(); }
    "signal \"" wait_for_the_clock(till: &Till) { till.wait_for_go(); }
}

/// Ends the wait of the calling thread for a thing of that kind, from another thread and after a while.
fn end_later(kind: &'static str, end: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let waiter = Thread::current();
    spawn("ender", move |_| {
        until_asleep(kind, &[&waiter]);
        std::thread::sleep(KEPT);
        end();
    })
}

fn wait_for_queues_and_signals() {
    let (jobs, stop) = (Queue::unbounded("jobs"), Signal::new("stop"));
    let ender = end_later("queue", {
        let jobs = jobs.clone();
        move || jobs.add(1).unwrap()
    });
    pop_a_value(&jobs);
    ender.join().unwrap();
    let ender = end_later("queue", {
        let stop = stop.clone();
        move || assert!(stop.go())
    });
    pop_till_a_stop(&jobs, &stop);
    ender.join().unwrap();
    let full = Queue::bounded("full", 1);
    full.add(1).unwrap();
    let ender = end_later("room in queue", {
        let full = full.clone();
        move || assert_eq!(full.pop(), Some(1))
    });
    add_without_room(&full);
    ender.join().unwrap();
    let ready = Signal::new("ready");
    let ender = end_later("signal", {
        let ready = ready.clone();
        move || assert!(ready.go())
    });
    wait_for_a_signal(&ready);
    ender.join().unwrap();
    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let either = &a | &b;
    let ender = end_later("signal", move || assert!(b.go()));
    wait_for_either(&either);
    ender.join().unwrap();
}

fn wait_for_permits_and_marks() {
    let slots = Semaphore::new("slots", 0);
    let ender = end_later("semaphore", {
        let slots = slots.clone();
        move || slots.add_permits(1)
    });
    acquire_a_permit(&slots);
    ender.join().unwrap();
    let turnstile = BinarySemaphore::new("turnstile");
    let ender = end_later("binary semaphore", {
        let turnstile = turnstile.clone();
        move || assert!(turnstile.post())
    });
    wait_at_a_turnstile(&turnstile);
    ender.join().unwrap();
    let room = Arc::new(Monitor::new("room", 0));
    let ender = end_later("change in monitor", {
        let room = room.clone();
        move || *room.enter() += 1
    });
    wait_in_a_monitor(&room);
    ender.join().unwrap();
    let pages = Progress::new("pages");
    let ender = end_later("progress", {
        let pages = pages.clone();
        move || assert_eq!(pages.advance(3), 3)
    });
    wait_for_progress(&pages);
    ender.join().unwrap();
    let answer = Promise::new("answer");
    let claim = answer.claim().unwrap();
    let ender = end_later("promise", move || claim.fulfil(7));
    wait_for_a_promise(&answer);
    ender.join().unwrap();
}

/// The last wait is until the clock has gone on by `kept`.
fn wait_for_threads_and_the_clock(kept: Duration) {
    let sequencer = Sequencer::new("output");
    let (first, second) = (sequencer.take_ticket(), sequencer.take_ticket());
    let first = first.wait_turn();
    let ender = end_later("turn", move || drop(first));
    wait_for_a_turn(second);
    ender.join().unwrap();
    let (table, held, waiter) = (Arc::new(Lock::new("table", 0)), Signal::new("held"), Thread::current());
    let ender = spawn("ender", {
        let (table, held) = (table.clone(), held.clone());
        move |_| {
            let guard = table.lock();
            held.go();
            until_asleep("lock", &[&waiter]);
            std::thread::sleep(KEPT);
            drop(guard);
        }
    });
    held.wait_for_go();
    take_a_lock(&table);
    ender.join().unwrap();
    let parent = Thread::current();
    join_a_thread(spawn("child", move |_| {
        until_asleep("thread", &[&parent]);
        std::thread::sleep(KEPT);
    }));
    wait_for_the_clock(&Till::after(kept));
}

/// As Go's `TestBlockProfile`: each blocking call, with the function that made it.
#[test]
fn each_blocking_call_has_its_caller_on_its_stack() {
    let _alone = alone();
    retried(KEPT, |kept| {
        let profile = record(|| {
            let all = move |_: &Signal| {
                wait_for_queues_and_signals();
                wait_for_permits_and_marks();
                wait_for_threads_and_the_clock(kept);
            };
            spawn("all", all).join().unwrap();
        });
        let lines = folded(&profile);
        assert_eq!(lines.iter().map(|line| line.1).sum::<u64>(), exact(&profile), "no time is lost or made up");
        let by_clock: u64 =
            lines.iter().filter(|line| line.0.contains("::wait_for_the_clock")).map(|line| line.1).sum();
        // No thread sees that this one sleeps, and the time comes in any case.
        if (by_clock as f64) < kept.as_nanos() as f64 * 0.5 {
            return Err(format!("{by_clock} ns in {lines:#?}"));
        }
        check_callers(&profile, &lines);
        Ok(())
    });
}

fn check_callers(profile: &Profile, lines: &[(String, u64)]) {
    let block = GoProfile::block(profile);
    let samples = block.samples();
    for (function, what) in CALLS {
        let function = format!("::{function}");
        let is_meant =
            |line: &&(String, u64)| line.0.contains(&function) && line.0.contains(&format!("[waiting for {what}"));
        let found: Vec<_> = lines.iter().filter(is_meant).collect();
        let time: u64 = found.iter().map(|line| line.1).sum();
        assert!(time as f64 >= KEPT.as_nanos() as f64 * 0.5, "{function}: {time} ns in {found:#?} of {lines:#?}");
        // Below the program's function is the call that it has made, and nothing else.
        for (line, _) in &found {
            let rest = line.split(';').skip_while(|frame| !frame.contains(&function)).collect::<Vec<_>>();
            let [_, public, waiting, ended] = rest[..] else { panic!("{rest:#?}") };
            let plain: String = public.replace("::<", "<").replace(char::is_whitespace, "");
            assert!(plain.starts_with("selvedge::") || plain.starts_with("<selvedge::"), "{function}: {rest:#?}");
            assert!(waiting.contains(what) && ended.starts_with("[ended by "), "{rest:#?}");
        }
        let is_meant = |sample: &&Sample<'_>| {
            sample.0.get(1).is_some_and(|caller| caller.contains(&function))
                && sample.2["waiting_for"].starts_with(what)
        };
        let (_, [count, nanos], labels) =
            samples.iter().find(is_meant).unwrap_or_else(|| panic!("{function}: {samples:#?}"));
        assert!(*count >= 1 && *nanos > 0 && labels["thread"] == "main/test/all", "{function}: {labels:?}");
    }
    let mutex = GoProfile::mutex(profile).samples().iter().map(|(frames, ..)| frames.join(" ")).collect::<Vec<_>>();
    assert!(mutex.iter().any(|stack| stack.contains("LockGuard")), "{mutex:#?}");
}

/// The sum of all accounts' waits.
pub(crate) fn exact(profile: &Profile) -> u64 {
    let waits = profile.accounts().iter().flat_map(Account::waits);
    waits.map(WaitTotal::total).sum::<Duration>().as_nanos() as u64
}

#[inline(never)]
fn hold_with_five_waiting(table: &Lock<u8>, held: &Signal, waiters: &[&Thread]) {
    let guard = table.lock();
    held.go();
    until_asleep("lock", waiters);
    std::thread::sleep(Duration::from_millis(400));
    drop(guard);
}

/// As Go's test of mutex profiles: the thread that held the lock is charged with the time of all.
#[test]
fn the_thread_that_lets_go_is_charged_with_all_that_waited() {
    let _alone = alone();
    let mut waited = 0;
    let profile = record(|| {
        let (table, held) = (Arc::new(Lock::new("table", 0u8)), Signal::new("held"));
        let waiters: Vec<_> = (0..5)
            .map(|n| {
                let (table, held) = (table.clone(), held.clone());
                spawn(format!("waiter-{n}"), move |_| {
                    held.wait_for_go();
                    let began = Instant::now();
                    *table.lock() += 1;
                    began.elapsed().as_nanos() as i64
                })
            })
            .collect();
        let threads: Vec<_> = waiters.iter().map(JoinHandle::thread).collect();
        hold_with_five_waiting(&table, &held, &threads);
        waited = waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum::<i64>();
    });
    let mutex = GoProfile::mutex(&profile);
    assert_eq!(types(&mutex), [("contentions", "count"), ("delay", "nanoseconds")]);
    let [_, holder] = mutex.through("hold_with_five_waiting");
    // A thread is in the line only after it has spun and yielded: Go's bound, 0.9.
    assert!(holder >= 5 * 360_000_000 && holder <= waited, "{holder} of {waited}: {:#?}", mutex.samples());
    let lock =
        folded(&profile).iter().filter(|line| line.0.contains("[waiting for lock")).map(|line| line.1).sum::<u64>();
    let all: i64 = mutex.samples().iter().map(|sample| sample.1[1]).sum();
    let bias = (all as f64 - lock as f64).abs() / lock as f64;
    assert!(bias < 0.1, "Go's bound: {all} charged, {lock} waited");
}

#[test]
fn a_thread_that_has_the_lock_is_charged_to_nobody_any_more() {
    let _alone = alone();
    let mut waited = Duration::ZERO;
    let profile = record(|| {
        let (table, has_it, may_end) = (Arc::new(Lock::new("table", 0u8)), Signal::new("has it"), Signal::new("end"));
        let guard = table.lock();
        let first = spawn("first", {
            let (table, has_it, may_end) = (table.clone(), has_it.clone(), may_end.clone());
            move |_| {
                let began = Instant::now();
                let guard = table.lock();
                let waited = began.elapsed();
                has_it.go();
                may_end.wait_for_go();
                drop(guard);
                waited
            }
        });
        until_asleep("lock", &[first.thread()]);
        std::thread::sleep(KEPT);
        drop(guard);
        has_it.wait_for_go();
        let next = spawn("next", move |_| {
            let began = Instant::now();
            drop(table.lock());
            began.elapsed()
        });
        until_asleep("lock", &[next.thread()]);
        std::thread::sleep(4 * KEPT);
        may_end.go();
        waited = first.join().unwrap() + next.join().unwrap();
    });
    let mutex = GoProfile::mutex(&profile);
    let [_, charged] = mutex.through("a_thread_that_has_the_lock_is_charged");
    assert!(charged > 0 && charged <= waited.as_nanos() as i64, "{waited:?}: {:#?}", mutex.samples());
}

#[test]
fn the_turn_that_ends_is_charged_with_the_wait_for_it() {
    let _alone = alone();
    let mut waited = Duration::ZERO;
    let profile = record(|| {
        let sequencer = Sequencer::new("output");
        let (turn, second) = (sequencer.take_ticket().wait_turn(), sequencer.take_ticket());
        let waiter = spawn("waiter", move |_| {
            let began = Instant::now();
            drop(second.wait_turn());
            began.elapsed()
        });
        until_asleep("turn", &[waiter.thread()]);
        std::thread::sleep(KEPT);
        drop(turn);
        waited = waiter.join().unwrap();
    });
    let mutex = GoProfile::mutex(&profile);
    let [_, charged] = mutex.through("the_turn_that_ends_is_charged");
    assert!(charged > 0 && charged <= waited.as_nanos() as i64, "{waited:?}: {:#?}", mutex.samples());
}

fn types(profile: &GoProfile) -> Vec<(&str, &str)> {
    profile.0.sample_type.iter().map(|value| (profile.text(value.ty), profile.text(value.unit))).collect()
}

/// Go's own tool reads the files.
#[test]
fn go_reads_the_block_and_the_mutex_profile() {
    if !crate::support::has_go() {
        return;
    }
    let _alone = alone();
    let profile = record(|| {
        let (table, held) = (Arc::new(Lock::new("table", 0u8)), Signal::new("held"));
        let waiter = spawn("waiter", {
            let (table, held) = (table.clone(), held.clone());
            move |_| {
                held.wait_for_go();
                take_a_lock(&table);
            }
        });
        hold_with_five_waiting(&table, &held, &[waiter.thread()]);
        waiter.join().unwrap();
    });
    let folder = crate::support::Folder::new("go-waits");
    let (block, mutex) = (folder.path().join("block.pb.gz"), folder.path().join("mutex.pb.gz"));
    profile.write_block(std::fs::File::create(&block).unwrap()).unwrap();
    profile.write_contention(std::fs::File::create(&mutex).unwrap()).unwrap();
    let go = |arguments: &[&str], file: &Path| {
        let ended = Command::new("go").args(["tool", "pprof"]).args(arguments).arg(file).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    let top = go(&["-top", "-cum"], &block);
    assert!(top.contains("Type: delay") && top.contains("take_a_lock"), "{top}");
    let top = go(&["-top", "-sample_index=contentions"], &block);
    assert!(top.contains("Type: contentions"), "{top}");
    let tags = go(&["-tags"], &block);
    for tag in ["main/test/waiter", "lock \"table\"", "ended_by: Total", "main/test"] {
        assert!(tags.contains(tag), "{tag}: {tags}");
    }
    let focused = go(&["-top", "-cum", "-tagfocus=waiting_for=lock"], &block);
    assert!(focused.contains("take_a_lock") && !focused.contains("join"), "{focused}");
    let top = go(&["-top", "-cum"], &mutex);
    assert!(top.contains("hold_with_five_waiting"), "{top}");
}

/// A thread that waits when the profile is made has its stack in it, at a snapshot and at the end.
#[test]
fn a_wait_that_goes_on_has_a_stack() {
    let _alone = alone();
    let began = Instant::now();
    let has_no_stack = |lines: &[(String, u64)]| lines.iter().any(|line| line.0.contains(";waiter;[no stack];"));
    // A thread that has no processor for 250 ms does not take its stack in time.
    let [so_far, all] = loop {
        let [so_far, all] = a_wait_that_goes_on();
        if !has_no_stack(&so_far) && !has_no_stack(&all) {
            break [so_far, all];
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{so_far:#?} {all:#?}");
    };
    for (lines, least) in [(so_far, KEPT), (all, 2 * KEPT)] {
        let line = lines.iter().find(|line| line.0.starts_with("main;test;waiter;")).unwrap();
        let frames: Vec<_> = line.0.split(';').skip_while(|frame| !frame.contains("::wait_for_a_signal")).collect();
        let [_, call, waiting, ended] = frames[..] else { panic!("{lines:#?}") };
        assert!(call.contains("wait_for_go") && waiting == "[waiting for signal \"ready\"]", "{frames:#?}");
        assert_eq!(ended, "[goes on, or not known what ended it]");
        assert!(line.1 as f64 >= 0.9 * least.as_nanos() as f64, "{lines:#?}");
    }
}

/// The folded lines of a snapshot and of the end, while a thread waits.
fn a_wait_that_goes_on() -> [Vec<(String, u64)>; 2] {
    let ready = Signal::new("ready");
    let waiter = spawn("waiter", {
        let ready = ready.clone();
        move |_| wait_for_a_signal(&ready)
    });
    until_asleep("signal", &[waiter.thread()]);
    let recording = profile::start(Options::new().waits(true)).unwrap();
    std::thread::sleep(KEPT);
    let so_far = folded(&recording.snapshot());
    std::thread::sleep(KEPT);
    let profile = recording.finish();
    ready.go();
    waiter.join().unwrap();
    [so_far, folded(&profile)]
}
