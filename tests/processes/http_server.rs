//! The tiny HTTP server of docs/recipes/threaded-server.md ends on SIGTERM, and cuts no request
//! that it has been sent.
#![cfg(unix)]

use crate::support::{ALARM, Process, program};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(ALARM)).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, request: &str) -> &mut Client {
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        self
    }

    /// Status line, head, and body of the next answer.
    fn answer(&mut self) -> (String, String, String) {
        let (mut status, mut head) = (String::new(), String::new());
        self.0.read_line(&mut status).unwrap();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "cut: {status}{head}");
        }
        let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (status, head, String::from_utf8(body).unwrap())
    }

    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}

fn start() -> (Process, SocketAddr) {
    let mut process = Process::start(Command::new(program("04_http_server")).arg("127.0.0.1:0"));
    let line = process.next_line();
    let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).parse().unwrap();
    (process, address)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";

#[test]
fn requests_before_a_stop_are_answered() {
    for _ in 0..3 {
        let (mut process, address) = start();
        let mut idle: Vec<Client> = (0..5).map(|_| Client::connect(address)).collect();
        let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(address)).collect();
        for client in clients.iter_mut().chain(&mut idle) {
            for _ in 0..3 {
                let (status, head, body) = client.send(GET).answer();
                assert!(
                    status == "HTTP/1.1 200 OK\r\n" && head.contains("Connection: keep-alive") && body == "hello\n"
                );
            }
        }
        // Some of them will not have been read when the stop comes.
        for client in &mut clients {
            client.send(GET);
        }
        process.signal(libc::SIGTERM);
        for client in &mut clients {
            let (status, _, body) = client.answer();
            assert_eq!((&*status, &*body, &*client.rest()), ("HTTP/1.1 200 OK\r\n", "hello\n", ""));
        }
        assert!(idle.iter_mut().all(|client| client.rest().is_empty()));
        let ended = process.end();
        assert_eq!((ended.code(), TcpStream::connect(address).is_err()), (0, true), "{}", ended.stderr);
    }
}

#[test]
fn bad_slow_and_gone_clients_are_harmless() {
    let (mut process, address) = start();
    let mut several = Client::connect(address);
    several.send(
        "GET / HTTP/1.1\r\n\r\n\
         POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
         GET /no HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    let statuses = [several.answer().0, several.answer().0, several.answer().0];
    assert_eq!(statuses.map(|status| status[9..12].to_owned()), ["200", "405", "404"]);
    assert_eq!(several.rest(), "");
    for wrong in ["hello\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", &"x".repeat(100_000)] {
        let mut client = Client::connect(address);
        // The server may have closed before all of it was sent.
        let _ = client.0.get_mut().write_all(wrong.as_bytes());
        let mut rest = Vec::new();
        let _ = client.0.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{wrong}");
    }
    Client::connect(address).send("GET / HT");
    process.signal(libc::SIGTERM);
    let ended = process.end();
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
}

#[test]
fn the_recipes_show_tested_code() {
    for (page, program) in [
        (include_str!("../../docs/recipes/threaded-server.md"), include_str!("../../examples/04_http_server.rs")),
        (include_str!("../../docs/recipes/systemd.md"), include_str!("../programs/service.rs")),
    ] {
        let blocks: Vec<&str> =
            page.split("```rust,ignore\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
        assert!(blocks.len() >= 3);
        for block in blocks {
            assert!(program.contains(block), "not in the program:\n{block}");
        }
    }
}
