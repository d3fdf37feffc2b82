//! An answer: status, headers, body. Each has the headers that keep a browser from taking it for
//! something else. Knows no socket.

use std::fmt::Write;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// For answers that are no documents of ours: nothing in them may load or run anything.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

impl Response {
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        let headers = vec![("Content-Type", content_type.to_owned())];
        Response { status, headers, body: body.into() }
    }

    /// One sentence for a person.
    pub(super) fn text(status: u16, text: impl Into<String>) -> Response {
        let mut text = text.into();
        text.push('\n');
        Response::new(status, TEXT, text)
    }

    pub(super) fn json(body: String) -> Response {
        Response::new(200, "application/json; charset=utf-8", body)
    }

    /// A gzipped profile, to be saved under this name.
    pub(super) fn file(name: &str, body: Vec<u8>) -> Response {
        Response::new(200, "application/octet-stream", body)
            .with("Content-Disposition", format!("attachment; filename=\"{name}\""))
    }

    /// Adds a header, in the place of one of the same name.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    #[cfg(test)]
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// As it is sent. `with_body`: not for an answer to HEAD.
    pub(super) fn into_bytes(self, with_body: bool) -> Vec<u8> {
        let length = self.body.len();
        let mut bytes = self.head(Some(length)).into_bytes();
        if with_body {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }

    /// The head of an answer that ends with its connection.
    pub(super) fn into_open_head(self) -> Vec<u8> {
        self.head(None).into_bytes()
    }

    /// The head of an answer whose body comes later, in chunks. So a client can tell a whole body from
    /// a body that is cut off.
    pub(super) fn into_chunked_head(self) -> Vec<u8> {
        self.with("Transfer-Encoding", "chunked").head(None).into_bytes()
    }

    fn head(&self, length: Option<usize>) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let has = |name: &str| self.headers.iter().any(|(known, _)| *known == name);
        let always = [
            ("Connection", "close"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Content-Security-Policy", NOTHING),
            ("Selvedge-Version", env!("CARGO_PKG_VERSION")),
        ];
        let own = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        // A String takes everything.
        for (name, value) in own.chain(always.into_iter().filter(|(name, _)| !has(name))) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(length) = length {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        head.push_str("\r\n");
        head
    }
}

/// A whole body as chunks: all of it, and the last chunk.
pub(super) fn chunks(body: &[u8]) -> Vec<u8> {
    // An empty chunk would be the last one.
    let begin = if body.is_empty() { String::new() } else { format!("{:x}\r\n", body.len()) };
    let end: &[u8] = if body.is_empty() { b"0\r\n\r\n" } else { b"\r\n0\r\n\r\n" };
    [begin.as_bytes(), body, end].concat()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        303 => "See Other",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
