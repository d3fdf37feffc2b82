//! A program that ends while it makes an answer leaves no answer that looks whole, and does not wait
//! for the answer.

use super::{Home, Inspected, UNIX, unchunked};
use crate::support::{Ended, undisturbed, until};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// Asks for a flamegraph, and waits until the program looks for the names in it.
fn ask(program: &Inspected, version: &str) -> UnixStream {
    let mut stream = program.connect();
    let request = format!("GET /flame.svg?seconds=1 HTTP/{version}\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let is_recording = || !program.get("/info").json()["recording"].is_null();
    until("the recording", is_recording);
    until("the end of the recording", || !is_recording());
    stream
}

/// What has come of the answer.
fn come(mut stream: UnixStream) -> String {
    let mut bytes = Vec::new();
    // An error is an end, too.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// A client takes it for a whole answer.
fn looks_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    match (value("Transfer-Encoding"), value("Content-Length")) {
        (Some(_), _) => unchunked(body.as_bytes()).is_some(),
        (None, Some(length)) => body.len() >= length.parse().unwrap(),
        (None, None) => true,
    }
}

#[test]
fn a_killed_program_leaves_no_whole_answer() {
    let home = Home::new();
    for version in ["1.1", "1.0"] {
        let mut program = home.start("busy", UNIX, 1);
        let stream = ask(&program, version);
        program.process.signal(libc::SIGKILL);
        let answer = come(stream);
        assert!(!looks_whole(&answer), "{version}: {answer}");
        // A client of HTTP/1.1 waits for the head for little longer than the recording takes.
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), version == "1.1", "{answer}");
    }
}

#[test]
fn an_answer_to_an_old_client_tells_its_length() {
    let home = Home::new();
    let program = home.start("busy", UNIX, 1);
    let answer = come(ask(&program, "1.0"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("chunked"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())) && body.contains("</svg>"), "{head}");
    program.stop();
}

/// The answer to a client of a program that is asked to stop meanwhile, and the program's end. With
/// `abort`, an end that waits for the names is the exit code 70.
fn stopped(version: &str) -> (String, Ended) {
    let home = Home::new();
    let yaml = format!("{UNIX}\nshutdown: {{ patience: 1s, on_stuck: abort }}");
    let mut program = home.start("busy", &yaml, 1);
    let stream = ask(&program, version);
    program.process.signal(libc::SIGTERM);
    let answer = come(stream);
    (answer, program.process.end())
}

#[test]
fn the_end_does_not_wait_for_an_answer() {
    for version in ["1.1", "1.0"] {
        // On a busy machine the program may get no processor for a second.
        let (answer, ended) = undisturbed(|| stopped(version), |(_, ended)| ended.code() == 70);
        assert_eq!(ended.code(), 0, "{version}: {}", ended.stderr);
        assert!(!looks_whole(&answer) || answer.starts_with("HTTP/1.1 503 "), "{version}: {answer}");
    }
}
