//! Tills: made and dropped, waited on with other signals beside `select!`, and how late they go
//! beside a bare sleep. Claims: more than 2 million a second; 99 % go within 200 µs of the sleep.

mod support;

use selvedge::{Signal, Till};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use support::{Contest, scaled, time};

const HOUR: Duration = Duration::from_secs(3600);

fn main() {
    made_and_dropped();
    waited_on();
    late();
}

fn made_and_dropped() {
    let n = scaled(100_000, 100);
    let stop = Signal::new("stop");
    Contest::new("a time-out made, looked at and dropped", n)
        .with("selvedge Till", || time(n, || Till::after(HOUR).is_go()))
        .with("selvedge Till | stop", || time(n, || (Till::after(HOUR) | &stop).is_go()))
        .with("crossbeam after", || time(n, || crossbeam_channel::after(HOUR).is_empty()))
        .with("Instant::now() + duration", || time(n, || Instant::now() + HOUR < Instant::now()))
        .run(60);
    let n = scaled(20_000, 100);
    Contest::new("a target attached and cancelled", n)
        .with("selvedge Till::on_go, cancel", || time(n, || Till::after(HOUR).on_go(|| ()).cancel()))
        .with("selvedge Signal::on_go, cancel", || time(n, || stop.on_go(|| ()).cancel()))
        .run(40);
}

/// A thread waits for the first of two events and a deadline; another makes the second event
/// happen, and waits for the answer.
fn waited_on() {
    let n = scaled(300, 5);
    Contest::new("woken from a wait for a, b or a deadline, and back", n)
        .with("selvedge (a | b | till).wait_for_go()", || {
            let a = Signal::new("a");
            round_trips(
                n,
                |jobs: &mpsc::Receiver<(Signal, Signal)>| {
                    for (b, answer) in jobs {
                        (&a | &b | Till::after(HOUR)).wait_for_go();
                        answer.go();
                    }
                },
                |jobs| {
                    let (b, answer) = (Signal::new("b"), Signal::new("answer"));
                    jobs.send((b.clone(), answer.clone())).unwrap();
                    pause();
                    b.go();
                    answer.wait_for_go();
                },
            )
        })
        .with("crossbeam select! with default(timeout)", || {
            let (_keep, a) = crossbeam_channel::bounded::<()>(0);
            type Job = (crossbeam_channel::Receiver<()>, crossbeam_channel::Sender<()>);
            round_trips(
                n,
                |jobs: &mpsc::Receiver<Job>| {
                    for (b, answer) in jobs {
                        crossbeam_channel::select! {
                            recv(a) -> _ => {}
                            recv(b) -> _ => {}
                            default(HOUR) => {}
                        }
                        drop(answer);
                    }
                },
                |jobs| {
                    let (fire, b) = crossbeam_channel::bounded::<()>(0);
                    let (answer, answered) = crossbeam_channel::bounded::<()>(0);
                    jobs.send((b, answer)).unwrap();
                    pause();
                    drop(fire);
                    let _ = answered.recv();
                },
            )
        })
        .run(40);

    let n = scaled(20_000, 50);
    let (a, b) = (Signal::new("a"), Signal::new("b"));
    let (_keep_a, no_a) = crossbeam_channel::bounded::<()>(0);
    let (_keep_b, no_b) = crossbeam_channel::bounded::<()>(0);
    let soon = Duration::from_nanos(1);
    Contest::new("a wait for a, b or a deadline that has passed", n)
        .with("selvedge (a | b | till).wait_for_go()", || time(n, || (&a | &b | Till::after(soon)).wait_for_go()))
        .with("crossbeam select! with default(timeout)", || {
            time(n, || {
                crossbeam_channel::select! {
                    recv(no_a) -> _ => {}
                    recv(no_b) -> _ => {}
                    default(soon) => {}
                }
            })
        })
        .run(40);
}

/// Long enough for the other to sleep.
fn pause() {
    thread::sleep(Duration::from_micros(200));
}

/// The time of `n` rounds of `ask`, against a thread that runs `answer`.
fn round_trips<J: Send>(
    n: usize,
    answer: impl FnOnce(&mpsc::Receiver<J>) + Send,
    ask: impl Fn(&mpsc::Sender<J>),
) -> Duration {
    let (send, receive) = mpsc::channel();
    thread::scope(|s| {
        s.spawn(move || answer(&receive));
        let begin = Instant::now();
        (0..n).for_each(|_| ask(&send));
        let time = begin.elapsed();
        drop(send);
        time
    })
}

/// How long after its time each of them runs. All in turn, so that they meet the same disturbances.
fn late() {
    let n = scaled(1500, 5);
    let stop = Signal::new("stop");
    let (tell, hear) = mpsc::channel();
    let mut late = [const { Vec::new() }; 4];
    for round in 0..n {
        let delay = Duration::from_micros(500 + 37 * (round as u64 % 100));
        let due = || Instant::now() + delay;
        let at = due();
        thread::sleep(delay);
        late[0].push(Instant::now() - at);
        let at = due();
        Till::at(at).wait_for_go();
        late[1].push(Instant::now() - at);
        let at = due();
        (Till::at(at) | &stop).wait_for_go();
        late[2].push(Instant::now() - at);
        let (at, tell) = (due(), tell.clone());
        Till::at(at).on_go(move || tell.send(Instant::now()).unwrap());
        late[3].push(hear.recv().unwrap() - at);
    }
    let names = ["thread::sleep", "Till, waited on", "Till | stop, waited on", "Till, its target runs"];
    println!("\nhow late, in µs, of {n} each");
    println!(
        "| {:<24} | {:>7} | {:>7} | {:>7} | {:>7} | {:>14} |",
        "", "50 %", "90 %", "99 %", "100 %", "99 % over sleep"
    );
    println!("|{:-<26}|{:->9}|{:->9}|{:->9}|{:->9}|{:->16}|", "", ":", ":", ":", ":", ":");
    let micros = |sorted: &[Duration], percent: usize| sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    late.iter_mut().for_each(|one| one.sort());
    let sleep = micros(&late[0], 99);
    for (name, one) in names.iter().zip(&late) {
        let [p50, p90, p99, max] = [50, 90, 99, 100].map(|percent| micros(one, percent));
        println!("| {name:<24} | {p50:>7.0} | {p90:>7.0} | {p99:>7.0} | {max:>7.0} | {:>14.0} |", p99 - sleep);
    }
}
