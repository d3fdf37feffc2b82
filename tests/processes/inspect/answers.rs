//! What is served, and while what hangs.

use super::{Home, Inspected, UNIX, read};
use crate::support::until;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

#[test]
fn each_endpoint_answers() {
    let home = Home::new();
    let program = home.start("threads", UNIX, 3);
    let (text, json, html) =
        ("text/plain; charset=utf-8", "application/json; charset=utf-8", "text/html; charset=utf-8");
    let metrics = "text/plain; version=0.0.4; charset=utf-8";
    // It says that it is ready just before.
    until("main waits", || program.thread("main")["state"] == "waiting");
    for (path, kind, part) in [
        ("/", html, "</html>"),
        ("/info", json, "\"name\":\"inspected\""),
        ("/threads", json, "\"path\":\"main/waiter-2\""),
        ("/threads?stacks=1", json, "\"stack\":["),
        ("/dump", text, "\nmain/waiter-2, waiting "),
        ("/log", text, "WARN  main programs::inspected: <b>ready</b> & waiting\n"),
        ("/log?level=error", text, ""),
        ("/log?format=json&lines=1", json, "\"message\":\"<b>ready</b> & waiting\""),
        ("/metrics", metrics, "selvedge_threads{state=\"waiting\"} "),
        ("/debug/pprof/", html, "<a href=\"goroutine?debug=1\">goroutine</a>"),
        ("/debug/pprof/cmdline", text, "inspected\0threads\0"),
        ("/debug/pprof/symbol?0x1", text, "num_symbols: 1\n"),
        ("/debug/pprof/goroutine?debug=1", text, "goroutine profile: total "),
        ("/debug/pprof/goroutine?debug=2", text, "goroutine 1 [waiting for signal \"main please_stop\"]:\n# main\n"),
        ("/debug/pprof/threadcreate?debug=1", text, "3 @\n# labels: {\"thread\":\"main/waiter-*\"}\n"),
    ] {
        let answer = program.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.has(&format!("content-type: {kind}")), "{path}: {}", answer.head);
        if cfg!(feature = "profiling") || !path.contains("stacks") {
            assert!(answer.text().contains(part), "{path} lacks {part}: {}", answer.text());
        }
    }
    assert_eq!(program.get("/debug/pprof/heap").status, 404);
    assert!(program.get("/debug/pprof/heap").has("X-Go-Pprof: 1"));
    program.stop();
}

#[test]
fn metrics_are_open_where_they_are_asked_for() {
    let home = Home::new();
    let program = home.start("names", UNIX, 1);
    let ask = |accept: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        super::exchange(program.connect(), &request)
    };
    let open = ask("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert!(open.has("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{}", open.head);
    let text = open.text();
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    for part in [
        "# TYPE selvedge_thread_cpu_seconds counter\n# UNIT selvedge_thread_cpu_seconds seconds\n",
        "selvedge_thread_cpu_seconds_total{thread=\"main/quote\\\"back\\\\slash\"} ",
        "selvedge_queue_length{queue=\"<queue> \\\"jobs\\\"\\nnext\"} 3\n",
        "selvedge_log_records_total{level=\"warn\"} 1\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let plain = ask("*/*").text();
    assert!(
        plain.contains("# TYPE selvedge_thread_cpu_seconds_total counter\n") && !plain.contains("# UNIT"),
        "{plain}"
    );
    program.stop();
}

#[test]
fn names_are_text_and_no_markup() {
    let home = Home::new();
    let program = home.start("names", UNIX, 1);
    let all = program.get("/threads").json();
    let paths: Vec<&str> = all["threads"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    for path in ["main/<script>alert(1)<_script>", "main/quote\"back\\slash", "main/новый_поток", "main/tab_here"]
    {
        assert!(paths.contains(&path), "{path}: {paths:?}");
    }
    let queue = &all["queues"][0];
    assert_eq!((&queue["name"], &queue["len"]), (&"<queue> \"jobs\"\nnext".into(), &3.into()));
    assert_eq!((&queue["capacity"], &queue["closed"]), (&8.into(), &false.into()));
    for path in ["/", "/debug/pprof/"] {
        assert!(!program.get(path).text().contains("alert(1)"), "{path}");
    }
    program.stop();
}

#[test]
fn a_program_whose_main_hangs_answers() {
    let home = Home::new();
    let mut program = home.start("hangs", UNIX, 1);
    // It says that it is ready just before it hangs.
    until("the hang", || program.thread("main")["state"] == "asleep");
    assert!(program.get("/dump").text().contains("main, asleep in a call outside of selvedge"));
    program.process.kill();
    program.process.end();
}

#[test]
fn a_program_whose_log_hangs_answers() {
    let home = Home::new();
    let mut program = home.start("blocked-log", &format!("log: own\n{UNIX}"), 1);
    until("the hang", || program.thread("main/talker")["state"] == "asleep");
    assert_eq!(program.get("/log").status, 501);
    program.process.kill();
    program.process.end();
}

#[test]
fn it_answers_until_the_last_thread_has_ended() {
    let home = Home::new();
    let mut program = home.start("stuck", &format!("shutdown: {{ patience: 100ms, grace: 0s }}\n{UNIX}"), 1);
    program.process.signal(libc::SIGTERM);
    until("the stop", || !program.thread("main/deaf")["stop"].is_null());
    assert_eq!(program.get("/threads").json()["state"], "stopping");
    let reason = program.thread("main/deaf")["stop"].clone();
    assert_eq!(reason["cause"]["text"], "SIGTERM came", "{reason}");
    // An end at once leaves no socket.
    program.process.signal(libc::SIGINT);
    assert_eq!(program.process.end().code(), 130);
    assert!(!program.socket.exists());
}

#[test]
fn a_deadlock_is_served() {
    let home = Home::new();
    let mut program = home.start("deadlock", UNIX, 1);
    let all = program.get("/threads").json();
    assert_eq!(all["deadlocks"][0]["kind"], "circle", "{all}");
    assert!(program.get("/metrics").text().contains("\nselvedge_deadlocks 1\n"));
    program.process.kill();
    program.process.end();
}

#[test]
fn a_thousand_threads_are_one_answer() {
    let home = Home::new();
    let program = home.start("threads", UNIX, 1000);
    let all = program.get("/threads").json();
    let threads = all["threads"].as_array().unwrap();
    let waiters = threads.iter().filter(|thread| thread["path"].as_str().unwrap().starts_with("main/waiter-"));
    assert_eq!(waiters.count(), 1000);
    println!("1,000 threads: looked at in {} s", all["took_s"]);
    program.stop();
}

/// The events, as they come: name and data.
fn event(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Option<(String, Value)> {
    let mut name = String::new();
    for line in lines {
        let line = line.ok()?;
        if let Some(text) = line.strip_prefix("event: ") {
            name = text.to_owned();
        }
        if let Some(data) = line.strip_prefix("data: ") {
            return Some((name, serde_json::from_str(data).unwrap()));
        }
    }
    None
}

#[test]
fn events_are_a_snapshot_and_then_changes() {
    let home = Home::new();
    let mut program = home.start_reading("lingering", UNIX, Stdio::piped());
    let mut stream = program.connect();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    let (name, first) = event(&mut lines).unwrap();
    assert_eq!((name.as_str(), &first["format"]), ("snapshot", &1.into()));
    let burner = first["threads"].as_array().unwrap().iter().find(|thread| thread["path"] == "main/burner-0").unwrap();
    let id = burner["id"].as_u64().unwrap();
    // It may not have begun at the first look, and it may not run between two.
    let shares = |change: &Value| {
        let of_it = change["cpu"].as_array().unwrap().iter().filter(|one| one[0].as_u64() == Some(id));
        of_it.map(|one| one[2].as_f64()).collect::<Vec<_>>()
    };
    until("a share", || {
        let (name, change) = event(&mut lines).unwrap();
        assert_eq!(name, "change");
        assert!(change["deadlocks"].is_null() && change["seq"].as_u64() > first["seq"].as_u64());
        matches!(shares(&change)[..], [Some(share)] if share > 0.0)
    });
    program.process.signal(libc::SIGTERM);
    // One thread goes on until the test has seen the stop.
    until("the stop", || {
        let (name, change) = event(&mut lines).unwrap();
        assert_eq!(name, "change");
        change["state"] == "stopping"
    });
    program.process.input().write_all(b"end\n").unwrap();
    let rest: Vec<_> = std::iter::from_fn(|| event(&mut lines)).collect();
    assert_eq!(rest.last().unwrap().0, "end");
    assert_eq!(program.process.end().code(), 0);
}

fn switches(process: u32, thread: i64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn without_a_client_no_thread_wakes_up() {
    let home = Home::new();
    let program = home.start("threads", UNIX, 1);
    let own = program.own_threads();
    assert_eq!(own.len(), 4, "the server and its workers");
    // With events, and without them again.
    let mut stream = program.connect();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    assert!(event(&mut lines).is_some() && event(&mut lines).is_some());
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    drop((lines, stream));
    let all = || -> Vec<u64> { own.iter().map(|thread| switches(program.process.id(), *thread)).collect() };
    until("four seconds without a wake-up", || {
        let before = all();
        std::thread::sleep(std::time::Duration::from_secs(4));
        before == all()
    });
    assert_eq!(program.get("/info").status, 200);
    program.stop();
}

#[test]
fn a_head_has_no_body() {
    let home = Home::new();
    let program: Inspected = home.start("threads", UNIX, 1);
    for path in ["/threads", "/metrics", "/debug/pprof/profile", "/events", "/nothing"] {
        let mut stream = program.connect();
        stream.write_all(format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        assert!(read(stream).body.is_empty(), "{path}");
    }
    program.stop();
}
