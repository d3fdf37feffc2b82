//! A library that uses this crate can be loaded with `dlopen` and closed with `dlclose`: what has
//! started goes on, and nothing crashes.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::ffi::{CStr, CString, c_void};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

const CHILD: &str = "UNLOAD_CHILD";

/// Runs that test alone in a process of its own, where it finds the library in `CHILD`.
fn in_child(test: &str) -> std::process::Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", &format!("unload::{test}"), "--nocapture", "--test-threads", "1"])
        .env(CHILD, crate::support::plugin());
    let mut child = child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let alarm = Instant::now() + crate::support::DEADLINE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > alarm {
            child.kill().unwrap();
            panic!("{test} hangs: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

struct Library(*mut c_void);

impl Library {
    fn open() -> Library {
        let path = CString::new(std::env::var(CHILD).unwrap()).unwrap();
        // SAFETY: a path that ends; the library's constructors are those of the standard library.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!library.is_null());
        Library(library)
    }

    fn call(&self, name: &CStr) -> i32 {
        // SAFETY: the library is open; the name ends.
        let function = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!function.is_null());
        // SAFETY: the library's functions have this form.
        let function: extern "C" fn() -> i32 = unsafe { std::mem::transmute(function) };
        function()
    }

    fn close(self) {
        // SAFETY: open, and closed once.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

fn is_loaded() -> bool {
    std::fs::read_to_string("/proc/self/maps").unwrap().contains("libplugin.so")
}

/// What could run code of a library that is gone: signals, thread ends, forks.
fn provoke() {
    for signal in [libc::SIGPROF, libc::SIGUSR1] {
        // SAFETY: no memory is touched.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut action);
            if action.sa_sigaction != libc::SIG_DFL {
                libc::raise(signal);
            }
        }
    }
    for _ in 0..20 {
        std::thread::spawn(|| std::hint::black_box((0..100_000).sum::<u64>())).join().unwrap();
    }
    // SAFETY: the child calls `_exit` at once.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(0);
        }
        let mut status = 1;
        libc::waitpid(child, &raw mut status, 0);
        assert_eq!(status, 0);
    }
    // Time for threads and timers that the library may have left to run into the removed code.
    std::thread::sleep(Duration::from_millis(50));
}

#[test]
fn a_library_that_has_started_nothing_is_unloaded() {
    if std::env::var_os(CHILD).is_none() {
        let output = in_child("a_library_that_has_started_nothing_is_unloaded");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    for _ in 0..3 {
        let library = Library::open();
        assert_eq!(library.call(c"plugin_idle"), 7);
        assert!(is_loaded());
        library.close();
        assert!(!is_loaded());
    }
}

#[test]
fn an_idle_library_can_be_reopened() {
    if std::env::var_os(CHILD).is_none() {
        let output = in_child("an_idle_library_can_be_reopened");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    for _ in 0..3 {
        // On a thread that ends when the library is closed: its thread-locals are destroyed then.
        let closed = std::thread::spawn(|| {
            let library = Library::open();
            assert_eq!(library.call(c"plugin_whole_run"), 1);
            library.close();
        });
        closed.join().unwrap();
        assert!(is_loaded(), "its handlers would be called where nothing is");
        provoke();
    }
}

#[test]
fn a_library_closed_while_working_goes_on() {
    if std::env::var_os(CHILD).is_none() {
        let output = in_child("a_library_closed_while_working_goes_on");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let library = Library::open();
    assert_eq!(library.call(c"plugin_leave_all"), 1);
    library.close();
    provoke();
}

#[test]
fn an_abort_after_closing_is_an_abort() {
    if std::env::var_os(CHILD).is_none() {
        let output = in_child("an_abort_after_closing_is_an_abort");
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
        return;
    }
    let library = Library::open();
    assert_eq!(library.call(c"plugin_whole_run"), 1);
    library.close();
    std::process::abort();
}

/// The library has a copy of the crate of its own.
#[cfg(feature = "profiling")]
#[test]
fn a_second_copy_names_the_signals_owner() {
    use selvedge::profile::{self, Options};
    if std::env::var_os(CHILD).is_none() {
        let ended = in_child("a_second_copy_names_the_signals_owner");
        assert!(ended.status.success(), "{ended:?}");
        return;
    }
    assert_eq!(Library::open().call(c"plugin_leave_all"), 1);
    let said = profile::start(Options::new()).unwrap_err().to_string();
    let dump = selvedge::dump().to_string();
    for text in [said, dump] {
        assert!(text.contains("another copy of selvedge in ") && text.contains("libplugin.so answers it"), "{text}");
    }
}
