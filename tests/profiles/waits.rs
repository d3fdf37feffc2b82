//! By the wall clock, a thread that waits shows what for, by a name that is the same at each call.
//!
//! A sleep of the recording thread is the length of the recording. A result that is not there yet
//! is retried with a longer one, up to a deadline.
#![cfg(all(feature = "profiling", target_os = "linux"))]

use selvedge::profile::{self, Clock, Engine, Options};
use selvedge::{Lock, Progress, Sequencer, Signal};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn a_wait_for_a_lock_shows_its_holder() {
    let _alone = crate::ONE_AT_A_TIME.lock();
    let _test = selvedge::register("test");
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut length = Duration::from_millis(200);
    loop {
        let lock = Arc::new(Lock::new("cache", 0));
        let (held, begun) = (Signal::new("held"), Signal::new("begun"));
        let holder = selvedge::spawn("holder", {
            let (lock, held) = (lock.clone(), held.clone());
            move |please_stop: &Signal| {
                let _guard = lock.lock();
                held.go();
                please_stop.wait_for_go();
            }
        });
        held.wait_for_go();
        let recording = profile::start(Options::new().engine(Engine::Timer).clock(Clock::Wall).frequency(200)).unwrap();
        let waiter = selvedge::spawn("waiter", {
            let begun = begun.clone();
            move |_: &Signal| {
                begun.go();
                *lock.lock()
            }
        });
        begun.wait_for_go();
        std::thread::sleep(length);
        let profile = recording.finish();
        holder.stop();
        holder.join().unwrap();
        waiter.join().unwrap();
        let mut text = Vec::new();
        profile.write_folded(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let weight = |part: &str| -> u64 {
            let those = lines.clone().filter(|(line, _)| line.starts_with("main;test;waiter;") && line.ends_with(part));
            those.map(|(_, weight)| weight.parse::<u64>().unwrap()).sum()
        };
        let waited = weight("[waiting for lock \"cache\"];[held by main/test/holder]");
        let account = profile.threads().iter().find(|thread| thread.path() == "main/test/waiter").unwrap();
        // All of its life, but for its start and its end.
        if waited as f64 > 0.9 * account.wall_time().as_nanos() as f64 {
            return;
        }
        assert!(Instant::now() < deadline, "{waited} of {account:?} in {length:?}:\n{text}");
        length *= 2;
    }
}

#[test]
fn numbered_waits_share_one_frame() {
    let _alone = crate::ONE_AT_A_TIME.lock();
    let _test = selvedge::register("runs");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let (turns, pages) = (Sequencer::new("order"), Progress::new("pages"));
        let options = Options::new().engine(Engine::Timer).clock(Clock::Wall).frequency(500);
        let recording = profile::start(options).unwrap();
        let takes = |name: &str| {
            let turns = turns.clone();
            selvedge::spawn(name, move |_| {
                for _ in 0..40 {
                    let _turn = turns.take_ticket().wait_turn();
                    std::thread::sleep(Duration::from_millis(4));
                }
            })
        };
        let takers = [takes("taker-a"), takes("taker-b")];
        let reader = selvedge::spawn("reads", {
            let pages = pages.clone();
            move |please_stop: &Signal| {
                for page in 1..=20 {
                    pages.wait_for(page * 2 - 1);
                    // The mark, as a signal of its own and as a part of another.
                    (pages.at(page * 2) | please_stop).wait_for_go();
                }
            }
        });
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(8));
            pages.advance(1);
        }
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        reader.join().unwrap();
        let mut text = Vec::new();
        recording.finish().write_folded(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let mut frames: Vec<&str> = text.lines().filter_map(|line| line.rsplit('[').next()).collect();
        frames.retain(|frame| frame.contains("order") || frame.contains("pages"));
        let is_numbered = |frame: &&&str| frame.contains('#') || frame.contains("at 1") || frame.contains("at 2");
        assert_eq!(frames.iter().find(is_numbered), None, "{text}");
        let has = |part: &str| frames.iter().any(|frame| frame.contains(part));
        let all = ["waiting for turn \"order\"", "waiting for progress \"pages\"", "pages at *"];
        if all.iter().all(|part| has(part)) {
            return;
        }
        assert!(Instant::now() < deadline, "{frames:?}:\n{text}");
    }
}

#[test]
fn a_socket_read_shows_the_peer() {
    use selvedge::net::SocketTill;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    let _alone = crate::ONE_AT_A_TIME.lock();
    let _test = selvedge::register("sockets");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        let recording = profile::start(Options::new().engine(Engine::Timer).clock(Clock::Wall).frequency(200)).unwrap();
        let reader = selvedge::spawn("reads", move |please_stop| server.till(please_stop).read(&mut [0; 1]).is_err());
        std::thread::sleep(Duration::from_millis(200));
        let profile = recording.finish();
        reader.stop();
        assert!(reader.join().unwrap());
        let mut text = Vec::new();
        profile.write_folded(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        // Without the port, which is another one for each connection.
        let of_reader = |line: &&str| line.starts_with("main;sockets;reads;");
        if text.lines().filter(of_reader).any(|line| line.contains("[waiting for data from \"127.0.0.1\"]")) {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
    }
}

/// What each thread measures itself: how long its calls of this crate blocked.
#[derive(Clone, Default)]
struct Measured(Arc<std::sync::atomic::AtomicU64>);

impl Measured {
    fn call<R>(&self, call: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let result = call();
        self.0.fetch_add(began.elapsed().as_nanos() as u64, std::sync::atomic::Ordering::Relaxed);
        result
    }

    fn sum(&self) -> f64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed) as f64
    }
}

/// Nanoseconds of the lines that `is_meant`.
fn weight(text: &str, is_meant: impl Fn(&str) -> bool) -> f64 {
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines.filter(|(line, _)| is_meant(line)).map(|(_, weight)| weight.parse::<f64>().unwrap()).sum()
}

fn by_wall(frequency: u32) -> profile::Recording {
    profile::start(Options::new().engine(Engine::Timer).clock(Clock::Wall).frequency(frequency)).unwrap()
}

fn folded(recording: profile::Recording) -> String {
    let mut text = Vec::new();
    recording.finish().write_folded(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Repeats `round`, which gets a number that doubles, until it has no objection.
fn until_right(mut round: impl FnMut(u32) -> Result<(), String>) {
    let _alone = crate::ONE_AT_A_TIME.lock();
    let _test = selvedge::register("waits");
    let deadline = Instant::now() + Duration::from_secs(180);
    let mut length = 1;
    while let Err(objection) = round(length) {
        assert!(Instant::now() < deadline, "{objection}");
        length = (length * 2).min(4);
    }
}

#[test]
fn each_wait_has_its_own_label() {
    use selvedge::{BinarySemaphore, Monitor, Promise, Queue, Semaphore, spawn};
    until_right(|length| {
        let wait = Duration::from_millis(400) * length;
        let sleep = Duration::from_millis(200) * length;
        let recording = by_wall(100);
        let (empty, full) = (Queue::<u32>::bounded("empty", 1), Queue::bounded("full", 1));
        full.add(1).unwrap();
        let lock = Arc::new(Lock::new("lock", 0));
        let (semaphore, flag) = (Semaphore::new("semaphore", 0), BinarySemaphore::new("flag"));
        let (progress, signal) = (Progress::new("progress"), Signal::new("signal"));
        let (sequencer, promise) = (Sequencer::new("sequencer"), Promise::<u32>::new("promise"));
        let monitor = Arc::new(Monitor::new("monitor", false));
        let first = sequencer.take_ticket().wait_turn();
        let guard = lock.lock();
        let mut threads: Vec<(&str, Measured, selvedge::JoinHandle<()>)> = Vec::new();
        let mut blocks = |name: &'static str, call: Box<dyn FnOnce(&Signal) + Send>| {
            let measured = Measured::default();
            let theirs = measured.clone();
            let body = move |please_stop: &Signal| {
                theirs.call(|| call(please_stop));
                std::thread::sleep(sleep);
            };
            threads.push((name, measured, spawn(name, body)));
        };
        blocks(
            "pop",
            Box::new({
                let empty = empty.clone();
                move |_| assert!(empty.pop().is_none())
            }),
        );
        blocks(
            "pop-till",
            Box::new({
                let empty = empty.clone();
                move |please_stop| assert!(empty.pop_till(please_stop).is_err())
            }),
        );
        blocks(
            "add",
            Box::new({
                let full = full.clone();
                move |_| assert!(full.add(2).is_err())
            }),
        );
        blocks(
            "lock",
            Box::new({
                let lock = lock.clone();
                move |_| drop(lock.lock())
            }),
        );
        blocks(
            "semaphore",
            Box::new({
                let semaphore = semaphore.clone();
                move |_| drop(semaphore.acquire())
            }),
        );
        blocks(
            "flag",
            Box::new({
                let flag = flag.clone();
                move |_| flag.wait()
            }),
        );
        blocks(
            "progress",
            Box::new({
                let progress = progress.clone();
                move |_| progress.wait_for(1)
            }),
        );
        blocks(
            "signal",
            Box::new({
                let signal = signal.clone();
                move |_| signal.wait_for_go()
            }),
        );
        blocks(
            "composite",
            Box::new({
                let signal = signal.clone();
                move |please_stop| (&signal | please_stop).wait_for_go()
            }),
        );
        blocks(
            "turn",
            Box::new({
                let ticket = sequencer.take_ticket();
                move |_| drop(ticket.wait_turn())
            }),
        );
        blocks(
            "promise",
            Box::new({
                let promise = promise.clone();
                move |_| assert!(promise.wait().is_ok())
            }),
        );
        blocks(
            "monitor",
            Box::new({
                let monitor = monitor.clone();
                move |_| {
                    let mut guard = monitor.enter();
                    while !*guard {
                        guard.wait();
                    }
                }
            }),
        );
        std::thread::sleep(wait);
        empty.close();
        full.close();
        drop(guard);
        semaphore.add_permits(1);
        flag.post();
        progress.advance(1);
        signal.go();
        drop(first);
        promise.claim().unwrap().fulfil(1);
        *monitor.enter() = true;
        let measured: Vec<_> = threads
            .into_iter()
            .map(|(name, measured, thread)| {
                thread.join().unwrap();
                (name, measured.sum())
            })
            .collect();
        let text = folded(recording);
        for (name, waited) in measured {
            let path = format!("main;waits;{name};");
            let labelled =
                weight(&text, |line| line.starts_with(&path) && line.ends_with(']') && line.contains("[waiting for "));
            let slept = weight(&text, |line| line.starts_with(&path) && line.contains("nanosleep"));
            let both = weight(&text, |line| {
                line.starts_with(&path) && line.contains("nanosleep") && line.contains("[waiting for ")
            });
            assert_eq!(both, 0.0, "{name}: a label stands on a sleep:\n{text}");
            assert!(labelled <= waited * 1.001, "{name}: waited {waited}, labelled {labelled}:\n{text}");
            if labelled < 0.98 * waited || slept < 0.9 * sleep.as_nanos() as f64 {
                return Err(format!(
                    "{name}: waited {waited}, labelled {labelled}; slept {slept} of {sleep:?}:\n{text}"
                ));
            }
        }
        Ok(())
    });
}

#[test]
fn short_threads_waits_have_labels() {
    until_right(|length| {
        let recording = by_wall(100);
        let measured = Measured::default();
        let never = Signal::new("never");
        for _ in 0..100 * length {
            let threads: Vec<_> = (0..4)
                .map(|n| {
                    let (measured, never) = (measured.clone(), never.clone());
                    selvedge::spawn(format!("soon-{n}"), move |_| {
                        measured.call(|| never.wait_for_go_timeout(Duration::from_millis(2)));
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        let text = folded(recording);
        let labelled =
            weight(&text, |line| line.contains(";soon-") && line.ends_with("[waiting for signal \"never\"]"));
        let waited = measured.sum();
        assert!(labelled <= waited * 1.001, "waited {waited}, labelled {labelled}:\n{text}");
        if labelled < 0.98 * waited { Err(format!("waited {waited}, labelled {labelled}:\n{text}")) } else { Ok(()) }
    });
}

#[test]
fn contended_and_brief_waits_have_labels() {
    until_right(|length| {
        let recording = by_wall(100);
        let (contended, brief) = (Measured::default(), Measured::default());
        let lock = Arc::new(Lock::new("convoy", 0u64));
        let stop = Signal::new("enough");
        // More than there are processors: they look again, give up the processor and sleep.
        let convoy: Vec<_> = (0..8)
            .map(|n| {
                let (lock, contended, stop) = (lock.clone(), contended.clone(), stop.clone());
                selvedge::spawn(format!("convoy-{n}"), move |_| {
                    while !stop.is_go() {
                        let mut guard = contended.call(|| lock.lock());
                        let began = Instant::now();
                        while began.elapsed() < Duration::from_micros(100) {
                            *guard += 1;
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(500) * length);
        stop.go();
        convoy.into_iter().for_each(|thread| thread.join().unwrap());
        let (there, back) = (selvedge::Queue::bounded("there", 1), selvedge::Queue::bounded("back", 1));
        let echo = selvedge::spawn("echo", {
            let (there, back) = (there.clone(), back.clone());
            move |_| {
                for n in there.iter() {
                    std::thread::sleep(Duration::from_micros(200));
                    back.add(n).unwrap();
                }
            }
        });
        for n in 0..1000 * length {
            there.add(n).unwrap();
            brief.call(|| back.pop());
        }
        there.close();
        echo.join().unwrap();
        let text = folded(recording);
        let in_convoy = |line: &str| line.contains(";convoy-") && line.contains("[waiting for lock \"convoy\"");
        let pairs = [
            ("contended", weight(&text, in_convoy), contended.sum()),
            ("brief", weight(&text, |line| line.ends_with("[waiting for queue \"back\"]")), brief.sum()),
        ];
        for (what, labelled, waited) in pairs {
            eprintln!("{what}: waited {waited}, labelled {labelled}: {:.4}", labelled / waited);
            if labelled < 0.98 * waited {
                return Err(format!("{what}: waited {waited}, labelled {labelled}:\n{text}"));
            }
        }
        Ok(())
    });
}
