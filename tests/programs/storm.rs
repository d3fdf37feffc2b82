//! Storms for an engine, as a process of its own: `storm KIND SECONDS ENGINE`. While a recording by
//! the timer engine runs, all threads are hit by SIGPROF some ten thousand times a second, and do
//! what profilers are known to die of. The ring engine is without signals. Says "calm" at the end,
//! and what it has counted.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn main() {
    linux::main();
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(crate) fn main() {}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod linux {
    use crate::random::Random;
    use selvedge::profile::{self, Engine, Options};
    use selvedge::{Signal, Thread, spawn};
    use std::ffi::CString;
    use std::hint::black_box;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    /// What was done, so that a storm that did nothing is seen.
    static DONE: AtomicU64 = AtomicU64::new(0);
    static HAS_HANDLER: AtomicBool = AtomicBool::new(false);
    static INTERRUPTED: AtomicU64 = AtomicU64::new(0);
    /// Of `poll`, `epoll_wait` and `nanosleep`.
    static BY_CALL: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

    pub(super) fn main() {
        let mut args = std::env::args().skip(1);
        let kind = args.next().expect("a kind of storm");
        let length = Duration::from_secs_f64(args.next().and_then(|text| text.parse().ok()).expect("seconds"));
        let engine = if args.next().is_some_and(|name| name == "ring") { Engine::Ring } else { Engine::Timer };
        let is_ring = engine == Engine::Ring;
        let alone = kind == "blocking-alone" || kind == "dumps" || is_ring;
        let frequency = if kind == "blocking-alone" && !is_ring { 100 } else { 1000 };
        let recording = profile::start(Options::new().engine(engine).frequency(frequency).waits(true)).unwrap();
        HAS_HANDLER.store(!is_ring, Ordering::Relaxed);
        let work: fn(&Signal) = match kind.as_str() {
            "panics" => panics,
            "backtraces" => backtraces,
            "malloc" => malloc,
            "dlopen" => dlopen,
            "processes" => processes,
            "churn" => churn,
            "edge" => edge,
            "signals" => signals,
            "blocking" | "blocking-alone" => blocking,
            "snapshots" => malloc,
            "dumps" => everything,
            other => panic!("no storm {other}"),
        };
        // On its own, the engine's timers are all there is: what it interrupts is its own doing.
        let hail = (!alone).then(|| std::thread::spawn(move || hail(length)));
        let workers: Vec<_> = (0..3).map(|n| spawn(format!("worker-{n}"), work)).collect();
        // On a busy machine it goes on until it has something to count.
        let end = Instant::now() + length;
        let last = end + Duration::from_secs(40);
        let least = if kind == "blocking-alone" { 400 } else { 1 };
        let lacks = || DONE.load(Ordering::Relaxed) < least || recording.snapshot().samples() == 0;
        while Instant::now() < end || (Instant::now() < last && lacks()) {
            if kind == "dumps" {
                let dump = selvedge::dump();
                assert!(dump.to_string().contains("main/worker-0, ") && dump.to_json().starts_with('{'));
            } else if kind == "snapshots" {
                check(&recording.snapshot());
            } else {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        for worker in workers {
            worker.stop();
            worker.join().unwrap();
        }
        let profile = recording.finish();
        check(&profile);
        assert_eq!(profile.engine(), engine);
        // It goes on after the recording: the handler must not mind.
        let sent = hail.map_or(0, |hail| hail.join().unwrap());
        let broken: u64 = profile.threads().iter().map(|thread| thread.broken()).sum();
        println!(
            "calm: {} samples, {broken} broken, {sent} signals sent, {} done, {} interrupted",
            profile.samples(),
            DONE.load(Ordering::Relaxed),
            INTERRUPTED.load(Ordering::Relaxed)
        );
        let by_call = BY_CALL.each_ref().map(|count| count.load(Ordering::Relaxed));
        println!("interrupted poll, epoll_wait, nanosleep: {by_call:?}");
        assert!(profile.samples() > 0 && DONE.load(Ordering::Relaxed) > 0);
        if std::env::args().len() > 4 {
            profile.write_folded(std::io::stdout()).unwrap();
        }
    }

    fn check(profile: &profile::Profile) {
        for thread in profile.threads() {
            assert_eq!(thread.sampled_time() + thread.unsampled_time(), thread.cpu_time(), "{thread:?}");
        }
    }

    /// SIGPROF to every thread of the process, in turn, as fast as it goes.
    fn hail(length: Duration) -> u64 {
        let (process, mut sent) = (std::process::id(), 0);
        // SAFETY: gettid has no preconditions.
        let this = unsafe { libc::syscall(libc::SYS_gettid) };
        let end = Instant::now() + length + Duration::from_millis(200);
        while Instant::now() < end {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let threads: Vec<i64> = tasks
                .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
                .filter(|&id| id != this)
                .collect();
            for _ in 0..100 {
                for &thread in &threads {
                    // SAFETY: a signal to a thread of this process, or to none any more; it has a
                    // handler.
                    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGPROF) };
                    sent += 1;
                }
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        sent
    }

    fn until(please_stop: &Signal, mut work: impl FnMut()) {
        while !please_stop.is_go() {
            work();
            DONE.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[inline(never)]
    fn deep(depth: u32, leaf: &dyn Fn()) {
        if depth == 0 {
            leaf()
        } else {
            deep(depth - 1, black_box(leaf))
        }
        black_box(depth);
    }

    fn panics(please_stop: &Signal) {
        until(please_stop, || {
            let caught = std::panic::catch_unwind(|| deep(30, &|| std::panic::resume_unwind(Box::new(7))));
            assert_eq!(*caught.unwrap_err().downcast::<i32>().unwrap(), 7);
        });
    }

    fn backtraces(please_stop: &Signal) {
        until(please_stop, || {
            deep(20, &|| drop(black_box(std::backtrace::Backtrace::force_capture())));
        });
    }

    /// A thread each for what dumps may meet: threads that come and go, panics, processes that are
    /// forked and run.
    fn everything(please_stop: &Signal) {
        match Thread::current().name() {
            "worker-0" => churn(please_stop),
            "worker-1" => panics(please_stop),
            _ => processes(please_stop),
        }
    }

    fn malloc(please_stop: &Signal) {
        let mut held: Vec<Vec<u8>> = Vec::new();
        let mut random = Random(1);
        until(please_stop, || {
            for _ in 0..1000 {
                held.push(vec![0; random.index(20_000)]);
                if held.len() > 300 {
                    held.swap_remove(random.index(300));
                }
            }
        });
    }

    fn dlopen(please_stop: &Signal) {
        let libraries = ["libz.so.1", "libcrypt.so.1", "libresolv.so.2", "libutil.so.1", "libanl.so.1", "libnsl.so.1"];
        until(please_stop, || {
            for library in libraries {
                let name = CString::new(library).unwrap();
                // SAFETY: libraries whose constructors do nothing of note; the handle is closed
                // once, and nothing of them kept.
                unsafe {
                    let handle = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
                    if !handle.is_null() {
                        let crc = libc::dlsym(handle, c"crc32".as_ptr());
                        if !crc.is_null() {
                            let crc: extern "C" fn(u64, *const u8, u32) -> u64 = std::mem::transmute(crc);
                            let text = [7u8; 4096];
                            assert_eq!(crc(0, text.as_ptr(), 4096), crc(0, text.as_ptr(), 4096));
                        }
                        libc::dlclose(handle);
                    }
                }
            }
        });
    }

    fn processes(please_stop: &Signal) {
        until(please_stop, || {
            let output = std::process::Command::new("/bin/echo").arg("hello").output().unwrap();
            assert!(output.status.success() && output.stdout == b"hello\n", "{output:?}");
            // SAFETY: the child does nothing but end; it makes no call that needs a lock.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: the process ends here. A stray signal meets the handler, which finds
                // nothing, if there is a handler.
                unsafe {
                    if HAS_HANDLER.load(Ordering::Relaxed) {
                        libc::raise(libc::SIGPROF);
                    }
                    libc::_exit(3);
                }
            }
            let mut status = 0;
            loop {
                // SAFETY: `status` is writable.
                let ended = unsafe { libc::waitpid(child, &mut status, 0) };
                if ended == child {
                    break;
                }
                assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::Interrupted);
            }
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 3, "{status}");
        });
    }

    fn churn(please_stop: &Signal) {
        until(please_stop, || {
            let threads: Vec<_> = (0..8).map(|n| spawn(format!("brief-{n}"), move |_| black_box(n * 2))).collect();
            for (n, thread) in threads.into_iter().enumerate() {
                assert_eq!(thread.join().unwrap(), n * 2);
            }
        });
    }

    /// To the last page or two of the stack, where a handler that asks for much room would fall
    /// off.
    fn edge(please_stop: &Signal) {
        #[inline(never)]
        fn fall(lowest: usize) -> u64 {
            let here = [1u8; 256];
            let address = black_box(&here).as_ptr() as usize;
            if address < lowest { u64::from(here[7]) } else { black_box(fall(lowest)) + u64::from(here[9]) }
        }
        let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
        let (mut start, mut size) = (std::ptr::null_mut(), 0);
        // SAFETY: the calling thread; all places are writable.
        unsafe {
            assert_eq!(libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()), 0);
            libc::pthread_attr_getstack(attributes.as_ptr(), &mut start, &mut size);
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
        }
        let lowest = start as usize + 16 * 1024;
        until(please_stop, || assert!(black_box(fall(lowest)) > 1));
    }

    extern "C" fn others(_: libc::c_int) {
        DONE.fetch_add(1, Ordering::Relaxed);
    }

    fn signals(please_stop: &Signal) {
        // SAFETY: the handler does what a handler may. Each thread raises its own.
        unsafe {
            for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGURG] {
                libc::signal(signal, others as extern "C" fn(libc::c_int) as libc::sighandler_t);
            }
        }
        until(please_stop, || {
            for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGURG] {
                let before = DONE.load(Ordering::Relaxed);
                // SAFETY: handled above.
                unsafe { libc::raise(signal) };
                assert!(DONE.load(Ordering::Relaxed) > before);
            }
        });
    }

    /// Calls that wait: what the kernel restarts must not be seen as interrupted; what it does not
    /// restart is counted.
    fn blocking(please_stop: &Signal) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        until(please_stop, || {
            let client = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(1));
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                std::thread::sleep(Duration::from_millis(1));
                stream.write_all(b"x").unwrap();
                let mut byte = [0u8];
                // SAFETY: a raw read of one byte into a place that is writable.
                let read = unsafe { libc::read(stream.as_raw_fd(), byte.as_mut_ptr().cast(), 1) };
                assert_eq!(read, 1, "read: {}", std::io::Error::last_os_error());
            });
            // SAFETY: raw, because the standard library hides interruptions: no address is asked
            // for.
            let accepted = unsafe { libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()) };
            assert!(accepted >= 0, "accept: {}", std::io::Error::last_os_error());
            // SAFETY: just accepted, and owned only here.
            let mut stream: std::net::TcpStream = unsafe { std::os::fd::FromRawFd::from_raw_fd(accepted) };
            let mut byte = [0u8];
            // SAFETY: one byte into a place that is writable.
            let read = unsafe { libc::read(accepted, byte.as_mut_ptr().cast(), 1) };
            assert_eq!(read, 1, "read: {}", std::io::Error::last_os_error());
            let mut poll = libc::pollfd { fd: accepted, events: libc::POLLIN, revents: 0 };
            // SAFETY: one pollfd.
            count(0, unsafe { libc::poll(&mut poll, 1, 2) });
            // SAFETY: the descriptor is closed below; one event is writable.
            unsafe {
                let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
                let mut event = libc::epoll_event { events: 0, u64: 0 };
                count(1, libc::epoll_wait(epoll, &mut event, 1, 2));
                libc::close(epoll);
                let pause = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
                count(2, libc::nanosleep(&pause, std::ptr::null_mut()));
            }
            stream.write_all(b"y").unwrap();
            client.join().unwrap();
            assert_eq!(stream.read(&mut byte).unwrap(), 0);
        });
    }

    fn count(call: usize, result: libc::c_int) {
        if result < 0 {
            assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::Interrupted);
            INTERRUPTED.fetch_add(1, Ordering::Relaxed);
            BY_CALL[call].fetch_add(1, Ordering::Relaxed);
        }
    }
}
