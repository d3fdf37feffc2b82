//! Requests, good, bad and forged, against the parser and the router: each answer has a proper
//! status and a text, and none is a fault of ours.

use super::access::{Access, Secrets};
use super::client::{Client, Reply};
use super::program::Program;
use super::request::{Method, Parsed, Request, cut_off, parse};
use super::response::{Response, chunks};
use super::router::reply;
use super::token::Token;
use crate::signal::Signal;
use crate::thread::roots;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn program(token: Option<&str>) -> (Program, Signal) {
    let secret = |token: &str| {
        // By a file, as in a program. Tests run at the same time: each has one of its own.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("selvedge-token-{}-{number}", std::process::id()));
        std::fs::write(&file, format!("{token}\nrest\n")).unwrap();
        let token = Token::of_file(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        Secrets { token, session: Token::random().unwrap(), port: 6060 }
    };
    let (access, stop) = (Access { secrets: token.map(secret) }, Signal::new("stop"));
    (Program::new("tested", &roots::root(), "unix:tested", access, &stop, Duration::from_secs(5)), stop)
}

fn client() -> Client<'static> {
    Client { cancel: Signal::new("gone"), early: Some(&|_| ()) }
}

fn whole(text: &str) -> Request {
    match parse(text.as_bytes()) {
        Parsed::Whole(request) => *request,
        Parsed::Partial => panic!("partial: {text:?}"),
        Parsed::Refused(refused) => panic!("{}: {text:?}", refused.status),
    }
}

/// The answer to a request as it comes from a socket; `None`: more must come.
fn answer(program: &Program, input: &[u8]) -> Option<Response> {
    match parse(input) {
        Parsed::Partial => None,
        Parsed::Refused(refused) => Some(refused),
        Parsed::Whole(request) => Some(match reply(program, &request, &client()) {
            Reply::Whole(response) | Reply::Events(response) => response,
            Reply::Rest(body) => Response::new(200, "", body),
        }),
    }
}

fn status(program: &Program, text: &str) -> u16 {
    answer(program, text.as_bytes()).map_or(0, |response| response.status)
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

#[test]
fn a_body_ends_with_the_last_chunk() {
    assert_eq!(chunks(b"0123456789abcdef0"), b"11\r\n0123456789abcdef0\r\n0\r\n\r\n");
    assert_eq!(chunks(b""), b"0\r\n\r\n");
    let head = String::from_utf8(Response::new(200, "text/plain", "").into_chunked_head()).unwrap();
    assert!(head.contains("Transfer-Encoding: chunked\r\n") && !head.contains("Content-Length"), "{head}");
}

#[test]
fn a_request_is_taken_apart() {
    let request = whole("GET /log?lines=5&level=warn%20x&a+b=%26 HTTP/1.1\r\nHost: localhost:7\r\nX-A:  b \r\n\r\n");
    assert_eq!((request.method, request.path.as_str()), (Method::Get, "/log"));
    assert_eq!(request.parameter("level"), Some("warn x"));
    assert_eq!(request.parameter("a b"), Some("&"));
    assert_eq!((request.header("host"), request.header("x-a")), (Some("localhost:7"), Some("b")));
    let posted = whole("POST /debug/pprof/symbol HTTP/1.0\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n0x1GET / ");
    assert_eq!((posted.method, &*posted.body), (Method::Post, &b"0x1"[..]));
    assert_eq!((request.takes_chunks, posted.takes_chunks), (true, false));
    // Byte by byte: whole with the last one, and not before.
    let text = get("/info", "");
    assert!((0..text.len()).all(|end| matches!(parse(&text.as_bytes()[..end]), Parsed::Partial)), "{text}");
    whole(&text);
}

#[test]
fn bad_requests_have_a_status_and_a_text() {
    let (program, _stop) = program(None);
    let long = "a".repeat(70_000);
    let many: String = (0..100).map(|number| format!("X-{number}: 1\r\n")).collect();
    let host = "Host: localhost\r\n";
    let cases = [
        (505, "GET /\r\n".to_owned()),
        (505, "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".into()),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        (400, "\u{1}\u{2}\u{3} / HTTP/1.1\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nno colon\r\n\r\n".into()),
        (400, "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n".into()),
        (400, "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".into()),
        (414, format!("GET /{long} HTTP/1.1\r\n{host}\r\n")),
        (414, format!("GET /{long}")),
        (431, get("/", &format!("X-A: {long}\r\n"))),
        (431, format!("GET / HTTP/1.1\r\nX-A: {long}")),
        (431, get("/", &many)),
        (400, get("/../../etc/passwd", "")),
        (400, get("/debug/pprof/%2e%2e/%2e%2e/x", "")),
        (400, get("/a%00b", "")),
        (400, get("/%zz", "")),
        (400, get("/log?lines=%ff", "")),
        (400, get("/threads", "Content-Length: 5\r\n") + "hello"),
        (400, get("/threads", "Content-Length: -1\r\n")),
        (400, get("/threads", "Content-Length: 1\r\nContent-Length: 2\r\n")),
        (411, get("/threads", "Transfer-Encoding: chunked\r\n")),
        (413, format!("POST /debug/pprof/symbol HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n")),
        (404, get("/nothing", "")),
        (404, get("/debug/pprof/heap", "")),
        (404, get("/debug/pprof/allocs", "")),
        (404, get("/debug/pprof/nothing", "")),
        (400, get("/log?lines=0", "")),
        (400, get("/log?lines=many", "")),
        (400, get("/log?level=loud", "")),
        (400, get("/threads?stacks=maybe", "")),
        (400, get("/debug/pprof/goroutine?seconds=1&debug=1", "")),
        (400, get("/debug/pprof/goroutine?seconds=-1", "")),
        (400, get("/debug/pprof/goroutine?debug=three", "")),
    ];
    for (expected, text) in cases {
        let shown: String = text.chars().take(80).collect();
        let answer = answer(&program, text.as_bytes()).unwrap_or_else(|| panic!("no answer: {shown:?}"));
        assert_eq!(answer.status, expected, "{shown:?}: {:?}", String::from_utf8_lossy(&answer.body));
        assert!(answer.body.len() > 10 && answer.body.ends_with(b"\n"), "{shown:?}");
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"), "{shown:?}");
        let is_gos = text.contains(" /debug/pprof/") && !matches!(expected, 413 | 414) && !text.contains("%2e");
        assert_eq!(answer.header("X-Go-Pprof"), is_gos.then_some("1"), "{shown:?}");
    }
    assert_eq!(cut_off(b"GET / HT").status, 400);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let answer = answer(&program, format!("{method} /threads HTTP/1.1\r\n{host}\r\n").as_bytes()).unwrap();
        assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
#[cfg(feature = "profiling")]
fn a_length_that_is_none_is_refused_before_recording() {
    let (program, _stop) = program(None);
    let paths = ["/debug/pprof/profile", "/flame.svg", "/waits", "/blame", "/folded", "/timeline", "/accounts"];
    for path in paths {
        for seconds in ["-1", "1.5", "3601", "99999999999999999999", "1e3", "+5", "0x5", "%2f"] {
            assert_eq!(status(&program, &get(&format!("{path}?seconds={seconds}"), "")), 400, "{path} {seconds}");
        }
    }
    for parameter in ["clock=sun", "frequency=0", "frequency=10001", "frequency=-5"] {
        assert_eq!(status(&program, &get(&format!("/flame.svg?{parameter}"), "")), 400, "{parameter}");
    }
    let turn = program.recorder.take().ok().unwrap();
    for path in paths {
        let answer = answer(&program, get(&format!("{path}?seconds=1"), "").as_bytes()).unwrap();
        assert_eq!((answer.status, answer.header("Retry-After")), (409, Some("5")), "{path}");
    }
    drop(turn);
}

/// What a page of another site, or another user of the machine, could send.
#[test]
fn forged_requests_are_refused() {
    const TOKEN: &str = "0123456789abcdef";
    let (unix, _stop) = program(None);
    let (tcp, _stop) = program(Some(TOKEN));
    let good = format!("Authorization: Bearer {TOKEN}\r\n");
    let hosts = [
        "evil.example",
        "localhost.evil.example",
        "evil.example:6060",
        "127.0.0.1.nip.io",
        "127.0.0.2",
        "0.0.0.0",
        "localhost.",
        "[::2]",
        "::1",
        "user@localhost",
        "localhost:",
        "localhost:http",
        "localhost:6060:1",
        "",
        "LOCALHOST.EVIL",
        "[::1]x",
        "localhost, evil.example",
        "169.254.169.254",
        "10.0.0.1:6060",
        "localhost:123456",
    ];
    let mut refused = 0;
    for host in hosts {
        for program in [&unix, &tcp] {
            let status = status(program, &format!("GET /threads HTTP/1.1\r\nHost: {host}\r\n{good}\r\n"));
            assert_eq!(status, 403, "{host}");
            refused += 1;
        }
    }
    let headers = [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: https://localhost\r\n",
        "Origin: http://localhost:1\r\n",
        "Origin: file://\r\n",
        "Origin: http://localhost.evil.example\r\n",
        "Origin: \r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n",
    ];
    for headers in headers {
        for program in [&unix, &tcp] {
            assert_eq!(status(program, &get("/threads", &format!("{headers}{good}"))), 403, "{headers}");
            refused += 1;
        }
    }
    let tokens = [
        "",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer 0123456789abcdeX\r\n",
        "Authorization: Bearer 0123456789abcde\r\n",
        "Authorization: Bearer 0123456789abcdef0\r\n",
        "Authorization: Basic !!\r\n",
        "Authorization: Basic eDp5\r\n",
        "Authorization: 0123456789abcdef\r\n",
        "Authorization: Digest x\r\n",
        "Cookie: selvedge-6060=0123456789abcdef\r\n",
        "Cookie: selvedge-6060=\r\n",
        "Cookie: selvedge-6061=x; selvedge-6060=y\r\n",
    ];
    for headers in tokens {
        for path in ["/threads", "/", "/events", "/debug/pprof/profile?seconds=1", "/threads?token=0123456789abcdef"] {
            let answer = answer(&tcp, get(path, headers).as_bytes()).unwrap();
            assert_eq!(answer.status, 401, "{path} {headers}");
            assert_eq!(answer.header("WWW-Authenticate"), Some("Basic realm=\"selvedge\""));
            refused += 1;
        }
    }
    assert_eq!(status(&tcp, &get("/?token=0123456789abcdeX", "")), 401);
    assert!(refused >= 50, "{refused}");
}

#[test]
fn the_right_token_is_taken_in_three_ways() {
    const TOKEN: &str = "0123456789abcdef";
    let (program, _stop) = program(Some(TOKEN));
    assert_eq!(status(&program, &get("/info", "Authorization: Bearer 0123456789abcdef\r\n")), 200);
    assert_eq!(status(&program, &get("/info", "authorization: basic eDowMTIzNDU2Nzg5YWJjZGVm\r\n")), 200);
    let welcome = answer(&program, get("/?token=0123456789abcdef", "").as_bytes()).unwrap();
    assert_eq!((welcome.status, welcome.header("Location")), (303, Some("/")));
    let cookie = welcome.header("Set-Cookie").unwrap();
    let (value, rest) = cookie.split_once("; ").unwrap();
    assert_eq!(rest, "HttpOnly; SameSite=Strict; Path=/");
    assert!(!cookie.contains(TOKEN), "the token itself stays out of the browser: {cookie}");
    assert_eq!(status(&program, &get("/info", &format!("Cookie: other=1; {value}\r\n"))), 200);
    let same = format!("Cookie: {value}\r\nOrigin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(status(&program, &get("/info", &same)), 200);
    for host in ["localhost:6060", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:6060", "LocalHost"] {
        let text = format!("GET /info HTTP/1.1\r\nHost: {host}\r\nCookie: {value}\r\n\r\n");
        assert_eq!(status(&program, &text), 200, "{host}");
    }
}

#[test]
fn answers_carry_what_keeps_a_browser_safe() {
    let (program, _stop) = program(None);
    for path in ["/", "/info", "/threads", "/metrics", "/debug/pprof/", "/nothing", "/debug/pprof/cmdline"] {
        let answer = answer(&program, get(path, "").as_bytes()).unwrap();
        let text = String::from_utf8_lossy(&answer.into_bytes(false)).into_owned();
        for part in [
            "X-Content-Type-Options: nosniff\r\n",
            "Cache-Control: no-store\r\n",
            "Connection: close\r\n",
            "Content-Security-Policy: default-src 'none'",
            "frame-ancestors 'none'",
            "Referrer-Policy: no-referrer\r\n",
        ] {
            assert!(text.contains(part), "{path} lacks {part}: {text}");
        }
        assert!(!text.contains("Access-Control"), "{text}");
    }
    let pages: Vec<String> =
        (0..2).map(|_| String::from_utf8(answer(&program, get("/", "").as_bytes()).unwrap().body).unwrap()).collect();
    // The name of a namespace is no address that is loaded.
    let page = pages[0].replace("http://www.w3.org/", "");
    assert!(!page.contains("__NONCE__") && !page.contains("http://") && !page.contains("https://"));
    assert_eq!(page.contains("nonce="), pages[0] != pages[1], "a new nonce each time");
}

/// Deterministic: a failure can be repeated. Each input is a good request with some bytes changed,
/// put in, taken out or doubled. fuzz/ does the same by coverage.
#[test]
fn random_requests_get_an_answer() {
    let programs = super::fuzz::Programs::default();
    let good = "Authorization: Bearer 0123456789abcdef\r\n";
    let seeds: Vec<Vec<u8>> = [
        get("/info", good),
        get("/log?lines=5&level=info", good),
        get("/debug/pprof/cmdline?debug=1", good),
        get("/timeline?seconds=5&clock=wall", good),
        get("/?token=0123456789abcdef", "Cookie: selvedge-6060=abc; x=y\r\n"),
        format!("POST /debug/pprof/symbol HTTP/1.1\r\nHost: [::1]:6060\r\n{good}Content-Length: 11\r\n\r\n0x12+0x3456"),
        "GET / HTTP/1.0\r\nHost: localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: none\r\n\r\n".to_owned(),
    ]
    .map(String::into_bytes)
    .into();
    let mut random = crate::random::Random(1);
    let mut random = move |below: usize| random.index(below);
    let mut statuses = std::collections::BTreeSet::new();
    for _ in 0..20_000 {
        let mut input = seeds[random(seeds.len())].clone();
        for _ in 0..=random(6) {
            let at = random(input.len().max(1));
            if input.is_empty() {
                break;
            }
            match random(5) {
                0 => input[at] = random(256) as u8,
                1 => input.insert(at, b"\r\n :%?&=/.\0+"[random(12)]),
                2 => drop(input.remove(at)),
                3 => {
                    let part = input[at..(at + random(40)).min(input.len())].to_vec();
                    input.splice(at..at, part);
                }
                _ => input.truncate(at + 1),
            }
        }
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| programs.check(&input)));
        let (open, closed) = checked.unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&input)));
        statuses.extend([open, closed]);
    }
    // All kinds were met.
    let expected = [200, 400, 401, 403, 404, 405];
    assert!(expected.iter().all(|status| statuses.contains(status)), "{statuses:?}");
}
