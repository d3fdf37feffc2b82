//! Rolling files: the boundaries against a search through all minutes, in made-up zones; clocks
//! that step; archives that cannot be written; and two writers of one path.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime};

use super::calendar::{Interval, Schedule, Unit, Zone};
use super::*;
use crate::log::encode::PatternEncoder;
use crate::log::file::LogFile;
use crate::log::line_buffer::Encoder;
use crate::log::record::Captured;
use crate::log::sink::{Output, Sink};
use crate::log::sinks::Sinks;

/// The offset at first, and the instants from which there is another one.
struct Zones(i64, Vec<(i64, i64)>);

impl Zone for Zones {
    fn offset_at(&self, instant: i64) -> i64 {
        self.1.iter().rev().find(|(from, _)| instant >= *from).map_or(self.0, |(_, offset)| *offset)
    }
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn time(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
}

fn utc(text: &str) -> i64 {
    time(text).and_utc().timestamp()
}

fn local(zone: &Zones, at: i64) -> NaiveDateTime {
    DateTime::from_timestamp(at + zone.offset_at(at), 0).unwrap().naive_utc()
}

/// The local midnight at which the current unit of `now` is over, as log4rs counts.
fn midnight(interval: Interval, now: NaiveDateTime) -> NaiveDateTime {
    let (date, count) = (now.date(), interval.count as u64);
    let on = |part: u32| if interval.modulate { count - u64::from(part) % count } else { count };
    let first = |date: NaiveDate| date.with_day(1).unwrap();
    let date = match interval.unit {
        Unit::Day => date + Days::new(on(date.ordinal0())),
        Unit::Week => {
            let monday = date - Days::new(date.weekday().num_days_from_monday().into());
            monday + Days::new(7 * on(date.iso_week().week0()))
        }
        Unit::Month => first(date) + Months::new(on(date.month0()) as u32),
        _ => first(date).with_month(1).unwrap() + Months::new(12 * on(date.year() as u32) as u32),
    };
    date.and_hms_opt(0, 0, 0).unwrap()
}

/// The first boundary after `last`, found by a look at each minute.
fn searched(interval: Interval, zone: &Zones, last: i64) -> i64 {
    let shown = |at: i64| at + zone.offset_at(at);
    let (size, units) = match interval.unit {
        Unit::Minute => (60, 60),
        Unit::Hour => (HOUR, 24),
        _ => {
            let end = midnight(interval, local(zone, last)).and_utc().timestamp();
            return (last.div_euclid(60) + 1..).map(|minute| minute * 60).find(|at| shown(*at) >= end).unwrap();
        }
    };
    let part = shown(last).div_euclid(size).rem_euclid(units);
    let on = if interval.modulate { interval.count - part % interval.count } else { interval.count };
    let start = last - shown(last).rem_euclid(size);
    let mut minutes = (last.div_euclid(60) + 1..).map(|minute| minute * 60);
    if interval.unit == Unit::Hour && interval.modulate && interval.count > 1 {
        let end = shown(last) - shown(last).rem_euclid(size) + on * size;
        return minutes.find(|at| shown(*at) >= end).unwrap();
    }
    // The clock shows the start of a unit, or has skipped it.
    let begins = |at: &i64| {
        let (now, before) = (shown(*at), shown(*at - 60));
        now.rem_euclid(size) == 0 || now.div_euclid(size) > before.div_euclid(size)
    };
    let earliest = if interval.count == 1 { last + 1 } else { start + on * size };
    minutes.find(|at| *at >= earliest && begins(at)).unwrap()
}

/// Marsaglia's xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as i64
    }
}

#[test]
fn boundaries_are_those_that_a_search_finds() {
    const SHIFTS: [i64; 8] = [HOUR, -HOUR, HOUR / 2, -HOUR / 2, 2 * HOUR, -20 * 60, DAY, -DAY];
    let mut dice = Dice(0x5e1_4ed6e);
    let mut changed = 0;
    for round in 0..1500 {
        let begin = utc("1990-01-01 00:00") + dice.below(40 * 366) * DAY;
        let first = (dice.below(105) - 48) * 15 * 60;
        // Half of the changes are at a full hour of local time.
        let (mut at, mut offset, mut changes) = (begin, first, Vec::new());
        for _ in 0..6 {
            at += 4 * DAY + dice.below(20 * 24 * 60) * 60;
            if dice.below(2) == 0 {
                at -= (at + offset).rem_euclid(HOUR);
            }
            let shift = SHIFTS[dice.below(8) as usize];
            // No zone is a day or more from UTC.
            offset += if (offset + shift).abs() < 16 * HOUR { shift } else { 0 };
            changes.push((at, offset));
        }
        // Most instants are near a change.
        let near = changes[dice.below(6) as usize].0;
        let last = if dice.below(4) > 0 { near + dice.below(3 * DAY) - 2 * DAY } else { begin + dice.below(60 * DAY) };
        let zone = Zones(first, changes);
        let unit = [Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month][dice.below(5) as usize];
        let count = if dice.below(2) == 0 { 1 } else { 1 + dice.below(if unit == Unit::Month { 2 } else { 7 }) };
        let interval = Interval { unit, count, modulate: dice.below(2) == 0 };
        let (found, right) = (interval.next(&zone, last), searched(interval, &zone, last));
        assert_eq!(found, right, "round {round}: {interval:?} after {last} = {}, {:?}", local(&zone, last), zone.1);
        changed += u32::from(zone.offset_at(found) != zone.offset_at(last));
    }
    assert!(changed > 300, "only {changed} periods have a change of the clock");
}

#[test]
fn days_and_hours_end_where_the_clock_changes() {
    let berlin = Zones(HOUR, vec![(utc("2026-03-29 01:00"), 2 * HOUR), (utc("2026-10-25 01:00"), HOUR)]);
    // Midnight does not exist: the clock goes from 24:00 to 01:00; and an hour before midnight is
    // repeated.
    let sao_paulo = Zones(-3 * HOUR, vec![(utc("2018-11-04 03:00"), -2 * HOUR), (utc("2019-02-17 02:00"), -3 * HOUR)]);
    let cairo = Zones(2 * HOUR, vec![(utc("2024-04-25 22:00"), 3 * HOUR), (utc("2024-10-31 21:00"), 2 * HOUR)]);
    // Midnight comes twice.
    let havana = Zones(-4 * HOUR, vec![(utc("2024-11-03 05:00"), -5 * HOUR)]);
    // By half an hour.
    let lord_howe = Zones(11 * HOUR, vec![(utc("2026-04-04 15:00"), 10 * HOUR + HOUR / 2)]);
    // A whole day is skipped.
    let apia = Zones(-10 * HOUR, vec![(utc("2011-12-30 10:00"), 14 * HOUR)]);
    for (zone, unit, last, next) in [
        (&berlin, Unit::Day, "2026-10-25 22:30", "2026-10-25 23:00"),
        (&berlin, Unit::Day, "2026-10-24 22:00", "2026-10-25 23:00"),
        (&berlin, Unit::Day, "2026-03-28 23:00", "2026-03-29 22:00"),
        (&berlin, Unit::Week, "2026-10-25 22:30", "2026-10-25 23:00"),
        (&berlin, Unit::Month, "2026-10-25 22:30", "2026-10-31 23:00"),
        (&berlin, Unit::Year, "2026-07-01 00:00", "2026-12-31 23:00"),
        (&berlin, Unit::Hour, "2026-10-24 23:59", "2026-10-25 00:00"),
        (&berlin, Unit::Hour, "2026-10-25 00:00", "2026-10-25 01:00"),
        (&berlin, Unit::Hour, "2026-10-25 01:59", "2026-10-25 02:00"),
        (&berlin, Unit::Hour, "2026-03-29 00:30", "2026-03-29 01:00"),
        (&sao_paulo, Unit::Day, "2018-11-04 02:00", "2018-11-04 03:00"),
        (&sao_paulo, Unit::Day, "2018-11-04 03:00", "2018-11-05 02:00"),
        (&sao_paulo, Unit::Day, "2019-02-17 01:30", "2019-02-17 03:00"),
        (&cairo, Unit::Day, "2024-04-25 21:00", "2024-04-25 22:00"),
        (&cairo, Unit::Day, "2024-10-31 20:30", "2024-10-31 22:00"),
        (&havana, Unit::Day, "2024-11-03 03:00", "2024-11-03 04:00"),
        (&havana, Unit::Day, "2024-11-03 04:00", "2024-11-04 05:00"),
        (&lord_howe, Unit::Hour, "2026-04-04 14:30", "2026-04-04 15:30"),
        (&apia, Unit::Day, "2011-12-30 09:00", "2011-12-30 10:00"),
        (&apia, Unit::Day, "2011-12-30 10:00", "2011-12-31 10:00"),
    ] {
        let interval = Interval { unit, count: 1, modulate: false };
        assert_eq!(interval.next(zone, utc(last)), utc(next), "{unit:?} after {last}");
    }
}

#[test]
fn a_clock_that_steps_meets_each_boundary_once() {
    let zone = Zones(0, vec![]);
    let day = Interval { unit: Unit::Day, count: 1, modulate: false };
    let mut schedule = Schedule::new(day, 0, &zone, utc("2026-05-01 12:00"));
    let mut rolls = Vec::new();
    for (at, what) in [
        ("2026-05-01 23:59", "before"),
        ("2026-05-02 00:00", "first"),
        ("2026-05-01 23:58", "a step back"),
        ("2026-05-02 00:01", "again"),
        ("2026-05-05 08:00", "a step forth"),
        ("2026-05-05 09:00", "on"),
        ("2026-01-01 23:59", "far back"),
        ("2026-01-02 00:00", "on from there"),
        ("2026-01-02 00:01", "on"),
    ] {
        if schedule.is_due(&zone, utc(at), || utc(at)) {
            schedule.rolled(&zone, utc(at));
            rolls.push(what);
        }
    }
    assert_eq!(rolls, ["first", "a step forth", "on from there"]);
    // An old record, as one of a tail is, is no step of the clock.
    let mut schedule = Schedule::new(day, 0, &zone, utc("2026-05-10 12:00"));
    assert!(!schedule.is_due(&zone, utc("2026-05-01 00:00"), || utc("2026-05-10 12:01")));
    assert!(schedule.is_due(&zone, utc("2026-05-11 00:00"), || utc("2026-05-11 00:00")));
}

#[test]
fn a_random_delay_is_within_its_limit() {
    let zone = Zones(0, vec![]);
    let day = Interval { unit: Unit::Day, count: 1, modulate: false };
    let due = |at: &str| Schedule::new(day, 600, &zone, utc("2026-05-01 12:00")).is_due(&zone, utc(at), || utc(at));
    assert!((0..100).all(|_| !due("2026-05-01 23:59") && due("2026-05-02 00:10")));
    assert!((0..100).any(|_| !due("2026-05-02 00:01")), "no delay");
}

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

    /// The log file app.log behind a sink.
    fn sinks(&self, append: bool, policy: Policy, reload: bool) -> Sinks {
        let pattern = serde_saphyr::from_str("{ pattern: '{m}{n}' }").unwrap();
        let encoder = Encoder::Pattern(PatternEncoder::from_config(pattern).unwrap());
        let file = LogFile::open(&self.path("app.log"), append, encoder, Some(policy), reload).unwrap();
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
fn archives_move_on_and_the_oldest_goes_only_when_all_names_are_taken() {
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
fn a_roll_that_fails_half_way_leaves_all_under_their_names() {
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
fn paths_that_are_archives_are_known_by_any_name() {
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
fn an_archive_on_another_file_system_is_a_copy() {
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
fn a_roll_that_fails_loses_nothing_and_is_made_up_for() {
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
    // The last record found the file still due.
    assert_eq!(fs::read_to_string(folder.path("archive/0")).unwrap().lines().count(), count - 1);
    assert_eq!(fs::read_to_string(folder.path("app.log")).unwrap().lines().count(), 1);
}

#[test]
fn a_start_rolls_once_and_a_reload_is_no_start() {
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
fn a_period_goes_on_across_a_reload_unless_its_trigger_changes() {
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
fn an_archive_is_compressed_where_its_name_says_so() {
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
fn each_file_ends_with_the_record_that_fills_it() {
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
fn a_file_that_another_program_has_moved_pushes_no_archive_out() {
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
