//! What a thread works on is a label of its samples in a pprof file.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::*;
use pprof::protos::{self, Message};
use selvedge::profile::{self, Clock, Engine, Options, Profile};
use selvedge::{Signal, context, spawn};
use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;
use std::time::Duration;

/// The weight of the samples of the threads whose path ends so, by the value of a label; without it
/// under the empty value.
fn weights(profile: &Profile, path_end: &str, key: &str) -> BTreeMap<String, i64> {
    let mut file = Vec::new();
    profile.write_pprof(&mut file).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&file[..]).read_to_end(&mut bytes).unwrap();
    let proto = protos::Profile::decode(&bytes[..]).unwrap();
    let text = |index: i64| proto.string_table[index as usize].as_str();
    let mut weights = BTreeMap::new();
    for sample in &proto.sample {
        let value = |key: &str| {
            let label = sample.label.iter().find(|label| text(label.key) == key)?;
            // A number is one, for `go tool pprof -tagfocus`.
            Some(if label.str == 0 { label.num.to_string() } else { text(label.str).to_owned() })
        };
        if value("thread").unwrap().ends_with(path_end) {
            *weights.entry(value(key).unwrap_or_default()).or_default() += sample.value[1];
        }
    }
    weights
}

fn spin(time: Duration) {
    let begin = clock();
    while clock() - begin < time {
        std::hint::spin_loop();
    }
}

#[test]
fn samples_have_the_context_that_the_thread_had() {
    let _alone = alone();
    let begin = Signal::new("begin");
    // Its context is older than the recording.
    let old = {
        let (_outer, begin) = (context("request", "old"), begin.clone());
        spawn("old", move |_| {
            begin.wait_for_go();
            spin(Duration::from_millis(400));
        })
    };
    let by_ring = rings_are_permitted().then_some((Clock::Cpu, Engine::Ring));
    for (clock, engine) in [(Clock::Cpu, Engine::Timer), (Clock::Wall, Engine::Timer)].into_iter().chain(by_ring) {
        // The ring samples each processor by itself, so that a thread that moves is met by chance.
        let frequency = if engine == Engine::Ring { 1000 } else { 100 };
        let options = Options::new().engine(engine).clock(clock).frequency(frequency);
        let recording = profile::start(options).unwrap();
        begin.go();
        let worker = spawn("worker", |_| {
            for round in 0..10 {
                let _request = context("request", if round % 2 == 0 { "17" } else { "odd" });
                spin(Duration::from_millis(60));
                drop(_request);
                spin(Duration::from_millis(30));
            }
        });
        worker.join().unwrap();
        if (clock, engine) == (Clock::Cpu, Engine::Timer) {
            until_ended(&old);
        }
        let profile = recording.finish();
        let found = weights(&profile, "/worker", "request");
        let sum: i64 = found.values().sum();
        let share = |value: &str| *found.get(value).unwrap_or(&0) as f64 / sum as f64;
        // 300 ms of 900 each. By the wall clock other threads take their share.
        // By the ring, a sample's context is looked up by its time.
        for value in ["17", "odd", ""] {
            let shares = if engine == Engine::Ring { 0.3..0.37 } else { 0.15..0.55 };
            assert!(shares.contains(&share(value)), "{clock:?} {engine:?} {value:?}: {found:?}");
        }
        if (clock, engine) == (Clock::Cpu, Engine::Timer) {
            let found = weights(&profile, "/old", "request");
            let unlabelled = found.get("").copied().unwrap_or(0);
            assert!(found["old"] > 9 * unlabelled, "{found:?}");
        }
        // Pictures and folded lines do not tell contexts apart.
        let text = folded(&profile);
        let mut lines: Vec<&str> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        let count = lines.len();
        lines.dedup();
        assert_eq!(lines.len(), count, "{text}");
    }
    old.join().unwrap();
}

fn until_ended(thread: &selvedge::JoinHandle<()>) {
    thread.thread().stopped().wait_for_go();
}

#[test]
fn a_value_for_each_request_loses_no_time() {
    let _alone = alone();
    engines().into_iter().for_each(a_value_for_each_request);
}

fn a_value_for_each_request(engine: Engine) {
    let recording = profile::start(Options::new().engine(engine).frequency(200)).unwrap();
    let worker = spawn("worker", |_| {
        let mut number = 0;
        while number < 100_000 {
            let _request = context("request", number.to_string());
            // Most of the time is within requests.
            spin(Duration::from_micros(10));
            number += 1;
        }
        let _last = context("request", "last");
        spin(Duration::from_millis(300));
    });
    worker.join().unwrap();
    let profile = recording.finish();
    check_totals(&profile);
    let found = weights(&profile, "/worker", "request");
    // The one at the end is told from the hundred thousand before it.
    assert!(found["last"] > 200_000_000, "{found:?}");
    assert!(found.len() > 10, "{found:?}");
    assert_eq!(found.values().sum::<i64>() as u128, weight_of(&profile), "{found:?}");
}

fn weight_of(profile: &Profile) -> u128 {
    let text = folded(profile);
    let of_worker = text.lines().filter(|line| line.contains(";worker;"));
    of_worker.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u128>().unwrap()).sum()
}

/// Go's own tool shows the contexts, and takes the samples of one.
#[test]
fn go_tells_the_contexts_of_a_cpu_profile_apart() {
    if !crate::support::has_go() {
        return;
    }
    let _alone = alone();
    let recording = profile::start(Options::new().engine(Engine::Timer).frequency(100)).unwrap();
    let worker = spawn("worker", |_| {
        for request in ["17", "18"] {
            let _request = context("request", request);
            let _user = context("user", "ann");
            spin(Duration::from_millis(300));
        }
    });
    worker.join().unwrap();
    let profile = recording.finish();
    let folder = crate::support::Folder::new("contexts");
    let file = folder.path().join("cpu.pb.gz");
    profile.write_pprof(std::fs::File::create(&file).unwrap()).unwrap();
    let go = |arguments: &[&str]| {
        let ended = Command::new("go").args(["tool", "pprof"]).args(arguments).arg(&file).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    let tags = go(&["-tags"]);
    for tag in ["request: Total", ": 17\n", ": 18\n", "user: Total", ": ann\n", ": main/test/worker"] {
        assert!(tags.contains(tag), "{tag}: {tags}");
    }
    // Milliseconds of the samples that the tool takes.
    let taken = |focus: &str| {
        let top = go(&["-top", "-unit=ms", focus]);
        let line = top.lines().find_map(|line| line.strip_prefix("Showing nodes accounting for "));
        let shown = line.and_then(|line| line.split("ms").next()).and_then(|number| number.parse::<f64>().ok());
        shown.unwrap_or_else(|| panic!("{top}"))
    };
    let (one, both, user) =
        (taken("-tagfocus=request=17"), taken("-tagfocus=request=17:18"), taken("-tagfocus=user=ann"));
    assert!((200.0..400.0).contains(&one), "{one} ms, {tags}");
    assert!((450.0..700.0).contains(&both) && (user - both).abs() < 1.0, "{both} ms, {user} ms, {tags}");
}
