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

fn encoder() -> Encoder {
    let pattern = serde_saphyr::from_str("{ pattern: '{m}{n}' }").unwrap();
    Encoder::Pattern(PatternEncoder::from_config(pattern).unwrap())
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
    let mut file = LogFile::open(&path, true, encoder(), None, false).unwrap();
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

/// Rotated from outside, as logrotate does it.
#[cfg(unix)]
#[test]
fn a_file_made_again_has_the_mode_of_the_file_before() {
    use std::os::unix::fs::PermissionsExt;
    let folder: PathBuf = std::env::temp_dir().join(format!("selvedge-file-mode-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let (path, moved) = (folder.join("app.log"), folder.join("app.log.1"));
    let mut file = LogFile::open(&path, true, encoder(), None, false).unwrap();
    write(&mut file, "before").unwrap();
    for mode in [0o600, 0o640, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(&path, &moved).unwrap();
        until_checked();
        write(&mut file, "after").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
    }
    fs::remove_dir_all(folder).unwrap();
}

/// `prog >out` where the log goes to /dev/stdout: both write on where the other has stopped.
#[cfg(target_os = "linux")]
#[test]
fn a_log_on_a_descriptor_has_its_place_in_the_file() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let path = std::env::temp_dir().join(format!("selvedge-file-descriptor-{}", std::process::id()));
    let mut shell = fs::File::create(&path).unwrap();
    writeln!(shell, "header").unwrap();
    let descriptor = PathBuf::from(format!("/dev/fd/{}", shell.as_raw_fd()));
    let mut file = LogFile::open(&descriptor, false, encoder(), None, false).unwrap();
    write(&mut file, "record").unwrap();
    writeln!(shell, "footer").unwrap();
    write(&mut file, "record").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "header\nrecord\nfooter\nrecord\n");
    fs::remove_file(path).unwrap();
}
