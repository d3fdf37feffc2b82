//! The body of an answer: where it ends, and its bytes without the sizes of chunks. Knows no head and no
//! socket.

use std::borrow::Cow;

/// The longest body that is read.
pub(super) const LONGEST: usize = 64 * 1024;
/// The same, with the sizes of its chunks.
const LONGEST_RAW: usize = 4 * LONGEST;

/// How the head says where the body ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    /// The body ends with the connection.
    ToEnd,
    /// The body has this encoding, which is not read here.
    Unknown(String),
}

/// What is known of a body whose bytes have come up to now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// More must come. This is its beginning.
    Partial(Cow<'a, [u8]>),
    Whole(Cow<'a, [u8]>),
    /// Why it cannot be read, as a part of a sentence.
    Unreadable(String),
}

impl Framing {
    /// Reads the body: `raw` has come behind the head. `has_ended`: no more comes.
    pub(super) fn body<'a>(&self, raw: &'a [u8], has_ended: bool) -> Body<'a> {
        let body = match self {
            Framing::Length(length) => match raw.get(..*length) {
                Some(whole) => Body::Whole(whole.into()),
                None => Body::Partial(raw.into()),
            },
            Framing::Chunked => unchunked(raw),
            Framing::ToEnd if has_ended => Body::Whole(raw.into()),
            Framing::ToEnd => Body::Partial(raw.into()),
            Framing::Unknown(encoding) => Body::Unreadable(format!("its transfer encoding is {encoding}")),
        };
        let is_too_long = raw.len() > LONGEST_RAW
            || match &body {
                Body::Partial(bytes) | Body::Whole(bytes) => bytes.len() > LONGEST,
                Body::Unreadable(_) => false,
            };
        if is_too_long { Body::Unreadable(format!("it is longer than {LONGEST} bytes")) } else { body }
    }
}

/// The bytes in these chunks. What follows the last chunk says nothing about them.
fn unchunked(mut raw: &[u8]) -> Body<'_> {
    let broken = || Body::Unreadable("its chunks are broken".to_owned());
    let mut body = Vec::new();
    loop {
        let (begin, length) = match httparse::parse_chunk_size(raw) {
            Ok(httparse::Status::Complete((begin, length))) => (begin, length),
            Ok(httparse::Status::Partial) => return Body::Partial(body.into()),
            Err(_) => return broken(),
        };
        if length == 0 {
            return Body::Whole(body.into());
        }
        let come = &raw[begin..];
        // A longer chunk has not come whole in any case.
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((chunk, rest)) = come.split_at_checked(length) else {
            body.extend_from_slice(come);
            return Body::Partial(body.into());
        };
        body.extend_from_slice(chunk);
        raw = match rest {
            [b'\r', b'\n', next @ ..] => next,
            [] | [b'\r'] => return Body::Partial(body.into()),
            _ => return broken(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body when no more comes, or why there is none.
    fn body(framing: &Framing, raw: &str) -> Result<String, String> {
        match framing.body(raw.as_bytes(), true) {
            Body::Whole(bytes) => Ok(String::from_utf8(bytes.into_owned()).unwrap()),
            Body::Partial(_) => Err("partial".to_owned()),
            Body::Unreadable(why) => Err(why),
        }
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        use Framing::{Chunked, Length, ToEnd, Unknown};
        let long = format!("10001\r\n{}\r\n0\r\n\r\n", "x".repeat(0x10001));
        for (framing, raw, expected) in [
            (Length(3), "abcd", Ok("abc")),
            (Length(3), "ab", Err("partial")),
            (ToEnd, "ab", Ok("ab")),
            (Unknown("gzip".to_owned()), "", Err("its transfer encoding is gzip")),
            (Chunked, "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", Ok("abc0123456789")),
            (Chunked, "0\r\n\r\n", Ok("")),
            (Chunked, "", Err("partial")),
            (Chunked, "3\r\nabc\r\n", Err("partial")),
            (Chunked, "fffffffffffffff\r\nabc", Err("partial")),
            (Chunked, "3\r\nabcd\r\n0\r\n\r\n", Err("its chunks are broken")),
            (Chunked, "x\r\n", Err("its chunks are broken")),
            (Chunked, &long, Err("it is longer than 65536 bytes")),
        ] {
            assert_eq!(body(&framing, raw).as_deref().map_err(String::as_str), expected, "{framing:?}: {raw}");
        }
        assert_eq!(ToEnd.body(b"ab", false), Body::Partial(b"ab"[..].into()));
    }
}
