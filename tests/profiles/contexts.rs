//! What a thread works on is a label of its samples in a pprof file.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::*;
use pprof::protos::{self, Message};
use selvedge::profile::{self, Clock, Engine, Options, Profile};
use selvedge::{Signal, context, spawn};
use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

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
    let by_ring = rings_are_permitted().then_some((Clock::Cpu, Engine::Ring));
    for (clock, engine) in [(Clock::Cpu, Engine::Timer), (Clock::Wall, Engine::Timer)].into_iter().chain(by_ring) {
        retried(Duration::from_millis(900), |length| labelled_samples(clock, engine, length));
    }
}

fn labelled_samples(by: Clock, engine: Engine, length: Duration) -> Result<(), String> {
    let begin = Signal::new("begin");
    // Its context is older than the recording.
    let old = ((by, engine) == (Clock::Cpu, Engine::Timer)).then(|| {
        let (_outer, begin) = (context("request", "old"), begin.clone());
        spawn("old", move |_| {
            begin.wait_for_go();
            spin(Duration::from_millis(400));
        })
    });
    if let Some(old) = &old {
        until_asleep("signal", &[old.thread()]);
    }
    // The ring samples each processor by itself, so that a thread that moves is met by chance.
    let frequency = if engine == Engine::Ring { 1000 } else { 100 };
    let recording = profile::start(Options::new().engine(engine).clock(by).frequency(frequency)).unwrap();
    begin.go();
    let truth = spawn("worker", move |_| times_in_contexts(by, length)).join().unwrap();
    let has_old = old.is_some();
    old.into_iter().for_each(|old| old.join().unwrap());
    let profile = recording.finish();
    // Pictures and folded lines do not tell contexts apart.
    let text = folded(&profile);
    let mut lines: Vec<&str> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    let count = lines.len();
    lines.dedup();
    assert_eq!(lines.len(), count, "{text}");
    let found = weights(&profile, "/worker", "request");
    let (sum, all) = (found.values().sum::<i64>(), truth.values().sum::<Duration>());
    // By the ring, a sample's context is looked up by its time. The timer meets each context a few
    // times only.
    let tolerance = if engine == Engine::Ring { 0.035 } else { 0.2 };
    for (value, time) in &truth {
        let seen = *found.get(*value).unwrap_or(&0) as f64 / sum as f64;
        if (seen - time.as_secs_f64() / all.as_secs_f64()).abs() > tolerance {
            return Err(format!("{by:?} {engine:?} {value:?}: {found:?}, not {truth:?}"));
        }
    }
    let found = weights(&profile, "/old", "request");
    let weight = |value| found.get(value).copied().unwrap_or(0);
    if has_old && weight("old") <= 9 * weight("") {
        return Err(format!("{found:?}"));
    }
    Ok(())
}

/// Works in two contexts and without one, a third of the time each. Returns the times, by the clock of
/// the profile.
fn times_in_contexts(by: Clock, length: Duration) -> BTreeMap<&'static str, Duration> {
    let begin = Instant::now();
    let now = || if by == Clock::Wall { begin.elapsed() } else { clock() };
    let mut times = BTreeMap::new();
    for round in 0..length.as_millis() / 90 {
        let value = if round % 2 == 0 { "17" } else { "odd" };
        let before = now();
        let request = context("request", value);
        spin(Duration::from_millis(60));
        drop(request);
        let between = now();
        spin(Duration::from_millis(30));
        *times.entry(value).or_default() += between - before;
        *times.entry("").or_default() += now() - between;
    }
    times
}

#[test]
fn a_value_for_each_request_loses_no_time() {
    let _alone = alone();
    let last = Duration::from_millis(300);
    engines().into_iter().for_each(|engine| retried(last, |last| a_value_for_each_request(engine, last)));
}

/// Objects if many samples were lost: the sampler had no processor for too long.
fn a_value_for_each_request(engine: Engine, last: Duration) -> Result<(), String> {
    let recording = profile::start(Options::new().engine(engine).frequency(200)).unwrap();
    let worker = spawn("worker", move |_| {
        let mut number = 0;
        while number < 100_000 {
            let _request = context("request", number.to_string());
            // Most of the time is within requests.
            spin(Duration::from_micros(10));
            number += 1;
        }
        let _last = context("request", "last");
        spin(last);
    });
    worker.join().unwrap();
    let profile = recording.finish();
    check_totals(&profile);
    let found = weights(&profile, "/worker", "request");
    assert_eq!(found.values().sum::<i64>() as u128, weight_of(&profile), "{found:?}");
    let worker = account(&profile, "/worker");
    if worker.lost() * 50 > periods(worker.cpu_time(), profile.period()) {
        return Err(format!("too many samples are lost: {worker:?}"));
    }
    // The one at the end is told from the hundred thousand before it.
    let of_last = Duration::from_nanos(found.get("last").copied().unwrap_or(0) as u64);
    assert!(of_last > last * 2 / 3, "{found:?}");
    assert!(found.len() > 10, "{found:?}");
    Ok(())
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
    retried(Duration::from_millis(300), contexts_by_go);
}

fn contexts_by_go(each: Duration) -> Result<(), String> {
    let recording = profile::start(Options::new().engine(Engine::Timer).frequency(100)).unwrap();
    let worker = spawn("worker", move |_| {
        ["17", "18"].map(|request| {
            let began = clock();
            let _request = context("request", request);
            let _user = context("user", "ann");
            spin(each);
            clock() - began
        })
    });
    let [first, second] = worker.join().unwrap();
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
    assert!((user - both).abs() < 1.0, "{both} ms, {user} ms, {tags}");
    // By the thread's own clock: a sample that is late counts for the next context.
    let is_right =
        |shown: f64, truth: Duration| near(Duration::from_secs_f64(shown / 1e3), truth, 0.05, profile.period() * 2);
    if is_right(one, first) && is_right(both, first + second) {
        return Ok(());
    }
    Err(format!("{one} ms of {first:?}, {both} ms of {:?}, {tags}", first + second))
}
