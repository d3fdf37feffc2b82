//! `selvedge open`: a TCP port of this machine that forwards to a program's socket, for browsers
//! and for `go tool pprof`.
//!
//! All users of the machine can connect to a TCP port, and the socket is of one user. So each request
//! must have the token that is printed, by one of three ways: as a bearer, as the password of basic
//! authentication, or once in the address of a browser, which then keeps it as a cookie.

use crate::args::Which;
use crate::connect::{Place, Stream, left};
use crate::fault::{Exit, Fault};
use crate::text::plain;
use crate::{find, http};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MOST_HEAD: usize = 16 << 10;
const MOST_CONNECTIONS: usize = 64;
/// A client sends its whole head within this time.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

struct Forwarder {
    place: Place,
    port: u16,
    token: String,
    /// Connections that are open now. A plain count: nothing else is read with it.
    open: AtomicUsize,
}

/// What a request gets instead of being forwarded.
struct Refusal {
    status: &'static str,
    headers: String,
    text: String,
}

pub(crate) fn run(which: &Which, port: u16) -> Result<(), Fault> {
    let program = find::program(which)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        Fault::failed(format!("cannot listen on 127.0.0.1:{port}: {error}; --port 0 takes a free one"))
    })?;
    let port = listener.local_addr().map_err(|error| Fault::failed(format!("cannot read the port: {error}")))?.port();
    let token = new_token().map_err(|error| Fault::failed(format!("cannot read /dev/urandom: {error}")))?;
    let text = format!(
        "http://127.0.0.1:{port}/?token={token}\n\
         go tool pprof 'http://x:{token}@127.0.0.1:{port}/debug/pprof/profile?seconds=5'\n"
    );
    crate::print(text.as_bytes())?;
    crate::note(&format!("forwards to {} (pid {}); Ctrl-C ends it", plain(&program.info.name), program.info.pid));
    let forwarder = Arc::new(Forwarder { place: program.place, port, token, open: AtomicUsize::new(0) });
    for client in listener.incoming() {
        match client {
            Ok(client) => forwarder.clone().take(client),
            // As when there are too many open files: connections that end make room.
            Err(error) => {
                crate::note(&format!("cannot take a connection: {error}"));
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
    Ok(())
}

/// 128 random bits.
fn new_token() -> io::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Forwarder {
    fn take(self: Arc<Self>, client: TcpStream) {
        if self.open.fetch_add(1, Ordering::SeqCst) >= MOST_CONNECTIONS {
            self.open.fetch_sub(1, Ordering::SeqCst);
            let text = format!("{MOST_CONNECTIONS} connections are open; close one");
            answer(&client, &Refusal { status: "503 Service Unavailable", headers: String::new(), text });
            return;
        }
        let forwarder = self.clone();
        let started = std::thread::Builder::new().name("connection".to_owned()).spawn(move || {
            forwarder.serve(&client);
            forwarder.open.fetch_sub(1, Ordering::SeqCst);
        });
        if let Err(error) = started {
            self.open.fetch_sub(1, Ordering::SeqCst);
            crate::note(&format!("cannot start a thread for a connection: {error}"));
        }
    }

    fn serve(&self, client: &TcpStream) {
        let Ok(received) = head(client) else { return };
        let forwarded = self.forwarded(&received);
        let (request, length) = match forwarded {
            Ok(forwarded) => forwarded,
            Err(refusal) => return answer(client, &refusal),
        };
        let program = match self.place.connect(Instant::now() + http::PATIENCE) {
            Ok(program) => program,
            Err(fault) => {
                let status = if fault.exit == Exit::NoAnswer { "504 Gateway Timeout" } else { "502 Bad Gateway" };
                answer(client, &Refusal { status, headers: String::new(), text: fault.text.clone() });
                if fault.exit == Exit::NotFound {
                    crate::note("the program has ended");
                    std::process::exit(Exit::Done as i32);
                }
                return;
            }
        };
        // An error on either side ends this connection, and both sides see that.
        let _ = copy_both(client, program, &request, &received[length..]);
    }

    /// The head that the program gets, and the length of the received head.
    fn forwarded(&self, received: &[u8]) -> Result<(Vec<u8>, usize), Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(received) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Err(bad("the head of the request is cut off, late, or too large")),
            Err(error) => return Err(bad(&format!("the request cannot be read: {error}"))),
        };
        let (Some(method), Some(path)) = (request.method, request.path) else { return Err(bad("no request")) };
        let all = |name: &'static str| {
            let named = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
            named.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
        };
        let hosts: Vec<String> = all("Host").collect();
        let [host] = &hosts[..] else { return Err(bad("a request has one Host")) };
        if !is_local(host) {
            return Err(forbidden("the Host is not this machine; use http://127.0.0.1"));
        }
        if all("Origin").any(|origin| origin != format!("http://{host}")) {
            return Err(forbidden("a page of another origin may not ask this"));
        }
        let cookie = format!("selvedge-{}", self.port);
        let is_known = all("Authorization").any(|value| self.is_authorization(&value))
            || all("Cookie").any(|value| self.is_cookie(&cookie, &value));
        if !is_known {
            return Err(self.without_token(&cookie, path));
        }
        // The client's own version: the program answers a client of HTTP/1.0 without chunks.
        let version = request.version.unwrap_or_default();
        let mut head = format!("{method} {path} HTTP/1.{version}\r\nConnection: close\r\n").into_bytes();
        if let Place::Tcp { token: Some(token), .. } = &self.place {
            head.extend_from_slice(format!("Authorization: Bearer {token}\r\n").as_bytes());
        }
        let own = ["authorization", "connection", "cookie", "keep-alive", "upgrade"];
        for header in request.headers.iter().filter(|one| !own.contains(&&*one.name.to_ascii_lowercase())) {
            for part in [header.name.as_bytes(), b": ", header.value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        Ok((head, length))
    }

    /// The first request of a browser has the token in its address. It gets a cookie instead, so that
    /// the token is in no address that follows.
    fn without_token(&self, cookie: &str, path: &str) -> Refusal {
        let given = path.strip_prefix("/?token=").map(|rest| rest.split('&').next().unwrap_or_default());
        if given.is_some_and(|given| self.is_token(given.as_bytes())) {
            let token = &self.token;
            let headers = format!("Location: /\r\nSet-Cookie: {cookie}={token}; HttpOnly; SameSite=Strict; Path=/\r\n");
            return Refusal { status: "303 See Other", headers, text: "the page is at /".to_owned() };
        }
        Refusal {
            status: "401 Unauthorized",
            headers: "WWW-Authenticate: Basic realm=\"selvedge\"\r\n".to_owned(),
            text: "the token is missing or wrong; open the address that `selvedge open` has printed".to_owned(),
        }
    }

    fn is_authorization(&self, value: &str) -> bool {
        let Some((scheme, rest)) = value.split_once(' ') else { return false };
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is_token(rest.trim().as_bytes());
        }
        let decoded = scheme.eq_ignore_ascii_case("basic").then(|| base64(rest.trim())).flatten();
        let colon = decoded.as_ref().and_then(|text| text.iter().position(|&byte| byte == b':'));
        decoded.zip(colon).is_some_and(|(text, colon)| self.is_token(&text[colon + 1..]))
    }

    fn is_cookie(&self, name: &str, value: &str) -> bool {
        let mut pairs = value.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(key, token)| key == name && self.is_token(token.as_bytes()))
    }

    /// In a time that does not depend on how many bytes are right.
    fn is_token(&self, given: &[u8]) -> bool {
        let token = self.token.as_bytes();
        let differing = token.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
        given.len() == token.len() && differing == 0
    }
}

fn bad(text: &str) -> Refusal {
    Refusal { status: "400 Bad Request", headers: String::new(), text: text.to_owned() }
}

fn forbidden(text: &str) -> Refusal {
    Refusal { status: "403 Forbidden", headers: String::new(), text: text.to_owned() }
}

/// This machine, with any port or none.
fn is_local(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(_) => host.split_at(host.find(']').map_or(0, |end| end + 1)),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    is_port && (name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]")
}

/// What a client sends up to the end of its head, with what came after it. It may be cut off.
fn head(mut client: &TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + HEAD_PATIENCE;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while received.len() < MOST_HEAD && Instant::now() < deadline {
        client.set_read_timeout(Some(left(deadline)))?;
        match client.read(&mut buffer) {
            Ok(0) if received.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => break,
            Ok(n) => received.extend_from_slice(&buffer[..n]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if received.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    Ok(received)
}

fn answer(mut client: &TcpStream, refusal: &Refusal) {
    let Refusal { status, headers, text } = refusal;
    let text = format!("{text}\n");
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
         Connection: close\r\n\r\n",
        text.len()
    );
    // A client that has gone needs no answer.
    let _ = client.set_write_timeout(Some(http::PATIENCE)).and_then(|()| client.write_all((head + &text).as_bytes()));
}

/// Until either side ends. Bytes go on as they come: `/events` never ends.
fn copy_both(client: &TcpStream, mut program: Stream, request: &[u8], rest: &[u8]) -> io::Result<()> {
    program.set_limits(None)?;
    client.set_read_timeout(None)?;
    client.set_write_timeout(Some(Duration::from_secs(30)))?;
    program.write_all(request)?;
    program.write_all(rest)?;
    let (mut from, mut to) = (client.try_clone()?, program.try_clone()?);
    let sending = std::thread::Builder::new().name("request".to_owned()).spawn(move || {
        // The end of the client's side ends the program's side too: a recording without a reader ends.
        let _ = io::copy(&mut from, &mut to);
        to.shut_down_writing();
    })?;
    let copied = io::copy(&mut program, &mut &*client);
    let _ = client.shutdown(Shutdown::Both);
    program.shut_down();
    // It has seen the end of both of its sides.
    let _ = sending.join();
    copied.map(drop)
}

/// Standard alphabet, with or without padding. `None`: malformed.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarder() -> Forwarder {
        let place = Place::Unix("/nowhere".into());
        Forwarder { place, port: 80, token: "secret".to_owned(), open: AtomicUsize::new(0) }
    }

    /// The status of a refusal, or the forwarded head.
    fn outcome(head: &str) -> Result<String, String> {
        match forwarder().forwarded(head.as_bytes()) {
            Ok((head, _)) => Ok(String::from_utf8(head).unwrap()),
            Err(refusal) => Err(refusal.status[..3].to_owned()),
        }
    }

    #[test]
    fn the_token_is_taken_three_ways_and_not_passed_on() {
        for proof in
            ["Authorization: Bearer secret", "authorization: basic eDpzZWNyZXQ=", "Cookie: a=b; selvedge-80=secret"]
        {
            let head =
                outcome(&format!("GET /threads HTTP/1.1\r\nHost: localhost:80\r\n{proof}\r\nAccept: */*\r\n\r\n"));
            let wanted = "GET /threads HTTP/1.1\r\nConnection: close\r\nHost: localhost:80\r\nAccept: */*\r\n\r\n";
            assert_eq!(head.as_deref(), Ok(wanted), "{proof}");
        }
    }

    #[test]
    fn forged_requests_are_refused() {
        let ask = |path: &str, rest: &str| outcome(&format!("GET {path} HTTP/1.1\r\n{rest}\r\n\r\n")).unwrap_err();
        let proof = "Authorization: Bearer secret";
        assert_eq!(ask("/", "Host: 127.0.0.1"), "401");
        assert_eq!(ask("/?token=secret", "Host: 127.0.0.1"), "303");
        assert_eq!(ask("/?token=secre", "Host: 127.0.0.1"), "401");
        assert_eq!(ask("/threads?token=secret", "Host: 127.0.0.1"), "401");
        for wrong in ["Bearer secre", "Bearer", "Basic !!!", "Basic c2VjcmV0", "Bearer secretx", "Digest secret"] {
            assert_eq!(ask("/", &format!("Host: 127.0.0.1\r\nAuthorization: {wrong}")), "401", "{wrong}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost:x", "[::1", "", "127.0.0.1@evil", "[::1]x"] {
            assert_eq!(ask("/", &format!("Host: {host}\r\n{proof}")), "403", "{host}");
        }
        assert_eq!(ask("/", proof), "400");
        assert_eq!(ask("/", &format!("Host: localhost\r\nHost: localhost\r\n{proof}")), "400");
        assert_eq!(ask("/", &format!("Host: localhost\r\nOrigin: http://evil.example\r\n{proof}")), "403");
        assert_eq!(ask("/", &format!("Host: localhost:80\r\nOrigin: null\r\n{proof}")), "403");
        assert!(
            outcome(&format!("GET / HTTP/1.1\r\nHost: [::1]:80\r\nOrigin: http://[::1]:80\r\n{proof}\r\n\r\n")).is_ok()
        );
        assert_eq!(outcome("GET /").unwrap_err(), "400");
        assert_eq!(outcome("\u{16}\u{3}\u{1}").unwrap_err(), "400");
    }
}
