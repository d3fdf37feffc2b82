//! Unregistered threads are sampled too, if the options say so: the profile's sum is the process's
//! CPU clock.
//!
//! A sleep of the recording thread is the length of the recording. A result that is not there yet
//! is retried with a longer one, up to a deadline.
#![cfg(all(feature = "profiling", target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use crate::measure::retried;
use parking_lot::{Mutex, MutexGuard};
use selvedge::profile::{self, Clock, Engine, Options, Profile};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn alone() -> (selvedge::Registered, MutexGuard<'static, ()>) {
    let guard = crate::ONE_AT_A_TIME.lock();
    (selvedge::register("test"), guard)
}

fn options() -> Options {
    Options::new().engine(Engine::Timer).unregistered(true)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writable for one timespec.
    assert_eq!(unsafe { libc::clock_gettime(id, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn cpu() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

#[inline(never)]
fn burn_inner(mut x: u64) -> u64 {
    for i in 0..5_000u64 {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
    }
    x
}

#[inline(never)]
fn burn(time: Duration) -> u64 {
    let end = cpu() + time;
    let mut x = 1;
    while cpu() < end {
        x = burn_inner(x);
    }
    x
}

#[inline(never)]
fn burn_on_request(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        burn(Duration::from_millis(1));
    }
}

fn folded(profile: &Profile) -> String {
    let mut text = Vec::new();
    profile.write_folded(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn weight(text: &str, starts: &str, contains: &str) -> Duration {
    let lines = text.lines().filter(|line| line.starts_with(starts) && line.contains(contains));
    Duration::from_nanos(lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum())
}

fn named<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
    std::thread::Builder::new().name(name.into()).spawn(body).unwrap()
}

/// The length of the first recording.
const FIRST: Duration = Duration::from_millis(300);

#[test]
fn an_unregistered_thread_is_named_and_accounted() {
    let _alone = alone();
    retried(FIRST, |length| {
        // One thread runs already, one starts later; both end before the recording does.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let early = named("early", move || {
            wait.recv().unwrap();
            burn(length);
            cpu()
        });
        let recording = profile::start(options()).unwrap();
        go.send(()).unwrap();
        let late = named("late", move || {
            burn(length);
            cpu()
        });
        let used = [("early", early.join().unwrap()), ("late", late.join().unwrap())];
        let profile = recording.finish();
        let text = folded(&profile);
        for (name, used) in used {
            let start = format!("other;{name};");
            let burnt = weight(&text, &start, "profiles::unregistered::burn;profiles::unregistered::burn_inner");
            let all = weight(&text, &start, "");
            let account = profile.threads().iter().find(|thread| thread.path() == format!("other/{name}"));
            let Some(account) = account else { return Err(format!("{name} was not found in {length:?}:\n{text}")) };
            assert_eq!(account.sampled_time() + account.unsampled_time(), account.cpu_time());
            assert_eq!(all, account.cpu_time());
            // Its beginning, before it was found, and its end, after the last sample, are not
            // there.
            let is_right = burnt >= used.mul_f64(0.6) && account.cpu_time() <= used + Duration::from_millis(1);
            if !is_right || account.samples() < 5 {
                return Err(format!("{burnt:?} of {used:?}, {account:?}:\n{text}"));
            }
        }
        assert!(profile.unregistered() > 0);
        Ok(())
    });
}

#[test]
fn the_sum_is_the_clock_of_the_process() {
    let _alone = alone();
    let mut stop = AtomicBool::new(false);
    retried(FIRST, |length| {
        *stop.get_mut() = false;
        let stop = &stop;
        let before = clock(libc::CLOCK_PROCESS_CPUTIME_ID);
        let recording = profile::start(options()).unwrap();
        let begun = clock(libc::CLOCK_PROCESS_CPUTIME_ID);
        std::thread::scope(|scope| {
            std::thread::Builder::new().name("long".into()).spawn_scoped(scope, || burn_on_request(stop)).unwrap();
            let registered = selvedge::spawn("registered", |please_stop: &selvedge::Signal| {
                while !please_stop.is_go() {
                    burn(Duration::from_millis(1));
                }
            });
            // Far too short to be found.
            let end = Instant::now() + length;
            while Instant::now() < end {
                named("brief", || {
                    black_box(burn(Duration::from_micros(300)));
                })
                .join()
                .unwrap();
            }
            registered.stop();
            registered.join().unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        let last = clock(libc::CLOCK_PROCESS_CPUTIME_ID);
        let profile = recording.finish();
        let after = clock(libc::CLOCK_PROCESS_CPUTIME_ID);
        let text = folded(&profile);
        let sum = weight(&text, "", "");
        assert_eq!(sum, profile.threads().iter().map(|thread| thread.cpu_time()).sum());
        // Between the clock's readings inside of the recording and those outside.
        assert!(sum >= last - begun && sum <= after - before, "{sum:?}, not {:?}:\n{text}", last - begun);
        let brief = weight(&text, "other;[unseen];", "[unsampled]");
        let long = weight(&text, "other;long;", "burn_on_request");
        // Three threads take turns. How much of `length` they get is the machine's to say.
        if brief > sum / 100 && long > sum / 10 {
            return Ok(());
        }
        Err(format!("brief ones: {brief:?}, the long one: {long:?} of {sum:?}:\n{text}"))
    });
}

#[test]
fn joining_and_leaving_counts_time_once() {
    let _alone = alone();
    retried(FIRST, |length| {
        let recording = profile::start(options()).unwrap();
        let used = std::thread::Builder::new().name("guest".into());
        let used = used.spawn(move || {
            burn(length);
            let inside = {
                let _guest = selvedge::register("inside");
                let began = cpu();
                burn(length);
                cpu() - began
            };
            burn(length);
            (inside, cpu())
        });
        let (inside, all) = used.unwrap().join().unwrap();
        let profile = recording.finish();
        let text = folded(&profile);
        let of = |part: &str| -> Duration {
            profile
                .threads()
                .iter()
                .filter(|thread| thread.path().ends_with(part))
                .map(|thread| thread.cpu_time())
                .sum()
        };
        let (guest, registered) = (of("other/guest"), of("/inside"));
        let off = |a: Duration, b: Duration| a.abs_diff(b) > Duration::from_millis(1);
        if off(registered, inside) {
            return Err(format!("{registered:?} inside, not {inside:?}:\n{text}"));
        }
        // All but what it did after its last sample.
        assert!(
            guest + registered <= all + Duration::from_millis(1),
            "{guest:?} and {registered:?} of {all:?}:\n{text}"
        );
        if guest + registered < all.mul_f64(0.85) {
            return Err(format!("{guest:?} and {registered:?} of {all:?}:\n{text}"));
        }
        Ok(())
    });
}

#[test]
fn without_being_asked_nobody_looks() {
    let _alone = alone();
    let recording = profile::start(Options::new().engine(Engine::Timer)).unwrap();
    named("ignored", || {
        black_box(burn(Duration::from_millis(200)));
    })
    .join()
    .unwrap();
    let profile = recording.finish();
    assert!(profile.threads().iter().all(|thread| thread.path().starts_with("main")), "{:?}", profile.threads());
    assert_eq!(profile.unregistered(), 0);
}

#[test]
fn the_wall_clock_finds_sleeping_threads() {
    let _alone = alone();
    retried(FIRST, |length| {
        let stop = std::sync::Arc::new((Mutex::new(false), parking_lot::Condvar::new()));
        let sleeper = named("sleeper", {
            let stop = stop.clone();
            move || {
                let mut stopped = stop.0.lock();
                while !*stopped {
                    stop.1.wait(&mut stopped);
                }
            }
        });
        let recording = profile::start(options().clock(Clock::Wall).frequency(200)).unwrap();
        std::thread::sleep(length);
        let profile = recording.finish();
        *stop.0.lock() = true;
        stop.1.notify_all();
        sleeper.join().unwrap();
        let text = folded(&profile);
        let slept = weight(&text, "other;sleeper;", "wait");
        if slept > length.mul_f64(0.5) { Ok(()) } else { Err(format!("{slept:?} of {length:?}:\n{text}")) }
    });
}

#[inline(never)]
fn dive(depth: u32, time: Duration) -> u64 {
    if depth == 0 { burn(time) } else { black_box(dive(depth - 1, time)) + 1 }
}

#[test]
fn short_lived_small_stacks_are_read_safely() {
    let _alone = alone();
    let recording = profile::start(options().frequency(1000)).unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    let mut rounds = 0u64;
    while Instant::now() < end {
        let threads = [64, 256, 2048].map(|kib: u64| {
            let thread = std::thread::Builder::new().name(format!("small-{kib}")).stack_size(kib as usize * 1024);
            // As deep as there is room for, at a hundred bytes and more each. Some end before the
            // sampler can find them, others are sampled.
            let time = Duration::from_millis(2 + rounds % 16);
            thread.spawn(move || dive(kib as u32, time)).unwrap()
        });
        for (thread, depth) in threads.into_iter().zip([64, 256, 2048]) {
            assert!(thread.join().unwrap() > depth, "no result changed");
        }
        rounds += 1;
    }
    let profile = recording.finish();
    assert!(rounds > 0 && profile.unregistered() > 0, "{rounds} rounds: {:?}", profile.threads().last());
}

/// The title, by which a user judges how much of the program the picture shows.
#[test]
fn the_title_tells_the_cpu_time_outside_of_the_tree() {
    let _alone = alone();
    let process = || clock(libc::CLOCK_PROCESS_CPUTIME_ID);
    // Also the least and the most CPU time that was outside.
    let title = |unregistered: bool| {
        let before = process();
        let recording = profile::start(options().unregistered(unregistered)).unwrap();
        let begun = cpu();
        let outside = std::thread::spawn(|| {
            burn(Duration::from_millis(400));
            cpu()
        });
        burn(Duration::from_millis(200));
        let least = outside.join().unwrap();
        let inside = cpu() - begun;
        let profile = recording.finish();
        let most = process() - before - inside;
        let mut svg = Vec::new();
        profile.write_flamegraph(&mut svg, &profile::FlameOptions::new()).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        let told = svg.lines().find(|line| line.contains("CPU time seen")).expect("the subtitle").to_owned();
        (told, least, most)
    };
    let (told, least, most) = title(false);
    let seconds = told.split(" s more in threads outside of the tree").next().unwrap();
    let seconds: f64 = seconds.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{told}"));
    // It is told in hundredths of a second.
    let bounds = least.as_secs_f64() - 0.01..most.as_secs_f64() + 0.01;
    assert!(bounds.contains(&seconds), "{least:?} to {most:?}: {told}");
    assert!(told.contains("unregistered: true"), "{told}");
    assert!(!title(true).0.contains("outside of the tree"));
}

/// The runtime has threads that are not in the tree, for the moment when no thread is to be had.
#[test]
fn the_runtimes_own_threads_are_not_under_other() {
    let name = "the_runtimes_own_threads_are_not_under_other";
    if crate::support::in_own_process(module_path!(), name) {
        return;
    }
    let runtime = selvedge::Runtime::start(selvedge::Config::new("helpers").log_off()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let recording = profile::start(options().clock(Clock::Wall)).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let text = folded(&recording.finish());
        assert!(!text.lines().any(|line| line.starts_with("other;main")), "{text}");
        if text.lines().any(|line| line.starts_with("main;selvedge;helpers;")) {
            break;
        }
        assert!(Instant::now() < deadline, "{text}");
    }
    runtime.shutdown().unwrap();
}
