//! Scrapers of profiles ask as they ask a Go program. The requests have the shape that Grafana
//! Alloy (`pyroscope.scrape`), Parca and Prometheus send, by their source: their paths, parameters
//! and headers, and what they accept as an answer.

use super::recordings::decoded;
use super::{Answer, Home, WAITS, exchange, tcp};

const AGENTS: [&str; 2] = ["Alloy/v1.11.0 (linux; docker)", "Parca/v0.24.0"];

/// `user:password` as base64.
fn basic(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| -> String {
        let bits = bytes.iter().chain([&0, &0]).take(3).fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]);
        (0..4).map(|at| if at <= bytes.len() { digit(at) } else { '=' }).collect()
    };
    text.as_bytes().chunks(3).map(group).collect()
}

#[test]
fn profiles_are_scraped_as_from_a_go_program() {
    let home = Home::new();
    let (mut process, port) = home.start_on_tcp("contended", WAITS);
    let token = std::fs::read_to_string(home.path().join("token")).unwrap().trim_end().to_owned();
    let login = basic(&format!("x:{token}"));
    let ask = |path: &str, agent: &str| -> Answer {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: {agent}\r\nAccept-Encoding: gzip\r\n\
             Authorization: Basic {login}\r\n\r\n"
        );
        exchange(tcp(port), &request)
    };
    // CPU time is asked for by its length: by Alloy one second less than the interval, by Parca the
    // interval. Both add it to the parameters of the job, which all its profiles share, so it may
    // come twice, and with the other profiles. Without it they are since the begin.
    let paths = [
        ("/debug/pprof/profile?seconds=1", "cpu/nanoseconds", "cpu/nanoseconds"),
        ("/debug/pprof/profile?seconds=1&seconds=1", "cpu/nanoseconds", "cpu/nanoseconds"),
        ("/debug/pprof/goroutine", "goroutine/count", "goroutine/count"),
        ("/debug/pprof/mutex", "delay/nanoseconds", "contentions/count"),
        ("/debug/pprof/block", "delay/nanoseconds", "contentions/count"),
        ("/debug/pprof/block?seconds=1&seconds=1", "delay/nanoseconds", "contentions/count"),
        ("/debug/pprof/goroutine?seconds=1", "goroutine/count", "goroutine/count"),
    ];
    for (at, (path, kind, period)) in paths.into_iter().enumerate() {
        let answer = ask(path, AGENTS[at % 2]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(!answer.head.to_lowercase().contains("content-encoding"), "{}", answer.head);
        // Alloy takes no other type.
        assert!(answer.has("content-type: application/octet-stream"), "{path}: {}", answer.head);
        let profile = decoded(&answer.body);
        let text = |index: i64| profile.string_table[index as usize].as_str();
        let kinds: Vec<String> =
            profile.sample_type.iter().map(|kind| format!("{}/{}", text(kind.ty), text(kind.unit))).collect();
        assert!(kinds.iter().any(|found| found == kind), "{path}: {kinds:?}");
        let period_type = profile.period_type.as_ref().unwrap();
        assert_eq!(format!("{}/{}", text(period_type.ty), text(period_type.unit)), period, "{path}");
        // Threads that wait come and go in a profile of what has been added in a second.
        assert!(!profile.sample.is_empty() || path.contains("goroutine?"), "{path}");
        assert!(profile.time_nanos > 0, "{path}");
    }
    // Memory is switched on by default there; the scraper tells this text.
    let memory = ask("/debug/pprof/allocs", AGENTS[0]);
    assert!(memory.status == 404 && memory.text().contains("does not sample allocations"), "{}", memory.text());
    assert_eq!(ask("/debug/pprof/allocs?debug=0", AGENTS[1]).status, 404);
    // Off by default there. The scraper tells a text of another status than 200, for that profile.
    for path in
        ["/debug/pprof/delta_heap", "/debug/pprof/delta_block", "/debug/pprof/delta_mutex", "/debug/fgprof?seconds=1"]
    {
        let answer = ask(path, AGENTS[0]);
        assert!(answer.status == 404 && !answer.body.is_empty(), "{path}: {}", answer.text());
    }
    let agent = "Prometheus/3.5.0\r\nAccept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nX-Prometheus-Scrape-Timeout-Seconds: 10";
    let metrics = ask("/metrics", agent);
    assert!(metrics.status == 200 && metrics.text().ends_with("# EOF\n"), "{}", metrics.head);
    process.signal(libc::SIGTERM);
    assert_eq!(process.end().code(), 0);
}
