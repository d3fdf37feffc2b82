//! What a log call costs its caller, and how many records a second reach the file: selvedge beside
//! its rivals, in one run.
//!
//! Each measurement is a process of its own, as a process has one logger; the rivals take turns,
//! round by round. All write date with milliseconds, level, thread, target and message to a file;
//! all have room for 8192 records where they take a bound, and lose none where they can be told so.
//!
//! `log-rivals [ROUNDS [RECORDS [BUSY]]]`, beside BUSY threads that only compute; a measurement:
//! `log-rivals RIVAL CALLERS RECORDS FILE`.

mod rivals;

use std::fs;
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

pub const CAPACITY: usize = 8192;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [rival, callers, records, file] => {
            measure(rival, callers.parse().expect("callers"), records.parse().expect("records"), file);
        }
        args => {
            let number = |at: usize, usual| args.get(at).map_or(usual, |text| text.parse().expect("a number"));
            (0..number(2, 0)).for_each(|_| {
                drop(std::thread::spawn(|| {
                    loop {
                        std::hint::spin_loop()
                    }
                }))
            });
            drive(number(0, 5), number(1, 200_000));
        }
    }
}

/// A line of figures on stdout: median, 99 %, 99.9 % in ns, callers' time and time until written in
/// ms, lines lost.
fn measure(rival: &str, callers: usize, records: usize, file: &str) {
    let _ = fs::remove_file(file);
    let logger = rivals::start(rival, file);
    let call = logger.call;
    for number in 0..1000 {
        call(usize::MAX, number);
    }
    let barrier = Barrier::new(callers + 1);
    let mut times: Vec<u32> = Vec::new();
    let (mut spent, mut begin) = (Duration::ZERO, Instant::now());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|caller| {
                let barrier = &barrier;
                let body = move || {
                    let mut times = Vec::with_capacity(records);
                    barrier.wait();
                    for number in 0..records {
                        let before = Instant::now();
                        call(caller, number);
                        times.push(before.elapsed().as_nanos() as u32);
                    }
                    times
                };
                let builder = std::thread::Builder::new().name(format!("caller-{caller}"));
                builder.spawn_scoped(scope, body).expect("a thread")
            })
            .collect();
        barrier.wait();
        begin = Instant::now();
        for thread in threads {
            times.extend(thread.join().expect("no panic"));
        }
        spent = begin.elapsed();
    });
    (logger.end)();
    let mut written = begin.elapsed();
    let expected = callers * records;
    let has = |line: &[u8], text: &[u8]| line.windows(text.len()).any(|part| part == text);
    let counts = |line: &&[u8]| has(line, b"caller #") && !has(line, b"#18446744073");
    let count = || fs::read(file).unwrap_or_default().split(|byte| *byte == b'\n').filter(counts).count();
    let mut lines = count();
    // Some end before all is written.
    while lines < expected && written < spent + Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
        let now = count();
        if now == lines {
            break;
        }
        (lines, written) = (now, begin.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{} {} {} {} {} {}",
        at(0.5),
        at(0.99),
        at(0.999),
        spent.as_micros(),
        written.as_micros(),
        expected as i64 - lines as i64
    );
    let _ = fs::remove_file(file);
}

fn drive(rounds: usize, records: usize) {
    let file = std::env::temp_dir().join(format!("log-rivals-{}.log", std::process::id()));
    for (callers, records) in [(1_usize, records), (4, records), (16, records / 4)] {
        let mut figures: Vec<Vec<Vec<f64>>> = vec![Vec::new(); rivals::ALL.len()];
        for _ in 0..rounds {
            for (at, rival) in rivals::ALL.iter().enumerate() {
                let mut child = Command::new(std::env::current_exe().expect("this program"));
                child.args([*rival, &callers.to_string(), &records.to_string(), file.to_str().expect("a plain path")]);
                let output = child.output().expect("it runs");
                let text = String::from_utf8_lossy(&output.stdout);
                let line: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
                assert!(line.len() == 6, "{rival}: {text}{}", String::from_utf8_lossy(&output.stderr));
                figures[at].push(line);
            }
        }
        let total = (callers * records) as f64;
        let best = |round: usize, which: usize| {
            let others = figures.iter().zip(rivals::ALL).filter(|(_, rival)| !rival.starts_with("selvedge"));
            others.map(|(lines, _)| lines[round][which]).fold(f64::INFINITY, f64::min)
        };
        let met = |is_met: &dyn Fn(usize, &[f64]) -> bool| {
            figures[0].iter().enumerate().filter(|(round, ours)| is_met(*round, ours)).count()
        };
        println!("\n{callers} callers x {records} records, medians of {rounds} rounds (best and worst in brackets)");
        println!(
            "{:<22} {:>20} {:>9} {:>9} {:>11} {:>22} {:>9}",
            "", "median ns", "99 % ns", "99.9 % ns", "callers ms", "written M/s", "lost"
        );
        let mut rows = Vec::new();
        for (at, rival) in rivals::ALL.iter().enumerate() {
            let column = |which: usize| {
                let mut values: Vec<f64> = figures[at].iter().map(|line| line[which]).collect();
                values.sort_by(f64::total_cmp);
                values
            };
            let middle = |which: usize| column(which)[rounds / 2];
            let (median, time) = (column(0), column(4));
            let rate = |micros: f64| total / micros;
            let lost: f64 = column(5).iter().sum();
            println!(
                "{rival:<22} {:>20} {:>9.0} {:>9.0} {:>11.1} {:>22} {lost:>9.0}",
                format!("{:.0} [{:.0}, {:.0}]", middle(0), median[0], median[rounds - 1]),
                middle(1),
                middle(2),
                middle(3) / 1000.0,
                format!("{:.2} [{:.2}, {:.2}]", rate(middle(4)), rate(time[0]), rate(time[rounds - 1])),
            );
            rows.push((*rival, middle(0), rate(middle(4)), middle(3)));
        }
        let ours = rows[0];
        let others = || rows.iter().filter(|row| !row.0.starts_with("selvedge"));
        let fastest = others().min_by(|a, b| a.1.total_cmp(&b.1)).expect("rivals");
        let most = others().max_by(|a, b| a.2.total_cmp(&b.2)).expect("rivals");
        let plain = others().find(|row| row.0 == "log4rs").expect("log4rs");
        let median_met = met(&|round, ours| ours[0] <= best(round, 0));
        let rate_met = met(&|round, ours| 1.2 * ours[4] <= best(round, 4));
        let late_met = met(&|_, ours| ours[2] <= 5000.0);
        println!(
            "of {rounds} rounds: median <= the best in {median_met}, rate >= 1.2 of the best in {rate_met}, \
             99.9 % <= 5 us in {late_met}"
        );
        println!("median: {:.2} of the best rival's ({}); lower is better", ours.1 / fastest.1, fastest.0);
        println!("written rate: {:.2} of the best rival's ({}); higher is better", ours.2 / most.2, most.0);
        let (median, time, written) = (plain.1 / ours.1, plain.3 / ours.3, ours.2 / plain.2);
        println!("against plain log4rs: median {median:.1} x, callers' time {time:.1} x, written {written:.1} x");
    }
}
