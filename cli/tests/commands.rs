//! What each command prints and writes.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::open::Open;
use support::watched::until;
use support::{Answers, Folder, answer, expect, info, program, selvedge, stderr, stdout, usual};

fn is_plain(text: &str) -> bool {
    text.chars().all(|c| (!c.is_control() && c != '\u{202e}') || c == '\n' || c == '\t')
}

#[test]
fn no_control_character_reaches_the_terminal() {
    let folder = Folder::new();
    program(&folder.socket("evil", 7), usual("evil\\u001b[31m", 7));
    let at = folder.0.to_str().unwrap();
    for arguments in [&["ps"][..], &["ps", "--all"], &["ps", "--json"], &["dump"], &["dump", "--json"]] {
        let output = selvedge(&[arguments, &["--folder", at]].concat());
        expect(&output, 0);
        assert!(is_plain(&stdout(&output)) && is_plain(&stderr(&output)), "{arguments:?}: {}", stdout(&output));
        assert!(arguments[0] != "ps" || stdout(&output).contains("main/e") || stdout(&output).contains("└─ e"));
    }
    // The escapes of the JSON are JSON's own.
    let output = selvedge(&["ps", "--json", "--folder", at]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["threads"][1]["path"], "main/e\u{1b}[31mvil\u{9b}\u{202e}");
    let output = selvedge(&["record", "-s", "1", "-o", &format!("{at}/x.svg"), "--folder", at]);
    expect(&output, 1);
    assert!(stderr(&output).contains("another recording runs") && is_plain(&stderr(&output)), "{}", stderr(&output));
}

/// Two queues have one name. One of them is idle.
#[test]
fn queues_of_one_name_have_their_own_rates() {
    let folder = Folder::new();
    let looks = AtomicU64::new(0);
    let answers: Arc<Answers> = Arc::new(move |path, stream| match path {
        "/info" => answer(stream, "200 OK", "0.1.0", &info("twins", 7)),
        _ => {
            let look = looks.fetch_add(1, Ordering::Relaxed);
            let (uptime, popped) = (3.0 + look as f64, look * 1000);
            let threads = format!(
                r#"{{"format":1,"selvedge":"0.1.0","name":"twins","process":7,"uptime_s":{uptime},"state":"running",
                "threads":[{{"path":"main","id":1,"parent":null,"state":"running","age_s":{uptime},"cpu_s":0.1}}],
                "queues":[{{"id":1,"name":"jobs","len":0,"capacity":null,"closed":false,"added":0,"popped":{popped}}},
                {{"id":2,"name":"jobs","len":0,"capacity":null,"closed":false,"added":9,"popped":9}}]}}"#
            );
            answer(stream, "200 OK", "0.1.0", &threads);
        }
    });
    program(&folder.socket("twins", 7), answers);
    let output = selvedge(&["ps", "--folder", folder.0.to_str().unwrap()]);
    expect(&output, 0);
    let text = stdout(&output);
    let rates: Vec<&str> = text.lines().filter_map(|line| line.split_once("jobs: ").map(|(_, rest)| rest)).collect();
    assert_eq!(rates, ["0, 1000/s", "0, 0/s"], "{text}");
}

/// A program that is killed while it looks for names ends the connection after the head.
#[test]
fn an_answer_that_is_cut_off_leaves_the_old_file() {
    for head in ["", "Content-Length: 12\r\n"] {
        let folder = Folder::new();
        let usual = usual("indexer", 7);
        let answers = move |path: &str, stream: &mut UnixStream| match path.starts_with("/flame.svg") {
            true => write!(stream, "HTTP/1.1 200 OK\r\nSelvedge-Version: 0.1.0\r\n{head}\r\n").unwrap(),
            false => usual(path, stream),
        };
        program(&folder.socket("indexer", 7), Arc::new(answers));
        let (at, file) = (folder.0.to_str().unwrap(), folder.0.join("keep.svg"));
        std::fs::write(&file, "<svg/>").unwrap();
        let output = selvedge(&["record", "--folder", at, "-s", "1", "-o", file.to_str().unwrap()]);
        expect(&output, 1);
        assert!(stderr(&output).contains("cannot be read"), "{}", stderr(&output));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "<svg/>");
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 2, "a part is left");
    }
}

#[test]
fn record_writes_what_the_ending_says() {
    let folder = Folder::new();
    let asked = program(&folder.socket("indexer", 7), usual("indexer", 7));
    let at = folder.0.to_str().unwrap();
    let record = |file: &str, more: &[&str]| {
        selvedge(&[&["record", "--folder", at, "-o", &format!("{at}/{file}"), "--seconds", "1"], more].concat())
    };
    expect(&record("x.folded", &["--clock", "wall", "--frequency", "250"]), 0);
    assert_eq!(std::fs::read_to_string(folder.0.join("x.folded")).unwrap(), "main;work 5\n");
    // The program packs the timeline; a file that ends in .json has the text.
    let output = record("x.json", &["--clock", "waits"]);
    expect(&output, 0);
    assert!(stderr(&output).contains("for 1 s, a timeline\n"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(folder.0.join("x.json")).unwrap(), support::TIMELINE);
    expect(&record("x.json.gz", &["--clock", "wall"]), 0);
    assert_eq!(std::fs::read(folder.0.join("x.json.gz")).unwrap(), support::packed(support::TIMELINE));
    for (file, code) in [("x.svg", 1), ("x.pb.gz", 1), ("x.png", 2), ("x", 2), ("none/x.svg", 1)] {
        expect(&record(file, &[]), code);
    }
    expect(&record("y.pb.gz", &["--clock", "waits"]), 1);
    expect(&record("y.pb.gz", &["--clock", "blame"]), 2);
    let paths: Vec<String> = asked.lock().unwrap().iter().filter(|path| *path != "/info").cloned().collect();
    let wanted = [
        "/folded?seconds=1&clock=wall&frequency=250",
        "/timeline?seconds=1&frequency=100",
        "/timeline?seconds=1&clock=wall&frequency=100",
        "/flame.svg?seconds=1&clock=cpu&frequency=100",
        "/debug/pprof/profile?seconds=1&clock=cpu&frequency=100",
        "/debug/pprof/block?seconds=1&frequency=100",
    ];
    assert_eq!(paths, wanted);
    // What failed leaves nothing behind.
    let mut left: Vec<_> = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["indexer-7.sock", "x.folded", "x.json", "x.json.gz"]);
    for seconds in ["0", "-1", "3601", "x"] {
        expect(&selvedge(&["record", "-o", "/tmp/x.svg", "--seconds", seconds]), 2);
    }
}

#[test]
fn diff_compares_files_of_both_kinds() {
    let folder = Folder::new();
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    std::fs::write(path("a.folded"), "main;fast 900\nmain;slow 100\n").unwrap();
    std::fs::write(path("b.folded"), "main;fast 100\nmain;slow 900\n").unwrap();
    let output = selvedge(&["diff", &path("a.folded"), &path("b.folded"), "--svg", &path("d.svg")]);
    expect(&output, 0);
    assert!(stdout(&output).contains("10.0 %   90.0 %  +80.0 %"), "{}", stdout(&output));
    assert!(std::fs::read_to_string(path("d.svg")).unwrap().contains("<svg"));
    // Names are short in the one and whole in the other.
    std::fs::write(path("g.pb.gz"), support::packed(support::PROFILE)).unwrap();
    expect(&selvedge(&["diff", &path("g.pb.gz"), &path("g.pb.gz")]), 0);
    for pair in [["a.folded", "g.pb.gz"], ["g.pb.gz", "a.folded"]] {
        let output = selvedge(&["diff", &path(pair[0]), &path(pair[1])]);
        expect(&output, 2);
        let told = stderr(&output);
        assert!(told.contains("a.folded has folded lines") && told.contains("g.pb.gz is a profile"), "{told}");
    }
    std::fs::write(path("c.pb.gz"), b"\x1f\x8bnothing").unwrap();
    std::fs::write(path("e.folded"), "main\n").unwrap();
    std::fs::write(path("f.folded"), "").unwrap();
    for wrong in ["c.pb.gz", "e.folded", "f.folded", "none.folded"] {
        let output = selvedge(&["diff", &path("a.folded"), &path(wrong)]);
        expect(&output, 1);
        assert!(stderr(&output).contains(wrong), "{}", stderr(&output));
    }
}

#[test]
fn completions_and_the_manual_page_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let output = selvedge(&["completions", shell]);
        expect(&output, 0);
        assert!(stdout(&output).contains("record") && stdout(&output).contains("frequency"), "{shell}");
    }
    let output = selvedge(&["man"]);
    expect(&output, 0);
    for text in [".TH selvedge", "selvedge ps", "selvedge record", "Exit codes", "token"] {
        assert!(stdout(&output).contains(text), "{text} is not in the manual page");
    }
}

#[test]
fn doctor_tells_costs_and_lines() {
    let output = selvedge(&["doctor", &std::process::id().to_string()]);
    let told = stdout(&output);
    // This process has no socket, so there is something to change.
    expect(&output, 1);
    for text in ["perf events:", "seccomp:", "schedstat:", "debug information:", "RLIMIT_SIGPENDING", "costs:", "do:"] {
        assert!(told.contains(text), "{text} is missing: {told}");
    }
    expect(&selvedge(&["doctor", "4194304000"]), 3);
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_selvedge"))
        .arg("man")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    expect(&output, 0);
    assert_eq!(stderr(&output), "");
}

#[test]
fn top_without_a_terminal_says_so() {
    let folder = Folder::new();
    program(&folder.socket("indexer", 7), usual("indexer", 7));
    let output = selvedge(&["top", "--folder", folder.0.to_str().unwrap()]);
    expect(&output, 2);
    assert!(stderr(&output).contains("needs a terminal"), "{}", stderr(&output));
}

fn connect(open: &Open) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", open.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// The whole answer to a request with these headers. It is asked again while the program takes no connection in
/// time, as on a busy machine.
fn get(open: &Open, path: &str, headers: &str) -> String {
    let mut answer = String::new();
    until("the program takes a connection", || {
        let mut stream = connect(open);
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{headers}\r\n", open.port);
        stream.write_all(head.as_bytes()).unwrap();
        answer.clear();
        stream.read_to_string(&mut answer).unwrap();
        !answer.starts_with("HTTP/1.1 504 ")
    });
    answer
}

#[test]
fn open_forwards_with_the_token_alone() {
    let folder = Folder::new();
    let asked = program(&folder.socket("indexer", 7), usual("indexer", 7));
    let open = Open::start(folder.0.to_str().unwrap());
    assert!(get(&open, "/folded?seconds=1", "").starts_with("HTTP/1.1 401"));
    assert!(get(&open, "/folded?seconds=1", "Authorization: Bearer nope\r\n").starts_with("HTTP/1.1 401"));
    assert!(!asked.lock().unwrap().iter().any(|path| path.starts_with("/folded")));
    let bearer = format!("Authorization: Bearer {}\r\n", open.token);
    assert!(get(&open, "/folded?seconds=1", &bearer).ends_with("main;work 5\n"));
    let first = get(&open, &format!("/?token={}", open.token), "");
    assert!(first.starts_with("HTTP/1.1 303") && first.contains("HttpOnly; SameSite=Strict"), "{first}");
    let cookie = first.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap().split(';').next().unwrap();
    assert!(get(&open, "/folded", &format!("Cookie: {cookie}\r\n")).ends_with("main;work 5\n"));
    assert!(get(&open, "/folded", &format!("{bearer}Origin: http://evil.example\r\n")).starts_with("HTTP/1.1 403"));
    assert_eq!(asked.lock().unwrap().iter().filter(|path| path.starts_with("/folded")).count(), 2);
}

#[test]
fn open_passes_events_as_they_come() {
    let folder = Folder::new();
    let (told, closed) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let events = move |path: &str, stream: &mut UnixStream| {
        if path == "/info" {
            return answer(stream, "200 OK", "0.1.0", &info("indexer", 7));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n").unwrap();
        // Until the client has gone.
        while stream.write_all(b": still here\n\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
        told.lock().unwrap().send(()).unwrap();
    };
    program(&folder.socket("indexer", 7), Arc::new(events));
    let open = Open::start(folder.0.to_str().unwrap());
    let mut stream = connect(&open);
    let request = format!("GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", open.token);
    stream.write_all(request.as_bytes()).unwrap();
    let (mut received, mut buffer) = (String::new(), [0; 256]);
    while !received.contains("data: first") {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "{received}");
        received += &String::from_utf8_lossy(&buffer[..n]);
    }
    drop(stream);
    closed.recv_timeout(Duration::from_secs(60)).expect("the program does not see that the browser has gone");
}
