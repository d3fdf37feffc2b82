//! No caller is invented: each return address of a profile follows a call instruction, and hardly a
//! stack is broken.
//!
//! 20,000 samples are looked at; 1,000,000 where `SELVEDGE_LONG` is set. SELVEDGE_STORM_SAMPLES says
//! otherwise.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::split::{one_part, three_parts};
use crate::support::{in_own_process_within, long};
use pprof::protos::{self, Message};
use selvedge::profile::{self, Engine, Options, Profile};
use selvedge::{Lock, Queue, Signal, spawn};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hint::black_box;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn wanted() -> u64 {
    long::amount("SELVEDGE_STORM_SAMPLES", 20_000, 1_000_000)
}

#[test]
fn each_caller_s_return_address_follows_a_call() {
    let wanted = wanted();
    // A thousand samples in a second come on a machine that is busy with other things, and
    // unoptimized. A machine may be five times as busy.
    let patience = Duration::from_secs(60 + wanted / 200);
    let alarm = patience * 2;
    if in_own_process_within(module_path!(), "each_caller_s_return_address_follows_a_call", alarm) {
        return;
    }
    let recording = profile::start(Options::new().engine(Engine::Timer).frequency(1000)).unwrap();
    let queue: Queue<u64> = Queue::bounded("numbers", 8);
    let (numbers, sums) = (queue.clone(), Lock::new("sums", HashMap::<u64, u64>::new()));
    let workers = [
        spawn("split", |please_stop| until(please_stop, || _ = black_box((three_parts(), one_part())))),
        spawn("texts", |please_stop| until(please_stop, texts)),
        spawn("system", |please_stop| until(please_stop, system)),
        spawn("panics", |please_stop| until(please_stop, panics)),
        spawn("adds", move |please_stop| {
            until(please_stop, || (0..100).for_each(|n| _ = numbers.add_till(n, please_stop)));
        }),
        spawn("pops", move |please_stop| {
            until(please_stop, || {
                if let Ok(number) = queue.pop_till(please_stop) {
                    *sums.lock().entry(number).or_default() += 1;
                }
            });
        }),
    ];
    let is_over = AtomicBool::new(false);
    let deadline = Instant::now() + patience;
    std::thread::scope(|scope| {
        scope.spawn(|| hail(&is_over));
        // A snapshot copies all stacks, so it is not made often.
        let pause = Duration::from_millis(500);
        while recording.snapshot().samples() < wanted && Instant::now() < deadline {
            std::thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    for worker in workers {
        worker.stop();
        worker.join().unwrap();
    }
    let profile = recording.finish();
    let (samples, broken) = (profile.samples(), profile.threads().iter().map(|thread| thread.broken()).sum::<u64>());
    let callers = check(&profile);
    eprintln!("{samples} samples, {broken} broken, {callers} return addresses: {:#?}", broken_leaves(&profile));
    assert!(samples >= wanted, "only {samples} samples came");
    assert!(broken * 1000 < samples, "{broken} of {samples} broken: {:#?}", broken_leaves(&profile));
}

/// The functions in which broken stacks end, with their samples.
fn broken_leaves(profile: &Profile) -> BTreeMap<String, u64> {
    let mut text = Vec::new();
    profile.write_folded(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut leaves = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains(";[broken];") || line.contains(";[other stack];")) {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        *leaves.entry(stack.into()).or_default() += weight.parse::<u64>().unwrap();
    }
    leaves
}

/// How many return addresses there are, after each was looked at.
fn check(profile: &Profile) -> usize {
    let mut file = Vec::new();
    profile.write_pprof(&mut file).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&file[..]).read_to_end(&mut bytes).unwrap();
    let proto = protos::Profile::decode(&bytes[..]).unwrap();
    let by_id: HashMap<u64, &protos::Location> = proto.location.iter().map(|place| (place.id, place)).collect();
    let callers = proto.sample.iter().flat_map(|sample| sample.location_id.iter().skip(1));
    let callers: HashSet<u64> = callers.copied().collect();
    let mut count = 0;
    for place in callers.iter().map(|id| by_id[id]).filter(|place| place.address != 0) {
        let mapping = proto.mapping.iter().find(|mapping| mapping.id == place.mapping_id);
        let mapping = mapping.unwrap_or_else(|| panic!("{:#x} is in no file", place.address));
        // One byte before the return address is written to the file.
        let return_address = place.address + 1;
        assert!(mapping.memory_start + 8 <= return_address && return_address <= mapping.memory_limit);
        // SAFETY: code of this process, which is loaded for good, and has eight bytes before the
        // address.
        let bytes = unsafe { ((return_address - 8) as *const [u8; 8]).read_unaligned() };
        let function = |id: u64| proto.function.iter().find(|function| function.id == id).unwrap();
        let name = &proto.string_table[function(place.line[0].function_id).name as usize];
        assert!(is_call(bytes), "{name} at {return_address:#x} follows {bytes:x?}");
        count += 1;
    }
    assert!(count > 50, "{count} return addresses");
    count
}

/// By the manuals of both processors, and not by the crate.
fn is_call(bytes: [u8; 8]) -> bool {
    if cfg!(target_arch = "aarch64") {
        let instruction = u32::from_le_bytes(bytes[4..].try_into().unwrap());
        return instruction >> 26 == 0x25 || instruction >> 21 == 0x6b1 || instruction >> 21 == 0x6b9;
    }
    let indirect = |length: usize| bytes[8 - length] == 0xff && (bytes[9 - length] >> 3) & 7 == 2;
    bytes[3] == 0xe8 || (2..=7).any(indirect)
}

/// SIGPROF to every other thread, in turn: more samples than the timers take.
fn hail(is_over: &AtomicBool) {
    // SAFETY: neither has preconditions.
    let (process, this) = unsafe { (libc::getpid(), libc::syscall(libc::SYS_gettid)) };
    while !is_over.load(Ordering::Relaxed) {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse::<i64>().ok());
        let threads: Vec<i64> = ids.filter(|&id| id != this).collect();
        for _ in 0..100 {
            for &thread in &threads {
                // SAFETY: a signal to a thread of this process, or to none any more; it has a
                // handler.
                unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGPROF) };
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

fn until(please_stop: &Signal, mut work: impl FnMut()) {
    while !please_stop.is_go() {
        work();
    }
}

#[inline(never)]
fn dive(depth: u32, leaf: &mut dyn FnMut()) {
    if depth == 0 {
        leaf()
    } else {
        dive(depth - 1, leaf)
    }
    black_box(depth);
}

/// Allocates, formats, sorts and searches, at several depths.
fn texts() {
    for depth in [0, 5, 40] {
        dive(depth, &mut || {
            let mut words: Vec<String> = (0..200_u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_769))).collect();
            words.sort_by(|a, b| b.cmp(a));
            let index: BTreeMap<&str, usize> = words.iter().enumerate().map(|(at, word)| (word.as_str(), at)).collect();
            black_box(index.range("8".."a").count());
        });
    }
}

/// In the C library, in the kernel below it, and in the vdso.
fn system() {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut copy = vec![0; text.len()];
    copy.copy_from_slice(text.as_bytes());
    black_box(&copy);
    (0..100).for_each(|_| _ = black_box(Instant::now()));
    std::thread::yield_now();
}

fn panics() {
    let caught = std::panic::catch_unwind(|| dive(10, &mut || std::panic::resume_unwind(Box::new(7))));
    assert!(caught.is_err());
}
