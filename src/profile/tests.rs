//! Profiles of made-up samples and lifetimes: the sums are exact, to the nanosecond.

use super::build;
use super::loader::History;
use super::model::{Profile, Session};
use super::owners::Owners;
use super::raw::{Effective, Ending, Lifetime, Owner, Pool, RawSample, Stack};
use super::shown_stacks::{BROKEN, NO_STACK, OTHER_STACK, RUNTIME, TRUNCATED, UNSAMPLED};
use super::symbols::{OfThisProcess, Resolve, Role, placed};
use super::{Clock, Engine, FlameOptions};
use crate::flame::{Line, Location, Module};
use std::time::{Duration, UNIX_EPOCH};

const PERIOD: Duration = Duration::from_nanos(10_101_000);
const MS: i64 = 1_000_000;

/// Address 1xx is in module 0, 2xx in module 1, and so on. Names as given, the innermost first.
struct Names(&'static [(u64, &'static [&'static str])]);

impl Resolve for Names {
    fn resolve(&mut self, address: u64, exact: bool, _: u32) -> Location {
        let functions = self.0.iter().find(|(known, _)| *known == address).unwrap().1;
        let line = |name: &&str| {
            let (name, file) = name.split_once(" in ").unwrap_or((name, ""));
            Line { function: name.into(), system_name: "".into(), file: file.into(), line: 7 }
        };
        let address = if exact { address } else { address - 1 };
        let lines = functions.iter().map(line).collect();
        Location { address, module: Some(address as usize / 100 - 1), lines }
    }

    fn modules(&mut self) -> Vec<Module> {
        let module = |n: u64| {
            let (start, file) = (n * 100, format!("/lib/{n}.so"));
            Module { start, end: start + 100, file_offset: 0, file, build_id: String::new() }
        };
        (1..=4).map(module).collect()
    }

    fn role(&self, module: Option<usize>) -> Role {
        [Role::Program, Role::Library, Role::CLibrary, Role::Library][module.unwrap()]
    }
}

const NAMES: &[(u64, &[&str])] = &[
    (110, &["app::work"]),
    (120, &["app::inner", "app::outer"]),
    (130, &["app::main"]),
    (140, &["alloc::vec::Vec<T>::into_iter", "selvedge::thread::spawn::body in spawn.rs"]),
    (150, &["app::is_old", "alloc::vec::Vec<T>::retain", "selvedge::thread::spawn::body in spawn.rs"]),
    (160, &["alloc::vec::Vec<T>::into_iter", "selvedge::thread::spawn::body"]),
    (310, &["memcpy"]),
    (340, &["clone3"]),
    (341, &["start_thread"]),
    (350, &["app::job", "core::ops::function::FnOnce::call_once", "std::thread::lifecycle::spawn_unchecked"]),
    (360, &["std::panicking::try"]),
    (365, &["<selvedge::profile::engines::timer::Shared as selvedge::thread::observe::Observer>::ended"]),
    (320, &["syscall"]),
    (321, &["parking_lot::park", "selvedge::sync::gate::Gate::acquire"]),
    (322, &["selvedge::sync::lock::Lock<T>::lock", "app::deposit"]),
    (323, &["selvedge::thread::stop::wait_for_end"]),
    (370, &["selvedge::runtime::run::{{closure}}"]),
    (380, &["std::panicking::try", "selvedge::runtime::run", "app::main"]),
    (385, &["core::option::Option<T>::as_mut", "selvedge::model::locks::MutexGuard<T>::deref_mut"]),
    (390, &["selvedge::wait::slot::Slot::retire", "selvedge::thread::spawn::body"]),
    (395, &["selvedge::log::writer::run", "selvedge::thread::spawn::body"]),
];

fn sample(os_thread: u64, at_ms: i64, addresses: &[u64], samples: u64) -> RawSample {
    named("cut to 15 bytes", os_thread, at_ms, addresses, samples)
}

fn named(os_name: &str, os_thread: u64, at_ms: i64, addresses: &[u64], samples: u64) -> RawSample {
    let owner = Owner::Handle { os_thread, os_name: os_name.into(), at: at_ms * MS };
    let stack = Stack::Sampled { addresses: addresses.into(), ending: Ending::Root, generation: 0, waiting: None };
    RawSample { owner, stack, context: None, samples, weight: samples * PERIOD.as_nanos() as u64 }
}

/// A sample of an engine that knows the thread.
fn known(lifetime: usize, addresses: &[u64], ending: Ending, samples: u64, weight: u64) -> RawSample {
    RawSample {
        context: None,
        owner: Owner::Lifetime(lifetime),
        stack: Stack::Sampled { addresses: addresses.into(), ending, generation: 0, waiting: None },
        samples,
        weight,
    }
}

fn lifetime(path: &str, os_thread: u64, started_ms: i64, ended_ms: Option<i64>) -> Lifetime {
    Lifetime {
        path: path.into(),
        os_thread: Some(os_thread),
        started: started_ms * MS,
        ended: ended_ms.map(|ms| ms * MS),
        cpu: Duration::ZERO,
        lost: None,
        merged: 0,
        pool: None,
        held: Vec::new(),
    }
}

fn profile(raw: Vec<RawSample>, lifetimes: &[Lifetime]) -> Profile {
    let effective = Effective { engine: Engine::Process, clock: Clock::Cpu, period: PERIOD };
    let started = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let session = Session {
        effective,
        started,
        duration: Duration::from_secs(10),
        trouble: None,
        unread: vec![],
        process_cpu: None,
    };
    build::profile(raw, lifetimes, &[], session, &mut Names(NAMES))
}

fn folded(profile: &Profile) -> Vec<String> {
    let mut text = Vec::new();
    profile.write_folded(&mut text).unwrap();
    String::from_utf8(text).unwrap().lines().map(String::from).collect()
}

fn svg(profile: &Profile) -> String {
    let mut text = Vec::new();
    profile.write_flamegraph(&mut text, &FlameOptions::new()).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn equal_stacks_are_merged_and_weights_are_exact() {
    let lifetimes =
        [lifetime("main", 1, -50, None), lifetime("main/w", 2, 0, Some(100)), lifetime("main/w", 3, 200, None)];
    let raw = vec![
        sample(1, 5, &[110, 130], 1),
        sample(2, 6, &[110, 130], 3),
        sample(3, 250, &[110, 130], 4),
        sample(2, 7, &[310, 120, 130], 2),
        sample(2, 8, &[130], 0),
    ];
    let profile = profile(raw, &lifetimes);
    let expected = [
        "main;app::main;app::work 10101000",
        "main;w;app::main;app::outer;app::inner;memcpy 20202000",
        "main;w;app::main;app::work 70707000",
    ];
    assert_eq!(folded(&profile), expected);
    let accounts: Vec<_> = profile.threads().iter().map(|t| (t.path(), t.samples(), t.sampled_time())).collect();
    assert_eq!(accounts, [("main", 1, PERIOD), ("main/w", 5, PERIOD * 5), ("main/w", 4, PERIOD * 4)]);
    assert_eq!((profile.samples(), profile.unregistered(), profile.ambiguous()), (10, 0, 0));
}

#[test]
fn a_wait_shows_its_caller_and_its_label() {
    let waits = |addresses: &[u64], waiting: &str| RawSample {
        context: None,
        owner: Owner::Lifetime(0),
        stack: Stack::Sampled {
            addresses: addresses.into(),
            ending: Ending::Root,
            generation: 0,
            waiting: Some(waiting.into()),
        },
        samples: 1,
        weight: 5,
    };
    let raw = vec![
        // Inlined into its caller, the lock shares an address with it.
        waits(&[320, 321, 322, 130, 340], "[waiting for lock]"),
        // With the holder above it.
        waits(&[320, 321, 322, 130, 340], "[waiting for lock]\n[held by main/w]"),
        waits(&[320, 323, 340], "[waiting for thread]"),
        // A wait of this crate, sampled in other code: no frame is left out.
        waits(&[310, 110, 130], "[waiting for something]"),
        // The same place, without a wait: the thread is on its way.
        known(0, &[320, 321, 322, 130, 340], Ending::Root, 1, 5),
    ];
    let expected = [
        "main;[waiting for thread] 5",
        "main;app::main;app::deposit;[waiting for lock] 5",
        "main;app::main;app::deposit;[waiting for lock];[held by main/w] 5",
        "main;app::main;app::deposit;selvedge::sync::lock::Lock::lock;selvedge::sync::gate::Gate::acquire;\
         parking_lot::park;syscall 5",
        "main;app::main;app::work;memcpy;[waiting for something] 5",
    ];
    assert_eq!(folded(&profile(raw, &[lifetime("main", 1, 0, None)])), expected);
}

#[test]
fn the_same_handle_at_another_time_is_another_thread() {
    let lifetimes = [lifetime("main/old", 7, 0, Some(1000)), lifetime("main/new", 7, 3000, None)];
    let owners = Owners::new(&lifetimes);
    let owner = |ms| owners.owner(7, ms * MS).map(|index| &*lifetimes[index].path);
    assert_eq!(owner(500), Some("main/old"));
    assert_eq!(owner(1050), Some("main/old"), "what it does after it has signed off is its own");
    assert_eq!(owner(2000), None, "a thread between the two is neither");
    assert_eq!(owner(2950), Some("main/new"), "before it was registered it ran already");
    assert_eq!(owner(9000), Some("main/new"));
    assert_eq!(owners.owner(8, 500 * MS), None);
    let lifetimes = [lifetime("main/leaked", 7, 0, None), lifetime("main/new", 7, 3000, None)];
    assert_eq!(
        Owners::new(&lifetimes).owner(7, 4000 * MS),
        Some(1),
        "the handle has gone on, although the end was not reported"
    );
    assert_eq!(Owners::new(&lifetimes).owner(7, 2000 * MS), Some(0));
}

#[test]
fn unregistered_threads_stand_under_other_and_are_counted() {
    let nameless = named("", 9, 5, &[130], 1);
    let slashed = named("pool/1", 8, 5, &[130], 2);
    let profile = profile(vec![nameless, slashed, sample(1, 5, &[130], 1)], &[lifetime("main", 1, 0, None)]);
    let expected = ["main;app::main 10101000", "other;[unnamed];app::main 10101000", "other;pool:1;app::main 20202000"];
    assert_eq!(folded(&profile), expected);
    let paths: Vec<_> = profile.threads().iter().map(|thread| thread.path()).collect();
    assert_eq!(paths, ["main", "other/[unnamed]", "other/pool:1"]);
    assert_eq!((profile.unregistered(), profile.samples()), (3, 4));
    assert!(svg(&profile).contains("3 of unregistered threads"));
}

#[test]
fn ambiguous_samples_are_counted() {
    let lifetimes =
        [lifetime("main/old", 7, 0, Some(1000)), lifetime("main/new", 7, 1001, None), lifetime("main/x", 8, 0, None)];
    let raw = vec![sample(7, 500, &[130], 5), sample(7, 2000, &[110], 3), sample(8, 500, &[130], 4)];
    let profile = profile(raw, &lifetimes);
    assert_eq!(profile.ambiguous(), 4, "the first of the five is the old one's for sure");
    assert!(svg(&profile).contains("4 of one thread or its successor"));
}

#[test]
fn the_engines_own_work_on_a_thread_is_not_the_threads() {
    let lifetimes = [lifetime("main", 1, 0, None)];
    let raw = vec![sample(1, 5, &[310, 365, 350, 341], 1)];
    assert_eq!(folded(&profile(raw, &lifetimes)), ["main;[runtime] 10101000"]);
}

#[test]
fn the_first_and_last_steps_of_a_thread_are_the_runtimes() {
    let lifetimes = [lifetime("main", 1, 0, None)];
    // The log's writer is code of this crate too, but what that thread is there for.
    let writer = sample(1, 7, &[385, 395, 360, 341, 340], 1);
    let raw = vec![sample(1, 5, &[385, 390, 360, 341, 340], 1), sample(1, 6, &[310, 390, 341, 340], 1), writer];
    let expected = [
        "main;[runtime] 20202000",
        "main;selvedge::log::writer::run;selvedge::model::locks::MutexGuard::deref_mut;core::option::Option::as_mut \
         10101000",
    ];
    assert_eq!(folded(&profile(raw, &lifetimes)), expected);
    // The runtime calls the standard library itself. Without inlined functions the program's may be between.
    let raw = [140, 150, 160].map(|leaf| sample(1, 5, &[leaf, 360, 341, 340], 1)).into();
    let library = [
        "main;[runtime] 10101000",
        "main;alloc::vec::Vec::into_iter 10101000",
        "main;alloc::vec::Vec::retain;app::is_old 10101000",
    ];
    assert_eq!(folded(&profile(raw, &lifetimes)), library);
    let raw = vec![sample(1, 5, &[385, 130, 340], 1)];
    let stack = "main;app::main;selvedge::model::locks::MutexGuard::deref_mut;core::option::Option::as_mut";
    assert_eq!(folded(&profile(raw, &lifetimes)), [format!("{stack} 10101000")]);
}

#[test]
fn the_program_begins_where_run_calls_it() {
    let lifetimes = [lifetime("main", 1, 0, None)];
    let raw = vec![sample(1, 5, &[110, 120, 370, 380, 130], 1)];
    assert_eq!(folded(&profile(raw, &lifetimes)), ["main;app::outer;app::inner;app::work 10101000"]);
}

#[test]
fn machinery_is_trimmed_at_the_root_only() {
    let lifetimes = [lifetime("main", 1, 0, None)];
    let raw = vec![
        // The job is inlined into its caller: only the caller is trimmed.
        sample(1, 1, &[110, 350, 360, 341, 340], 1),
        // The user's own `catch_unwind` is plumbing: recorded, but not shown by default.
        sample(1, 2, &[110, 360, 130, 360, 341, 340], 1),
        sample(1, 3, &[341, 340], 1),
        sample(1, 4, &[], 1),
    ];
    let profile = profile(raw, &lifetimes);
    let expected = [
        format!("main;{NO_STACK} 10101000"),
        format!("main;{RUNTIME} 10101000"),
        "main;app::job;app::work 10101000".into(),
        "main;app::main;app::work 10101000".into(),
    ];
    assert_eq!(folded(&profile), expected);
    let mut picture = Vec::new();
    profile.write_flamegraph(&mut picture, &FlameOptions::new().unabridged()).unwrap();
    assert!(String::from_utf8(picture).unwrap().contains("std::panicking::try"));
}

#[test]
fn a_truncated_stack_says_so_at_its_root() {
    let deep = known(0, &[110, 120, 360], Ending::Deep, 2, 20_202_000);
    let profile = profile(vec![deep, sample(1, 1, &[110, 120], 1)], &[lifetime("main", 1, 0, None)]);
    let expected = [
        format!("main;{TRUNCATED};app::outer;app::inner;app::work 20202000"),
        "main;app::outer;app::inner;app::work 10101000".into(),
    ];
    assert_eq!(folded(&profile), expected);
    assert_eq!(profile.threads()[0].truncated(), 2);
    assert!(svg(&profile).contains("2 truncated"));
}

#[test]
fn an_incomplete_stack_says_why_and_keeps_its_weight() {
    let lifetimes = [Lifetime { cpu: Duration::from_nanos(1007), lost: Some(3), ..lifetime("main/w", 1, 0, None) }];
    let unsampled =
        RawSample { owner: Owner::Lifetime(0), stack: Stack::Unsampled, context: None, samples: 0, weight: 7 };
    let raw = vec![
        known(0, &[110, 130, 360, 340], Ending::Broken, 2, 500),
        known(0, &[110], Ending::Leaf, 1, 300),
        known(0, &[110, 130], Ending::Root, 1, 200),
        known(0, &[130], Ending::Root, 1, 0),
        unsampled,
    ];
    let profile = profile(raw, &lifetimes);
    let expected = [
        "main;w;[broken];clone3;app::main;app::work 500".into(),
        format!("main;w;{OTHER_STACK};app::work 300"),
        format!("main;w;{UNSAMPLED} 7"),
        "main;w;app::main 0".into(),
        "main;w;app::main;app::work 200".into(),
    ];
    assert_eq!(BROKEN, "[broken]");
    assert_eq!(folded(&profile), expected);
    let thread = &profile.threads()[0];
    assert_eq!((thread.samples(), thread.broken(), thread.lost()), (5, 3, 3));
    assert_eq!((thread.sampled_time().as_nanos(), thread.unsampled_time().as_nanos()), (1000, 7));
    assert_eq!(thread.sampled_time() + thread.unsampled_time(), thread.cpu_time());
    assert!(svg(&profile).contains("3 broken"));
}

#[test]
fn clocks_count_within_the_recording() {
    let cpu = |ms| Duration::from_millis(ms);
    let lifetimes = [
        Lifetime { cpu: cpu(1000), ..lifetime("main", 1, -5000, None) },
        Lifetime { cpu: cpu(20), ..lifetime("main/early", 2, -100, Some(300)) },
        Lifetime { cpu: cpu(0), ..lifetime("main/late", 3, 9990, Some(10_500)) },
        Lifetime { cpu: cpu(0), ..lifetime("main/after", 4, 10_100, None) },
    ];
    let profile = profile(vec![sample(1, 5, &[130], 90), sample(2, 5, &[130], 3)], &lifetimes);
    let accounts: Vec<_> = profile.threads().iter().map(|t| (t.cpu_time(), t.wall_time(), t.lost())).collect();
    // 1000 ms / 10.101 ms: 99 were due.
    assert_eq!(accounts[0], (cpu(1000), Duration::from_secs(10), 9));
    assert_eq!(accounts[1], (cpu(20), Duration::from_millis(300), 0));
    assert_eq!(accounts[2], (cpu(0), Duration::from_millis(10), 0));
    assert_eq!(accounts[3], (cpu(0), Duration::ZERO, 0));
    // 93 × 10.101 ms of 1.02 s.
    assert!(svg(&profile).contains("93 samples · 99 Hz (process) · 10.0 s · 92.1 % of 1.02 s CPU time seen"));
}

#[test]
fn a_pool_of_ended_threads_is_one_counted_entry() {
    let pool = Some(Pool { threads: 5_000, wall: 7_000_000_000 });
    let lifetimes = [
        lifetime("main", 1, 0, None),
        Lifetime { cpu: PERIOD * 9, lost: Some(0), pool, ..lifetime("main/connection-*", 2, 0, Some(9_000)) },
    ];
    let profile = profile(vec![sample(2, 5, &[130], 9)], &lifetimes);
    let [main, pool] = profile.threads() else { panic!("{:?}", profile.threads()) };
    assert_eq!((main.members(), pool.members(), pool.path()), (1, 5_000, "main/connection-*"));
    assert_eq!((pool.samples(), pool.cpu_time(), pool.wall_time()), (9, PERIOD * 9, Duration::from_secs(7)));
    assert!(svg(&profile).contains("4999 ended threads folded by pool"));
}

#[test]
fn top_counts_a_function_once_in_a_stack() {
    let lifetimes = [lifetime("main", 1, 0, None), lifetime("main/w", 2, 0, None)];
    let raw = vec![sample(1, 1, &[110, 110, 130], 2), sample(2, 1, &[120, 130], 1), sample(2, 1, &[130], 7)];
    let profile = profile(raw, &lifetimes);
    let top = profile.top(3);
    let entries: Vec<_> = top.entries().iter().map(|e| (e.function(), e.self_time(), e.total_time())).collect();
    let expected =
        [("app::main", PERIOD * 7, PERIOD * 10), ("app::work", PERIOD * 2, PERIOD * 2), ("app::inner", PERIOD, PERIOD)];
    assert_eq!(entries, expected);
    assert_eq!(top.total(), PERIOD * 10);
    let table = "      flat   flat%    sum%        cum    cum%  of 0.10s\n     \
                 0.07s  70.00%  70.00%      0.10s 100.00%  app::main  (main/w 100%)\n     \
                 0.02s  20.00%  90.00%      0.02s  20.00%  app::work  (main 100%)\n     \
                 0.01s  10.00% 100.00%      0.01s  10.00%  app::inner  (main/w 100%)";
    assert_eq!(top.to_string(), table);
    let threads: Vec<_> =
        top.entries()[0].threads().iter().map(|t| (t.path(), t.self_time(), t.total_time())).collect();
    assert_eq!(threads, [("main/w", PERIOD * 7, PERIOD * 8), ("main", Duration::ZERO, PERIOD * 2)]);
    assert_eq!(self::profile(vec![], &[]).top(5).entries(), []);
}

#[test]
fn the_table_names_three_threads_and_counts_the_rest() {
    let lifetimes: Vec<Lifetime> = (1..=5).map(|n| lifetime(&format!("main/w-{n}"), n, 0, None)).collect();
    let mut raw: Vec<_> = (1..=5).map(|n| sample(n, 1, &[110, 130], n)).collect();
    let table = profile(raw.clone(), &lifetimes).top(2).to_string();
    let rows: Vec<_> = table.lines().map(|line| line.rsplit_once("%  ").map_or("", |(_, row)| row)).collect();
    let threads = "(main/w-5 33%, main/w-4 27%, main/w-3 20%, 2 more)";
    // The second function has no own time, so the shares are of its total time.
    assert_eq!(rows[1..], [format!("app::work  {threads}"), format!("app::main  {threads}")]);
    raw.truncate(3);
    let table = profile(raw, &lifetimes).top(1).to_string();
    assert!(table.ends_with("(main/w-3 50%, main/w-2 33%, main/w-1 17%)"), "{table}");
}

#[test]
fn trouble_is_shown_with_the_result() {
    let mut profile = profile(vec![], &[lifetime("main", 1, 0, None)]);
    profile.session.trouble = Some("the samples could not be read: the disk is full".into());
    assert!(folded(&profile).is_empty());
    let picture = svg(&profile);
    assert!(picture.contains("the disk is full") && picture.contains("[no samples]"), "{picture}");
}

#[test]
fn the_pprof_file_lists_the_program_and_used_modules() {
    use pprof::protos::{self, Message};
    use std::io::Read;

    let profile = profile(vec![sample(1, 1, &[310, 120, 130], 2)], &[lifetime("main/w", 1, 0, None)]);
    let mut file = Vec::new();
    profile.write_pprof(&mut file).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&file[..]).read_to_end(&mut bytes).unwrap();
    let proto = protos::Profile::decode(&bytes[..]).unwrap();
    let text = |index: i64| proto.string_table[index as usize].as_str();
    let files: Vec<_> = proto.mapping.iter().map(|mapping| (mapping.id, text(mapping.filename))).collect();
    assert_eq!(files, [(1, "/lib/1.so"), (2, "/lib/3.so")]);
    // In order from the root on. A caller's address is in the call, one byte before the return
    // address.
    let places: Vec<_> = proto.location.iter().map(|l| (l.address, l.mapping_id, l.line.len())).collect();
    assert_eq!(places, [(129, 1, 1), (119, 1, 2), (310, 2, 1)]);
    assert_eq!(proto.sample[0].location_id, [3, 2, 1]);
    assert_eq!(proto.sample[0].value, [2, 20_202_000]);
    let label = &proto.sample[0].label[0];
    assert_eq!((text(label.key), text(label.str)), ("thread", "main/w"));
    assert_eq!((proto.period, proto.duration_nanos), (10_101_000, 10_000_000_000));
    assert_eq!(proto.time_nanos, 1_700_000_000_000_000_000);
}

#[cfg(not(feature = "pprof-engine"))]
#[test]
fn an_engine_left_out_names_its_feature() {
    let options = super::Options::new().engine(Engine::Process);
    let Err(error) = super::start(options) else { panic!("the engine is not compiled in") };
    let error = error.to_string();
    assert!(error.contains("pprof-engine"), "{error}");
}

#[test]
fn rust_functions_without_a_path_get_their_file() {
    let placed = |function: &str, file| placed(function.into(), file);
    assert_eq!(placed("{closure#0}", "/home/me/src/thread/spawn.rs"), "{closure#0} (thread/spawn.rs)");
    assert_eq!(placed("call_once<fn(), a::B>", "/x/ops/function.rs"), "call_once (ops/function.rs)");
    assert_eq!(placed("lt", "main.rs"), "lt (main.rs)");
    let whole = ["app::f<T>", "<app::T as app::U>::f", "std::io::copy::<a::B>"];
    assert!(whole.iter().all(|function| placed(function, "/x/a.rs") == *function));
    assert_eq!(placed("memcpy", "memcpy.S"), "memcpy");
    assert_eq!(placed("main", ""), "main");
}

#[inline(never)]
fn to_be_named() -> u32 {
    std::hint::black_box(line!())
}

#[test]
fn the_first_instruction_of_a_function_is_in_it() {
    assert_eq!(to_be_named(), std::hint::black_box(to_be_named()));
    let start = to_be_named as *const () as u64;
    let mut names = OfThisProcess::new(History::of_now());
    let location = names.resolve(start, true, 0);
    let line = location.lines.last().unwrap();
    assert_eq!(&*line.function, "selvedge::profile::tests::to_be_named");
    assert!(line.file.ends_with("src/profile/tests.rs"), "{}", line.file);
    assert_eq!(location.address, start);
    if cfg!(target_os = "linux") {
        let program = std::env::current_exe().unwrap();
        assert_eq!(location.module, Some(0));
        assert_eq!(names.modules()[0].file, program.to_str().unwrap());
    }
}

#[test]
fn names_are_demangled() {
    use super::symbols::demangled;
    let names = [
        ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
        ("_RNvCskwGfYPst2Cb_3foo16example_function", "foo::example_function"),
        ("_ZN5cache4findERKSs", "cache::find"),
        ("_ZNSt6vectorIiSaIiEE9push_backEOi", "std::vector<int, std::allocator<int> >::push_back"),
        ("malloc@@GLIBC_2.2.5", "malloc"),
        ("_Zealot", "_Zealot"),
        ("main", "main"),
    ];
    for (mangled, name) in names {
        assert_eq!(demangled(mangled), name);
    }
}
