//! Functions have names: in libraries that are loaded while a recording runs, and in libraries that
//! are unloaded before it ends; with debug information, without, and with it in another file. The
//! memory for that is given back.
#![cfg(all(feature = "profiling", target_os = "linux", target_pointer_width = "64"))]

use crate::support::Folder;
use parking_lot::MutexGuard;
use selvedge::profile::{self, Engine, Options, Profile};
use std::ffi::{CString, c_ulong, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn alone() -> (selvedge::Registered, MutexGuard<'static, ()>) {
    let guard = crate::ONE_AT_A_TIME.lock();
    (selvedge::register("test"), guard)
}

/// Compiles a library with the functions `<name>_burn`, which has `<name>_inlined` in it, and
/// `<name>_hidden`, which it calls and which is not exported.
fn compile(folder: &Folder, name: &str, flags: &[&str]) -> PathBuf {
    let code = "
        static inline __attribute__((always_inline)) unsigned long NAME_inlined(unsigned long x) {
            for (volatile int i = 0; i < 20000; i++) x = x * 6364136223846793005UL + (unsigned long)i;
            return x;
        }
        static __attribute__((noinline)) unsigned long NAME_hidden(unsigned long x) { return NAME_inlined(x) + 1; }
        unsigned long NAME_burn(unsigned long x) { return NAME_hidden(NAME_inlined(x)) + 1; }
    ";
    let source = folder.write(&format!("{name}.c"), &code.replace("NAME", name));
    let library = folder.path().join(format!("lib{name}.so"));
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-shared", "-fPIC", "-Wl,--build-id"]).args(flags).arg("-o").arg(&library).arg(source);
    assert!(cc.status().expect("cc is there").success());
    library
}

fn run(program: &str, arguments: &[&str], file: &Path) {
    assert!(Command::new(program).args(arguments).arg(file).status().expect("binutils are there").success());
}

struct Library {
    handle: *mut c_void,
    burn: unsafe extern "C" fn(c_ulong) -> c_ulong,
}

impl Library {
    fn load(file: &Path, name: &str) -> Library {
        let file = CString::new(file.to_str().unwrap()).unwrap();
        // SAFETY: a library of ours, whose constructors do nothing.
        let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "{file:?} cannot be loaded");
        let symbol = CString::new(format!("{name}_burn")).unwrap();
        // SAFETY: the handle was just given.
        let burn = unsafe { libc::dlsym(handle, symbol.as_ptr()) };
        assert!(!burn.is_null());
        // SAFETY: what `compile` has written has this type.
        let burn = unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(c_ulong) -> c_ulong>(burn) };
        Library { handle, burn }
    }

    /// For so much of the calling thread's CPU time.
    fn burn(&self, time: Duration) {
        let me = selvedge::Thread::current();
        let end = me.cpu_time().unwrap() + time;
        while me.cpu_time().unwrap() < end {
            // SAFETY: it counts, and nothing else.
            std::hint::black_box(unsafe { (self.burn)(1) });
        }
    }

    fn unload(self) -> usize {
        let address = self.burn as usize;
        // SAFETY: no thread uses the library any more.
        assert_eq!(unsafe { libc::dlclose(self.handle) }, 0);
        address
    }
}

fn folded(profile: &Profile) -> String {
    let mut text = Vec::new();
    profile.write_folded(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Records `work`, which gets a length of time, each time for twice as long, until `enough` of the
/// lines.
fn record_until(mut work: impl FnMut(Duration), enough: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut length = Duration::from_millis(100);
    loop {
        let recording = profile::start(Options::new().engine(Engine::Timer)).unwrap();
        work(length);
        let lines = folded(&recording.finish());
        if enough(&lines) {
            return lines;
        }
        assert!(Instant::now() < deadline, "not seen in {length:?}:\n{lines}");
        length *= 2;
    }
}

#[test]
fn a_library_unloaded_while_recording_has_names() {
    let _alone = alone();
    let folder = Folder::new("comes_and_goes");
    let file = compile(&folder, "comes", &["-g"]);
    for unloaded in [false, true] {
        let mut kept = Vec::new();
        let work = |length| {
            let library = Library::load(&file, "comes");
            library.burn(length);
            if unloaded {
                library.unload();
            } else {
                kept.push(library);
            }
        };
        // Inlined functions as well, in both functions that they are inlined into.
        record_until(work, |lines| {
            lines.contains(";comes_burn;comes_inlined ") && lines.contains(";comes_burn;comes_hidden;comes_inlined ")
        });
        for library in kept {
            library.unload();
        }
    }
}

#[test]
fn libraries_at_one_address_keep_their_names() {
    let _alone = alone();
    let folder = Folder::new("one_place");
    let files = ["pear", "plum"].map(|name| (name, compile(&folder, name, &[])));
    let places = std::cell::RefCell::new(Vec::new());
    let of = |lines: &str, thread: &str, library: &str| -> u64 {
        let (thread, function) = (format!(";{thread};"), format!("{library}_"));
        let lines = lines.lines().filter(|line| line.contains(&thread) && line.contains(&function));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    record_until(
        |length| {
            places.borrow_mut().clear();
            for (name, file) in &files {
                let thread = selvedge::spawn(*name, {
                    let (name, file) = (*name, file.clone());
                    move |_| {
                        let library = Library::load(&file, name);
                        library.burn(length);
                        // The list of libraries is looked at every 50 ms, and as often at least.
                        library.burn(Duration::from_millis(100));
                        library.unload()
                    }
                });
                places.borrow_mut().push(thread.join().unwrap());
            }
        },
        |lines| {
            // Something else may have been mapped there between the two: then nothing is tested.
            let is_one_place = places.borrow()[0] == places.borrow()[1];
            let have_names = lines.contains("pear_hidden ") && lines.contains("plum_hidden ");
            // Until the list was looked at, the second was taken for the first. A busy machine looks late: then the
            // work is done again.
            is_one_place
                && have_names
                && [("pear", "plum"), ("plum", "pear")].iter().all(|(thread, other)| {
                    let (right, wrong) = (of(lines, thread, thread), of(lines, thread, other));
                    wrong <= 60_000_000 && right > wrong
                })
        },
    );
}

#[test]
fn without_symbols_code_has_file_offsets() {
    let _alone = alone();
    let folder = Folder::new("stripped");
    let file = compile(&folder, "bare", &["-s"]);
    let library = Library::load(&file, "bare");
    let lines = record_until(|length| library.burn(length), |lines| lines.contains(";[libbare.so+0x"));
    library.unload();
    // What other libraries can call still has its name, and is not taken for what lies behind it.
    assert!(lines.contains(";bare_burn;[libbare.so+0x") && !lines.contains("bare_hidden"), "{lines}");
}

#[test]
fn separate_debug_files_are_found() {
    let _alone = alone();
    let folder = Folder::new("separate");
    for compressed in [&[][..], &["-gz=zlib"]] {
        let file = compile(&folder, "apart", &[&["-g"], compressed].concat());
        let debug = folder.path().join("libapart.debug");
        std::fs::copy(&file, &debug).unwrap();
        run("objcopy", &["--only-keep-debug"], &debug);
        run("objcopy", &["--strip-all", &format!("--add-gnu-debuglink={}", debug.display())], &file);
        let library = Library::load(&file, "apart");
        record_until(|length| library.burn(length), |lines| lines.contains(";apart_burn;apart_hidden;apart_inlined "));
        library.unload();
    }
}

/// What binutils' `addr2line -i` finds in the same files was compared once: the same functions, the
/// same lines.
#[test]
fn packed_debug_information_tells_inlined_functions() {
    let _alone = alone();
    let folder = Folder::new("packed");
    for (format, versions) in
        [("none", "-gdwarf-4"), ("zlib", "-gdwarf-5"), ("zstd", "-gdwarf-5"), ("zlib-gnu", "-gdwarf-4")]
    {
        let file = compile(&folder, "packed", &[versions]);
        run("objcopy", &[&format!("--compress-debug-sections={format}")], &file);
        let library = Library::load(&file, "packed");
        let is_whole = |lines: &str| {
            lines.contains(";packed_burn;packed_inlined ")
                && lines.contains(";packed_burn;packed_hidden;packed_inlined ")
        };
        record_until(|length| library.burn(length), is_whole);
        library.unload();
    }
}

#[test]
fn packed_symbols_of_stripped_libraries_are_read() {
    let _alone = alone();
    let folder = Folder::new("mini");
    let file = compile(&folder, "mini", &["-g"]);
    // As distributions do it: a file of symbols alone, packed, in a section of the library.
    let symbols = folder.path().join("symbols");
    std::fs::copy(&file, &symbols).unwrap();
    run("objcopy", &["--strip-all", "--keep-symbol=mini_hidden"], &symbols);
    run("xz", &["--keep"], &symbols);
    let section = format!("--add-section=.gnu_debugdata={}.xz", symbols.display());
    run("objcopy", &["--strip-all", &section], &file);
    let library = Library::load(&file, "mini");
    record_until(|length| library.burn(length), |lines| lines.contains(";mini_burn;mini_hidden "));
    library.unload();
}

/// What replaces a library before a recording starts has none of its names. The system lets some
/// processes, such as root's, open the old file all the same.
#[test]
fn a_file_that_was_replaced_gives_no_names() {
    let _alone = alone();
    for flags in [&["-g"][..], &["-g", "-Wl,--build-id=none"]] {
        let folder = Folder::new("replaced");
        let (file, other) = (compile(&folder, "old", flags), compile(&folder, "wrong", flags));
        let library = Library::load(&file, "old");
        std::fs::rename(other, &file).unwrap();
        let lines = record_until(
            |length| library.burn(length),
            |lines| lines.contains(";[libold.so+0x") || lines.contains(";old_burn;old_hidden;old_inlined "),
        );
        assert!(!lines.contains("wrong_"), "{lines}");
        if lines.contains(";[libold.so+0x") {
            let (deadline, mut picture) = (Instant::now() + Duration::from_secs(60), String::new());
            while !picture.contains("libold.so cannot be read: another file has its name by now") {
                assert!(Instant::now() < deadline, "{picture}");
                let recording = profile::start(Options::new().engine(Engine::Timer)).unwrap();
                library.burn(Duration::from_millis(200));
                let mut bytes = Vec::new();
                recording.finish().write_flamegraph(&mut bytes, &Default::default()).unwrap();
                picture = String::from_utf8(bytes).unwrap();
            }
        }
        library.unload();
    }
}

#[test]
fn deleted_and_replaced_files_keep_their_names() {
    let _alone = alone();
    for flags in [&["-g"][..], &["-g", "-Wl,--build-id=none"]] {
        let folder = Folder::new("meanwhile");
        let (file, other) = (compile(&folder, "kept", flags), compile(&folder, "wrong", flags));
        let library = Library::load(&file, "kept");
        let (deadline, mut length) = (Instant::now() + Duration::from_secs(60), Duration::from_millis(100));
        loop {
            let recording = profile::start(Options::new().engine(Engine::Timer)).unwrap();
            library.burn(length);
            let lines = if file.exists() {
                std::fs::remove_file(&file).unwrap();
                let lines = folded(&recording.snapshot());
                std::fs::rename(&other, &file).unwrap();
                lines + &folded(&recording.finish())
            } else {
                folded(&recording.finish())
            };
            assert!(!lines.contains("wrong_"), "{lines}");
            if lines.contains(";kept_burn;kept_hidden;kept_inlined ") {
                break;
            }
            assert!(Instant::now() < deadline, "not seen in {length:?}:\n{lines}");
            std::fs::rename(&file, &other).unwrap();
            compile(&folder, "kept", flags);
            length *= 2;
        }
        library.unload();
    }
}

/// Works for the time of many samples, by the thread's own clock.
fn read_maps() {
    let clock = || selvedge::Thread::current().cpu_time().expect("a CPU clock");
    let end = clock() + Duration::from_millis(100);
    while clock() < end {
        std::hint::black_box(format!("{:?}", std::fs::read_to_string("/proc/self/maps")));
    }
}

#[test]
fn memory_for_names_is_given_back() {
    let _alone = alone();
    // What is mapped of files comes and goes with the code that runs; what was mapped to read it is
    // counted below.
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let program = std::env::current_exe().unwrap();
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.ends_with(program.to_str().unwrap())).count()
    };
    // Before its end, with everything that sampling itself needs.
    let recording = profile::start(Options::new()).unwrap();
    read_maps();
    let before = (resident(), mapped());
    let profile = recording.finish();
    let after = (resident(), mapped());
    assert!(folded(&profile).contains("memory_for_names_is_given_back"));
    assert!(after.0 < before.0 + 4096, "kB before and after: {before:?} {after:?}");
    assert_eq!(after.1, before.1);
}

/// The peak while names are found, in a test program with more than 20 MB of debug information.
#[test]
fn finding_names_takes_little_memory() {
    const MOST: u64 = 20 * 1024;
    let _alone = alone();
    let kilobytes = |name: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let recording = profile::start(Options::new()).unwrap();
    read_maps();
    let before = kilobytes("VmRSS:");
    // The peak is what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let profile = recording.finish();
    let peak = kilobytes("VmHWM:");
    assert!(folded(&profile).contains("finding_names_takes_little_memory"));
    assert!(peak < before + MOST, "kB before, and at the peak: {before}, {peak}");
}
