//! One request, one answer, with limits of time and size. Only what a program with the feature
//! `inspect` sends: one request for each connection. It asks as HTTP/1.0, so that no answer comes in
//! chunks, and each answer tells its length. Without the length, an answer that is cut off would look
//! whole.

use crate::connect::{Place, Stream, left};
use crate::fault::{Exit, Fault};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// A program that does not answer so soon hangs, or is not one of ours.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// A large answer of a busy program may take so long, once it has begun.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// An answer is not larger.
const MOST_BYTES: usize = 512 << 20;
const MOST_HEAD: usize = 64 << 10;

pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    /// The version of selvedge that the program was built with.
    pub(crate) version: Option<String>,
}

struct Head {
    status: u16,
    version: Option<String>,
    /// `None`: it does not tell the length of its body.
    length: Option<usize>,
}

/// The body of an answer with status 200. Any other status is a fault with the program's own text.
///
/// `patience`: until the head has come.
pub(crate) fn get(place: &Place, path: &str, patience: Duration) -> Result<Answer, Fault> {
    let mut stream = place.connect(Instant::now() + patience.min(PATIENCE))?;
    let request = request(place, path);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => place.silent("answer"),
        _ => Fault::failed(format!("the connection to {place} broke: {error}")),
    };
    stream.set_limits(Some(PATIENCE)).and_then(|()| stream.write_all(request.as_bytes())).map_err(failed)?;
    let mut received = Vec::new();
    let deadline = Instant::now() + patience;
    let (head, length) = loop {
        if let Some(found) = parse(&received).map_err(|why| strange(place, &why))? {
            break found;
        }
        if received.len() > MOST_HEAD {
            return Err(strange(place, "its head is too large"));
        }
        if Instant::now() >= deadline {
            return Err(place.silent("answer"));
        }
        stream.set_limits(Some(left(deadline))).map_err(failed)?;
        if read_some(&mut stream, &mut received).map_err(failed)? == 0 {
            return Err(strange(place, "it ended before its head was whole"));
        }
    };
    received.drain(..length);
    let length = head.length.ok_or_else(|| strange(place, "it does not tell its length"))?;
    let body = body(&mut stream, received, length, Instant::now() + patience.max(BODY_PATIENCE)).map_err(failed)?;
    let body = body.ok_or_else(|| strange(place, "it was cut off, or is too large"))?;
    if head.status != 200 {
        return Err(refusal(head.status, &body));
    }
    Ok(Answer { body, version: head.version })
}

fn request(place: &Place, path: &str) -> String {
    let (host, token) = match place {
        Place::Unix(_) => ("localhost".to_owned(), None),
        Place::Tcp { token, .. } => (place.to_string(), token.as_deref()),
    };
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n{token}Connection: close\r\n\r\n")
}

fn strange(place: &Place, why: &str) -> Fault {
    Fault::failed(format!("the answer of {place} cannot be read: {why}"))
}

fn refusal(status: u16, body: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(body);
    let text = crate::text::plain_lines(text.trim()).into_owned();
    match status {
        401 => Fault::failed(format!("{text}\nname the file of the token with --token-file")),
        _ if text.is_empty() => Fault::failed(format!("the program refused the request with status {status}")),
        _ => Fault::new(Exit::Failed, text),
    }
}

/// Appends what has come. 0 at the end.
fn read_some(stream: &mut Stream, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(n) => {
                received.extend_from_slice(&buffer[..n]);
                return Ok(n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The head and its length. `None` while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("{error}; is it a program that uses selvedge?")),
    };
    let value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).into_owned())
    };
    let head = Head {
        status: response.code.unwrap_or_default(),
        version: value("Selvedge-Version"),
        length: value("Content-Length").and_then(|length| length.trim().parse().ok()),
    };
    Ok(Some((head, length)))
}

/// The body, the beginning of which was received with the head. `None` if it is cut off.
fn body(stream: &mut Stream, mut received: Vec<u8>, length: usize, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    loop {
        if received.len() >= length {
            received.truncate(length);
            return Ok(Some(received));
        }
        if received.len() > MOST_BYTES {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_limits(Some(left(deadline)))?;
        if read_some(stream, &mut received)? == 0 {
            return Ok(None);
        }
    }
}
