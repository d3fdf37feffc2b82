//! The rolling of a file and its archives: what a roll that fails leaves, which file a record is
//! in, and what a reload or another process changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::*;
use crate::log::encode::PatternEncoder;
use crate::log::file::LogFile;
use crate::log::line_buffer::Encoder;
#[cfg(unix)]
use crate::log::output::Buffered;
use crate::log::record::Captured;
use crate::log::sink::{Output, Sink};
use crate::log::sinks::Sinks;
#[cfg(unix)]
use crate::os::for_tests::{NoFiles, StdoutWithoutReader, in_forked_child};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("selvedge-rolling-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Names and contents, in their order.
    fn files(&self) -> Vec<String> {
        let mut all: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| format!("{}={}", path.file_name().unwrap().display(), fs::read_to_string(&path).unwrap()))
            .collect();
        all.sort();
        all
    }

    fn archives(&self, pattern: &str, base: u32, count: u32) -> archive::Archives {
        archive::Archives::new(&self.0, policy::pieces(pattern).unwrap(), base, count)
    }

    fn policy(&self, trigger: &str, roller: &str) -> Policy {
        let settings = serde_saphyr::from_str(&format!("{{ trigger: {trigger}, roller: {roller} }}")).unwrap();
        Policy::read(&settings, &self.0).unwrap().unwrap()
    }

    fn log_file(&self, name: &str, append: bool, policy: Policy, reload: bool) -> LogFile {
        let pattern = serde_saphyr::from_str("{ pattern: '{m}{n}' }").unwrap();
        let encoder = Encoder::Pattern(PatternEncoder::from_config(pattern).unwrap());
        LogFile::open(&self.path(name), append, encoder, Some(policy), reload).unwrap()
    }

    /// The log file app.log behind a sink.
    fn sinks(&self, append: bool, policy: Policy, reload: bool) -> Sinks {
        let file = self.log_file("app.log", append, policy, reload);
        Sinks::new(vec![Sink::new("app", Output::File(Box::new(file)), 100)])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

fn put(sinks: &mut Sinks, text: &str) {
    sinks.write(0, 0, Captured::own(::log::Level::Info, text));
    sinks.flush();
}

#[test]
fn the_oldest_archive_goes_when_names_are_taken() {
    let folder = Folder::new("window");
    let archives = folder.archives("app.{}.log", 1, 3);
    for text in ["a", "b", "c", "d"] {
        folder.put("app.log", text);
        archives.take(&folder.path("app.log")).unwrap();
    }
    assert_eq!(folder.files(), ["app.1.log=d", "app.2.log=c", "app.3.log=b"]);
    fs::remove_file(folder.path("app.2.log")).unwrap();
    folder.put("app.log", "e");
    archives.take(&folder.path("app.log")).unwrap();
    assert_eq!(folder.files(), ["app.1.log=e", "app.2.log=d", "app.3.log=b"]);
    // Without a place for any, it is deleted.
    folder.put("app.log", "f");
    folder.archives("app.{}.log", 1, 0).take(&folder.path("app.log")).unwrap();
    assert_eq!(folder.files().len(), 3);
}

#[test]
fn a_failed_roll_leaves_all_names_as_before() {
    let folder = Folder::new("undone");
    for name in ["0", "1", "2"] {
        folder.put(&format!("app.{name}.log"), name);
    }
    let before = folder.files();
    // There is nothing to take, which shows only after the others have moved.
    let error = folder.archives("app.{}.log", 0, 3).take(&folder.path("app.log")).unwrap_err();
    assert!(error.contains("app.log") && error.contains("No such file"), "{error}");
    assert_eq!(folder.files(), before);
    folder.put("app.log", "active");
    fs::create_dir(folder.path("app.3.log")).unwrap();
    let error = folder.archives("app.{}.log", 0, 5).take(&folder.path("app.log")).unwrap_err();
    assert!(error.contains("app.3.log is a directory"), "{error}");
    let error = folder.archives("app.log/{}.log", 0, 5).take(&folder.path("app.log")).unwrap_err();
    assert!(error.contains("app.log is not a directory"), "{error}");
    assert_eq!(folder.files().len(), 4);
}

#[test]
fn a_huge_window_costs_what_its_archives_cost() {
    let folder = Folder::new("huge");
    let archives = folder.archives("{}/app.{}.log", 0, 4_000_000_000);
    for text in ["a", "b"] {
        folder.put("app.log", text);
        archives.take(&folder.path("app.log")).unwrap();
    }
    assert_eq!(fs::read_to_string(folder.path("1/app.1.log")).unwrap(), "a");
    assert_eq!(archives.number_of(&folder.path("3999999999/app.3999999999.log")), Some(3_999_999_999));
    assert_eq!(archives.number_of(&folder.path("4000000000/app.4000000000.log")), None);
}

#[cfg(unix)]
#[test]
fn an_archive_is_known_by_any_path() {
    let folder = Folder::new("names");
    std::os::unix::fs::symlink(&folder.0, folder.path("link")).unwrap();
    let archives = folder.archives("app.{}.log", 0, 12);
    for (path, number) in [
        ("app.0.log", Some(0)),
        ("link/app.11.log", Some(11)),
        ("app.12.log", None),
        ("app.07.log", None),
        ("app.log", None),
    ] {
        assert_eq!(archives.number_of(&folder.path(path)), number, "{path}");
    }
    let shared = |pattern: &str, base, count| archives.shared_with(&folder.archives(pattern, base, count)).is_some();
    assert!(shared("link/app.{}.log", 11, 5) && shared("app.1{}.log", 0, 3));
    assert!(!shared("app.{}.log", 12, 5) && !shared("other.{}.log", 0, 12));
}

#[cfg(target_os = "linux")]
#[test]
fn an_archive_elsewhere_is_a_copy() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new("device");
    let there = Path::new("/dev/shm").join(folder.0.file_name().unwrap());
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    if device(Path::new("/dev/shm")).is_none_or(|other| device(&folder.0) == Some(other)) {
        return;
    }
    let archives = folder.archives(&format!("{}/app.{{}}.log", there.display()), 0, 2);
    for text in ["a", "b", "c"] {
        folder.put("app.log", text);
        archives.take(&folder.path("app.log")).unwrap();
    }
    assert_eq!(folder.files(), [] as [&str; 0]);
    let there = Folder(there);
    assert_eq!(there.files(), ["app.0.log=c", "app.1.log=b"]);
}

#[test]
fn a_failed_roll_loses_nothing_and_comes_later() {
    let folder = Folder::new("later");
    folder.put("archive", "in the way");
    let policy =
        folder.policy("{ kind: size, limit: 20 b }", "{ kind: fixed_window, pattern: 'archive/{}', count: 99 }");
    let mut sinks = folder.sinks(true, policy, false);
    for number in 0..50 {
        put(&mut sinks, &format!("line {number}"));
    }
    assert_eq!(fs::read_to_string(folder.path("app.log")).unwrap().lines().count(), 50);
    fs::remove_file(folder.path("archive")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut count = 50;
    while !folder.path("archive/0").exists() {
        assert!(Instant::now() < deadline, "it is not rolled");
        put(&mut sinks, &format!("line {count}"));
        count += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    // The last record is in the one or the other: the time for the next try comes before or after it.
    let read = |name: &str| fs::read_to_string(folder.path(name)).unwrap();
    let (archived, active) = (read("archive/0"), read("app.log"));
    assert_eq!(archived + &active, (0..count).map(|number| format!("line {number}\n")).collect::<String>());
    assert!(active.lines().count() <= 1, "{active}");
}

#[test]
fn a_start_rolls_once_a_reload_does_not() {
    for append in [true, false] {
        let folder = Folder::new(&format!("start-{append}"));
        folder.put("app.log", "the run before\n");
        let policy = || folder.policy("{ kind: onstartup }", "{ kind: fixed_window, pattern: 'app.{}.log', count: 9 }");
        put(&mut folder.sinks(append, policy(), false), "one");
        // A reload adds to the file, as the settings are changed to say.
        put(&mut folder.sinks(true, policy(), true), "two");
        assert_eq!(folder.files(), ["app.0.log=the run before\n", "app.log=one\ntwo\n"]);
        put(&mut folder.sinks(append, policy(), false), "three");
        assert_eq!(folder.files()[1..], ["app.1.log=the run before\n", "app.log=three\n"]);
    }
    // Too short to be kept, and to be emptied as the settings say.
    let folder = Folder::new("start-short");
    folder.put("app.log", "short\n");
    let policy = folder.policy("{ kind: onstartup, min_size: 100 }", "{ kind: delete }");
    put(&mut folder.sinks(false, policy, false), "one");
    assert_eq!(folder.files(), ["app.log=one\n"]);
}

#[test]
fn a_reload_keeps_the_period_of_its_trigger() {
    let folder = Folder::new("period");
    let path = folder.path("app.log");
    let rolling = |interval: &str, reload: bool| {
        let trigger = format!("{{ kind: time, interval: {interval}, max_random_delay: 1000000 }}");
        let rolling = Rolling::new(folder.policy(&trigger, "{ kind: delete }"), &path, reload);
        let schedule = rolling.memory.lock().schedule.unwrap();
        (rolling, format!("{schedule:?}"))
    };
    let (first, before) = rolling("1 day", false);
    let (second, after) = rolling("1 day", true);
    assert_eq!(before, after);
    assert!(!second.is_outdated());
    // The old appender may roll the file while the new one has it open.
    first.memory.lock().rolls += 1;
    assert!(second.is_outdated());
    assert_ne!(rolling("2 days", true).1, before);
    // By chance, one in a million, the delay is the same.
    assert!((0..3).any(|_| rolling("1 day", false).1 != before));
}

#[test]
fn an_archive_is_compressed_by_its_name() {
    let folder = Folder::new("compressed");
    let archives = folder.archives("app.{}.log.gz", 0, 2);
    let text = "the same line\n".repeat(1000);
    for number in 0..3 {
        folder.put("app.log", &format!("{number} {text}"));
        archives.take(&folder.path("app.log")).unwrap();
    }
    assert!(!folder.path("app.log").exists() && !folder.path("app.2.log.gz").exists());
    for number in 0..2 {
        let bytes = fs::read(folder.path(&format!("app.{number}.log.gz"))).unwrap();
        assert!(bytes.starts_with(&[0x1f, 0x8b]) && bytes.len() < text.len() / 10);
        #[cfg(feature = "profiling")]
        {
            let mut back = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut back).unwrap();
            assert_eq!(back, format!("{} {text}", 2 - number));
        }
    }
    // Nothing to compress: the others stay.
    archives.take(&folder.path("app.log")).unwrap_err();
    assert!(folder.path("app.0.log.gz").exists() && folder.path("app.1.log.gz").exists());
}

#[test]
fn a_file_ends_with_its_filling_record() {
    let folder = Folder::new("full");
    let policy = folder.policy("{ kind: size, limit: 8 }", "{ kind: fixed_window, pattern: 'app.{}.log', count: 9 }");
    let mut sinks = folder.sinks(true, policy, false);
    for text in ["1234", "5678", "far longer than the limit", "9", "0"] {
        sinks.write(0, 0, Captured::own(::log::Level::Info, text));
    }
    sinks.flush();
    assert_eq!(folder.files(), ["app.0.log=far longer than the limit\n", "app.1.log=1234\n5678\n", "app.log=9\n0\n"]);
    let folder = Folder::new("zero");
    let policy = folder.policy("{ kind: size, limit: 0 }", "{ kind: fixed_window, pattern: 'app.{}.log', count: 2 }");
    let mut sinks = folder.sinks(true, policy, false);
    ["a", "b", "c"].iter().for_each(|text| put(&mut sinks, text));
    assert_eq!(folder.files(), ["app.0.log=c\n", "app.1.log=b\n", "app.log="]);
}

#[test]
fn a_moved_file_pushes_no_archive_out() {
    let folder = Folder::new("moved");
    folder.put("app.0.log", "old");
    let policy = folder.policy("{ kind: size, limit: 8 }", "{ kind: fixed_window, pattern: 'app.{}.log', count: 1 }");
    let mut sinks = folder.sinks(true, policy, false);
    put(&mut sinks, "1234");
    fs::rename(folder.path("app.log"), folder.path("app.log.1")).unwrap();
    // It is seen at the latest when the file is due.
    put(&mut sinks, "5678");
    put(&mut sinks, "9");
    assert_eq!(folder.files(), ["app.0.log=old", "app.log.1=1234\n5678\n", "app.log=9\n"]);
}

#[test]
fn two_writers_of_one_path_lose_nothing() {
    const RECORDS: usize = 1500;
    let folder = Folder::new("two");
    let policy =
        || folder.policy("{ kind: size, limit: 300 }", "{ kind: fixed_window, pattern: 'app.{}.log', count: 9999 }");
    // Each has a memory of its own, as in two processes.
    let writers = ["a", "b"].map(|name| (name, folder.sinks(true, policy(), false)));
    std::thread::scope(|scope| {
        for (name, mut sinks) in writers {
            scope.spawn(move || (0..RECORDS).for_each(|number| put(&mut sinks, &format!("{name} {number} end"))));
        }
    });
    // A file that the other writer has begun is not rolled before it is full.
    let archives =
        fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.file_name() != "app.log");
    assert!(archives.map(|entry| entry.metadata().unwrap().len()).all(|length| length > 300));
    let text: String = folder.files().iter().map(|file| file.split_once('=').unwrap().1.to_owned()).collect();
    let mut lines: Vec<&str> = text.lines().filter(|line| line.ends_with(" end")).collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 2 * RECORDS);
}

/// As a sink does it.
#[cfg(unix)]
fn write(file: &mut LogFile, text: &str) -> std::io::Result<()> {
    assert!(file.push_directly(&Captured::own(::log::Level::Info, text)).unwrap());
    file.is_full();
    file.write_out()
}

#[cfg(unix)]
#[test]
fn a_path_that_is_unreadable_postpones_the_roll() {
    let folder = Folder::new("circle");
    let policy =
        folder.policy("{ kind: size, limit: 8 }", "{ kind: fixed_window, pattern: 'logs/app.{}.log', count: 9 }");
    let mut file = folder.log_file("logs/app.log", true, policy, false);
    write(&mut file, "1234").unwrap();
    fs::rename(folder.path("logs"), folder.path("aside")).unwrap();
    // A link to itself: no user can look at what is below it, not even root.
    std::os::unix::fs::symlink("logs", folder.path("logs")).unwrap();
    write(&mut file, "5678").unwrap();
    write(&mut file, "9").unwrap();
    assert_eq!(fs::read_to_string(folder.path("aside/app.log")).unwrap(), "1234\n5678\n9\n");
    fs::remove_file(folder.path("logs")).unwrap();
    fs::rename(folder.path("aside"), folder.path("logs")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(100);
    let mut expected = "1234\n5678\n9\n".to_owned();
    while !folder.path("logs/app.0.log").exists() {
        assert!(Instant::now() < deadline, "it is not rolled");
        write(&mut file, "0").unwrap();
        expected.push_str("0\n");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(fs::read_to_string(folder.path("logs/app.0.log")).unwrap(), expected);
}

#[cfg(unix)]
#[test]
fn without_a_new_file_the_archive_is_written_on() {
    if crate::own_process::passes(module_path!(), "without_a_new_file_the_archive_is_written_on", &[]) {
        return;
    }
    let folder = Folder::new("refused");
    let policy = folder.policy("{ kind: size, limit: 8 }", "{ kind: fixed_window, pattern: 'app.{}.log', count: 9 }");
    let mut file = folder.log_file("app.log", true, policy, false);
    let none = NoFiles::new();
    let results = [write(&mut file, "12345678"), write(&mut file, "more"), file.write_out()];
    drop(none);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    write(&mut file, "9").unwrap();
    assert_eq!(folder.files(), ["app.0.log=12345678\nmore\n", "app.log=9\n"]);
}

/// A deleted file takes no more records.
#[cfg(unix)]
#[test]
fn a_file_not_made_after_a_deletion_is_a_failure() {
    if crate::own_process::passes(module_path!(), "a_file_not_made_after_a_deletion_is_a_failure", &[]) {
        return;
    }
    let folder = Folder::new("deleted");
    let policy = folder.policy("{ kind: size, limit: 8 }", "{ kind: delete }");
    let mut file = folder.log_file("app.log", true, policy, false);
    let none = NoFiles::new();
    let results = [write(&mut file, "12345678"), file.write_out(), file.write_out()];
    drop(none);
    for result in results {
        assert!(NoFiles::is_why(&result.unwrap_err()));
    }
    write(&mut file, "9").unwrap();
    assert_eq!(folder.files(), ["app.log=9\n"]);
}

#[cfg(unix)]
#[test]
fn a_compression_that_panics_is_a_failed_roll() {
    if crate::own_process::passes(module_path!(), "a_compression_that_panics_is_a_failed_roll", &[]) {
        return;
    }
    let folder = Folder::new("panics");
    folder.put("app.log", "text");
    folder.put("app.0.log.gz", "old");
    let before = folder.files();
    let archives = folder.archives("app.{}.log.gz", 0, 2);
    let no_reader = StdoutWithoutReader::new();
    let none = NoFiles::new();
    // log4rs cannot open the file, and prints that to stdout, which has no reader.
    let result = std::panic::catch_unwind(|| archives.take(&folder.path("app.log")));
    drop(none);
    drop(no_reader);
    let error = result.unwrap().unwrap_err();
    assert!(error.contains("cannot compress it into") && error.contains("panicked"), "{error}");
    assert_eq!(folder.files(), before);
}

#[cfg(unix)]
#[test]
fn a_child_forked_during_a_roll_rolls_by_itself() {
    let folder = Folder::new("fork");
    let path = folder.path("app.log");
    let policy = || folder.policy("{ kind: size, limit: 5 }", "{ kind: delete }");
    let mut rolling = Rolling::new(policy(), &path, false);
    let memory = rolling.memory.clone();
    let (tell, told) = std::sync::mpsc::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let rolls = std::thread::spawn(move || {
        let (_known, _memory) = (KNOWN.lock(), memory.lock());
        tell.send(()).unwrap();
        let _ = ends.recv();
    });
    told.recv().unwrap();
    let is_well = in_forked_child(|| {
        rolling.is_full(10) && !rolling.is_outdated() && Rolling::new(policy(), &path, true).is_full(10)
    });
    drop(end);
    rolls.join().unwrap();
    assert!(is_well, "the child waits for a thread that is not there");
}

/// As an administrator has changed it.
#[cfg(unix)]
#[test]
fn rolls_keep_the_mode_of_the_file() {
    use std::os::unix::fs::PermissionsExt;
    for archive in ["app.{}.log", "app.{}.log.gz"] {
        let folder = Folder::new("mode");
        let roller = format!("{{ kind: fixed_window, pattern: '{archive}', count: 2 }}");
        let mut file = folder.log_file("app.log", true, folder.policy("{ kind: size, limit: 8 }", &roller), false);
        fs::set_permissions(folder.path("app.log"), fs::Permissions::from_mode(0o600)).unwrap();
        for _ in 0..2 {
            write(&mut file, "12345678").unwrap();
        }
        for name in ["app.log".to_owned(), archive.replace("{}", "0"), archive.replace("{}", "1")] {
            let mode = fs::metadata(folder.path(&name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
