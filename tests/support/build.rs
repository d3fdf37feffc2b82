//! Builds what the tests run, as the test itself was built, and says where it is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// One of the numbered examples, or of the programs in tests/programs.
pub fn program(name: &str) -> PathBuf {
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return examples().join(name);
    }
    link(programs(), name)
}

/// Where a test in a process of its own finds what its parent process has built. Cargo, asked there again,
/// would wait for other builds, and the alarm would not.
pub const PROGRAMS: &str = "SELVEDGE_TEST_PROGRAMS";

/// The one file of all programs in tests/programs.
pub fn programs() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let known = std::env::var_os(PROGRAMS).map(PathBuf::from);
        known.unwrap_or_else(|| built(&mut cargo("test", &["--no-run"])))
    })
}

/// A program in tests/programs, built to abort at a panic.
pub fn aborting_program(name: &str) -> PathBuf {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| {
        // Cargo ignores the setting `panic` for tests. The compiler's wrapper adds the flag, for this package alone:
        // dependencies that can unwind are linked as they are, as std is.
        let mut cargo = cargo("test", &["--no-run"]);
        built(cargo.env("RUSTC_WORKSPACE_WRAPPER", program("abort_compiler")))
    });
    link(programs, name)
}

/// The plugin of tests/programs, a library.
pub fn plugin() -> PathBuf {
    examples().join("libplugin.so")
}

/// The folder of the examples.
fn examples() -> &'static Path {
    static EXAMPLES: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        let mut cargo = cargo("build", &["--examples"]);
        assert!(cargo.status().expect("cargo runs").success(), "the examples do not build");
        // This test is <target>/<profile>/deps/<name>.
        let test = std::env::current_exe().expect("a test has a file");
        test.ancestors().nth(2).expect("in deps").join("examples")
    })
}

/// Cargo, with the features and the profile of this test.
fn cargo(command: &str, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.arg(command).arg("--quiet").args(arguments);
    cargo.arg("--manifest-path").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    for (feature, is_on) in [
        ("profiling", cfg!(feature = "profiling")),
        ("pprof-engine", cfg!(feature = "pprof-engine")),
        ("inspect", cfg!(feature = "inspect")),
        ("push", cfg!(feature = "push")),
        ("otlp", cfg!(feature = "otlp")),
    ] {
        if is_on {
            cargo.args(["--features", feature]);
        }
    }
    if !cfg!(feature = "log4rs") {
        cargo.arg("--no-default-features");
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo
}

/// Builds tests/programs; where it is, Cargo says as JSON.
fn built(cargo: &mut Command) -> PathBuf {
    let output = cargo.args(["--test", "programs", "--message-format", "json-render-diagnostics"]).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "tests/programs does not build: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == "programs");
    let program = programs.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.expect("cargo names the file")
}

/// A link of that name to the file. Several tests may make the same link at once.
fn link(programs: &Path, name: &str) -> PathBuf {
    let file = programs.file_name().expect("cargo has named a file");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::create_dir_all(&folder).expect("a folder for links");
    let link = folder.join(name);
    if !link.exists() {
        let own = folder.join(format!("{name}-{}-{:?}", std::process::id(), std::thread::current().id()));
        let _ = std::fs::remove_file(&own);
        std::os::unix::fs::symlink(programs, &own).expect("a link");
        std::fs::rename(&own, &link).expect("a link");
    }
    link
}
