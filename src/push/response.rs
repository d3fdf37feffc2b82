//! What the answer of a server means: taken, refused, or to be tried again.

use super::body::Framing;
use crate::os::printable::is_unprintable;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server has it. It may say what of it it has not taken.
    Taken(Vec<u8>),
    /// The server will not take it, however often it comes.
    Refused(String),
    /// The server has failed at this request. It may be the request's fault.
    Failed { why: String, after: Option<Duration> },
    /// Another attempt may succeed; `after` the time that the server asks for.
    Later { why: String, after: Option<Duration> },
    /// The signal has gone that ends the attempt.
    GaveUp,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// The length of the head.
    pub(super) length: usize,
    pub(super) framing: Framing,
    location: Option<String>,
    retry_after: Option<Duration>,
}

const MOST_HEADERS: usize = 64;

/// Reads the head of an answer. `None`: it is not whole.
///
/// # Errors
/// What came is not HTTP.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("the answer is not HTTP ({error}); is this the port of the server?")),
    };
    let get = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(header.value).trim().to_owned())
    };
    Ok(Some(Head {
        status: response.code.unwrap_or_default(),
        length,
        framing: framing(&response, get("transfer-encoding"), get("content-length")),
        location: get("location"),
        retry_after: get("retry-after").and_then(|text| retry_after(&text, Utc::now())),
    }))
}

/// How the body ends. The encoding counts more than the length.
fn framing(response: &httparse::Response<'_, '_>, encoding: Option<String>, length: Option<String>) -> Framing {
    match encoding {
        _ if response.code == Some(204) => Framing::Length(0),
        Some(encoding) if encoding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => Framing::Unknown(plain(&encoding)),
        _ => length.and_then(|length| length.parse().ok()).map_or(Framing::ToEnd, Framing::Length),
    }
}

/// Seconds, or a time of day. `None`: neither.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?;
    Some((at.to_utc() - now).to_std().unwrap_or_default())
}

/// What the status means; `body` is its begin, which may say why.
pub(super) fn outcome(head: &Head, body: Vec<u8>) -> Outcome {
    let status = head.status;
    let says = said(&body);
    match status {
        200..=299 => Outcome::Taken(body),
        300..=399 => {
            let to = head.location.as_deref().map_or_else(String::new, |to| format!(" to {}", plain(&place(to))));
            Outcome::Refused(format!("the server answers {status}, a redirection{to}, which is not followed"))
        }
        401 | 403 => {
            Outcome::Refused(format!("the server answers {status}{says}; check push.token_file and push.user"))
        }
        404 | 405 => Outcome::Refused(format!("the server answers {status}{says}; check push.url and push.format")),
        // Not implemented, and a version of HTTP that the server does not speak.
        501 | 505 => Outcome::Refused(format!("the server answers {status}{says}")),
        // An agent answers 500 for each error of the server behind it.
        500 => Outcome::Failed { why: format!("the server answers 500{says}"), after: head.retry_after },
        // 499: the server was stopped while it took the request.
        408 | 425 | 429 | 499 | 502..=599 => {
            Outcome::Later { why: format!("the server answers {status}{says}"), after: head.retry_after }
        }
        _ => Outcome::Refused(format!("the server answers {status}{says}")),
    }
}

/// The address without its user and its query, which may have a password or a token in them.
fn place(address: &str) -> String {
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let (begin, rest) = address.split_once("//").map_or(("", address), |(scheme, rest)| (scheme, rest));
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{begin}//…{}", &rest[at..]),
        None => address.to_owned(),
    }
}

/// The first line of the body as a part of a sentence.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => format!(" ({})", plain(line)),
        None => String::new(),
    }
}

/// A text of the server, for a log: on one line, in its order, and not long.
pub(super) fn plain(text: &str) -> String {
    const MOST: usize = 200;
    let plain: String = text.chars().take(MOST).map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MOST).is_some() { plain + "…" } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of(text: &str) -> Outcome {
        let head = head(text.as_bytes()).unwrap().unwrap();
        let body = text.as_bytes()[head.length..].to_vec();
        outcome(&head, body)
    }

    #[test]
    fn statuses_are_taken_refused_or_tried_again() {
        let answer = |status: u16| outcome_of(&format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n"));
        for status in [200, 202, 204] {
            assert_eq!(answer(status), Outcome::Taken(Vec::new()), "{status}");
        }
        for status in [301, 307, 400, 401, 403, 404, 405, 411, 413, 415, 422, 501, 505, 600] {
            assert!(matches!(answer(status), Outcome::Refused(_)), "{status}");
        }
        for status in [408, 425, 429, 499, 502, 503, 504, 599] {
            assert!(matches!(answer(status), Outcome::Later { after: None, .. }), "{status}");
        }
        assert!(matches!(answer(500), Outcome::Failed { after: None, .. }));
    }

    #[test]
    fn what_the_server_says_is_told_in_plain_text() {
        let Outcome::Later { why, after } =
            outcome_of("HTTP/1.1 429 Too Many\r\nretry-after: 17\r\n\r\n\r\n limit\u{1b}[31m reached \r\nmore")
        else {
            panic!("not later")
        };
        assert_eq!(why, "the server answers 429 (limit\u{fffd}[31m reached)");
        assert_eq!(after, Some(Duration::from_secs(17)));
        for (location, told) in [
            ("https://x/y", "https://x/y"),
            ("https://me:secret@x:80/y@z?token=secret#secret", "https://…@x:80/y@z"),
            ("//me:secret@x", "//…@x"),
            ("/login?token=secret", "/login"),
        ] {
            let Outcome::Refused(why) = outcome_of(&format!("HTTP/1.1 308 x\r\nLocation: {location}\r\n\r\n")) else {
                panic!("not refused")
            };
            assert_eq!(why, format!("the server answers 308, a redirection to {told}, which is not followed"));
        }
        assert!(plain(&"ä".repeat(201)).ends_with("ä…"));
    }

    #[test]
    fn an_answer_is_whole_half_or_none() {
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nContent-Len"), Ok(None));
        assert_eq!(head(b""), Ok(None));
        assert!(head(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap_err().contains("not HTTP"));
        let whole = head(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n1234567").unwrap().unwrap();
        assert_eq!((whole.status, whole.length, whole.framing), (200, 38, Framing::Length(7)));
    }

    #[test]
    fn the_head_says_how_the_body_ends() {
        let framing = |text: &str| head(format!("HTTP/1.1 {text}\r\n\r\n").as_bytes()).unwrap().unwrap().framing;
        assert_eq!(framing("200 OK"), Framing::ToEnd);
        assert_eq!(framing("204 No Content"), Framing::Length(0));
        assert_eq!(framing("200 OK\r\nContent-Length: 5\r\ntransfer-encoding: Chunked"), Framing::Chunked);
        let unknown = Framing::Unknown("gzip, chunked".to_owned());
        assert_eq!(framing("200 OK\r\nTransfer-Encoding: gzip, chunked"), unknown);
    }

    #[test]
    fn the_pause_that_is_asked_for_has_two_forms() {
        let now = DateTime::parse_from_rfc3339("2026-11-27T11:00:00Z").unwrap().to_utc();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Fri, 27 Nov 2026 11:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Fri, 27 Nov 2026 10:00:00 GMT", now), Some(Duration::ZERO));
        for text in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_after(text, now), None, "{text}");
        }
    }
}
