//! What a server gets that takes each interval.

use super::receiver::{Receiver, TAKE};
use super::{Pushing, sent_in_time, within_one_percent};
use crate::support::{Process, until};
use std::process::{Command, Stdio};

#[test]
fn all_time_of_a_run_is_pushed() {
    let (receiver, ended) = sent_in_time(|| {
        let receiver = Receiver::start(|_| TAKE);
        let labels = ", labels: { region: eu-west, zone: \"ä b\" }";
        let mut program = Pushing::start("push-all", receiver.port(), labels, "profile: { waits: true }");
        program.work();
        until("three intervals", || receiver.taken().len() >= 3);
        (receiver, program.end())
    });
    assert_eq!(ended.ended.code(), 0, "{}", ended.ended.stderr);
    assert_eq!(ended.ended.stderr, "");
    // All intervals together have the time of the threads' own clocks, up to the last nanosecond
    // that a burner has used before it looked at its clock.
    within_one_percent(receiver.nanos("process_cpu", "main/burner-*"), ended.burnt(), "the burners");
    let head = receiver.requests()[0].head.clone();
    assert!(head.starts_with("POST /push.v1.PusherService/Push HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: application/proto\r\n"), "{head}");
    let taken = receiver.taken();
    assert_eq!(ended.summary(), format!("{} intervals pushed to http://127.0.0.1:{}", taken.len(), receiver.port()));
    let series = || taken.iter().flat_map(|request| &request.series);
    assert!(series().all(|series| {
        series.label("service_name") == Some("subject")
            && series.label("region") == Some("eu-west")
            && series.label("zone") == Some("ä b")
    }));
    // A server knows them as process_cpu:cpu:nanoseconds:cpu:nanoseconds and
    // block:delay:nanoseconds:contentions:count, as those of a Go program.
    for (kind, values, period_type) in [
        ("process_cpu", ["samples/count", "cpu/nanoseconds"], "cpu/nanoseconds"),
        ("block", ["contentions/count", "delay/nanoseconds"], "contentions/count"),
        ("mutex", ["contentions/count", "delay/nanoseconds"], "contentions/count"),
    ] {
        let one = series().find(|series| series.label("__name__") == Some(kind)).unwrap_or_else(|| panic!("no {kind}"));
        assert_eq!(one.label("__delta__"), (kind != "process_cpu").then_some("false"), "{kind}");
        let profile = one.profile();
        let text = |index: i64| profile.string_table[index as usize].clone();
        let types: Vec<String> =
            profile.sample_type.iter().map(|kind| format!("{}/{}", text(kind.ty), text(kind.unit))).collect();
        assert_eq!(types, values);
        // No two threads of a pool are two series, and none is a thread's of the runtime.
        let threads: Vec<String> = profile.sample.iter().map(|sample| text(sample.label[0].str)).collect();
        assert!(threads.iter().all(|thread| !thread.ends_with(|c: char| c.is_ascii_digit())), "{threads:?}");
        let period = profile.period_type.as_ref().unwrap();
        assert_eq!(format!("{}/{}", text(period.ty), text(period.unit)), period_type, "{kind}");
        assert!(profile.sample.iter().all(|sample| sample.label.len() == 1), "only the thread is a label");
        // A profile of an interval has nothing of others.
        let used: std::collections::HashSet<u64> =
            profile.sample.iter().flat_map(|sample| sample.location_id.clone()).collect();
        assert_eq!(used.len(), profile.location.len(), "{kind}");
    }
    // The intervals follow each other without a gap.
    let mut times: Vec<(i64, i64)> = series()
        .filter(|series| series.label("__name__") == Some("process_cpu"))
        .map(|series| series.profile())
        .map(|profile| (profile.time_nanos, profile.time_nanos + profile.duration_nanos))
        .collect();
    times.sort_unstable();
    assert!(times.windows(2).all(|pair| (pair[1].0 - pair[0].1).abs() < 1_000_000), "{times:?}");
    // A thread of the runtime is one frame: no names are searched for its code.
    let own = series().filter(|series| series.label("__name__") == Some("process_cpu")).flat_map(|series| {
        let profile = series.profile();
        let text = |index: i64| profile.string_table[index as usize].clone();
        let function = |location: u64| {
            let line = &profile.location[location as usize - 1].line[0];
            text(profile.function[line.function_id as usize - 1].name)
        };
        let is_own = |sample: &&pprof::protos::Sample| text(sample.label[0].str).starts_with("main/selvedge/");
        let own = profile.sample.iter().filter(is_own);
        own.map(|sample| sample.location_id.iter().map(|&id| function(id)).collect::<Vec<_>>()).collect::<Vec<_>>()
    });
    let own: Vec<Vec<String>> = own.collect();
    assert!(!own.is_empty() && own.iter().all(|frames| *frames == ["[runtime]"]), "{own:?}");
    // The waits of both weavers add up to less than their lifetimes, and to most of one's.
    let waited = receiver.nanos("block", "main/weaver-*");
    let whole = times.last().unwrap().1 - times[0].0;
    assert!(waited > whole && waited < 3 * whole, "{waited} of {whole}");
    assert!(!ended.folder.path().join("flamegraphs").exists(), "files were not asked for");
}

#[test]
fn files_and_pushes_have_the_same_time() {
    let (receiver, ended) = sent_in_time(|| {
        let receiver = Receiver::start(|_| TAKE);
        let profile = "profile: { enabled: true, output: out, formats: [folded, pprof] }";
        let program = Pushing::start("push-files", receiver.port(), "", profile);
        until("two intervals", || receiver.taken().len() >= 2);
        (receiver, program.end())
    });
    let folded = ended.folder.read("out/subject.folded");
    let weight = |line: &str| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap();
    let burnt: i64 = folded.lines().filter(|line| line.starts_with("main;burner-")).map(weight).sum();
    assert_eq!(receiver.nanos("process_cpu", "main/burner-*"), burnt, "to the nanosecond");
    // Go's own reader, where there is one.
    let file = ended.folder.path().join("pushed.pb.gz");
    let taken = receiver.taken();
    std::fs::write(&file, &taken[0].series[0].samples[0].raw_profile).unwrap();
    if !crate::support::has_go() {
        return;
    }
    let go = Command::new("go").args(["tool", "pprof", "-top"]).arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&go.stdout);
    assert!(go.status.success() && text.contains("Type: cpu") && text.contains("burn"), "{text}");
}

#[test]
fn waits_by_the_wall_clock_are_pushed_as_wall() {
    let receiver = Receiver::start(|_| TAKE);
    let program = Pushing::start("push-wall", receiver.port(), "", "profile: { clock: wall }");
    until("an interval", || !receiver.taken().is_empty());
    let ended = program.end();
    assert!(receiver.nanos("wall", "main/weaver-*") > 0, "{}", ended.log);
    assert_eq!(receiver.nanos("process_cpu", "main/weaver-*"), 0);
}

#[test]
fn the_environment_turns_it_off_and_elsewhere() {
    let receiver = Receiver::start(|_| TAKE);
    let url = format!("http://127.0.0.1:{}", receiver.port());
    for (name, value, pushes) in
        [("SELVEDGE_PUSH", "off", false), ("SELVEDGE_PROFILE", "off", false), ("SELVEDGE_PUSH", url.as_str(), true)]
    {
        let folder = crate::support::Folder::new("push-environment");
        // Nothing listens there.
        let config = folder.config("push: { url: \"http://127.0.0.1:9\", every: 1s }");
        let mut command = Command::new(crate::support::program("pushing"));
        command.arg(config).env_remove("SELVEDGE_PROFILE").env_remove("SELVEDGE_PUSH").env(name, value);
        let mut process = Process::start_reading(&mut command, Stdio::piped());
        let input = process.input();
        if pushes {
            // The last interval may come too late.
            until("an interval", || !receiver.taken().is_empty());
        }
        drop(input);
        let ended = process.end();
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        assert_eq!(folder.read("app.log").contains(" pushed to "), pushes, "{name}={value}");
        assert_eq!(!receiver.taken().is_empty(), pushes, "{name}={value}");
    }
    let mut command = Command::new(crate::support::program("pushing"));
    let ended = crate::support::run(command.env("SELVEDGE_PUSH", "https://profiles.example.com"));
    assert_eq!(ended.code(), 78, "{}", ended.stderr);
    let says = "the environment variable SELVEDGE_PUSH: no TLS is built in; push to an agent";
    assert!(ended.stderr.contains(says), "{}", ended.stderr);
}
