//! What a forked child may do: `forking SCENARIO`. Each scenario forks, checks in the child, and
//! says "NAME: ok" or what was wrong.

#[cfg(not(unix))]
pub(crate) fn main() {}

#[cfg(unix)]
pub(crate) fn main() -> std::process::ExitCode {
    unix::main()
}

#[cfg(unix)]
mod unix {
    #[cfg(feature = "profiling")]
    use selvedge::Builder;
    use selvedge::{Config, Lock, Queue, Runtime, Signal, Thread, Till, logging, register, scope, spawn};
    use std::io::{Read, Write};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, ExitCode};
    #[cfg(feature = "profiling")]
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// So long that only a child that hangs sees its end.
    const LONG: Duration = Duration::from_secs(300);
    /// For waits in a child, which then can say what it was that did not come.
    const SHORTER: Duration = Duration::from_secs(100);

    type Check = Result<(), String>;

    fn is(condition: bool, what: &str) -> Check {
        if condition { Ok(()) } else { Err(what.to_owned()) }
    }

    fn fork() -> i32 {
        // SAFETY: the child uses what selvedge promises of a forked child.
        unsafe { libc::fork() }
    }

    fn exit_now(code: i32) -> ! {
        // SAFETY: it has no preconditions.
        unsafe { libc::_exit(code) }
    }

    /// How the child ended; `None`: it hung, and was killed.
    fn wait(child: i32) -> Option<i32> {
        let (begin, mut status) = (Instant::now(), 0);
        while begin.elapsed() < LONG {
            // SAFETY: `status` is writable.
            if unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == child {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // SAFETY: the child was not waited for, so the id is still its own.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, &raw mut status, 0);
        }
        None
    }

    fn tell(name: &str, status: Option<i32>, expected: i32) {
        match status {
            Some(status) if status == expected => println!("{name}: ok"),
            Some(status) => println!("{name}: status {status:#x}, expected {expected:#x}"),
            None => println!("{name}: hangs"),
        }
    }

    /// Runs the check in a forked child, which ends at once afterwards.
    fn child(name: &str, check: impl FnOnce() -> Check) {
        let id = fork();
        if id == 0 {
            if let Err(wrong) = check() {
                let _ = writeln!(std::io::stderr(), "{name}: {wrong}");
                exit_now(9);
            }
            exit_now(0);
        }
        tell(name, wait(id), 0);
    }

    /// A child that says when it is ready, and is sent a signal then.
    fn signalled(name: &str, signal: i32, expected: i32, ready: impl FnOnce()) {
        let (mut says, tells) = std::io::pipe().expect("a pipe");
        let id = fork();
        if id == 0 {
            drop(says);
            ready();
            let _ = (&tells).write_all(b"r");
            std::thread::sleep(LONG * 2);
            exit_now(8);
        }
        drop(tells);
        let _ = says.read_exact(&mut [0]);
        // SAFETY: the child was not waited for, so the id is still its own.
        unsafe { libc::kill(id, signal) };
        tell(name, wait(id), expected);
    }

    pub(super) fn main() -> ExitCode {
        match std::env::args().nth(1).as_deref() {
            Some("plain") => plain(),
            Some("runtime") => return runtime(),
            Some("ends") => return ends(),
            Some("spawned") => return spawned(),
            Some("daemon") => daemon(),
            Some("log") => return log_in_children(),
            #[cfg(feature = "profiling")]
            Some("record") => record(),
            _ => return ExitCode::from(64),
        }
        ExitCode::SUCCESS
    }

    /// What works in each child.
    fn use_everything() -> Check {
        is(spawn("child", |_| 7).join().is_ok_and(|seven| seven == 7), "spawn and join")?;
        let sum = scope(|s| {
            let one = s.spawn("one", |_| 1);
            one.join().unwrap_or(0) + s.spawn("two", |_| 2).join().unwrap_or(0)
        });
        is(sum == 3, "scope")?;
        let (queue, signal) = (Queue::bounded("numbers", 1), Signal::new("all added"));
        let (adds, goes) = (queue.clone(), signal.clone());
        drop(spawn("adder", move |_| {
            (0..100).for_each(|n| adds.add(n).expect("open"));
            adds.close();
            goes.go();
        }));
        is(queue.iter().sum::<i32>() == 4950 && signal.wait_for_go_timeout(SHORTER), "queue and signal")?;
        let ran = Signal::new("ran");
        let goes = ran.clone();
        Till::after(Duration::from_millis(5)).on_go(move || {
            goes.go();
        });
        is(ran.wait_for_go_timeout(SHORTER), "a target of a Till")?;
        let receiver = Till::after(Duration::from_millis(5));
        is(receiver.receiver().recv_timeout(SHORTER).is_err() && receiver.is_go(), "a receiver of a Till")?;
        let registered = std::thread::spawn(|| register("callback").thread().path().to_owned());
        let path = registered.join().unwrap_or_default();
        is(path.ends_with("/callback"), &path)
    }

    /// The child's tree is one thread, which is called as it was.
    fn tree_of_one(path: &str, parents: &Thread, handle: selvedge::JoinHandle<()>) -> Check {
        let me = Thread::current();
        is(me.path() == path && me.parent().is_none() && me.is_alive(), &format!("{me:?}, expected {path}"))?;
        is(me.children().is_empty(), "it has children of the parent process")?;
        is(!parents.is_alive() && parents.children().is_empty(), "a thread of the parent process is alive")?;
        parents.stopped().wait_for_go();
        let Err(failure) = handle.join() else { return Err("joined a thread of the parent process".into()) };
        is(failure.to_string().contains("forked child"), &failure.to_string())?;
        let dump = selvedge::dump().to_string();
        let is_alone = dump.lines().next().is_some_and(|line| line.contains(": 1 thread"));
        is(is_alone && dump.contains(path), &dump)?;
        is(!dump.contains("idle") && !dump.contains("ended meanwhile") && !dump.contains("log-writer"), &dump)
    }

    /// Without a runtime, and the first fork before the crate was used at all.
    fn plain() {
        child("unused", use_everything);
        let before = Thread::current();
        child("looked at", || {
            is(Thread::current() == before && before.is_alive(), "the calling thread is another one")?;
            use_everything()
        });
        let idle = spawn("idle", |please_stop| please_stop.wait_for_go());
        let parents = idle.thread().clone();
        child("tree", move || tree_of_one("main", &parents, idle));
        // Attached before the fork: it runs in both.
        let ran = Signal::new("ran");
        let goes = ran.clone();
        let till = Till::after(Duration::from_millis(200));
        till.on_go(move || {
            goes.go();
        });
        child("inherited target", || is(ran.wait_for_go_timeout(SHORTER), "it has not run"));
        is(ran.wait_for_go_timeout(LONG), "it has not run in the parent").expect("the parent's own");
        child("grandchild", || {
            spawn("before", |_| ()).join().map_err(|failure| failure.to_string())?;
            let id = fork();
            if id == 0 {
                exit_now(i32::from(use_everything().is_err()));
            }
            is(wait(id) == Some(0), "the grandchild")?;
            use_everything()
        });
        let lock = Lock::new("lock", 0);
        let held = lock.lock();
        child("lock that the forking thread holds", || {
            drop(held);
            *lock.lock() += 1;
            is(lock.try_lock().is_some(), "still locked")
        });
    }

    /// Threads that spawn, join, wait and log all the time, so that locks are held at the moment of
    /// a fork.
    fn busy() -> Vec<selvedge::JoinHandle<()>> {
        let body = |please_stop: &Signal| {
            let queue = Queue::unbounded("busy");
            while !please_stop.is_go() {
                let adds = queue.clone();
                let brief = spawn("brief", move |_| adds.add(1));
                log::debug!("not written");
                let _ = queue.pop_till(&Till::after(Duration::from_millis(1)));
                drop(brief.join());
            }
        };
        (0..2).map(|n| spawn(format!("busy-{n}"), body)).collect()
    }

    fn runtime() -> ExitCode {
        selvedge::run(Config::new("forking"), |_| {
            let idle: Vec<_> = (0..4).map(|n| spawn(format!("idle-{n}"), |p| p.wait_for_go())).collect();
            let busy = busy();
            for round in 0..5 {
                child(&format!("everything {round}"), use_everything);
            }
            for handle in idle {
                let parents = handle.thread().clone();
                child("tree", move || tree_of_one("main", &parents, handle));
            }
            child("stop", || {
                Thread::current().stop();
                is(Thread::current().please_stop().is_go(), "please_stop")
            });
            child("flush", || {
                log::info!("from a child");
                logging::flush();
                Ok(())
            });
            child("own runtime", || {
                let runtime = Runtime::start(Config::new("of the child")).map_err(|error| error.to_string())?;
                drop(spawn("waits", |please_stop| please_stop.wait_for_go()));
                use_everything()?;
                runtime.shutdown().map_err(|failure| failure.to_string())
            });
            child("exec", || {
                let mut command = Command::new("true");
                // SAFETY: the closure does nothing.
                unsafe { command.pre_exec(|| Ok(())) };
                is(command.status().is_ok_and(|status| status.success()), "a command in a child")
            });
            let mut command = Command::new("true");
            // SAFETY: the closure does nothing.
            unsafe { command.pre_exec(|| Ok(())) };
            assert!(command.status().expect("it runs").success());
            busy.iter().for_each(selvedge::JoinHandle::stop);
            Ok::<(), String>(())
        })
    }

    /// How a child ends, and how fast.
    fn ends() -> ExitCode {
        selvedge::run(Config::new("ends").patience(Duration::from_secs(2)), |_| {
            let _idle = spawn("idle", |please_stop| please_stop.wait_for_go());
            signalled("SIGTERM", libc::SIGTERM, libc::SIGTERM, || ());
            signalled("SIGINT", libc::SIGINT, libc::SIGINT, || ());
            signalled("SIGTERM of a child with threads", libc::SIGTERM, libc::SIGTERM, || {
                drop(spawn("waits", |please_stop| please_stop.wait_for_go()));
            });
            signalled("SIGTERM of a child with a runtime", libc::SIGTERM, 0, || {
                // The signal ends this body, and the child leaves by `exit` below.
                let runtime = Runtime::start(Config::new("child")).expect("a runtime");
                std::thread::spawn(|| ());
                std::mem::forget(spawn("ends", {
                    let please_stop = runtime.please_stop().clone();
                    move |_| {
                        please_stop.wait_for_go();
                        exit_now(0)
                    }
                }));
                std::mem::forget(runtime);
            });
            child("exit", || std::process::exit(0));
            let id = fork();
            if id == 0 {
                // Its threads end with it.
                drop(spawn("waits", |please_stop| please_stop.wait_for_go()));
                return Ok(());
            }
            tell("return", wait(id), 0);
            let id = fork();
            if id == 0 {
                return Err("the child could not".to_owned());
            }
            tell("error", wait(id), 1 << 8);
            let id = fork();
            if id == 0 {
                panic!("the child panics");
            }
            tell("panic", wait(id), 1 << 8);
            Ok(())
        })
    }

    /// Forks on threads that are not main: spawned, registered, unregistered, and the timer's.
    fn spawned() -> ExitCode {
        selvedge::run(Config::new("spawned"), |_| {
            let idle = spawn("idle", |please_stop| please_stop.wait_for_go());
            let parents = idle.thread().clone();
            let worker = spawn("worker", move |_| {
                child("tree", || tree_of_one("main/worker", &parents, idle));
                child("everything", use_everything);
                child("child's path", || {
                    let path = spawn("x", |_| Thread::current().path().to_owned()).join().unwrap_or_default();
                    is(path == "main/worker/x", &path)
                });
                let id = fork();
                if id == 0 {
                    return Some(());
                }
                tell("return", wait(id), 0);
                None
            });
            assert!(worker.join().map_err(|failure| failure.to_string())?.is_none(), "a child came back");
            let failing = selvedge::spawn_fallible("failing", |_| {
                let id = fork();
                if id == 0 {
                    return Err("the child could not");
                }
                tell("error", wait(id), 1 << 8);
                Ok(())
            });
            failing.join().map_err(|failure| failure.to_string())?;
            let unregistered = std::thread::Builder::new().name("callback".into()).spawn(|| {
                child("unregistered, unused", use_everything);
                drop(Thread::current());
                child("unregistered", || {
                    is(Thread::current().path() == "main", Thread::current().path())?;
                    use_everything()
                });
                let registered = register("registered");
                child("registered", || {
                    is(Thread::current().path() == "main/registered", Thread::current().path())?;
                    drop(registered);
                    use_everything()
                });
            });
            unregistered.expect("a thread").join().expect("no panic");
            let done = Signal::new("done");
            let goes = done.clone();
            Till::after(Duration::from_millis(10)).on_go(move || {
                child("target", use_everything);
                let id = fork();
                if id != 0 {
                    tell("return of a target", wait(id), 0);
                    goes.go();
                }
            });
            done.wait_for_go_timeout(LONG * 3);
            let scoped = scope(|s| {
                let inner = s.spawn("inner", |please_stop| please_stop.wait_for_go());
                child("within a scope", use_everything);
                let id = fork();
                if id != 0 {
                    inner.stop();
                }
                id
            });
            // The child cannot leave the scope, whose thread is the parent's.
            if scoped == 0 {
                exit_now(7);
            }
            tell("leaves a scope", wait(scoped), 1 << 8);
            Ok::<(), String>(())
        })
    }

    /// As daemons do it: before and after the crate is used, each child going on where its parent
    /// ends.
    fn daemon() {
        let first = Thread::current().path().to_owned();
        for _ in 0..2 {
            let id = fork();
            if id != 0 {
                let status = wait(id);
                exit_now(i32::from(status != Some(0)));
            }
        }
        let code = selvedge::run(Config::new("daemon"), |_| {
            use_everything()?;
            is(Thread::current().path() == first, Thread::current().path())?;
            println!("daemon: ok");
            Ok::<(), String>(())
        });
        let _ = std::io::stdout().flush();
        exit_now(i32::from(code != ExitCode::SUCCESS));
    }

    /// Each child logs; what comes of it is in the file.
    fn log_in_children() -> ExitCode {
        let config = std::env::args().nth(2).expect("a configuration");
        selvedge::run(config.as_str(), |_| {
            for n in 0..20 {
                log::info!("parent {n}");
                child(&format!("log {n}"), || {
                    log::info!("child {n}");
                    drop(spawn("thread", move |_| log::info!("thread of child {n}")).join());
                    Ok(())
                });
            }
            Ok::<(), String>(())
        })
    }

    #[cfg(feature = "profiling")]
    fn record() {
        use selvedge::profile::{self, Options};
        use selvedge::span;
        #[inline(never)]
        fn work() {
            // CPU time: a loaded machine gives a thread little of it in some time.
            let cpu_time = || selvedge::Thread::current().cpu_time().expect("a CPU clock");
            let until = cpu_time() + Duration::from_millis(30);
            while cpu_time() < until {}
        }
        /// The child's main thread has what it used, and nothing of the parent's is in it.
        fn check(options: &Options, path: &str) -> Check {
            let recording = profile::start(options.clone()).map_err(|error| error.to_string())?;
            drop(span("in the child"));
            work();
            let worker = spawn("worker", |_| {
                let _span = span("in the child");
                work();
            });
            drop(worker.join());
            let profile = recording.finish();
            let time = |path: &str| {
                profile.threads().iter().filter(|thread| thread.path() == path).map(|t| t.cpu_time()).sum()
            };
            let (main, worker): (Duration, Duration) = (time(path), time(&format!("{path}/worker")));
            let paths: Vec<_> = profile.threads().iter().map(|thread| thread.path().to_owned()).collect();
            is(paths.iter().all(|path| !path.contains("idle")), &format!("{paths:?}"))?;
            let spans: Vec<_> = profile.spans().iter().map(|one| (one.name(), one.path(), one.calls())).collect();
            let worker_path = format!("{path}/worker");
            let expected = [("in the child", path, 1), ("in the child", &*worker_path, 1)];
            is(spans == expected, &format!("{spans:?}"))?;
            let least = Duration::from_millis(10);
            is(main >= least && worker >= least, &format!("{main:?} and {worker:?} of {paths:?}"))?;
            Ok(())
        }
        let engines = [Options::new(), Options::new().clock(profile::Clock::Wall).waits(true)];
        let idle = Arc::new(spawn("idle", |please_stop| please_stop.wait_for_go()));
        for options in &engines {
            child("before", || check(options, "main"));
            let recording = profile::start(options.clone()).expect("a recording");
            let parents = span("of the parent");
            child("during", || {
                drop(parents);
                // Without a recording in the child.
                drop(span("of the parent"));
                check(options, "main")?;
                check(options, "main")
            });
            let worker = options.clone();
            drop(spawn("forks", move |_| child("on a thread", || check(&worker, "main/forks"))).join());
            child("grandchild", || {
                check(options, "main")?;
                let id = fork();
                if id == 0 {
                    exit_now(i32::from(check(options, "main").is_err()));
                }
                is(wait(id) == Some(0), "the grandchild")
            });
            let mut command = Command::new("true");
            // SAFETY: the closure does nothing.
            unsafe { command.pre_exec(|| Ok(())) };
            tell("pre_exec", command.status().ok().and_then(|status| status.code()), 0);
            let inherited = std::cell::Cell::new(Some(recording));
            child("finishes the parent's", || {
                let profile = inherited.take().expect("the parent's").finish();
                is(profile.samples() == 0, "samples of the parent process")?;
                check(options, "main")
            });
            let profile = inherited.take().expect("its own").finish();
            assert!(profile.threads().iter().any(|thread| thread.path() == "main/idle"));
        }
        #[cfg(feature = "pprof-engine")]
        {
            let options = Options::new().engine(profile::Engine::Process);
            let start = || profile::start(options.clone()).map_err(|error| error.to_string());
            child("process engine before", || start().map(|recording| drop(recording.finish())));
            let inherited = std::cell::Cell::new(Some(start().expect("a recording")));
            child("process engine during", || {
                let Err(error) = start() else { return Err("pprof starts twice".to_owned()) };
                is(error.contains("timer engine"), &error)?;
                is(inherited.take().expect("the parent's").finish().samples() == 0, "samples of the parent process")?;
                check(&Options::new(), "main")
            });
            drop(inherited.take().expect("its own").finish());
            child("process engine after", || start().map(|recording| drop(recording.finish())));
        }
        idle.stop();
        drop(Builder::new("last").spawn(|_| ()));
    }
}
