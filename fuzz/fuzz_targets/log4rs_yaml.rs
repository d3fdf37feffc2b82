//! Any bytes as a log4rs file: an error with its place, or each appender that the file names; never a panic, which
//! libFuzzer takes for a crash, and never a hang. Nothing is opened but the file itself.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use selvedge::logging::fuzz;

/// In memory, where there is such a place: it is written for each input.
fn file() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = folder.join(format!("selvedge-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder.join("log4rs.yaml")
    })
}

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(file(), bytes).expect("written");
    match fuzz::strict(file()) {
        Ok(appenders) => {
            let text = std::str::from_utf8(bytes).expect("what is no UTF-8 is refused");
            assert_eq!(Some(appenders), fuzz::plain(text));
        }
        Err(error) => {
            // By YAML, a lone carriage return ends a line.
            let lines = String::from_utf8_lossy(bytes).split(['\n', '\r']).count() as u64;
            assert!(error.is_config(), "{error:?}");
            assert!(error.file().is_some_and(|named| named == file()), "{error:?}");
            assert!(error.line().is_none_or(|line| (1..=lines).contains(&line)), "{error:?}");
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control) && text.len() < 4000, "{text:?}");
        }
    }
});
