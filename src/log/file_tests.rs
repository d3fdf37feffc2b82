//! A log file whose path leads elsewhere: the open file is written on until it can be made again.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::encode::PatternEncoder;
use super::file::LogFile;
use super::line_buffer::Encoder;
use super::output::Buffered;
use super::record::Captured;

/// Longer than any wait here takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(100);
/// After this long, a write checks the path.
const CHECK_EVERY: Duration = Duration::from_secs(1);

fn write(file: &mut LogFile, text: &str) -> std::io::Result<()> {
    assert!(file.push_directly(&Captured::own(::log::Level::Info, text)).unwrap());
    file.write_out()
}

/// Returns when the next write checks the path. Called after the path has changed.
fn until_checked() {
    let begin = Instant::now();
    while begin.elapsed() < CHECK_EVERY {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_moved_file_is_written_until_it_can_be_made() {
    let folder: PathBuf = std::env::temp_dir().join(format!("selvedge-file-moved-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let (logs, aside) = (folder.join("logs"), folder.join("aside"));
    let path = logs.join("app.log");
    let pattern = serde_saphyr::from_str("{ pattern: '{m}{n}' }").unwrap();
    let encoder = Encoder::Pattern(PatternEncoder::from_config(pattern).unwrap());
    let mut file = LogFile::open(&path, true, encoder, None, false).unwrap();
    write(&mut file, "before").unwrap();
    fs::rename(&logs, &aside).unwrap();
    // A file in the place of the folder: nothing can be made below it, not even by root.
    fs::write(&logs, "in the way").unwrap();
    let mut expected = "before\n".to_owned();
    for text in ["first", "second"] {
        until_checked();
        write(&mut file, text).unwrap();
        expected.push_str(&format!("{text}\n"));
        assert_eq!(fs::read_to_string(aside.join("app.log")).unwrap(), expected);
    }
    fs::remove_file(&logs).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "the file is not made again");
        write(&mut file, "again").unwrap();
        expected.push_str("again\n");
        std::thread::sleep(Duration::from_millis(10));
    }
    write(&mut file, "last").unwrap();
    expected.push_str("last\n");
    let read = |folder: &PathBuf| fs::read_to_string(folder.join("app.log")).unwrap();
    assert_eq!(read(&aside) + &read(&logs), expected);
    assert!(read(&logs).ends_with("again\nlast\n"));
    fs::remove_dir_all(folder).unwrap();
}
