//! The example files are good as they stand, and no damage to them makes the reading panic, hang,
//! or blame no place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::damage::damage;
use crate::random::Random;
use crate::support::in_own_process_with;
use selvedge::Config;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// Removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("selvedge-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.join(name);
        fs::write(&file, bytes).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn the_examples_are_good_as_they_stand() {
    Config::from(example("selvedge.yaml")).check().unwrap();
    Config::load(example("selvedge.yaml")).unwrap().check().unwrap();
    Config::new("log only").log_file(example("log4rs.yaml")).check().unwrap();
}

#[test]
fn an_oversized_file_is_not_read_whole() {
    let folder = Folder::new("large");
    let comment = "# a line of a comment that goes on and on\n";
    let file = folder.write("selvedge.yaml", comment.repeat(30_000).as_bytes());
    let message = Config::load(&file).unwrap_err().to_string();
    assert!(message.contains("selvedge.yaml: larger than 1048576 bytes"), "{message}");
    if cfg!(target_os = "linux") {
        let message = Config::load("/dev/zero").unwrap_err().to_string();
        assert!(message.contains("/dev/zero: larger than"), "{message}");
    }
}

#[test]
fn checking_creates_nothing() {
    let folder = Folder::new("creates-nothing");
    let log = folder.0.join("logs/deep/x.log");
    let text = format!("appenders: {{ f: {{ kind: file, path: '{}' }} }}\nroot: {{ appenders: [f] }}\n", log.display());
    folder.write("log4rs.yaml", text.as_bytes());
    Config::from(folder.write("selvedge.yaml", b"log: log4rs.yaml\nprofile: { output: new }\n")).check().unwrap();
    assert!(!folder.0.join("logs").exists() && !folder.0.join("new").exists());
}

/// The text without comments: damage shall hit what is read.
fn bare(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(example(name)).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.is_empty());
    lines.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
}

#[test]
fn damaged_files_give_errors_and_no_panic() {
    // In a process of its own, whose environment has the variable.
    let (alarm, variables) = (Duration::from_secs(600), [("LOGS", "/var/log")]);
    if in_own_process_with(module_path!(), "damaged_files_give_errors_and_no_panic", alarm, &variables) {
        return;
    }
    const CASES: u64 = 3000;
    const ROLLING: &str = "
  rolling:
    kind: rolling_file
    path: $ENV{LOGS}/indexer.log
    policy:
      kind: compound
      trigger: { kind: time, interval: 1 day, modulate: true, max_random_delay: 10 }
      roller: { kind: fixed_window, pattern: 'logs/old.{}.log', base: 1, count: 5 }
root:";
    const LOGGER: &str = "\nloggers:\n  indexer::parser: { level: debug, appenders: [rolling], additive: false }";
    let (done, all_done) = mpsc::channel();
    let fuzz = thread::spawn(move || {
        let folder = Folder::new("fuzz");
        let selvedge = bare("selvedge.yaml");
        let log4rs = String::from_utf8(bare("log4rs.yaml")).unwrap();
        let log4rs = log4rs.replacen("\nroot:", ROLLING, 1).replacen("\nloggers:", LOGGER, 1).into_bytes();
        folder.write("log4rs.yaml", &log4rs);
        Config::from(folder.write("selvedge.yaml", &selvedge)).check().unwrap();

        let (mut good, mut bad) = (0, 0);
        for seed in 1..=CASES {
            let mut random = Random(seed);
            let (name, mut bytes) = match seed % 2 {
                0 => ("selvedge.yaml", selvedge.clone()),
                _ => ("log4rs.yaml", log4rs.clone()),
            };
            for _ in 0..=random.below(3) {
                damage(&mut random, &mut bytes);
            }
            let file = folder.write(name, &bytes);
            let config = match name {
                "selvedge.yaml" => Config::from(file),
                _ => Config::new("fuzz").log_file(file),
            };
            match config.check() {
                Ok(()) => good += 1,
                Err(error) => {
                    bad += 1;
                    let lines = String::from_utf8_lossy(&bytes).lines().count() as u64;
                    let placed = error.file().is_some() && error.line().is_some_and(|line| (1..=lines).contains(&line));
                    let text = error.to_string();
                    let readable = !text.chars().any(char::is_control) && text.len() < 2000;
                    let shown = String::from_utf8_lossy(&bytes);
                    assert!(error.is_config() && placed && readable, "seed {seed}: {error:?}\n{shown}");
                }
            }
            folder.write("log4rs.yaml", &log4rs);
        }
        let _told = done.send((good, bad));
    });
    match all_done.recv_timeout(Duration::from_secs(500)) {
        Ok((good, bad)) => assert!(good > 50 && bad > 1000, "{good} good, {bad} bad"),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the reading hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(fuzz.join().unwrap_err()),
    }
}
