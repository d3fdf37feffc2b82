//! A program that the tests make up: it listens on a socket as a program with the feature `inspect`
//! does, and gives the answers that a test wants.

// Each test file uses a part of this.
#![allow(dead_code)]

pub mod browser;
pub mod open;
pub mod watched;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A folder of one test, as sockets need it; removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("selvedge-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        Folder(path)
    }

    pub fn socket(&self, name: &str, pid: u32) -> PathBuf {
        self.0.join(format!("{name}-{pid}.sock"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a program answers to a path.
pub type Answers = dyn Fn(&str, &mut UnixStream) + Send + Sync;

/// Answers until the test's process ends. The paths that were asked for, in their order.
pub fn program(socket: &Path, answers: Arc<Answers>) -> Arc<Mutex<Vec<String>>> {
    let listener = UnixListener::bind(socket).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let paths = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answers, paths) = (answers.clone(), paths.clone());
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                assert!(head.contains("Host: "), "{head}");
                paths.lock().unwrap().push(path.clone());
                answers(&path, &mut stream);
            });
        }
    });
    asked
}

/// An answer with this status, of selvedge's version.
pub fn answer(stream: &mut UnixStream, status: &str, version: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\nSelvedge-Version: {version}\r\nContent-Length: {}\r\n\r\n", body.len());
    // A client that has gone is not the fault of the program.
    let _ = stream.write_all((head + body).as_bytes());
}

/// The timeline of the program that the tests make up.
pub const TIMELINE: &str = r#"{"meta":{"version":24}}"#;

/// A profile of pprof before it is packed: five times `main`.
pub const PROFILE: &str = "\x0a\x04\x08\x01\x10\x01\x32\x00\x32\x04main\x12\x04\x08\x01\x10\x05\
    \x22\x06\x08\x01\x22\x02\x08\x01\x2a\x04\x08\x01\x10\x01";

pub fn packed(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

pub fn info(name: &str, pid: u32) -> String {
    format!(
        r#"{{"format":1,"selvedge":"0.1.0","name":"{name}","pid":{pid},"uptime_s":3.0,"state":"running","new":[1]}}"#
    )
}

/// A program of this name with two threads, one of them with an evil name.
pub fn usual(name: &str, pid: u32) -> Arc<Answers> {
    let name = name.to_owned();
    Arc::new(move |path, stream| {
        let threads = r#"{"format":1,"selvedge":"0.1.0","name":"N","process":7,"uptime_s":3.0,"state":"running",
            "threads":[{"path":"main","id":1,"parent":null,"state":"waiting","age_s":3.0,"cpu_s":0.1,
             "waiting_for":{"kind":"thread","name":"main/evil","for_s":1.0,"held_by":null}},
            {"path":"main/e\u001b[31mvil\u009b\u202e","id":2,"parent":1,"state":"running","age_s":2.0,"cpu_s":2.0}],
            "queues":[{"id":1,"name":"files\u0007","len":3,"capacity":10,"closed":false,"added":5,"popped":2}]}"#;
        let raw = threads.replace("\\u009b", "\u{9b}").replace("\\u202e", "\u{202e}");
        match path.split('?').next().unwrap_or_default() {
            "/info" => answer(stream, "200 OK", "0.1.0", &info(&name, pid)),
            "/threads" => answer(stream, "200 OK", "0.1.0", &raw),
            "/dump" => answer(stream, "200 OK", "0.1.0", "main\n\tis waiting\x1b[2J\n"),
            "/folded" => answer(stream, "200 OK", "0.1.0", "main;work 5\n"),
            "/flame.svg" => answer(stream, "409 Conflict", "0.1.0", "another recording runs\x1b[0m; ask again later\n"),
            "/timeline" => {
                let body = packed(TIMELINE);
                let head =
                    format!("HTTP/1.1 200 OK\r\nSelvedge-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n", body.len());
                // As for any other answer.
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
            other => answer(stream, "404 Not Found", "0.1.0", &format!("there is nothing at {other}\n")),
        }
    })
}

/// Runs the command once.
pub fn selvedge_once(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_selvedge")).args(arguments).output().unwrap()
}

/// Runs the command again while a program does not answer it. The command gives a program two seconds, and on a
/// busy machine a program may need longer.
pub fn selvedge(arguments: &[&str]) -> Output {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = selvedge_once(arguments);
        let is_unanswered = output.status.code() == Some(4) || stderr(&output).contains("does not answer");
        if !is_unanswered || Instant::now() >= deadline {
            return output;
        }
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The exit code, with all that was printed where it is another.
#[track_caller]
pub fn expect(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}\n{}", stdout(output), stderr(output));
}
