//! Requests to servers that answer, and to servers that do all else.

use super::lookup::Lookup;
use super::plan::{Format, Plan};
use super::request::send_within;
use super::response::Outcome;
use crate::signal::Signal;
use crate::thread::Thread;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn plan(port: u16) -> Plan {
    Plan {
        service: "weaver".to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
        path: "/prefix".to_owned(),
        every: Duration::from_secs(1),
        labels: Vec::new(),
        format: Format::Pyroscope,
        token_file: None,
        user: None,
        tenant: Some("loom".to_owned()),
    }
}

/// A server for one connection.
fn server<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, std::thread::spawn(move || serve(listener.accept().unwrap().0)))
}

/// Reads a request with a body of that length. Returns its head.
fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        if let Some(end) = end.filter(|end| bytes.len() >= end + 4 + length || count == 0) {
            return String::from_utf8(bytes[..end].to_vec()).unwrap();
        }
    }
}

const LONG: Duration = Duration::from_secs(60);

fn send_to(port: u16, body: &[u8], limit: Duration) -> Outcome {
    let plan = plan(port);
    send_within(limit, &plan, &mut Lookup::new(&plan.host, port), body, &Signal::never())
}

fn later(outcome: Outcome) -> String {
    match outcome {
        Outcome::Later { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

/// Deterministic: each input is an answer with some bytes changed. fuzz/ does the same by coverage.
#[test]
fn random_answers_are_taken_refused_or_tried_again() {
    let seeds = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 17\r\nContent-Type: text/plain\r\n\r\nslower \u{1b}[31m",
        "HTTP/1.0 307 x\r\nLocation: https://elsewhere/\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 500 Internal Server Error\r\nRetry-After: Fri, 27 Nov 2026 11:00:30 GMT\r\n\r\ninternal",
    ];
    let mut random = crate::random::Random(1);
    let mut random = move |below: usize| random.index(below);
    for _ in 0..20_000 {
        let mut input = seeds[random(seeds.len())].as_bytes().to_vec();
        for _ in 0..random(6) {
            let at = random(input.len());
            match random(4) {
                0 => input[at] = random(256) as u8,
                1 => input.insert(at, b"\r\n :;,/.09"[random(10)]),
                2 if input.len() > 1 => drop(input.remove(at)),
                _ => input.truncate(at + 1),
            }
        }
        super::fuzz::check(&input);
    }
}

#[test]
fn a_request_has_what_the_server_asks_for() {
    let (port, server) = server(|mut stream| {
        let head = read(&mut stream, 5);
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        head
    });
    assert_eq!(send_to(port, b"hello", LONG), Outcome::Taken(Vec::new()));
    let head = server.join().unwrap();
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines[0], "POST /prefix/push.v1.PusherService/Push HTTP/1.1");
    for line in [&*format!("Host: 127.0.0.1:{port}"), "Content-Type: application/proto", "Content-Length: 5"] {
        assert!(lines.contains(&line), "{head}");
    }
    assert!(lines.contains(&"X-Scope-OrgID: loom") && !head.contains("Authorization"), "{head}");
}

#[test]
fn a_server_that_hangs_up_is_tried_again() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (port, server) = server(move |mut stream| {
            read(&mut stream, 5);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let why = later(send_to(port, b"hello", LONG));
        assert_eq!(why, "the server has closed the connection without a whole answer", "{answer}");
        server.join().unwrap();
    }
    let (port, server) = server(|mut stream| stream.write_all(b"SSH-2.0-x\r\n").unwrap());
    let why = later(send_to(port, b"hello", LONG));
    // A connection that is closed before all is read may be reset.
    assert!(why.contains("not HTTP") || why.contains("reset") || why.contains("pipe"), "{why}");
    server.join().unwrap();
    // Nothing listens there any more.
    assert!(later(send_to(port, b"hello", LONG)).contains("no connection to 127.0.0.1"));
}

#[test]
fn an_answer_before_the_end_of_the_body_counts() {
    let (port, server) = server(|mut stream| {
        let mut some = [0; 100];
        stream.read_exact(&mut some).unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo much").unwrap();
        // Until the client has gone.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let outcome = send_to(port, &vec![7; 8 << 20], LONG);
    assert_eq!(outcome, Outcome::Refused("the server answers 413 (too much)".to_owned()));
    server.join().unwrap();
}

#[test]
fn a_reason_in_chunks_is_told() {
    let long = format!("{}\r\n", "x".repeat(100_000));
    for (body, why) in [
        ("1C\r\nthe profile is of the future\r\n0\r\n\r\n", " (the profile is of the future)"),
        // Cut off, or longer than is read.
        ("1C\r\nthe profile\n", " (the profile)"),
        (&format!("186A0\r\nso\n{long}0\r\n\r\n"), " (so)"),
        ("no size", ""),
    ] {
        let body = body.to_owned();
        let (port, server) = server(move |mut stream| {
            read(&mut stream, 5);
            // The client reads no more than it tells.
            let _ = stream.write_all(b"HTTP/1.1 400 x\r\nTransfer-Encoding: chunked\r\n\r\n");
            let _ = stream.write_all(body.as_bytes());
        });
        assert_eq!(send_to(port, b"hello", LONG), Outcome::Refused(format!("the server answers 400{why}")));
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_is_silent_or_slow_is_given_up_in_time() {
    let limit = Duration::from_millis(300);
    // Silent from the start; silent within the head; a byte now and then; does not read.
    let wait = |mut stream: TcpStream| drop(std::io::copy(&mut stream, &mut std::io::sink()));
    let within = |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 200").unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    };
    let slow = |mut stream: TcpStream| {
        // Until the client has gone.
        while stream.write_all(b"H").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let deaf = |stream: TcpStream| {
        while stream.take_error().is_ok_and(|error| error.is_none()) && stream.peek(&mut [0]).is_ok_and(|read| read > 0)
        {
            std::thread::sleep(Duration::from_millis(20));
            let mut buffer = [0; 16];
            let _ = (&stream).read(&mut buffer);
        }
    };
    let servers: [Box<dyn FnOnce(TcpStream) + Send>; 4] =
        [Box::new(wait), Box::new(within), Box::new(slow), Box::new(deaf)];
    for (at, serve) in servers.into_iter().enumerate() {
        let (port, server) = server(serve);
        let begin = Instant::now();
        let why = later(send_to(port, &vec![1; 16 << 20], limit));
        assert!(begin.elapsed() >= limit, "{at}");
        // `slow` has sent what is no HTTP by then, or not.
        assert!(why == "the server does not answer within 300ms" || why.contains("not HTTP"), "{at}: {why}");
        drop(server);
    }
}

#[test]
fn a_stop_ends_a_request_at_once() {
    let (port, server) = server(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    let (plan, stop) = (plan(port), Signal::new("stop"));
    // Others see what a registered thread waits for.
    let _me = crate::register("sends");
    let (stopper, sender) = (stop.clone(), Thread::current());
    let asker = std::thread::spawn(move || {
        // Until the request is sent, and its answer is waited for.
        let deadline = Instant::now() + LONG;
        while sender.waiting_for().is_none_or(|wait| wait.kind() != "data from") {
            assert!(Instant::now() < deadline, "no answer is waited for");
            std::thread::sleep(Duration::from_millis(1));
        }
        stopper.go();
    });
    let outcome = send_within(LONG, &plan, &mut Lookup::new(&plan.host, port), b"hello", &stop);
    assert_eq!(outcome, Outcome::GaveUp);
    asker.join().unwrap();
    server.join().unwrap();
}

#[test]
fn a_name_is_looked_up_beside_the_thread() {
    let (port, server) = server(|mut stream| {
        read(&mut stream, 5);
        stream.write_all(b"HTTP/1.0 204 No Content\r\n\r\n").unwrap();
    });
    let plan = Plan { host: "localhost".to_owned(), ..plan(port) };
    let mut lookup = Lookup::new(&plan.host, port);
    assert_eq!(send_within(LONG, &plan, &mut lookup, b"hello", &Signal::never()), Outcome::Taken(Vec::new()));
    server.join().unwrap();
    assert!(lookup.addresses(&Signal::gone()).is_ok(), "it is known");
    // A part of a name is shorter, so no server is asked.
    let long = "x".repeat(64);
    let mut unknown = Lookup::new(&long, 80);
    let error = unknown.addresses(&crate::signal::Till::after(LONG)).unwrap_err().to_string();
    assert!(error.starts_with(&long), "{error}");
    // The look-up of a gone signal is not waited for.
    let error = Lookup::new(&long, 80).addresses(&Signal::gone()).unwrap_err().to_string();
    assert!(error.starts_with(&long), "{error}");
}

#[test]
fn a_name_is_looked_up_again_unless_the_request_is_taken() {
    let looked_up = Arc::new(AtomicUsize::new(0));
    for (answer, look_ups) in [("200 OK", 1), ("404 Not Found", 2), ("401 x", 2), ("503 x", 2), ("500 x", 2)] {
        // The name belongs to another server after the first request.
        let servers = [answer, "200 OK"].map(|answer| {
            server(move |mut stream| {
                read(&mut stream, 5);
                stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
            })
        });
        let ports = servers.each_ref().map(|(port, _)| *port);
        looked_up.store(0, Ordering::SeqCst);
        let count = looked_up.clone();
        let resolve = move |_: &str, _| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], ports[number.min(1)]))])
        };
        let plan = Plan { host: "pyroscope.svc".to_owned(), ..plan(4040) };
        let mut lookup = Lookup::with(&plan.host, plan.port, Arc::new(resolve));
        let first = send_within(LONG, &plan, &mut lookup, b"hello", &Signal::never());
        assert_eq!(matches!(first, Outcome::Taken(_)), answer == "200 OK", "{first:?}");
        lookup.addresses(&Signal::never()).unwrap();
        assert_eq!(looked_up.load(Ordering::SeqCst), look_ups, "look-ups after {answer}");
        if look_ups > 1 {
            assert_eq!(send_within(LONG, &plan, &mut lookup, b"hello", &Signal::never()), Outcome::Taken(Vec::new()));
        }
        // Without a second request, the second server goes on waiting.
        servers.into_iter().take(look_ups).for_each(|(_, server)| server.join().unwrap());
    }
}

#[test]
fn a_token_is_read_at_each_request() {
    let file = std::env::temp_dir().join(format!("selvedge-push-token-{}", std::process::id()));
    for (token, user, expected) in
        [("first", None, "Authorization: Bearer first"), ("second", Some("me"), "Authorization: Basic bWU6c2Vjb25k")]
    {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let (port, server) = server(|mut stream| {
            let head = read(&mut stream, 1);
            stream.write_all(b"HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n").unwrap();
            head
        });
        let plan = Plan { token_file: Some(file.clone()), user: user.map(str::to_owned), ..plan(port) };
        let outcome = send_within(LONG, &plan, &mut Lookup::new(&plan.host, port), b"x", &Signal::never());
        let why = "the server answers 401; check push.token_file and push.user";
        assert_eq!(outcome, Outcome::Refused(why.to_owned()));
        let head = server.join().unwrap();
        assert!(head.lines().any(|line| line == expected), "{head}");
    }
    std::fs::remove_file(&file).unwrap();
    let plan = Plan { token_file: Some(file), ..plan(9) };
    let outcome = send_within(LONG, &plan, &mut Lookup::new(&plan.host, 9), b"x", &Signal::never());
    assert!(later(outcome).starts_with("push.token_file: "));
}
