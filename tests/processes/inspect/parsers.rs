//! Parsers of others read the metrics: promtool reads the text format, the client library for Python reads
//! OpenMetrics, and a Prometheus server scrapes. Each test runs where its tool is there; with
//! `SELVEDGE_NEED_PROMETHEUS` in the environment, a tool that is missing fails its test.

use super::{Home, Inspected, UNIX, exchange};
use crate::support::{DEADLINE, Mortal, has_tool, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Whether this command of a tool succeeds.
#[track_caller]
fn is_there(program: &str, arguments: &[&str]) -> bool {
    has_tool(program, arguments, "SELVEDGE_NEED_PROMETHEUS")
}

fn with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Neither reads and writes at the same time.
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn ask(program: &Inspected, accept: &str) -> Vec<u8> {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
    let answer = exchange(program.connect(), &request);
    assert_eq!(answer.status, 200, "{}", answer.head);
    answer.body
}

/// Programs whose metrics have all families: odd names, and waits.
fn programs(home: &Home) -> Vec<Inspected> {
    let counts = format!("{UNIX}\nprofile: {{ enabled: true, waits: true, output: out }}");
    let yaml = if cfg!(feature = "profiling") { counts.as_str() } else { UNIX };
    ["names", "service"].map(|scenario| home.start(scenario, yaml, 1)).into()
}

/// promtool knows the text format alone: it takes a family of OpenMetrics for a counter without `_total`.
#[test]
fn promtool_reads_the_text_format() {
    if !is_there("promtool", &["--version"]) {
        return;
    }
    let home = Home::new();
    for program in programs(&home) {
        let text = ask(&program, "text/plain;version=0.0.4");
        let checked = with_input(Command::new("promtool").args(["check", "metrics"]), &text);
        let said = [checked.stdout, checked.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(checked.status.success() && said == ["", ""], "{said:?}: {}", String::from_utf8_lossy(&text));
        program.stop();
    }
}

/// Prints the samples of each family on a line of JSON. The parser is strict: an order, a suffix, a unit
/// or an escape that the standard does not have is an error.
const READ: &str = "\
import json, sys
from prometheus_client.openmetrics import parser
for family in parser.text_string_to_metric_families(sys.stdin.read()):
    print(json.dumps([family.name, family.type, family.unit, [[s.name, s.labels, s.value] for s in family.samples]]))
";

#[test]
fn the_client_library_for_python_reads_openmetrics() {
    const IMPORT: [&str; 2] = ["-c", "import prometheus_client.openmetrics.parser"];
    // The first Python of the path may be another one than Debian's, which has the package.
    let is_first = Command::new("python3").args(IMPORT).output().is_ok_and(|ended| ended.status.success());
    let python = if is_first { "python3" } else { "/usr/bin/python3" };
    if !is_there(python, &IMPORT) {
        return;
    }
    let home = Home::new();
    for program in programs(&home) {
        let text = ask(&program, "application/openmetrics-text;version=1.0.0");
        let read = with_input(Command::new(python).args(["-c", READ]).env("PYTHONIOENCODING", "utf-8"), &text);
        let text = String::from_utf8(text).unwrap();
        assert!(read.status.success(), "{}: {text}", String::from_utf8_lossy(&read.stderr));
        let read = String::from_utf8(read.stdout).unwrap();
        let families: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let samples: Vec<&Value> = families.iter().flat_map(|family| family[3].as_array().unwrap()).collect();
        assert_eq!(samples.len(), text.lines().filter(|line| !line.starts_with('#')).count(), "{read}");
        let cpu = families.iter().find(|family| family[0] == "selvedge_thread_cpu_seconds").unwrap();
        assert_eq!((&cpu[1], &cpu[2]), (&"counter".into(), &"seconds".into()));
        program.stop();
    }
}

#[test]
fn a_prometheus_server_scrapes() {
    if !is_there("prometheus", &["--version"]) {
        return;
    }
    let home = Home::new();
    let (mut process, target) = home.start_on_tcp("names", "");
    // As docs/live.md has it.
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n  - job_name: inspected\n    \
         authorization: {{ credentials_file: token }}\n    static_configs: [{{ targets: [\"127.0.0.1:{target}\"] }}]\n"
    );
    let config = home.write("prometheus.yml", &config);
    let log_file = home.path().join("prometheus.log");
    let log = std::fs::File::create(&log_file).unwrap();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", home.path().join("tsdb").display()));
    command.arg("--web.listen-address=127.0.0.1:0");
    let mut server = Mortal(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let mut web = String::new();
    until("the server's address in its log", || {
        let said = std::fs::read_to_string(&log_file).unwrap();
        assert!(server.try_wait().unwrap().is_none(), "the server has ended: {said}");
        let listens = said.lines().find(|line| line.contains("\"Listening on\""));
        let address = listens.and_then(|line| line.split("address=").nth(1)?.split_whitespace().next());
        web = address.unwrap_or_default().to_owned();
        !web.is_empty()
    });
    let query = |path: &str| -> Option<Value> {
        let stream = std::net::TcpStream::connect(&web).ok()?;
        let answer = exchange(stream, &format!("GET /api/v1/{path} HTTP/1.0\r\nHost: {web}\r\n\r\n"));
        serde_json::from_slice::<Value>(&answer.body).ok().map(|mut answer| answer["data"].take())
    };
    let series =
        |name: &str| query(&format!("query?query={name}")).map(|data| data["result"].clone()).unwrap_or_default();
    // A scrape on a busy machine may be too late; the next one is not.
    let deadline = Instant::now() + DEADLINE;
    // Series of one scrape: after a scrape that was too late they would be gone again.
    let (queue, threads) = loop {
        let targets = query("targets?state=active").unwrap_or_default();
        let target = &targets["activeTargets"][0];
        let (queue, threads) = (series("selvedge_queue_length"), series("selvedge_thread_cpu_seconds_total"));
        if target["health"] == "up" && queue.get(0).is_some() && threads.get(0).is_some() {
            break (queue, threads);
        }
        assert!(Instant::now() < deadline, "the server has not scraped: {target}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let queue = &queue[0];
    assert_eq!((&queue["metric"]["queue"], &queue["value"][1]), (&"<queue> \"jobs\"\nnext".into(), &"3".into()));
    let threads: BTreeSet<String> =
        threads.as_array().unwrap().iter().map(|one| one["metric"]["thread"].as_str().unwrap().to_owned()).collect();
    assert!(threads.contains("main/quote\"back\\slash") && threads.contains("main/новый_поток"), "{threads:?}");
    // Units are a part of OpenMetrics alone.
    let known = query("metadata?metric=selvedge_thread_cpu_seconds").unwrap();
    let known = &known["selvedge_thread_cpu_seconds"][0];
    assert_eq!((&known["type"], &known["unit"]), (&"counter".into(), &"seconds".into()), "{known}");
    drop(server);
    process.signal(libc::SIGTERM);
    assert_eq!(process.end().code(), 0);
}
