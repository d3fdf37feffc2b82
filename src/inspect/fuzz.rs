//! For the fuzz target and tests like it: any bytes as a request, to a program that asks for a token
//! and to another program that asks for none. What an answer must be is said here a second time, by a reading that
//! knows nothing of the first.

use super::access::{Access, Secrets};
use super::client::{Client, Reply};
use super::program::Program;
use super::request::{Parsed, Request, cut_off, parse};
use super::response::Response;
use super::router::reply;
use super::token::Token;
use crate::signal::Signal;
use crate::thread::roots;

/// Two programs, of which none records, since another client always does.
pub struct Programs {
    open: Program,
    /// Its token is new each time, and no request knows it.
    closed: Program,
}

impl Default for Programs {
    fn default() -> Programs {
        let program = |secrets| {
            let program = Program::new(
                "fuzzed",
                &roots::root(),
                "fuzzed",
                Access { secrets },
                &Signal::new("stop"),
                std::time::Duration::from_secs(5),
            );
            if let Ok(turn) = program.recorder.take() {
                std::mem::forget(turn);
            }
            program
        };
        let random = || Token::random().expect("random bytes");
        let secrets = Secrets { token: random(), session: random(), port: 6060 };
        Programs { open: program(None), closed: program(Some(secrets)) }
    }
}

impl Programs {
    /// Sends these bytes, and then the end. Returns the statuses of both answers.
    ///
    /// # Panics
    /// An answer is none that a client may get.
    pub fn check(&self, input: &[u8]) -> (u16, u16) {
        let status = |program: &Program| {
            let response = answer(program, input);
            look(&response);
            response.status
        };
        let (open, closed) = (status(&self.open), status(&self.closed));
        assert!(closed >= 400, "{closed} without the token");
        let text = String::from_utf8_lossy(input).to_lowercase();
        let is_of_here = ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| text.contains(host));
        assert!(open >= 400 || (is_of_here && text.contains("host:")), "{open} for another host");
        (open, closed)
    }
}

fn answer(program: &Program, input: &[u8]) -> Response {
    let request = match parse(input) {
        Parsed::Partial => return cut_off(input),
        Parsed::Refused(refused) => return refused,
        Parsed::Whole(request) => request,
    };
    if takes_long(&request) && program.access.check(&request).is_ok() {
        return Response::new(200, "", "");
    }
    match reply(program, &request, &Client { cancel: Signal::new("gone"), early: Some(&|_| ()) }) {
        Reply::Whole(response) | Reply::Events(response) => response,
        Reply::Rest(_) => panic!("there was a recording"),
    }
}

/// A dump pauses between two looks.
fn takes_long(request: &Request) -> bool {
    let is_dump = ["/dump", "/threads", "/debug/pprof/goroutine", "/debug/pprof/threadcreate"];
    is_dump.contains(&request.path.as_str())
}

/// An answer has a known status. An error has a sentence, and nothing of the request that could be
/// markup or a header.
fn look(response: &Response) {
    let status = response.status;
    assert!(status != 500 && (200..600).contains(&status), "{status}");
    if status >= 400 {
        let text = std::str::from_utf8(&response.body).expect("a text");
        let line = text.strip_suffix('\n').expect("a line");
        assert!(line.len() > 10 && line.len() < 1000 && !line.contains(char::is_control), "{text:?}");
    }
    let head = String::from_utf8(response.clone().into_bytes(false)).expect("a text");
    let head = head.strip_suffix("\r\n\r\n").expect("a whole head");
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with(&format!("HTTP/1.1 {status} ")) && !first.ends_with("Unknown"), "{first}");
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{line:?}");
        assert!(!value.contains(char::is_control), "{line:?}");
    }
}
