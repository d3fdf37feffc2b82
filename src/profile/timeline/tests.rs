//! The timeline, column by column: the format has no schema that a program can read, so its tables
//! are named here as `src/types/profile.ts` of version 66 has them.

use super::*;
use crate::profile::trace::{
    StackNumber, TracedEnder, TracedLog, TracedQueue, TracedSample, TracedSpan, TracedWait, WaitName,
};
use serde_json::Value;

fn thread(path: &str, begin: u64, end: u64) -> TracedThread {
    TracedThread {
        path: path.into(),
        begin,
        end,
        is_alive: true,
        born_by: None,
        waits: Vec::new(),
        samples: Vec::new(),
        spans: Vec::new(),
        logs: Vec::new(),
        lost: 0,
    }
}

/// `main` spawns a reader and waits for it; the reader waits for the clock, and ends.
fn trace() -> Trace {
    const MS: u64 = 1_000_000;
    let at = |ms: u64| 500 + ms * MS;
    let wait = |begin, ended, runs_again, kind, name: &str, ender, stack| TracedWait {
        begin: at(begin),
        ended: at(ended),
        over: at(ended),
        runs_again: at(runs_again),
        what: WaitName { kind, name: name.into() },
        ender,
        stack,
    };
    let sample = |ms, cpu, stack| TracedSample { at: at(ms), cpu: cpu * MS, stack: Some(StackNumber(stack)) };
    let mut main = thread("main", 500, at(100));
    main.waits = vec![wait(10, 90, 91, "join", "reader", TracedEnder::Thread(1), Some(StackNumber(0)))];
    main.samples = vec![sample(5, 5, 0), sample(95, 8, 1), TracedSample { at: at(100), cpu: 0, stack: None }];
    main.spans = vec![TracedSpan { begin: at(2), end: at(99), name: "index".into() }];
    let text = Some("the disk is full".into());
    main.logs = vec![TracedLog { at: at(99), level: log::Level::Warn, place: "src/main.rs:9".into(), text }];
    let mut reader = thread("main/reader", at(6), at(90));
    reader.waits = vec![wait(20, 60, 60, "till", "pause", TracedEnder::Clock, None)];
    reader.samples = vec![sample(80, 20, 1)];
    (reader.is_alive, reader.born_by) = (false, Some(0));
    let sampler = thread("main/selvedge/sampler", 500, at(100));
    let queue = |name: &str, depths| TracedQueue { name: name.into(), depths };
    let queues = vec![queue("jobs", vec![(at(10), 2), (at(30), 0)]), queue("results", vec![(at(20), 5), (at(90), 4)])];
    Trace { begin: 500, end: at(100), threads: vec![main, reader, sampler], queues, is_by_wall: true, lost: 3 }
}

fn about() -> About {
    let summary = "13 samples".into();
    let (began, period) = (Duration::from_secs(1_700_000_000), Duration::from_millis(10));
    About { program: "indexer".into(), began, period, summary }
}

fn named() -> TracedStacks {
    TracedStacks::of_functions(&[&["indexer::parse", "indexer::main"], &["indexer::main"]], &[&["indexer::main"]])
}

fn json(trace: &Trace) -> Value {
    let mut out = Vec::new();
    write(trace, &named(), about(), &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// The keys of the object, and each of them that is a list has `length` entries.
fn is_table(table: &Value, columns: &[&str]) {
    let object = table.as_object().unwrap();
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    let mut expected: Vec<&str> = columns.iter().chain(&["length"]).copied().collect();
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    let length = table["length"].as_u64().unwrap() as usize;
    for (name, column) in object.iter().filter(|(_, column)| column.is_array()) {
        assert_eq!(column.as_array().unwrap().len(), length, "{name}");
    }
}

/// Each number in the column is an index below `limit`; `null` and -1 mean none.
fn are_indexes(column: &Value, limit: &Value) {
    let limit = limit.as_array().map_or_else(|| limit.as_i64().unwrap(), |list| list.len() as i64);
    for index in column.as_array().unwrap().iter().filter_map(Value::as_i64) {
        assert!((-1..limit).contains(&index), "{index} of {limit}");
    }
}

#[test]
fn each_table_has_the_columns_of_the_format() {
    let file = json(&trace());
    let mut keys: Vec<&String> = file.as_object().unwrap().keys().collect();
    keys.sort_unstable();
    assert_eq!(keys, ["counters", "libs", "meta", "pages", "shared", "threads"]);
    let meta = &file["meta"];
    for required in ["interval", "startTime", "processType", "product", "stackwalk", "version", "markerSchema"] {
        assert!(!meta[required].is_null(), "{required}");
    }
    assert_eq!(meta["preprocessedProfileVersion"], 66);
    assert_eq!(meta["sampleUnits"], serde_json::json!({"time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns"}));
    assert_eq!(meta["startTime"], 1_700_000_000_000.0);
    assert_eq!(meta["initialVisibleThreads"], serde_json::json!([0, 1]));
    let shared = &file["shared"];
    let strings = &shared["stringArray"];
    is_table(&shared["stackTable"], &["frame", "prefixOffset"]);
    let frames = [
        "address",
        "inlineDepth",
        "category",
        "subcategory",
        "func",
        "nativeSymbol",
        "innerWindowID",
        "line",
        "column",
        "originalLocation",
    ];
    is_table(&shared["frameTable"], &frames);
    let functions =
        ["name", "isJS", "relevantForJS", "resource", "source", "lineNumber", "columnNumber", "originalLocation"];
    is_table(&shared["funcTable"], &functions);
    is_table(&shared["resourceTable"], &["lib", "name", "host", "type"]);
    is_table(&shared["nativeSymbols"], &["libIndex", "address", "name", "functionSize"]);
    is_table(&shared["sources"], &["id", "filename", "startLine", "startColumn", "sourceMapURL", "content"]);
    is_table(&shared["sourceLocationTable"], &["source", "line", "column"]);
    are_indexes(&shared["stackTable"]["frame"], &shared["frameTable"]["length"]);
    are_indexes(&shared["frameTable"]["func"], &shared["funcTable"]["length"]);
    are_indexes(&shared["frameTable"]["category"], &meta["categories"]);
    are_indexes(&shared["funcTable"]["name"], strings);
    are_indexes(&shared["funcTable"]["resource"], &shared["resourceTable"]["length"]);
    are_indexes(&shared["funcTable"]["source"], &shared["sources"]["length"]);
    are_indexes(&shared["resourceTable"]["lib"], &file["libs"]);
    are_indexes(&shared["resourceTable"]["name"], strings);
    are_indexes(&shared["sources"]["filename"], strings);
    for thread in file["threads"].as_array().unwrap() {
        assert!(thread["pid"].is_string() && thread["tid"].is_u64() && thread["isMainThread"].is_boolean());
        is_table(&thread["samples"], &["stack", "time", "weight", "weightType", "threadCPUDelta"]);
        is_table(&thread["markers"], &["data", "name", "startTime", "endTime", "phase", "category"]);
        are_indexes(&thread["samples"]["stack"], &shared["stackTable"]["length"]);
        are_indexes(&thread["markers"]["name"], strings);
        are_indexes(&thread["markers"]["category"], &meta["categories"]);
    }
}

#[test]
fn each_marker_has_a_schema_that_names_its_fields() {
    let file = json(&trace());
    let schemas = file["meta"]["markerSchema"].as_array().unwrap();
    let strings = file["shared"]["stringArray"].as_array().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for marker in
        file["threads"].as_array().unwrap().iter().flat_map(|thread| thread["markers"]["data"].as_array().unwrap())
    {
        let kind = marker["type"].as_str().unwrap();
        seen.insert(kind);
        let schema = schemas.iter().find(|schema| schema["name"] == kind).unwrap();
        for field in schema["fields"].as_array().unwrap() {
            let index = marker[field["key"].as_str().unwrap()].as_u64().unwrap();
            assert!((index as usize) < strings.len(), "{marker}");
        }
    }
    let all: std::collections::BTreeSet<&str> = schemas.iter().map(|schema| schema["name"].as_str().unwrap()).collect();
    assert_eq!(seen, all);
}

#[test]
fn a_wake_up_goes_from_the_thread_that_ended_the_wait_to_the_thread_that_waited() {
    let file = json(&trace());
    let text =
        |index: &Value| file["shared"]["stringArray"][index.as_u64().unwrap() as usize].as_str().unwrap().to_owned();
    let find = |thread: usize, kind: &str| {
        let markers = &file["threads"][thread]["markers"];
        let data = markers["data"].as_array().unwrap();
        let at = data.iter().position(|data| data["type"] == kind).unwrap();
        (data[at].clone(), markers["startTime"][at].as_f64().unwrap(), markers["endTime"][at].as_f64())
    };
    let (wait, begin, end) = find(0, "Wait");
    assert_eq!((begin, end), (10.0, Some(90.0)));
    assert_eq!((text(&wait["what"]), text(&wait["endedBy"])), ("join \"reader\"".into(), "main/reader".into()));
    assert!(wait["cause"]["stack"].is_u64());
    let (wakes, at, end) = find(1, "Wakes");
    assert_eq!((text(&wakes["thread"]), at, end), ("main".into(), 90.0, None));
    let (woken, begin, end) = find(0, "Woken");
    assert_eq!((begin, end), (90.0, Some(91.0)));
    assert_eq!(woken["flow"], wakes["flow"]);
    let (spawned, ..) = find(1, "Spawned");
    assert_eq!(spawned["flow"], find(0, "Spawns").0["flow"]);
    assert_ne!(spawned["flow"], woken["flow"]);
    assert_eq!(file["threads"][1]["registerTime"], 6.0);
    assert_eq!(file["threads"][1]["unregisterTime"], 90.0);
    assert_eq!(file["threads"][0]["unregisterTime"], Value::Null);
    let names: Vec<&str> = file["threads"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["main", "main/reader", "main/selvedge/sampler"]);
    assert_eq!(file["threads"][0]["samples"]["threadCPUDelta"], serde_json::json!([0, 5_000_000, 8_000_000, 0]));
}

#[test]
fn the_depth_of_a_queue_is_a_counter_with_two_points_at_each_change() {
    let file = json(&trace());
    let counters = file["counters"].as_array().unwrap();
    let names: Vec<&str> = counters.iter().map(|counter| counter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["queue \"results\"", "queue \"jobs\""], "the deepest first");
    for counter in counters {
        let mut keys: Vec<&String> = counter.as_object().unwrap().keys().collect();
        keys.sort_unstable();
        assert_eq!(keys, ["category", "description", "display", "mainThreadIndex", "name", "pid", "samples"]);
        assert_eq!(counter["pid"], file["threads"][0]["pid"]);
        is_table(&counter["samples"], &["time", "count"]);
        let display = counter["display"].as_object().unwrap();
        let mut keys: Vec<&String> = display.keys().collect();
        keys.sort_unstable();
        let expected = ["color", "graphType", "label", "markerSchemaLocation", "sortWeight", "tooltipRows", "unit"];
        assert_eq!(keys, expected);
    }
    let jobs = &counters[1]["samples"];
    assert_eq!(jobs["time"], serde_json::json!([0.0, 10.0, 10.0, 30.0, 30.0, 100.0]));
    assert_eq!(jobs["count"], serde_json::json!([0, 0, 2, 0, -2, 0]));
}

#[test]
fn a_log_record_has_its_text_and_its_place() {
    let file = json(&trace());
    let text = |index: &Value| file["shared"]["stringArray"][index.as_u64().unwrap() as usize].clone();
    let data = file["threads"][0]["markers"]["data"].as_array().unwrap();
    let log = data.iter().find(|data| data["type"] == "Log").unwrap();
    let shown = ["level", "message", "place"].map(|key| text(&log[key]));
    assert_eq!(shown, ["Warning", "the disk is full", "src/main.rs:9"]);
}

#[test]
fn of_too_many_waits_the_longest_are_kept_and_the_rest_is_counted() {
    let mut trace = trace();
    let main = &mut trace.threads[0];
    let pattern = main.waits[0].clone();
    main.waits = (0..20u64)
        .map(|n| TracedWait {
            begin: 1_000 * n,
            ended: 1_000 * n + 10 * n,
            runs_again: 1_000 * n + 500,
            ..pattern.clone()
        })
        .collect();
    let named = named();
    let mut tables = Tables::new(&named);
    let (markers, left_out) = markers::markers_of(&trace, &named, &mut tables, 8);
    let waits = markers.iter().flat_map(|markers| &markers.data);
    let kept = waits.filter(|data| matches!(data, super::format::Payload::Wait { .. })).count();
    assert_eq!((kept, left_out), (8, 13));
}
