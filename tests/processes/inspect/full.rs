//! A client that comes while all connections are taken gets one, and costs no other client a
//! recording.

use super::{Home, tcp};
use crate::support::until;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// More than the server has connections for.
const MANY: usize = 200;

/// Returns `true` if the server has ended the connection. Reads what has come.
fn has_ended(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn clients_without_the_token_end_no_recording() {
    let home = Home::new();
    let (mut process, port) = home.start_on_tcp("threads", "");
    let token = std::fs::read_to_string(home.path().join("token")).unwrap().trim_end().to_owned();
    let request = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n");
    let authorized = format!("Authorization: Bearer {token}\r\n");
    let mut first = tcp(port);
    first.write_all(request("/debug/pprof/profile?seconds=3600", &authorized).as_bytes()).unwrap();
    let recording = || {
        let answer = super::exchange(tcp(port), &request("/info", &authorized));
        if answer.status == 200 { answer.json()["recording"].clone() } else { Value::Null }
    };
    until("the recording", || !recording().is_null());
    // One after the other, so each is answered before the next comes.
    let mut others = Vec::new();
    for _ in 0..MANY {
        let mut other = tcp(port);
        other.write_all(request("/info", "").as_bytes()).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap(), 1, "an answer begins");
        others.push(other);
    }
    assert!(!has_ended(&first), "a client that was answered has taken the recording's connection");
    // All at once, so each has sent its request before the first is answered.
    for _ in 0..MANY {
        let mut other = tcp(port);
        other.write_all(request("/info", "").as_bytes()).unwrap();
        others.push(other);
    }
    for other in &mut others {
        // A client that made room may find its connection reset. Its end says that all came before.
        let _ = other.read_to_end(&mut Vec::new());
    }
    assert!(!has_ended(&first), "clients that wait for an answer have taken the recording's connection");
    assert!(!recording().is_null());
    drop(first);
    until("the end of the recording", || recording().is_null());
    process.signal(libc::SIGTERM);
    assert_eq!(process.end().code(), 0);
}
