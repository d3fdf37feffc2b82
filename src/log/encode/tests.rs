//! A property test against log4rs: the same pattern and the same record give the same bytes. And
//! that an encoder waits for no other thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ::log::{Level, Record};
use log4rs::encode::Encode;
use log4rs::encode::writer::simple::SimpleWriter;

use super::date::Date;
use super::{json, pattern};
use crate::log::record::{Captured, Time, encoding};
use crate::random::Random;

/// Patterns and records, the same in each run.
struct Drawn(Random);

const DEEPEST: usize = 3;

/// Longer than any wait here takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(100);

impl Drawn {
    fn pattern(&mut self, depth: usize) -> String {
        (0..self.0.index(6) + 1).map(|_| self.piece(depth)).collect()
    }

    fn piece(&mut self, depth: usize) -> String {
        const TEXT: [&str; 12] = ["a", " - ", "ü𝄞", "{{", "}}", "((", "))", "\\{", "\\)", "\\\\", "e\u{301}", ":"];
        const PLAIN: [&str; 24] = [
            "l",
            "level",
            "m",
            "message",
            "M",
            "module",
            "n",
            "f",
            "file",
            "L",
            "line",
            "T",
            "thread",
            "I",
            "P",
            "pid",
            "i",
            "tid",
            "t",
            "target",
            "X(key)",
            "mdc(none)(dflt)",
            "K(key)(none)",
            "K(number)",
        ];
        match self.0.index(4) {
            // Within an argument a first `)` ends it.
            0 => self.0.of(&TEXT).replace("))", if depth < DEEPEST { "\\)" } else { "))" }),
            1 if depth > 0 => {
                let (name, inner) = (self.0.of(&["", "h", "D", "R", "highlight"]), self.pattern(depth - 1));
                format!("{{{name}({inner}){}}}", self.width())
            }
            _ => format!("{{{}{}}}", self.0.of(&PLAIN), self.width()),
        }
    }

    fn width(&mut self) -> String {
        if self.0.index(2) == 0 {
            return String::new();
        }
        let mut text = ":".to_owned();
        text.push_str(self.0.of(&["", "<", ">", "~<", "ü>", "<>", ">>"]));
        text.push_str(self.0.of(&["", "", "-"]));
        if self.0.index(3) > 0 {
            text.push_str(&self.0.index(30).to_string());
        }
        if self.0.index(2) == 0 {
            text.push_str(&format!(".{}", self.0.index(20)));
        }
        text
    }
}

/// Both on this thread: log4rs with the facade's record, ours with what was captured of it, and
/// ours directly.
fn encode(theirs: &dyn Encode, ours: &dyn Encode, record: &Record<'_>) -> [String; 3] {
    let text = |encoder: &dyn Encode, record: &Record<'_>| {
        let mut bytes = SimpleWriter(Vec::new());
        encoder.encode(&mut bytes, record).unwrap();
        String::from_utf8(bytes.0).unwrap()
    };
    let (captured, _) =
        encoding(Captured::new(record), |captured| captured.with_record(|record| text(ours, record)), |_| false);
    [text(theirs, record), captured.unwrap(), text(ours, record)]
}

fn with_record<R>(random: &mut Random, f: impl FnOnce(&Record<'_>) -> R) -> R {
    let message =
        random.of(&["", "plain", "with \u{1F1F7}\u{1F1F8} flags and e\u{301}", "two\nlines", "{m} \"quoted\" \\"]);
    let target = random.of(&["a", "my_crate::room", "ziel"]);
    let level = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace][random.index(5)];
    let values: &[(&str, i32)] = &[("number", 7), ("key", -1), ("number", 8)];
    let mut record = Record::builder();
    record.level(level).target(target).key_values(&values);
    if random.index(2) == 0 {
        let module = random.of(&["m::n", ""]);
        record.module_path(Some(module)).file(Some("src/x.rs")).line(Some(random.index(9999) as u32));
    } else {
        record.module_path_static(Some("m::static")).file_static(Some("s.rs"));
    }
    f(&record.args(format_args!("{message}{}", random.index(3))).build())
}

fn in_thread(name: Option<&str>, f: impl FnOnce() + Send + 'static) {
    let mut thread = std::thread::Builder::new();
    if let Some(name) = name {
        thread = thread.name(name.to_owned());
    }
    let thread = thread.spawn(f).unwrap();
    // A thread that sleeps in `join` does not run, which `tests/support/hang.rs` takes for a hang.
    while !thread.is_finished() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    thread.join().unwrap();
}

#[test]
fn a_pattern_gives_the_bytes_of_log4rs() {
    for name in [None, Some("main/weaver/näher-3")] {
        in_thread(name, move || {
            log_mdc::insert("key", "wert: 5");
            let mut drawn = Drawn(Random(0x5e1_7ed6e + u64::from(name.is_some())));
            let mut compared = 0;
            for _ in 0..20_000 {
                let pattern = drawn.pattern(DEEPEST);
                let ours = match pattern::PatternEncoder::new(&pattern) {
                    Ok(ours) => ours,
                    // What the check refuses never comes to be encoded.
                    Err(fault) => panic!("{pattern}: {fault}"),
                };
                let theirs = log4rs::encode::pattern::PatternEncoder::new(&pattern);
                with_record(&mut drawn.0, |record| {
                    let [theirs, captured, direct] = encode(&theirs, &ours, record);
                    assert_eq!(captured, theirs, "{pattern}");
                    assert_eq!(direct, theirs, "{pattern}");
                });
                compared += 1;
            }
            assert_eq!(compared, 20_000);
        });
    }
}

#[test]
fn json_is_that_of_log4rs_but_its_time() {
    let rest = |text: &str| {
        let (time, rest) = text.strip_prefix("{\"time\":\"").unwrap().split_once('"').unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
        rest.to_owned()
    };
    for name in [None, Some("main/\"weaver\"")] {
        in_thread(name, move || {
            let mut random = Random(77);
            for round in 0..500 {
                if round == 250 {
                    log_mdc::insert("key", "wert: \"5\"");
                    log_mdc::insert("other", "");
                }
                with_record(&mut random, |record| {
                    let all = encode(&log4rs::encode::json::JsonEncoder::new(), &json::JsonEncoder, record);
                    let [theirs, captured, direct] = all.map(|text| rest(&text));
                    assert_eq!(captured, theirs);
                    assert_eq!(direct, theirs);
                });
            }
        });
    }
}

#[test]
fn dates_are_chronos_own_whatever_second_was_before() {
    let mut random = Random(99);
    let formats = [
        "%+",
        "%Y-%m-%d %H:%M:%S%.3f",
        "%H:%M:%S%.f",
        "%.6f|%.9f|%f",
        "%3f %6f %9f",
        "%s %Z %z %:z",
        "%c",
        "%e.%b %j %-d",
        "%-f",
        "%T%.3f%T",
        "",
        "ü%%",
    ];
    for format in formats {
        for utc in [true, false] {
            let date = Date::new(format, utc).unwrap();
            for _ in 0..300 {
                let nanos = [0, 5, 1_000_000, 1_000, 999_999_999, random.index(1_000_000_000)][random.index(6)] as u32;
                // Neighbouring seconds, so that the cache is right and wrong in turn; some far
                // away.
                let seconds =
                    [1_700_000_000 + random.index(3), random.index(4_000_000_000)][random.index(8) / 7] as i64;
                let instant = chrono::DateTime::from_timestamp(seconds, nanos).unwrap();
                let expected = if utc {
                    instant.format(format).to_string()
                } else {
                    instant.with_timezone(&chrono::Local).format(format).to_string()
                };
                let mut bytes = SimpleWriter(Vec::new());
                date.write(Time { seconds, nanos }, &mut bytes).unwrap();
                assert_eq!(String::from_utf8(bytes.0).unwrap(), expected, "{format} at {seconds}.{nanos}");
            }
        }
    }
    assert!(Date::new("%Q", true).is_none());
}

/// Tells when something is written to it, and does not return before it may.
struct Slow {
    entered: Sender<()>,
    may_return: Receiver<()>,
}

impl std::io::Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.entered.send(());
        // Returns at once when the sender is gone.
        let _ = self.may_return.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl log4rs::encode::Write for Slow {}

#[test]
fn a_date_waits_for_no_other_thread() {
    let date = Arc::new(Date::new("%H:%M:%S%.3f", true).unwrap());
    let (entered, has_entered) = channel();
    let (allow, may_return) = channel::<()>();
    let (written, texts) = channel();
    let time = |seconds| Time { seconds, nanos: 5_000_000 };
    let first = date.clone();
    let slow = std::thread::spawn(move || first.write(time(7), &mut Slow { entered, may_return }));
    has_entered.recv_timeout(DEADLINE).unwrap();
    let other = std::thread::spawn(move || {
        for seconds in [7, 8] {
            let mut bytes = SimpleWriter(Vec::new());
            date.write(time(seconds), &mut bytes).unwrap();
            written.send(String::from_utf8(bytes.0).unwrap()).unwrap();
        }
    });
    let found: Result<Vec<_>, _> = (0..2).map(|_| texts.recv_timeout(DEADLINE)).collect();
    drop(allow);
    slow.join().unwrap().unwrap();
    other.join().unwrap();
    assert_eq!(found.unwrap(), ["00:00:07.005", "00:00:08.005"]);
}
