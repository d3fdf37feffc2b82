//! Claim: to count waits costs a call that blocks at most 50 ns, and one that does not block
//! nothing that can be measured. It costs whole programs at most 1 %: an indexer, and a service
//! that passes messages at full speed.

mod support;

use selvedge::profile::{self, Options};
use selvedge::{Lock, Queue, Signal, spawn};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Contest, scaled, time};

fn main() {
    let n = scaled(2_000, 5);
    contest("a round trip over two queues: each of two threads blocks once", n, || queue_round_trips(n));
    contest("a round trip over two signals, made before", n, || signal_round_trips(n));
    let n = scaled(200_000, 100);
    contest("add and pop of a value, without blocking", n, || add_and_pop(n));
    contest("lock and unlock, without blocking", n, || {
        let lock = Lock::new("sum", 0u64);
        time(n, || *lock.lock() += 1)
    });
    let files = sources(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let rounds = scaled(8, 1);
    let n = rounds * files.len();
    contest("an indexer: finds, reads and takes apart files, and merges their words, each file", n, || {
        index(&files, rounds)
    });
    let n = scaled(400_000, 100);
    contest("a service: takes requests from one queue, and answers by another, each request", n, || serve(n));
}

/// The same work with waits counted, without, and without a recording.
fn contest(title: &str, n: usize, work: impl Fn() -> Duration) {
    let recorded = |options: Options| {
        let recording = profile::start(options).expect("a recording starts");
        let taken = work();
        black_box(recording.finish());
        taken
    };
    Contest::new(title, n)
        .with("recording, waits counted", || recorded(Options::new().frequency(100).waits(true)))
        .with("recording", || recorded(Options::new().frequency(100)))
        .with("no recording", &work)
        .run(30);
}

fn queue_round_trips(n: usize) -> Duration {
    let (there, back) = (Queue::unbounded("there"), Queue::unbounded("back"));
    let echo = spawn("echo", {
        let (there, back) = (there.clone(), back.clone());
        move |_| there.iter().for_each(|value: usize| back.add(value).expect("open"))
    });
    let begin = Instant::now();
    for number in 0..n {
        there.add(number).expect("open");
        black_box(back.pop());
    }
    let taken = begin.elapsed();
    there.close();
    echo.join().expect("the echo ends");
    taken
}

fn signal_round_trips(n: usize) -> Duration {
    let signals: Vec<(Signal, Signal)> = (0..n).map(|_| (Signal::new("there"), Signal::new("back"))).collect();
    let echo = spawn("echo", {
        let signals = signals.clone();
        move |_| {
            for (there, back) in &signals {
                there.wait_for_go();
                back.go();
            }
        }
    });
    let begin = Instant::now();
    for (there, back) in &signals {
        there.go();
        back.wait_for_go();
    }
    let taken = begin.elapsed();
    echo.join().expect("the echo ends");
    taken
}

fn add_and_pop(n: usize) -> Duration {
    let queue = Queue::unbounded("jobs");
    time(n, || {
        queue.add(1u64).expect("open");
        queue.try_pop()
    })
}

fn sources(folder: PathBuf) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files
}

type Words = HashMap<String, usize>;

/// The threads and queues of the first example: a walker, two readers, and a merger.
fn index(files: &[PathBuf], rounds: usize) -> Duration {
    let begin = Instant::now();
    let (paths, partials) = (Queue::bounded("paths", 1024), Queue::bounded("partials", 16));
    let merger = spawn("merger", {
        let partials = partials.clone();
        move |_| {
            let mut all = Words::new();
            partials.iter().flat_map(Words::into_iter).for_each(|(word, count)| *all.entry(word).or_default() += count);
            all.len()
        }
    });
    let readers = [1, 2].map(|n| {
        let (paths, partials): (Queue<PathBuf>, _) = (paths.clone(), partials.clone());
        spawn(format!("reader-{n}"), move |_| {
            let mut words = Words::new();
            for (taken, path) in paths.iter().enumerate() {
                let text = std::fs::read_to_string(path).expect("a source");
                for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 1) {
                    match words.get_mut(word) {
                        Some(count) => *count += 1,
                        None => drop(words.insert(word.to_owned(), 1)),
                    }
                }
                if taken % 64 == 63 {
                    partials.add(std::mem::take(&mut words)).expect("open");
                }
            }
            partials.add(words).expect("open");
        })
    });
    let walker = spawn("walker", {
        let files: Vec<PathBuf> = (0..rounds).flat_map(|_| files.to_vec()).collect();
        move |_| {
            files.into_iter().for_each(|path| paths.add(path).expect("open"));
            paths.close();
        }
    });
    walker.join().expect("the walker ends");
    readers.into_iter().for_each(|reader| reader.join().expect("a reader ends"));
    partials.close();
    black_box(merger.join().expect("the merger ends"));
    begin.elapsed()
}

/// Two threads that answer, one that asks, and the calling thread, which takes the answers.
fn serve(n: usize) -> Duration {
    let (requests, answers) = (Queue::bounded("requests", 64), Queue::bounded("answers", 64));
    let servers = [1, 2].map(|server| {
        let (requests, answers): (Queue<usize>, _) = (requests.clone(), answers.clone());
        spawn(format!("server-{server}"), move |_| {
            requests.iter().for_each(|request| answers.add(black_box(request * 3)).expect("open"));
        })
    });
    let begin = Instant::now();
    let client = spawn("client", move |_| {
        (0..n).for_each(|request| requests.add(request).expect("open"));
        requests.close();
    });
    black_box((0..n).map(|_| answers.pop().expect("open")).sum::<usize>());
    let taken = begin.elapsed();
    client.join().expect("the client ends");
    servers.into_iter().for_each(|server| server.join().expect("a server ends"));
    taken
}
