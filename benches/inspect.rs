//! What it costs to look at a program with 1,000 threads, at its Unix socket: one answer as JSON,
//! and an open page, which gets events each second. Without a client no thread wakes up.
//!
//! `cargo bench --bench inspect --features inspect,profiling`

mod support;

use selvedge::{Config, Runtime, Signal, spawn};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::scaled;

const THREADS: usize = 1000;

fn main() {
    let folder = std::env::temp_dir().join(format!("selvedge-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("XDG_RUNTIME_DIR", &folder) };
    let runtime = Runtime::start(Config::new("bench").inspect("unix")).expect("a runtime");
    let socket = folder.join(format!("selvedge/bench-{}.sock", std::process::id()));
    let threads = scaled(THREADS, 20);
    for number in 0..threads {
        drop(spawn(format!("waiter-{number}"), |please_stop| please_stop.wait_for_go()));
    }
    answers(&socket, threads);
    let own = own_threads(&socket);
    println!("\n| {threads} threads | CPU of the inspection's threads | wake-ups |\n|---|---|---|");
    row("no client", &own);
    let page = open_page(&socket);
    row("a page open, threads wait", &own);
    let over = Signal::new("over");
    for number in 0..threads / 10 {
        let over = over.clone();
        drop(spawn(
            format!("runner-{number}"),
            move |_| while !over.wait_for_go_timeout(Duration::from_millis(100)) {},
        ));
    }
    row("a page open, 100 more wake up ten times a second", &own);
    over.go();
    drop(page);
    row("the page closed", &own);
    runtime.shutdown().expect("no failure");
    // What is left of a folder for temporary files is no fault of the bench.
    let _ = std::fs::remove_dir_all(folder);
}

fn get(socket: &Path, path: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).expect("the socket");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let head = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("a head");
    answer.split_off(head + 4)
}

/// How long `/threads` takes, from the connection to its end.
fn answers(socket: &Path, threads: usize) {
    let mut times: Vec<Duration> = (0..scaled(200, 2))
        .map(|_| {
            let began = Instant::now();
            let body = get(socket, "/threads");
            let took = began.elapsed();
            let all: Value = serde_json::from_slice(&body).expect("JSON");
            assert!(all["threads"].as_array().expect("threads").len() > threads);
            took
        })
        .collect();
    times.sort();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    let (least, median, most) = (ms(0), ms(times.len() / 2), ms(times.len() * 95 / 100));
    println!("{threads} threads as JSON: {least:.2} ms at least, {median:.2} ms median, {most:.2} ms of 95 %");
}

/// The files of the kernel about the threads that serve.
fn own_threads(socket: &Path) -> Vec<PathBuf> {
    let all: Value = serde_json::from_slice(&get(socket, "/threads")).expect("JSON");
    let is_own =
        |thread: &&Value| thread["path"].as_str().is_some_and(|path| path.starts_with("main/selvedge/inspect"));
    let own = all["threads"].as_array().expect("threads").iter().filter(is_own);
    own.map(|thread| PathBuf::from(format!("/proc/self/task/{}", thread["os_thread"]))).collect()
}

/// CPU time, and how often they fell asleep.
fn used(own: &[PathBuf]) -> (Duration, u64) {
    let one = |folder: &PathBuf| {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("of a thread");
        let nanos = read("schedstat").split_whitespace().next().expect("a number").parse().expect("a number");
        let status = read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("a line");
        (Duration::from_nanos(nanos), line.trim().parse::<u64>().expect("a number"))
    };
    own.iter().map(one).fold((Duration::ZERO, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

fn row(what: &str, own: &[PathBuf]) {
    // What the last answer has left to do.
    std::thread::sleep(Duration::from_millis(scaled(2500, 100) as u64));
    let (before, began) = (used(own), Instant::now());
    std::thread::sleep(Duration::from_millis(scaled(10_000, 300) as u64));
    let (after, length) = (used(own), began.elapsed());
    let share = 100.0 * (after.0 - before.0).as_secs_f64() / length.as_secs_f64();
    println!("| {what} | {share:.2} % of a processor | {} in {:.0} s |", after.1 - before.1, length.as_secs_f64());
}

/// A client of events that reads them. The connection ends with what is returned.
struct Page(UnixStream);

fn open_page(socket: &Path) -> Page {
    let mut stream = UnixStream::connect(socket).expect("the socket");
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).count());
    Page(stream)
}

impl Drop for Page {
    fn drop(&mut self) {
        // The server may have ended first.
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}
