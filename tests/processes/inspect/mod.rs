//! A running program can be looked at through its socket: what it serves, to which clients, while
//! what hangs, and what it costs.
#![cfg(all(feature = "inspect", target_os = "linux"))]

mod answers;
mod clients;
#[cfg(feature = "profiling")]
mod counters;
#[cfg(feature = "profiling")]
mod cut_off;
#[cfg(feature = "profiling")]
mod full;
mod parsers;
mod places;
#[cfg(feature = "profiling")]
mod recordings;
#[cfg(feature = "profiling")]
mod scrapers;
mod soak;

use crate::support::{Process, program};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A folder with a short path, since that of a socket is limited; gone after the test.
struct Home(PathBuf);

impl Home {
    fn new() -> Home {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sv{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Home(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A program whose sockets are in here.
    fn command(&self, scenario: &str, yaml: &str) -> Command {
        let config = self.write("selvedge.yaml", &format!("name: inspected\n{yaml}\n"));
        let mut command = Command::new(program("inspected"));
        command.arg(scenario).arg(config);
        command.env("XDG_RUNTIME_DIR", self.path()).env("TMPDIR", self.path()).env_remove("SELVEDGE_INSPECT");
        command
    }

    fn start(&self, scenario: &str, yaml: &str, count: usize) -> Inspected {
        self.ready(Process::start(self.command(scenario, yaml).arg(count.to_string())))
    }

    /// With this as its standard input.
    fn start_reading(&self, scenario: &str, yaml: &str, input: Stdio) -> Inspected {
        self.ready(Process::start_reading(&mut self.command(scenario, yaml), input))
    }

    fn ready(&self, mut process: Process) -> Inspected {
        process.wait_for("ready");
        let socket = self.socket(process.id());
        Inspected { process, socket }
    }

    /// Listens on a port of 127.0.0.1, which it returns; the token is in the file `token` here.
    fn start_on_tcp(&self, scenario: &str, yaml: &str) -> (Process, u16) {
        let yaml = format!("inspect: {{ listen: \"127.0.0.1:0\", token_file: token }}\n{yaml}");
        let mut process = Process::start(self.command(scenario, &yaml).env("RUST_LOG", "info"));
        let stderr = process.watch_stderr();
        process.wait_for("ready");
        let mut port = None;
        crate::support::until("the address in the log", || {
            let said = stderr.lock().unwrap();
            let after = said.split("tools can connect to tcp:127.0.0.1:").nth(1);
            port = after.and_then(|rest| rest.lines().next()).and_then(|port| port.parse().ok());
            port.is_some()
        });
        (process, port.unwrap())
    }

    fn socket(&self, process: u32) -> PathBuf {
        self.0.join(format!("selvedge/inspected-{process}.sock"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const UNIX: &str = "inspect: { listen: unix }";

/// The program's own recording counts waits.
#[cfg(feature = "profiling")]
const WAITS: &str = "profile: { enabled: true, waits: true, output: out }";

/// The same, with a socket.
#[cfg(feature = "profiling")]
const COUNTS: &str = "inspect: { listen: unix }\nprofile: { enabled: true, waits: true, output: out }";

struct Inspected {
    process: Process,
    socket: PathBuf,
}

/// An answer, taken apart.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line.eq_ignore_ascii_case(header))
    }
}

/// Sends this, and reads to the end of the connection.
fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    read(stream)
}

fn read(mut stream: impl Read) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = &bytes[end + 4..];
    let mut answer = Answer { status, head, body: body.to_vec() };
    if answer.has("transfer-encoding: chunked") {
        answer.body = unchunked(body).unwrap_or_else(|| panic!("no last chunk: {}", answer.text()));
    }
    answer
}

/// The body in these chunks. `None`: the last chunk is missing.
fn unchunked(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|part| part == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        let (chunk, rest) = chunks[end + 2..].split_at_checked(length)?;
        body.extend_from_slice(chunk);
        chunks = rest.strip_prefix(b"\r\n")?;
        if length == 0 {
            assert!(chunks.is_empty(), "bytes come behind the last chunk");
            return Some(body);
        }
    }
}

impl Inspected {
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(crate::support::ALARM)).unwrap();
        stream
    }

    fn get(&self, path: &str) -> Answer {
        exchange(self.connect(), &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// The thread with that path.
    fn thread(&self, path: &str) -> Value {
        let all = self.get("/threads").json();
        let found = all["threads"].as_array().unwrap().iter().find(|thread| thread["path"] == path).cloned();
        found.unwrap_or_else(|| panic!("no {path} in {all}"))
    }

    /// The kernel ids of the threads that serve, once each has begun.
    fn own_threads(&self) -> Vec<i64> {
        let is_own = |thread: &&Value| thread["path"].as_str().unwrap().starts_with("main/selvedge/inspect");
        let mut ids: Option<Vec<i64>> = None;
        crate::support::until("all threads have ids", || {
            let all = self.get("/threads").json();
            let own = all["threads"].as_array().unwrap().iter().filter(is_own);
            ids = own.map(|thread| thread["os_thread"].as_i64()).collect();
            ids.is_some()
        });
        ids.unwrap()
    }

    fn stop(mut self) {
        self.process.signal(libc::SIGTERM);
        assert_eq!(self.process.end().code(), 0);
        assert!(!self.socket.exists(), "the socket is left");
    }
}

fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}
