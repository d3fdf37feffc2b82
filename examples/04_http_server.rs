//! A tiny HTTP server: a thread for each connection, keep-alive, no dependency but selvedge. It
//! ends within 50 ms of SIGTERM or Ctrl-C, under load too, and cuts no request that arrives in that
//! time. docs/recipes/threaded-server.md explains it.
//!
//! `cargo run --release --example 04_http_server [ADDRESS]`, then `curl http://127.0.0.1:8080/`.

use selvedge::net::{ListenTill, SocketTill, StreamTill, is_stopped};
use selvedge::{Config, Permit, Scope, Semaphore, Signal, Till, scope};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Connections at a time. Further ones wait in the system's queue.
const MOST: usize = 512;
/// How long a request may take to arrive and to be answered, from its first byte.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a stop, connections that the system has made are still accepted for so long.
const PENDING: Duration = Duration::from_millis(5);
/// After a stop, a request that is on its way may still arrive for so long.
const LINGER: Duration = Duration::from_millis(40);
/// The longest head and the longest body of a request.
const LONGEST: u64 = 64 * 1024;

fn main() -> ExitCode {
    selvedge::run(Config::new("http-server"), |please_stop: &Signal| -> io::Result<()> {
        let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
        let listener = TcpListener::bind(address)?;
        println!("listening on {}", listener.local_addr()?);
        let places = Semaphore::new("connections", MOST);
        // Each connection is a child of main. At the end of the scope they are asked to stop, and
        // joined.
        scope(|connections| {
            accept(&listener, &places, connections, please_stop);
            // Connections that the system made before the stop have clients that wait for an
            // answer.
            accept(&listener, &places, connections, &Till::after(PENDING));
            // Before any client is told to go: it might come again, to a server that does not
            // accept any more.
            drop(listener);
        });
        Ok(())
    })
}

/// A thread for each connection, until `till` goes.
fn accept<'scope>(listener: &TcpListener, places: &'scope Semaphore, connections: &Scope<'scope, '_>, till: &Signal) {
    for stream in listener.incoming_till(till) {
        match (stream, places.acquire_till(till)) {
            (Ok(stream), Ok(place)) => {
                // The handle is dropped: the thread stays a child of main.
                drop(connections.spawn_fallible("connection", move |please_stop| serve(&stream, place, please_stop)));
            }
            (Err(error), _) => log::warn!("a connection is lost: {error}"),
            (_, Err(_)) => return,
        }
    }
}

/// One request after the other, until the client closes the connection or the thread is asked to
/// stop.
fn serve(stream: &TcpStream, _place: Permit<'_>, please_stop: &Signal) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let between = stream.till(please_stop);
    let mut reader = BufReader::new(stream.till(&Signal::never()));
    loop {
        // A stop ends the connection here, between two requests, and not within one.
        let is_there = !reader.buffer().is_empty() || between.readable()?;
        if !is_there && !stream.readable_till(&Till::after(LINGER))? {
            return Ok(());
        }
        reader.get_mut().set_signal(&Till::after(PATIENCE));
        match answer(&mut reader, please_stop) {
            Ok(Connection::Keep) => {}
            Ok(Connection::Close) => return Ok(()),
            // What clients do is no failure of the server.
            Err(error) if is_stopped(&error) => {
                log::info!("{}: no whole request in {PATIENCE:?}", stream.peer_addr()?);
                return Ok(());
            }
            Err(error) if is_clients(&error) => {
                log::debug!("{error}");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_clients(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, InvalidData, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | InvalidData | UnexpectedEof)
}

enum Connection {
    Keep,
    Close,
}

/// Reads one request and answers it.
fn answer(reader: &mut BufReader<StreamTill<&TcpStream>>, please_stop: &Signal) -> io::Result<Connection> {
    let Some(request) = Request::read(reader)? else { return Ok(Connection::Close) };
    let (status, body) = match (&*request.method, &*request.path) {
        ("GET", "/") => ("200 OK", "hello\n"),
        ("GET", _) => ("404 Not Found", "there is nothing here\n"),
        _ => ("405 Method Not Allowed", "GET only\n"),
    };
    // Asked once: the client must know what is done.
    let closes = request.closes || please_stop.is_go();
    let connection = if closes { "close" } else { "keep-alive" };
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: {connection}\r\n\r\n{body}"
    );
    reader.get_mut().write_all(response.as_bytes())?;
    Ok(if closes { Connection::Close } else { Connection::Keep })
}

struct Request {
    method: String,
    path: String,
    closes: bool,
}

impl Request {
    /// `None`: the client has closed the connection.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
        let bad = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("no HTTP request: {what}"));
        let mut head = reader.by_ref().take(LONGEST);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(method), Some(path), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Err(bad("the first line is not three words"));
        };
        let mut request =
            Request { method: method.into(), path: path.into(), closes: version.eq_ignore_ascii_case("HTTP/1.0") };
        let mut length = 0;
        loop {
            line.clear();
            if head.read_line(&mut line)? == 0 {
                return Err(bad("the head has no end"));
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("connection") {
                request.closes = value.trim().eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(|_| bad("Content-Length is no number"))?;
            }
        }
        if length > LONGEST || io::copy(&mut reader.by_ref().take(length), &mut io::sink())? < length {
            return Err(bad("the body is too long, or not whole"));
        }
        Ok(Some(request))
    }
}
