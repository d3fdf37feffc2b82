//! Answers that record: their sums are right, one runs at a time, and a program that records
//! already goes on to do so.

use super::{COUNTS, Home, Inspected, UNIX, read};
use crate::support::{undisturbed, until};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Instant, UNIX_EPOCH};

/// Seconds of CPU time by that folded text, of threads whose path begins so.
fn seconds(folded: &str, path: &str) -> f64 {
    let weight = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() / 1e9;
    folded.lines().filter(|line| line.starts_with(path)).map(weight).sum()
}

fn cpu(program: &Inspected, path: &str) -> f64 {
    // A thread that has not begun has no clock.
    program.thread(path)["cpu_s"].as_f64().unwrap_or(0.0)
}

/// So many CPU seconds make a hundredth that is longer than a thread waits for a processor.
const ENOUGH: f64 = 1.5;

/// Nanoseconds of the clock that profiles tell their beginning by.
fn now() -> i64 {
    UNIX_EPOCH.elapsed().unwrap().as_nanos() as i64
}

/// A profile, and what a counter of CPU seconds showed meanwhile.
struct Served {
    profile: pprof::protos::Profile,
    /// By how much it grew between two readings within the time that the profile says of itself.
    within: Option<f64>,
    /// By how much it grew between two readings while the program told that it records.
    inside: f64,
    /// By how much it grew between the request and the begin of the answer.
    around: f64,
    /// By how much it grew between the request and the end of the answer.
    in_all: f64,
}

impl Served {
    /// Asks for a profile of these seconds. On a busy machine, where the threads get little of a processor,
    /// asks again for longer: when a recording begins and when it ends, the recorder may lose its processor
    /// for some milliseconds, and these are to be less than a hundredth of all.
    fn ask(program: &Inspected, seconds: u32, counter: impl Fn() -> f64) -> Served {
        let mut served = Served::ask_once(program, seconds, &counter);
        for longer in [2, 4, 8] {
            if served.around < ENOUGH {
                served = Served::ask_once(program, longer * seconds, &counter);
            }
        }
        served
    }

    /// The profile says when it began and how long it took.
    fn ask_once(program: &Inspected, seconds: u32, counter: &impl Fn() -> f64) -> Served {
        let before = counter();
        let mut stream = program.connect();
        let request = format!("GET /debug/pprof/profile?seconds={seconds} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let sent = now();
        stream.write_all(request.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let (mut readings, mut head, mut recorded_at) = (Vec::new(), [0; 1], None);
        until("the profile comes", || {
            if recorded_at.is_none() && program.get("/info").json()["recording"]["by"] == "inspect" {
                recorded_at = Some(now());
            }
            readings.push(Reading { asked: now(), seconds: counter(), got: now() });
            stream.read(&mut head).is_ok()
        });
        stream.set_nonblocking(false).unwrap();
        let around = counter() - before;
        let answer = read(std::io::Read::chain(&head[..], stream));
        let in_all = counter() - before;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let profile = decoded(&answer.body);
        let within = grown(&readings, profile.time_nanos, profile.time_nanos + profile.duration_nanos);
        // It has not ended before.
        let end = sent + i64::from(seconds) * 1_000_000_000;
        let inside = recorded_at.and_then(|begin| grown(&readings, begin, end)).unwrap_or(0.0);
        Served { profile, within, inside, around, in_all }
    }

    /// CPU seconds of the samples of this thread, or of all.
    fn seconds(&self, thread: Option<&str>) -> f64 {
        let text = |index: i64| self.profile.string_table[index as usize].as_str();
        let kind = self.profile.sample_type.iter().position(|kind| text(kind.unit) == "nanoseconds").unwrap();
        let is_its = |sample: &&pprof::protos::Sample| {
            let labels = &sample.label;
            thread.is_none_or(|path| labels.iter().any(|one| text(one.key) == "thread" && text(one.str) == path))
        };
        self.profile.sample.iter().filter(is_its).map(|sample| sample.value[kind] as f64 / 1e9).sum()
    }

    /// The counter shows the same, within 1 %, by the profile's own time. In any case the profile has what was
    /// used while the program told that it records, and no more than what was used until the answer's end.
    fn agrees(&self, thread: Option<&str>) -> bool {
        let Served { within, inside, around, in_all, .. } = *self;
        let served = self.seconds(thread);
        println!("served {served:.3} s; {within:.3?} s within, {inside:.3} s inside, {around:.3} s around");
        assert!(served >= 0.99 * inside && served <= 1.01 * in_all, "{served} of {inside} to {in_all}");
        within.is_some_and(|within| served >= 0.99 * within && served <= 1.01 * around)
    }
}

/// One of five measurements agrees. The recorder may lose its processor between the moment that the profile
/// tells as its begin and the true one.
fn one_agrees(program: &Inspected, seconds: u32, thread: Option<&str>, counter: impl Fn() -> f64) {
    let agrees = undisturbed(|| Served::ask(program, seconds, &counter).agrees(thread), |agrees| !agrees);
    assert!(agrees, "no profile has the time that it says of itself");
}

/// What a counter of CPU seconds showed between two moments.
struct Reading {
    asked: i64,
    seconds: f64,
    got: i64,
}

/// By how much the counter grew between these moments, at least. `None` without two readings.
fn grown(readings: &[Reading], begin: i64, end: i64) -> Option<f64> {
    let mut between = readings.iter().filter(|one| one.asked >= begin && one.got <= end).map(|one| one.seconds);
    let first = between.next()?;
    Some(between.next_back()? - first)
}

fn sums_are_right(yaml: &str) {
    let home = Home::new();
    let program = home.start("busy", yaml, 1);
    // A program that records has found something before.
    until("some use", || cpu(&program, "main/burner-0") > 0.3);
    one_agrees(&program, 2, Some("main/burner-0"), || cpu(&program, "main/burner-0"));
    program.stop();
}

#[test]
fn a_recording_has_the_time_of_its_seconds() {
    sums_are_right(UNIX);
}

#[test]
fn a_part_of_the_programs_recording_has_it_too() {
    sums_are_right(&format!("{UNIX}\nprofile: {{ enabled: true, accounts: true, output: out }}"));
}

/// CPU time of all threads by the accounts, since the program's recording began.
fn accounted(program: &Inspected) -> f64 {
    let accounts = program.get("/accounts").json();
    accounts["accounts"].as_array().unwrap().iter().map(|one| one["cpu_s"].as_f64().unwrap()).sum()
}

#[test]
fn a_served_profile_agrees_with_the_accounts() {
    let home = Home::new();
    let program = home.start("busy", COUNTS, 2);
    until("some use", || cpu(&program, "main/burner-0") > 0.1);
    one_agrees(&program, 3, None, || accounted(&program));
    program.stop();
}

#[test]
fn profiles_are_what_pprof_reads() {
    let home = Home::new();
    let program = home.start("busy", UNIX, 1);
    for (path, kind) in [("profile?seconds=1", "cpu"), ("goroutine", "goroutine"), ("threadcreate", "threadcreate")] {
        let answer = program.get(&format!("/debug/pprof/{path}"));
        let name = path.split('?').next().unwrap();
        assert!(answer.has("content-type: application/octet-stream"), "{}", answer.head);
        assert!(answer.has(&format!("content-disposition: attachment; filename=\"{name}\"")), "{}", answer.head);
        let profile = decoded(&answer.body);
        let text = |index: i64| profile.string_table[index as usize].as_str();
        let last = profile.sample_type.last().unwrap();
        assert_eq!(text(last.ty), kind);
        assert!(!profile.sample.is_empty(), "{path}");
        assert!(profile.sample.iter().all(|sample| sample.value.len() == profile.sample_type.len()), "{path}");
    }
    program.stop();
}

#[test]
fn waits_are_served_as_go_has_them() {
    let home = Home::new();
    let program = home.start("threads", UNIX, 2);
    let answer = program.get("/debug/pprof/block");
    assert!(answer.status == 404 && answer.text().contains("waits: true"), "{}", answer.text());
    let kinds = |answer: &super::Answer| {
        let profile = decoded(&answer.body);
        let text = |index: i64| profile.string_table[index as usize].clone();
        profile.sample_type.iter().map(|kind| format!("{}/{}", text(kind.ty), text(kind.unit))).collect::<Vec<_>>()
    };
    for name in ["block", "mutex"] {
        let answer = program.get(&format!("/debug/pprof/{name}?seconds=1"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(kinds(&answer), ["contentions/count", "delay/nanoseconds"]);
    }
    program.stop();
    let yaml = format!("{UNIX}\nprofile: {{ enabled: true, waits: true, output: out }}");
    let program = home.start("threads", &yaml, 2);
    let answer = program.get("/debug/pprof/block");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(kinds(&answer), ["contentions/count", "delay/nanoseconds"]);
    let text = program.get("/debug/pprof/block?debug=1").text();
    assert!(text.contains("main;waiter-1;"), "{text}");
    let accounts = program.get("/accounts").json();
    let waiter = accounts["accounts"].as_array().unwrap().iter().find(|one| one["path"] == "main/waiter-0").unwrap();
    assert_eq!(waiter["waits"][0]["kind"], "signal", "{accounts}");
    assert!(
        program
            .get("/metrics")
            .text()
            .contains("selvedge_wait_seconds_total{thread=\"main/waiter-*\",kind=\"signal\",")
    );
    program.stop();
}

/// In a program that records nothing, and in a program that counts since its begin.
const BOTH: [&str; 2] = [UNIX, COUNTS];

#[test]
fn waits_of_some_seconds_are_of_these_seconds() {
    for yaml in BOTH {
        let home = Home::new();
        let program = home.start("threads", yaml, 2);
        // The wait has gone on for longer than it is looked at.
        until("a long wait", || program.thread("main/waiter-1")["waiting_for"]["for_s"].as_f64() > Some(1.0));
        let within = |path: &str, seconds: &dyn Fn(&super::Answer) -> f64| {
            let began = Instant::now();
            let answer = program.get(path);
            let (most, found) = (began.elapsed().as_secs_f64(), seconds(&answer));
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!((0.99..=1.01 * most).contains(&found), "{path}: {found} s of {most} s: {}", answer.text());
        };
        within("/folded?clock=waits&seconds=1", &|answer| {
            let text = answer.text();
            assert!(text.contains("[waiting for signal ") && !text.contains("main;selvedge;"), "{text}");
            seconds(&text, "main;waiter-1;")
        });
        within("/accounts?seconds=1", &|answer| {
            let accounts = answer.json()["accounts"].as_array().unwrap().clone();
            let waiter = accounts.iter().find(|one| one["path"] == "main/waiter-1").unwrap();
            assert_eq!(waiter["waits"].as_array().unwrap().len(), 1, "{waiter}");
            waiter["waits"][0]["total_s"].as_f64().unwrap()
        });
        within("/debug/pprof/block?seconds=1", &|answer| {
            let profile = decoded(&answer.body);
            let text = |index: i64| profile.string_table[index as usize].as_str();
            let labels = |sample: &pprof::protos::Sample| {
                sample.label.iter().any(|label| text(label.key) == "thread" && text(label.str) == "main/waiter-1")
            };
            profile.sample.iter().filter(|one| labels(one)).map(|one| one.value[1] as f64 / 1e9).sum()
        });
        program.stop();
    }
}

/// What is found in so many seconds; if nothing is, in twice, four and eight times as many.
fn longer<T, E>(seconds: u32, mut find: impl FnMut(u32) -> Result<T, E>) -> Result<T, E> {
    [1, 2, 4].into_iter().find_map(|times| find(times * seconds).ok()).map_or_else(|| find(8 * seconds), Ok)
}

/// The picture has a title with its length: a second at least, and no more than the answer took.
fn has_title(program: &Inspected, path: &str, what: &str) {
    let began = Instant::now();
    let picture = program.get(path);
    let most = began.elapsed().as_secs_f64();
    assert!(picture.has("content-type: image/svg+xml"), "{path}: {}", picture.text());
    let text = picture.text();
    let (_, length) = text.split_once(&format!("inspected: {what}, in ")).unwrap_or_else(|| panic!("{path}: {text}"));
    let length: f64 = length.split_once(" s").unwrap().0.parse().unwrap();
    // It is told in tenths.
    assert!((1.0..=most + 0.05).contains(&length), "{path}: {length} s of {most} s");
}

#[test]
fn waits_and_blame_are_drawn() {
    for yaml in BOTH {
        let home = Home::new();
        let program = home.start("contended", yaml, 1);
        // A busy machine lets them run little.
        let blame = longer(1, |length| {
            let blame = program.get(&format!("/folded?clock=blame&seconds={length}"));
            assert_eq!(blame.status, 200, "{}", blame.text());
            let is_blamed = seconds(&blame.text(), "main;holder;") > 0.25 * f64::from(length);
            if is_blamed { Ok(()) } else { Err(blame.text()) }
        });
        blame.unwrap_or_else(|last| panic!("{last}"));
        for (path, what) in [
            ("/waits?seconds=1", "what all threads waited for"),
            ("/blame?seconds=1", "what threads did while others waited for them"),
        ] {
            has_title(&program, path, what);
        }
        let mutex = longer(1, |length| {
            let mutex = decoded(&program.get(&format!("/debug/pprof/mutex?seconds={length}")).body);
            if mutex.sample.is_empty() { Err(()) } else { Ok(()) }
        });
        assert!(mutex.is_ok(), "no wait for a lock was counted");
        program.stop();
    }
}

/// The JSON of a timeline.
fn timeline(answer: &super::Answer) -> serde_json::Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.has("content-type: application/gzip"), "{}", answer.head);
    assert!(answer.has("content-disposition: attachment; filename=\"timeline.json.gz\""), "{}", answer.head);
    serde_json::from_reader(flate2::read::GzDecoder::new(&answer.body[..])).unwrap()
}

#[test]
fn a_timeline_is_of_its_seconds() {
    for yaml in BOTH {
        let home = Home::new();
        let program = home.start("contended", yaml, 1);
        until("some use", || cpu(&program, "main/holder") > 0.7);
        let times = |list: &serde_json::Value| -> Vec<f64> {
            list.as_array().unwrap().iter().filter_map(|time| time.as_f64()).collect()
        };
        // A busy machine lets them run little.
        let found = longer(1, |length| {
            let began = Instant::now();
            let answer = program.get(&format!("/timeline?seconds={length}"));
            let most = began.elapsed().as_secs_f64() * 1e3;
            let file = timeline(&answer);
            let named = |name: &str| file["threads"].as_array().unwrap().iter().find(|thread| thread["name"] == name);
            let samples = named("main/holder").map_or_else(Vec::new, |holder| times(&holder["samples"]["time"]));
            let waits = named("main/waiter").map_or_else(Vec::new, |waiter| times(&waiter["markers"]["startTime"]));
            for time in samples.iter().chain(&waits) {
                assert!((0.0..=most).contains(time), "{time} ms of {most} ms");
            }
            if samples.len() > 1 && !waits.is_empty() { Ok(()) } else { Err((samples, waits)) }
        });
        assert!(found.is_ok(), "{found:?}");
        program.stop();
    }
}

#[test]
fn what_the_programs_recording_lacks_is_told() {
    let home = Home::new();
    let program = home.start("busy", &format!("{UNIX}\nprofile: {{ enabled: true, output: out }}"), 1);
    for path in [
        "/timeline?seconds=1",
        "/waits?seconds=1",
        "/blame?seconds=1",
        "/folded?clock=waits&seconds=1",
        "/folded?clock=blame&seconds=1",
        "/accounts?seconds=1",
        "/debug/pprof/block?seconds=1",
        "/debug/pprof/mutex?seconds=1",
    ] {
        let answer = program.get(path);
        assert_eq!(answer.status, 409, "{path}: {}", answer.text());
        assert!(answer.text().contains("profile: { waits: true }"), "{path}: {}", answer.text());
    }
    program.stop();
    let wall = format!("{UNIX}\nprofile: {{ enabled: true, clock: wall, output: out }}");
    let program = home.start("busy", &wall, 1);
    let answer = program.get("/debug/pprof/profile?seconds=1");
    assert!(answer.status == 409 && answer.text().contains("ask with clock=wall"), "{}", answer.text());
    assert_eq!(program.get("/debug/pprof/profile?seconds=1&clock=wall").status, 200);
    program.stop();
}

/// The program's own recording goes on, and loses nothing.
#[test]
fn wall_time_is_served_beside_a_recording_of_cpu_time() {
    let home = Home::new();
    let program = home.start("busy", &format!("{UNIX}\nprofile: {{ enabled: true, output: out }}"), 1);
    until("some use", || cpu(&program, "main/burner-0") > 0.1);
    let began = Instant::now();
    let answer = program.get("/folded?clock=wall&seconds=2");
    let (most, folded) = (began.elapsed().as_secs_f64(), answer.text());
    assert_eq!(answer.status, 200, "{folded}");
    for thread in ["main;burner-0;", "main;"] {
        let found = seconds(&folded, thread);
        assert!(found >= 1.9, "{thread}: {found}: {folded}");
    }
    let of_main = folded.lines().filter(|line| line.starts_with("main;") && !line.starts_with("main;burner-0;"));
    let of_main: Vec<&str> = of_main.collect();
    assert!(of_main.iter().any(|line| line.contains("[waiting for ")), "{folded}");
    assert!(seconds(&folded, "main;burner-0;") <= most, "{folded}");
    has_title(&program, "/flame.svg?clock=wall&seconds=1", "wall time of all threads");
    let used = cpu(&program, "main/burner-0");
    program.stop();
    let folded = std::fs::read_to_string(home.path().join("out/inspected.folded")).unwrap();
    assert!(seconds(&folded, "main;burner-0;") >= 0.99 * used, "{used}: {folded}");
}

pub(super) fn decoded(gzipped: &[u8]) -> pprof::protos::Profile {
    use pprof::protos::Message;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(gzipped), &mut bytes).unwrap();
    pprof::protos::Profile::decode(&*bytes).unwrap()
}

#[test]
fn one_recording_runs_at_a_time() {
    let home = Home::new();
    let program = home.start("threads", UNIX, 1);
    let mut first = program.connect();
    first.write_all(b"GET /debug/pprof/profile?seconds=3600 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let recording = || program.get("/info").json()["recording"].clone();
    until("the recording", || !recording().is_null());
    assert_eq!((&recording()["by"], &recording()["clock"]), (&"inspect".into(), &"cpu".into()));
    for path in ["/debug/pprof/profile?seconds=1", "/flame.svg", "/accounts?seconds=1"] {
        let second = program.get(path);
        assert_eq!(second.status, 409, "{path}: {}", second.text());
        assert!(second.text().contains("try again") && second.has("retry-after: 5"), "{path}");
    }
    // The client goes, and the recording with it.
    first.shutdown(Shutdown::Both).unwrap();
    until("the end of the recording", || recording().is_null());
    // The right to record is given back a moment later.
    until("the next recording", || program.get("/folded?seconds=1&clock=wall").status == 200);
    program.stop();
}

#[test]
fn a_recording_ends_with_the_program() {
    let home = Home::new();
    let mut program = home.start("threads", UNIX, 1);
    let mut stream = program.connect();
    stream.write_all(b"GET /flame.svg?seconds=3600 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    until("the recording", || !program.get("/info").json()["recording"].is_null());
    program.process.signal(libc::SIGTERM);
    let answer = read(stream);
    assert_eq!((answer.status, answer.text().contains("the program ends")), (503, true), "{}", answer.text());
    assert_eq!(program.process.end().code(), 0);
}

#[test]
fn the_programs_own_recording_is_whole_at_its_end() {
    let home = Home::new();
    let program = home.start("busy", &format!("{UNIX}\nprofile: {{ enabled: true, output: out }}"), 1);
    assert_eq!(program.get("/info").json()["recording"]["by"], "program");
    assert_eq!(program.get("/flame.svg?seconds=1").status, 200);
    let used = cpu(&program, "main/burner-0");
    program.stop();
    let folded = std::fs::read_to_string(home.path().join("out/inspected.folded")).unwrap();
    assert!(seconds(&folded, "main;burner-0;") >= 0.99 * used, "{used}: {folded}");
}
