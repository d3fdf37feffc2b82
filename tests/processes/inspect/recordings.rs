//! Answers that record: their sums are right, one runs at a time, and a program that records
//! already goes on to do so.

use super::{Home, Inspected, UNIX, read};
use crate::support::until;
use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

/// Seconds of CPU time by that folded text, of threads whose path begins so.
fn seconds(folded: &str, path: &str) -> f64 {
    let weight = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() / 1e9;
    folded.lines().filter(|line| line.starts_with(path)).map(weight).sum()
}

fn cpu(program: &Inspected, path: &str) -> f64 {
    // A thread that has not begun has no clock.
    program.thread(path)["cpu_s"].as_f64().unwrap_or(0.0)
}

/// A recording of a second has what the thread used meanwhile: at least what it had used between
/// two looks within, and at most what it used between two looks around.
fn sums_are_right(yaml: &str) {
    let home = Home::new();
    let program = home.start("busy", yaml, 1);
    // A program that records has found something before.
    until("some use", || cpu(&program, "main/burner-0") > 0.3);
    let before = cpu(&program, "main/burner-0");
    let mut stream = program.connect();
    stream.write_all(b"GET /folded?seconds=2 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let (first, last) = (cpu(&program, "main/burner-0"), {
        std::thread::sleep(Duration::from_millis(1000));
        cpu(&program, "main/burner-0")
    });
    // The head comes when the recording is over, and the names are found after that.
    let mut head = [0; 1];
    std::io::Read::read_exact(&mut stream, &mut head).unwrap();
    let after = cpu(&program, "main/burner-0");
    let answer = read(std::io::Read::chain(&head[..], stream));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let served = seconds(&answer.text(), "main;burner-0;");
    assert!(served >= 0.99 * (last - first), "{served} of {first} to {last}: {}", answer.text());
    assert!(served <= 1.01 * (after - before), "{served} of {before} to {after}: {}", answer.text());
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
    assert_eq!(program.get("/debug/pprof/mutex?seconds=1").status, 409);
    let accounts = program.get("/accounts?seconds=1").json();
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

fn decoded(gzipped: &[u8]) -> pprof::protos::Profile {
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
