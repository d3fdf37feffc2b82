//! A running `tests/programs/watched.rs`.

use super::Folder;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The program, built as the tests are.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // This is <target>/<profile>/selvedge.
        let profile = Path::new(env!("CARGO_BIN_EXE_selvedge")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", "watched", "--manifest-path"]);
        cargo
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .arg("--target-dir")
            .arg(profile.parent().unwrap());
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the example watched does not build");
        profile.join("examples/watched")
    })
}

pub struct Watched {
    pub child: Child,
    /// Its environment's `XDG_RUNTIME_DIR`; the socket is below.
    _runtime: Folder,
    pub folder: String,
}

impl Watched {
    /// Returns when it answers.
    pub fn start() -> Watched {
        let runtime = Folder::new();
        let mut command = Command::new(program());
        command.env("XDG_RUNTIME_DIR", &runtime.0).env_remove("SELVEDGE_INSPECT").stdin(Stdio::piped());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let folder = runtime.0.join("selvedge").to_str().unwrap().to_owned();
        let watched = Watched { child, _runtime: runtime, folder };
        until("the program answers", || watched.selvedge(&["ps"]).status.success());
        watched
    }

    pub fn say(&mut self, line: &str) {
        self.child.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn selvedge(&self, arguments: &[&str]) -> std::process::Output {
        super::selvedge(&[arguments, &["--folder", &self.folder]].concat())
    }

    pub fn selvedge_once(&self, arguments: &[&str]) -> std::process::Output {
        super::selvedge_once(&[arguments, &["--folder", &self.folder]].concat())
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for a condition, for at most a minute.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
