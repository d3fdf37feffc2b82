//! By the wall clock, a thread that waits shows what for, by a name that is the same at each call.
#![cfg(all(feature = "profiling", target_os = "linux"))]

use selvedge::profile::{self, Clock, Engine, Options};
use selvedge::{Lock, Progress, Sequencer, Signal};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn who_waits_for_a_lock_shows_who_holds_it() {
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
        let waited = weight("[waiting for lock \"cache\" held by main/test/holder]");
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
fn turns_and_marks_that_run_have_one_frame_each() {
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
fn a_thread_that_reads_from_a_socket_shows_the_peer() {
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
