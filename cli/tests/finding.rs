//! Which program a command is for, and what is told where there is none, or where it is silent.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Folder, answer, expect, info, program, selvedge, selvedge_once, stderr, stdout, usual};

fn ps(folder: &Folder, more: &[&str]) -> std::process::Output {
    selvedge(&[&["ps", "--folder", folder.0.to_str().unwrap()], more].concat())
}

#[test]
fn the_only_program_needs_no_name() {
    let folder = Folder::new();
    program(&folder.socket("my-own indexer", 7), usual("my-own indexer", 7));
    // Left behind by a program that was killed.
    drop(UnixListener::bind(folder.socket("gone", 8)).unwrap());
    std::fs::write(folder.0.join("notes.txt"), "x").unwrap();
    let output = ps(&folder, &[]);
    expect(&output, 0);
    assert!(stdout(&output).contains("N (pid 7)"), "{}", stdout(&output));
    for name in ["7", "my-own indexer", folder.socket("my-own indexer", 7).to_str().unwrap()] {
        expect(&ps(&folder, &[name]), 0);
    }
}

#[test]
fn several_are_listed() {
    let folder = Folder::new();
    program(&folder.socket("first", 7), usual("first", 7));
    program(&folder.socket("second", 8), usual("second with the whole name", 8));
    let output = ps(&folder, &[]);
    expect(&output, 2);
    let told = stderr(&output);
    assert!(told.contains("7  first, running, up 3.0 s") && told.contains("8  second with the whole name"), "{told}");
    for name in ["7", "first", "second", "second with the whole name"] {
        expect(&ps(&folder, &[name]), 0);
    }
}

#[test]
fn none_tells_where_it_was_looked_for() {
    let folder = Folder::new();
    for name in [&[][..], &["nope"], &["4194304000"], &["1"]] {
        let output = ps(&folder, name);
        expect(&output, 3);
        let told = stderr(&output);
        assert!(told.contains(folder.0.to_str().unwrap()) && told.contains("inspect"), "{told}");
    }
    let output = selvedge(&["ps", folder.socket("x", 1).to_str().unwrap()]);
    expect(&output, 3);
}

#[test]
fn a_folder_of_others_is_left_out() {
    let folder = Folder::new();
    program(&folder.socket("indexer", 7), usual("indexer", 7));
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = ps(&folder, &[]);
    expect(&output, 3);
    assert!(stderr(&output).contains("not a folder of this user alone"), "{}", stderr(&output));
    let link = Folder::new();
    let path = link.0.join("link");
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(&folder.0, &path).unwrap();
    expect(&selvedge(&["ps", "--folder", path.to_str().unwrap()]), 3);
}

/// Not before the two seconds have passed, and not much after. The limit is wide for a loaded machine.
#[track_caller]
fn silent(folder: &Folder) {
    for arguments in [&["ps"][..], &["dump"], &["open"], &["record", "-s", "1", "-o", "/tmp/never.folded"]] {
        let begin = Instant::now();
        let output = selvedge_once(&[arguments, &["--folder", folder.0.to_str().unwrap()]].concat());
        expect(&output, 4);
        assert!(begin.elapsed() < Duration::from_secs(60), "{arguments:?} took {:?}", begin.elapsed());
        assert!(stderr(&output).contains("in time"), "{}", stderr(&output));
    }
}

#[test]
fn a_program_that_does_not_answer_ends_the_command() {
    let folder = Folder::new();
    let _listener = UnixListener::bind(folder.socket("hung", std::process::id())).unwrap();
    silent(&folder);
}

#[test]
fn a_full_backlog_ends_the_command() {
    let folder = Folder::new();
    let socket = folder.socket("full", std::process::id());
    let _listener = UnixListener::bind(&socket).unwrap();
    // One thread fills the backlog, and stays in the call that no longer returns.
    let (told, filled) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        loop {
            let stream = UnixStream::connect(&socket);
            let failed = stream.is_err();
            open.extend(stream);
            if failed || told.send(open.len()).is_err() {
                std::thread::park();
            }
        }
    });
    // It is full when no further connection succeeds for a while.
    while filled.recv_timeout(Duration::from_millis(500)).is_ok() {}
    silent(&folder);
}

#[test]
fn a_trickling_program_ends_the_command() {
    let folder = Folder::new();
    let trickle = |_: &str, stream: &mut UnixStream| {
        for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if std::io::Write::write_all(stream, &[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    program(&folder.socket("trickle", 7), Arc::new(trickle));
    silent(&folder);
}

#[test]
fn other_answers_are_told() {
    for body in
        ["garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "HTTP/1.1 200 OK\r\n\r\nno json", ""]
    {
        let folder = Folder::new();
        let answers = move |_: &str, stream: &mut UnixStream| drop(std::io::Write::write_all(stream, body.as_bytes()));
        program(&folder.socket("strange", 7), Arc::new(answers));
        let output = ps(&folder, &[]);
        expect(&output, 1);
        assert!(stderr(&output).contains("cannot be read"), "{body:?}: {}", stderr(&output));
    }
}

#[test]
fn versions_that_differ_are_told() {
    let folder = Folder::new();
    let newer = |path: &str, stream: &mut UnixStream| match path {
        "/info" => answer(stream, "200 OK", "9.9.9", &info("indexer", 7).replace("\"format\":1", "\"format\":2")),
        _ => {
            answer(stream, "200 OK", "9.9.9", r#"{"format":2,"threads":[{"id":1,"path":"main","shape":{}}],"mood":1}"#)
        }
    };
    program(&folder.socket("indexer", 7), Arc::new(newer));
    let output = ps(&folder, &[]);
    expect(&output, 0);
    let told = stderr(&output);
    assert!(told.contains("built with selvedge 9.9.9") && told.contains("sends format 2"), "{told}");
    assert!(stdout(&output).contains("main"));
}
