//! Clients that are slow, many, or gone do no harm: each gets its answer, and no other client waits
//! for it.

use super::{Home, UNIX, exchange, read};
use crate::support::until;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const GET: &str = "GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_slow_client_is_told_and_delays_no_other() {
    let home = Home::new();
    let program = home.start("threads", UNIX, 1);
    let mut slow = program.connect();
    let began = Instant::now();
    let mut bytes = GET.bytes().cycle();
    // Until the server ends it.
    slow.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut first = [0; 1];
    loop {
        let byte = bytes.next().unwrap();
        // The end of the head never comes.
        if byte != b'\n' && slow.write_all(&[byte]).is_err() {
            break;
        }
        assert_eq!(program.get("/info").status, 200);
        if slow.read(&mut first).is_ok() {
            break;
        }
        assert!(began.elapsed() < crate::support::ALARM, "it is never told");
    }
    slow.set_read_timeout(Some(crate::support::ALARM)).unwrap();
    let mut rest = String::new();
    let _ = slow.read_to_string(&mut rest);
    // Its first byte is read above, or a write has failed before that.
    assert!(rest.trim_start_matches('H').starts_with("TTP/1.1 408 "), "{rest}");
    program.stop();
}

#[test]
fn a_half_closed_connection_is_answered() {
    let home = Home::new();
    let program = home.start("threads", UNIX, 1);
    let mut stream = program.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(stream).status, 200);
    // Before its request is whole.
    let mut stream = program.connect();
    stream.write_all(b"GET /info HTTP").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read(stream);
    assert!(answer.status == 400 && answer.text().contains("before its head"), "{}", answer.text());
    program.stop();
}

#[test]
fn of_pipelined_requests_the_first_is_answered() {
    let home = Home::new();
    let program = home.start("threads", UNIX, 1);
    let answer = exchange(program.connect(), &GET.repeat(50));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["name"], "inspected", "one answer, and nothing behind it");
    program.stop();
}

#[test]
fn many_connections_make_no_threads() {
    let files = MoreFiles::up_to(2000);
    // Half of them, since other tests of this process have files open, too.
    let many = (files.now / 2).min(1000) as usize;
    let home = Home::new();
    let program = home.start("threads", UNIX, 1);
    let threads = || std::fs::read_dir(format!("/proc/{}/task", program.process.id())).unwrap().count();
    let before = threads();
    let mut idle: Vec<UnixStream> = Vec::new();
    for number in 0..many {
        let stream = program.connect();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        idle.push(stream);
        if number % 50 == 0 {
            assert_eq!(program.get("/info").status, 200, "with {number} others");
        }
    }
    assert_eq!(threads(), before);
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", program.process.id())).unwrap().count();
    assert!(descriptors < 150, "{descriptors}");
    let told = idle.iter().filter(|stream| {
        let mut stream = *stream;
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 503 "), "{text}");
        !text.is_empty()
    });
    assert!(told.count() + 64 + 8 >= many, "a client that had to make room is told");
    assert_eq!(program.get("/info").status, 200);
    program.stop();
    let before = files.before;
    drop((idle, files));
    assert_eq!(rlimit().rlim_cur, before);
}

/// Raises the limit of this process, which has a descriptor for each connection, while it lives.
struct MoreFiles {
    before: u64,
    now: u64,
}

impl MoreFiles {
    /// At most to the limit that the process cannot raise.
    fn up_to(files: u64) -> MoreFiles {
        let mut limit = rlimit();
        let before = limit.rlim_cur;
        limit.rlim_cur = before.max(files.min(limit.rlim_max));
        set_rlimit(limit);
        MoreFiles { before, now: limit.rlim_cur }
    }
}

impl Drop for MoreFiles {
    fn drop(&mut self) {
        set_rlimit(libc::rlimit { rlim_cur: self.before, ..rlimit() });
    }
}

fn rlimit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable for one rlimit.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    limit
}

fn set_rlimit(limit: libc::rlimit) {
    // SAFETY: `limit` is readable for one rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

#[test]
fn bytes_at_random_end_nothing() {
    let home = Home::new();
    let program = home.start("threads", UNIX, 1);
    let mut random = crate::random::Random(17);
    for _ in 0..200 {
        let mut stream = program.connect();
        let bytes: Vec<u8> = (0..random.below(400)).map(|_| random.below(256) as u8).collect();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        assert!(text.is_empty() || text.starts_with(b"HTTP/1.1 4") || text.starts_with(b"HTTP/1.1 5"));
    }
    until("quiet", || program.get("/info").status == 200);
    for path in ["/../written", "/..%2fwritten", "//written", "/%2e%2e/written"] {
        assert!(matches!(program.get(path).status, 400 | 404), "{path}");
    }
    program.stop();
    let left = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut left: Vec<String> = left.collect();
    left.sort_unstable();
    assert_eq!(left, ["selvedge", "selvedge.yaml"], "nothing else is written");
}
