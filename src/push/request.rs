//! One request to the server and its answer. Each call on the socket ends with the limit of the
//! request, or with the signal that ends the attempt.

use super::body::Body;
use super::encode::path_and_headers;
use super::lookup::Lookup;
use super::plan::{Format, Plan};
use super::response::{Head, Outcome, head, outcome};
use crate::net::{SocketTill, StreamTill, connect_till, is_stopped};
use crate::signal::{Signal, Till};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// For each address, to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// For the whole request.
const LIMIT: Duration = Duration::from_secs(10);
/// For the reason why a server does not take the request, which follows the head.
const LIMIT_OF_BODY: Duration = Duration::from_secs(1);

const LONGEST_HEAD: usize = 16 * 1024;
/// How many bytes are read of the reason why a server does not take the request.
const LONGEST_REASON: usize = 4 * 1024;

/// Sends `body` in a request, and reads the answer. Blocks until then, until the limit of a request
/// has passed, or until `stop` goes. A server that does not take it may be another server at an old
/// address, so the next request looks the name up again.
pub(super) fn send(plan: &Plan, lookup: &mut Lookup, body: &[u8], stop: &Signal) -> Outcome {
    send_within(LIMIT, plan, lookup, body, stop)
}

pub(super) fn send_within(limit: Duration, plan: &Plan, lookup: &mut Lookup, body: &[u8], stop: &Signal) -> Outcome {
    let later = |why: String| Outcome::Later { why, after: None };
    let request_head = match request_head(plan, body.len()) {
        Ok(head) => head,
        Err(why) => return later(why),
    };
    let till = Till::after(limit) | stop;
    let outcome = match exchange(plan, lookup, [request_head.as_bytes(), body], &till) {
        Ok((head, Ok(body))) => outcome(&head, body),
        Ok((head, Err(why))) => {
            Outcome::Refused(format!("the server answers {}, and what it says cannot be read: {why}", head.status))
        }
        Err(_) if stop.is_go() => Outcome::GaveUp,
        Err(error) if is_stopped(&error) => later(format!("the server does not answer within {limit:?}")),
        Err(error) => later(error.to_string()),
    };
    if !matches!(outcome, Outcome::Taken(_)) {
        lookup.forget();
    }
    outcome
}

fn request_head(plan: &Plan, length: usize) -> Result<String, String> {
    let (path, headers) = path_and_headers(plan);
    let mut text = format!("POST {}{path} HTTP/1.1\r\nHost: {}\r\n", plan.path, plan.authority());
    text.push_str(headers);
    text.push_str(concat!("User-Agent: selvedge/", env!("CARGO_PKG_VERSION"), "\r\n"));
    if let Some(file) = &plan.token_file {
        text.push_str(&authorization(file, plan.user.as_deref())?);
    }
    if let Some(tenant) = &plan.tenant {
        text.push_str(&format!("X-Scope-OrgID: {tenant}\r\n"));
    }
    text.push_str(&format!("Content-Length: {length}\r\nConnection: close\r\n\r\n"));
    Ok(text)
}

fn authorization(file: &Path, user: Option<&str>) -> Result<String, String> {
    let wrong = |why: String| format!("push.token_file: {}: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let token = text.lines().next().unwrap_or_default();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(wrong("its first line is no token".to_owned()));
    }
    Ok(match user {
        Some(user) => format!("Authorization: Basic {}\r\n", base64(format!("{user}:{token}").as_bytes())),
        None => format!("Authorization: Bearer {token}\r\n"),
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = move |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
        let digits = group.len() + 1;
        (0..4).map(move |at| if at < digits { digit(at) } else { '=' })
    };
    bytes.chunks(3).flat_map(group).collect()
}

/// The head of an answer, and its body, or why that cannot be read.
type Answer = (Head, Result<Vec<u8>, String>);

/// Sends the parts, and reads the answer: its head, and its body where the body says something.
fn exchange(plan: &Plan, lookup: &mut Lookup, parts: [&[u8]; 2], till: &Signal) -> io::Result<Answer> {
    let mut stream = connect(lookup, till)?.till(till);
    // A server may answer, and close, before it has read all: its answer says why.
    let unsent = match parts.iter().try_for_each(|part| stream.write_all(part)) {
        Err(error) if is_stopped(&error) => return Err(error),
        sent => sent.err(),
    };
    let (head, raw) = match read_head(&mut stream) {
        Err(error) if !is_stopped(&error) => return Err(unsent.unwrap_or(error)),
        read => read?,
    };
    let is_taken = (200..300).contains(&head.status);
    let body = match plan.format {
        Format::Pyroscope if is_taken => Ok(Vec::new()),
        // It says what of the request is not taken.
        _ if is_taken => read_body(&mut stream, &head, raw)?,
        _ => {
            stream.set_signal(&(Till::after(LIMIT_OF_BODY) | till));
            Ok(read_reason(&mut stream, &head, raw))
        }
    };
    Ok((head, body))
}

/// The whole body, or why it cannot be read. `raw` has come of it already.
fn read_body(stream: &mut StreamTill<TcpStream>, head: &Head, mut raw: Vec<u8>) -> io::Result<Result<Vec<u8>, String>> {
    let (mut buffer, mut has_ended) = ([0; 4096], false);
    loop {
        match head.framing.body(&raw, has_ended) {
            Body::Whole(body) => return Ok(Ok(body.into_owned())),
            Body::Unreadable(why) => return Ok(Err(why)),
            Body::Partial(_) if has_ended => return Err(io::Error::other("the answer of the server is cut off")),
            Body::Partial(_) => {}
        }
        let length = stream.read(&mut buffer)?;
        has_ended = length == 0;
        raw.extend_from_slice(&buffer[..length]);
    }
}

/// The beginning of the body. What does not come, or cannot be read, is not told.
fn read_reason(stream: &mut StreamTill<TcpStream>, head: &Head, mut raw: Vec<u8>) -> Vec<u8> {
    let mut buffer = [0; LONGEST_REASON];
    loop {
        let has_enough = raw.len() >= LONGEST_REASON || !matches!(head.framing.body(&raw, false), Body::Partial(_));
        let length = if has_enough { 0 } else { stream.read(&mut buffer).unwrap_or(0) };
        if length == 0 {
            return match head.framing.body(&raw, true) {
                Body::Whole(body) | Body::Partial(body) => body.into_owned(),
                Body::Unreadable(_) => Vec::new(),
            };
        }
        raw.extend_from_slice(&buffer[..length]);
    }
}

fn connect(lookup: &mut Lookup, till: &Signal) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in lookup.addresses(till)? {
        match connect_till(address, &(Till::after(CONNECT) | till)) {
            Ok(stream) => return Ok(stream),
            Err(error) if till.is_go() => return Err(error),
            Err(error) if is_stopped(&error) => {
                last = io::Error::other(format!("no connection to {address} within {CONNECT:?}"));
            }
            Err(error) => last = io::Error::new(error.kind(), format!("no connection to {address}: {error}")),
        }
    }
    Err(last)
}

/// The head of the answer, and what came with it of the body.
fn read_head(stream: &mut StreamTill<TcpStream>) -> io::Result<(Head, Vec<u8>)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match head(&bytes).map_err(io::Error::other)? {
            // The server goes on after it.
            Some(head) if head.status < 200 => drop(bytes.drain(..head.length)),
            Some(head) => {
                let body = bytes.split_off(head.length);
                return Ok((head, body));
            }
            None if bytes.len() > LONGEST_HEAD => {
                return Err(io::Error::other(format!("the head of the answer has more than {LONGEST_HEAD} bytes")));
            }
            None => match stream.read(&mut buffer)? {
                0 => return Err(io::Error::other("the server has closed the connection without a whole answer")),
                length => bytes.extend_from_slice(&buffer[..length]),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_as_the_rfc_has_it() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("\u{7ff}\u{7ff}", "37/fvw=="),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded, "{text}");
        }
    }
}
