//! One request: its head, parsed by httparse and checked, and its body. Knows no socket. Whatever
//! cannot be a request is an answer with a status and a text.

use super::response::Response;

/// The longest head: request line and headers.
pub(super) const LONGEST_HEAD: usize = 16 * 1024;
/// The longest path with its parameters.
const LONGEST_TARGET: usize = 8 * 1024;
const MOST_HEADERS: usize = 64;
/// The longest body. Only lists of addresses have one.
const LONGEST_BODY: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Other,
}

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The client knows HTTP/1.1, so an answer may come in chunks.
    pub(super) takes_chunks: bool,
    /// Decoded.
    pub(super) path: String,
    /// As it was sent, without the `?`.
    pub(super) raw_query: String,
    /// Decoded, in the order in which they were sent.
    pub(super) query: Vec<(String, String)>,
    /// With the names in lower case.
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What came of the bytes up to now.
#[derive(Debug)]
pub(super) enum Parsed {
    /// More must come.
    Partial,
    Whole(Box<Request>),
    /// It can be no request.
    Refused(Response),
}

impl Request {
    /// The value of a header; headers that may come once are refused by `parse` if they come twice.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The values of a header that may come more than once.
    pub(super) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Looks whether `input` has a whole request.
pub(super) fn parse(input: &[u8]) -> Parsed {
    match parse_head(input) {
        Ok(Some((head, length))) => with_body(head, &input[length..]),
        Ok(None) => Parsed::Partial,
        Err(refused) => Parsed::Refused(refused),
    }
}

/// What is to be said of a request of which no more comes.
pub(super) fn cut_off(input: &[u8]) -> Response {
    let shown = input.len();
    Response::text(400, format!("the request ends after {shown} bytes, before its head or body is whole"))
}

fn parse_head(input: &[u8]) -> Result<Option<(Request, usize)>, Response> {
    let Some(length) = head_length(input) else {
        return if input.len() > LONGEST_HEAD { Err(too_long(input)) } else { first_line(input).map(|()| None) };
    };
    if length > LONGEST_HEAD {
        return Err(too_long(&input[..length]));
    }
    first_line(&input[..length])?;
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(&input[..length]) {
        Ok(httparse::Status::Complete(_)) => request(&head).map(|request| Some((request, length))),
        // Blank lines before the request.
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            Err(Response::text(431, format!("the request has more than {MOST_HEADERS} headers")))
        }
        Err(httparse::Error::Version) => Err(no_version()),
        Err(error) => Err(Response::text(400, format!("this is no HTTP request: {error}"))),
    }
}

/// With the empty line at its end.
fn head_length(input: &[u8]) -> Option<usize> {
    // Blank lines before the request are allowed.
    let start = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let mut at = start;
    while let Some(line) = input[at..].iter().position(|&byte| byte == b'\n') {
        let end = at + line + 1;
        match &input[end..] {
            [b'\n', ..] => return Some(end + 1),
            [b'\r', b'\n', ..] => return Some(end + 2),
            _ => at = end,
        }
    }
    None
}

/// A request line of HTTP/0.9 has no version, and no headers would follow.
fn first_line(input: &[u8]) -> Result<(), Response> {
    let start = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(input.len());
    let line = &input[start..];
    let end = line.iter().position(|&byte| byte == b'\n');
    let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    if target.len() > LONGEST_TARGET {
        return Err(Response::text(414, format!("the path is longer than {LONGEST_TARGET} bytes")));
    }
    match end {
        Some(end) if !line[..end].windows(6).any(|part| part == b" HTTP/") => Err(no_version()),
        _ => Ok(()),
    }
}

fn no_version() -> Response {
    Response::text(505, "the request line must end with HTTP/1.1 or HTTP/1.0")
}

fn too_long(input: &[u8]) -> Response {
    let has_line = input.iter().take(LONGEST_TARGET).any(|&byte| byte == b'\n');
    match has_line {
        true => Response::text(431, format!("the head of the request is longer than {LONGEST_HEAD} bytes")),
        false => Response::text(414, format!("the request line is longer than {LONGEST_TARGET} bytes")),
    }
}

/// Headers that decide which clients may ask, or where the request ends: twice, two readers could
/// take different ones.
const ONCE: [&str; 7] =
    ["host", "origin", "authorization", "cookie", "content-length", "sec-fetch-site", "sec-fetch-mode"];

fn request(head: &httparse::Request<'_, '_>) -> Result<Request, Response> {
    let bad = |text: &str| Response::text(400, text.to_owned());
    let method = match head.method.unwrap_or_default() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => Method::Other,
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for header in head.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        let value = std::str::from_utf8(header.value).map_err(|_| bad("a header is no text"))?;
        if ONCE.contains(&name.as_str()) && headers.iter().any(|(known, _)| *known == name) {
            return Err(Response::text(400, format!("the header {name} stands twice in the request")));
        }
        headers.push((name, value.trim().to_owned()));
    }
    let target = head.path.unwrap_or_default();
    if !target.starts_with('/') {
        return Err(bad("the request line must name a path that begins with /"));
    }
    let (path, raw_query) = target.split_once('?').unwrap_or((target, ""));
    let path = decode(path, false).ok_or_else(|| bad("the path is no text"))?;
    if path.split('/').any(|part| part == ".." || part == ".") || path.chars().any(char::is_control) {
        return Err(bad("the path has a `.` or `..` part, or a control character; there are no files to be had here"));
    }
    let query = parameters(raw_query).ok_or_else(|| bad("a parameter is no text"))?;
    let raw_query = raw_query.to_owned();
    let takes_chunks = head.version == Some(1);
    Ok(Request { method, takes_chunks, path, raw_query, query, headers, body: Vec::new() })
}

fn with_body(mut request: Request, rest: &[u8]) -> Parsed {
    let refuse = |status, text: String| Parsed::Refused(Response::text(status, text));
    if request.header("transfer-encoding").is_some() {
        return refuse(411, "a body must come with a Content-Length, and not in chunks".into());
    }
    let length = match request.header("content-length").map(read_length) {
        None => 0,
        Some(Some(length)) => length,
        Some(None) => return refuse(400, "Content-Length must be a number".into()),
    };
    if length > 0 && matches!(request.method, Method::Get | Method::Head) {
        return refuse(400, "a GET has no body here; send the parameters in the path, after `?`".into());
    }
    if length > LONGEST_BODY {
        return refuse(413, format!("the body has {length} bytes, more than {LONGEST_BODY}"));
    }
    if rest.len() < length {
        return Parsed::Partial;
    }
    // What follows would be the next request; an answer ends the connection.
    request.body = rest[..length].to_vec();
    Parsed::Whole(Box::new(request))
}

fn read_length(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(usize::MAX))
}

/// The parameters of a query. `None`: one of them is no text.
pub(super) fn parameters(query: &str) -> Option<Vec<(String, String)>> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode(name, true)?, decode(value, true)?))
        })
        .collect()
}

/// Replaces `%41` by `A`, and in a query `+` by a blank. `None`: it is no UTF-8, or has a `%`
/// without two digits.
fn decode(text: &str, is_query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                (digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8
            }
            b'+' if is_query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
