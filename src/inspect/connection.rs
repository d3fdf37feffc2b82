//! One connection: reads a request, waits for its answer, sends that, and ends. Never blocks; the
//! server calls it when its socket is ready or its time is over.

use super::listener::Stream;
use super::request::{self, Parsed, Request};
use super::response::Response;
use crate::os::net::{receive_now, send_now};
use crate::os::poll::Interest;
use crate::signal::Signal;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// A request must be whole within this time from the connection.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// A client that takes nothing of its answer for so long has gone.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// An answer is followed by the client's end of the connection, or by so long a wait for it.
/// Without that wait, bytes that the client still sends would cut the answer off.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// How many bytes beyond its request are read from a client.
const MOST_IGNORED: usize = 256 * 1024;
/// As much may wait for a client of events.
const MOST_EVENTS: usize = 8 * 1024 * 1024;

pub(super) struct Connection {
    stream: Stream,
    state: State,
    /// Since when the state, or the client, stands still.
    since: Instant,
    /// The client has ended its side.
    has_ended: bool,
    ignored: usize,
}

enum State {
    /// A request comes.
    Reading {
        input: Vec<u8>,
    },
    /// A worker makes the answer. `head`: what of a head that was made before its body could not be
    /// sent yet.
    Working {
        cancel: CancelOnDrop,
        head: Option<Vec<u8>>,
    },
    /// The answer is sent.
    Writing {
        output: Vec<u8>,
        sent: usize,
    },
    /// Events are sent as they come.
    Events {
        output: Vec<u8>,
        sent: usize,
        has_snapshot: bool,
    },
    /// All is sent; the client is to end.
    Ending,
    Over,
}

/// Tells the worker that its answer is not wanted: the client has ended its side, or the connection
/// has left the state in which it waits for the answer. Without it, a recording would go on for no
/// client, and would keep all others from recording.
struct CancelOnDrop(Signal);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.go();
    }
}

/// What the server has to do after a step.
pub(super) enum Step {
    Nothing,
    /// The request is whole: an answer is to be made.
    Request(Box<Request>, Signal),
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Connection {
        let state = State::Reading { input: Vec::new() };
        Connection { stream, state, since: Instant::now(), has_ended: false, ignored: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The client has its whole answer, or gets none.
    pub(super) fn is_served(&self) -> bool {
        matches!(self.state, State::Ending | State::Over)
    }

    /// Its request has not come whole.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Reading { .. })
    }

    /// A worker makes its answer.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Working { .. })
    }

    /// A worker makes its answer, and nothing of that was sent yet.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self.state, State::Working { head: None, .. })
    }

    /// Its answer is sent.
    pub(super) fn is_writing(&self) -> bool {
        matches!(self.state, State::Writing { .. })
    }

    /// It waits for events.
    pub(super) fn has_events(&self) -> bool {
        matches!(self.state, State::Events { .. })
    }

    /// It has had its first event.
    pub(super) fn has_snapshot(&self) -> bool {
        matches!(self.state, State::Events { has_snapshot: true, .. })
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What its socket is waited for; `None`: for nothing now.
    pub(super) fn interest(&self) -> Option<Interest> {
        match &self.state {
            State::Writing { .. } => Some(Interest::Write),
            State::Events { output, sent, .. } if *sent < output.len() => Some(Interest::Write),
            // A client that has ended would be ready at once, again and again.
            State::Working { .. } if self.has_ended || self.ignored > MOST_IGNORED => None,
            State::Over => None,
            _ => Some(Interest::Read),
        }
    }

    /// When its time is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let patience = match &self.state {
            State::Reading { .. } => REQUEST_PATIENCE,
            State::Writing { .. } => ANSWER_PATIENCE,
            State::Events { output, sent, .. } if *sent < output.len() => ANSWER_PATIENCE,
            State::Ending => END_PATIENCE,
            State::Working { .. } | State::Events { .. } | State::Over => return None,
        };
        Some(self.since + patience)
    }

    /// Its time is over.
    pub(super) fn expire(&mut self) {
        match &self.state {
            State::Reading { input } if !input.is_empty() => {
                let seconds = REQUEST_PATIENCE.as_secs();
                self.answer(Response::text(408, format!("the request was not whole within {seconds} s")), true);
            }
            _ => self.state = State::Over,
        }
    }

    /// Its socket is ready.
    pub(super) fn advance(&mut self) -> Step {
        match &self.state {
            State::Reading { .. } => return self.read(),
            State::Writing { .. } => self.write(),
            State::Events { output, sent, .. } if *sent < output.len() => self.write_events(),
            State::Working { .. } | State::Events { .. } | State::Ending => self.ignore(),
            State::Over => {}
        }
        Step::Nothing
    }

    fn read(&mut self) -> Step {
        let State::Reading { input } = &mut self.state else { return Step::Nothing };
        let mut buffer = [0; 16 * 1024];
        match receive_now(self.stream.as_fd(), &mut buffer) {
            Ok(0) if input.is_empty() => self.state = State::Over,
            Ok(0) => {
                self.has_ended = true;
                let refused = request::cut_off(input);
                self.answer(refused, true);
            }
            Ok(count) => {
                input.extend_from_slice(&buffer[..count]);
                match request::parse(input) {
                    Parsed::Partial => {}
                    Parsed::Refused(refused) => self.answer(refused, true),
                    Parsed::Whole(request) => {
                        let cancel = Signal::new("the client has gone");
                        self.state = State::Working { cancel: CancelOnDrop(cancel.clone()), head: None };
                        return Step::Request(request, cancel);
                    }
                }
            }
            Err(error) if is_passing(error.kind()) => {}
            Err(_) => self.state = State::Over,
        }
        Step::Nothing
    }

    /// Reads what comes beyond the request, or the client's end.
    fn ignore(&mut self) {
        let mut buffer = [0; 4096];
        match receive_now(self.stream.as_fd(), &mut buffer) {
            Err(error) if is_passing(error.kind()) => return,
            Ok(count) if count > 0 => {
                self.ignored += count;
                if self.ignored <= MOST_IGNORED {
                    return;
                }
            }
            _ => self.has_ended = true,
        }
        match &self.state {
            State::Working { cancel, .. } if self.has_ended => drop(cancel.0.go()),
            State::Working { .. } => {}
            _ => self.state = State::Over,
        }
    }

    /// Sends an answer, or a refusal. If another answer has begun already, the connection ends.
    pub(super) fn answer(&mut self, response: Response, with_body: bool) {
        self.send_whole(response.into_bytes(with_body));
    }

    /// The same, as bytes.
    pub(super) fn send_whole(&mut self, output: Vec<u8>) {
        match self.state {
            State::Reading { .. } | State::Working { head: None, .. } => self.send(output),
            _ => self.state = State::Over,
        }
    }

    /// Sends the head of an answer whose body takes long.
    pub(super) fn begin(&mut self, bytes: &[u8]) {
        if let State::Working { head, .. } = &mut self.state {
            let mut sent = 0;
            // What cannot be sent now goes with the body. So comes the news that the client has
            // gone.
            let _ = send_some(&self.stream, bytes, &mut sent);
            *head = Some(bytes[sent..].to_vec());
        }
    }

    /// Sends the body of an answer whose head was sent.
    pub(super) fn send_rest(&mut self, body: Vec<u8>) {
        match &mut self.state {
            State::Working { head: Some(head), .. } => {
                let mut output = std::mem::take(head);
                output.extend_from_slice(&body);
                self.send(output);
            }
            _ => self.state = State::Over,
        }
    }

    /// Sends an answer that is made.
    fn send(&mut self, output: Vec<u8>) {
        self.since = Instant::now();
        self.state = State::Writing { output, sent: 0 };
        self.write();
    }

    /// From now on it gets events.
    pub(super) fn begin_events(&mut self, head: Vec<u8>) {
        self.since = Instant::now();
        self.state = State::Events { output: head, sent: 0, has_snapshot: false };
        self.write_events();
    }

    /// Sends an event.
    pub(super) fn event(&mut self, event: &[u8]) {
        let State::Events { output, sent, has_snapshot } = &mut self.state else { return };
        if *sent == output.len() {
            output.clear();
            *sent = 0;
            self.since = Instant::now();
        }
        output.extend_from_slice(event);
        *has_snapshot = true;
        if output.len() > MOST_EVENTS {
            self.state = State::Over;
            return;
        }
        self.write_events();
    }

    fn write(&mut self) {
        let State::Writing { output, sent } = &mut self.state else { return };
        match send_some(&self.stream, output, sent) {
            Sent::All => {
                self.stream.end();
                self.since = Instant::now();
                self.state = if self.has_ended { State::Over } else { State::Ending };
            }
            Sent::Some => self.since = Instant::now(),
            Sent::Nothing => {}
            Sent::Failed => self.state = State::Over,
        }
    }

    fn write_events(&mut self) {
        let State::Events { output, sent, .. } = &mut self.state else { return };
        match send_some(&self.stream, output, sent) {
            Sent::All | Sent::Some => self.since = Instant::now(),
            Sent::Nothing => {}
            Sent::Failed => self.state = State::Over,
        }
    }
}

enum Sent {
    All,
    Some,
    Nothing,
    Failed,
}

fn send_some(stream: &Stream, output: &[u8], sent: &mut usize) -> Sent {
    let before = *sent;
    while *sent < output.len() {
        match send_now(stream.as_fd(), &output[*sent..]) {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return if *sent > before { Sent::Some } else { Sent::Nothing };
            }
            Err(_) => return Sent::Failed,
        }
    }
    Sent::All
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// A connection whose request is whole, the client's side of it, and the signal of its worker.
    pub(in super::super) fn working() -> (Connection, UnixStream, Signal) {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(Stream::Unix(server));
        client.write_all(b"GET /flame.svg?seconds=3600 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let Step::Request(_, cancel) = connection.advance() else { panic!("the request is not whole") };
        assert!(!cancel.is_go());
        (connection, client, cancel)
    }

    fn refused() -> Response {
        Response::text(503, "there are too many connections")
    }

    #[test]
    fn a_connection_that_is_dropped_cancels_its_worker() {
        let (connection, _client, cancel) = working();
        drop(connection);
        assert!(cancel.is_go());
    }

    #[test]
    fn a_refusal_cancels_the_worker_of_the_connection() {
        let (mut connection, mut client, cancel) = working();
        connection.answer(refused(), true);
        assert!(cancel.is_go());
        drop(connection);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
        let (mut connection, _client, cancel) = working();
        connection.begin(b"HTTP/1.1 200 OK\r\n");
        connection.answer(refused(), true);
        assert!(connection.is_over() && cancel.is_go());
    }

    #[test]
    fn no_answer_is_put_into_another_answer() {
        let (mut connection, mut client, _cancel) = working();
        // More than the socket takes, so a part of it waits.
        connection.send_whole(vec![b'x'; 16 << 20]);
        assert!(connection.interest() == Some(Interest::Write), "all was sent");
        connection.answer(refused(), true);
        assert!(connection.is_over());
        drop(connection);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == b'x'), "a refusal is within the answer");
        let (mut connection, mut client, _cancel) = working();
        connection.begin_events(b"events".to_vec());
        connection.answer(refused(), true);
        drop(connection);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "events");
    }
}
