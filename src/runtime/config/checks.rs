//! The limits of the settings, for a file and for setters alike. Returns texts; `file` and
//! `resolve` add the place.

use super::choices::OsSignal;
use super::choices::ProfileFormat;
use crate::error::{Error, Kind};
use crate::log::Queue;
use crate::os::printable::is_unprintable;
use crate::profile::Options;
use crate::yaml::plain_path;
use std::path::Path;
use std::time::Duration;

/// Leaves room for an ending below the 255 bytes that file systems allow.
pub(super) const LONGEST_NAME: usize = 200;

/// The name is the stem of the profile's files, so it must be a file name. Returns why it is none.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    const WHY: &str = "it names the profile's files";
    let reason = if name.is_empty() {
        "is empty".to_owned()
    } else if name == "." || name == ".." {
        "is a folder".to_owned()
    } else if let Some(wrong) = name.chars().find(|c| matches!(c, '/' | '\\') || is_unprintable(*c)) {
        format!("has the character {wrong:?} in it")
    } else if name.len() > LONGEST_NAME {
        format!("has {} bytes, more than {LONGEST_NAME}", name.len())
    } else if name.trim() != name {
        "begins or ends with a blank".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("this name {reason}; {WHY}"))
}

/// Far within what can be added to an `Instant`.
pub(super) const LONGEST_PATIENCE: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) fn check_patience(patience: Duration) -> Result<(), String> {
    if patience > LONGEST_PATIENCE {
        return Err("longer than a year; to wait without end use `on_stuck: wait`".to_owned());
    }
    Ok(())
}

pub(super) fn check_grace(grace: Duration) -> Result<(), String> {
    if grace > LONGEST_PATIENCE {
        return Err("longer than a year; a second signal would never end the process at once".to_owned());
    }
    Ok(())
}

pub(super) const DEADLOCKS_AFTER: Duration = Duration::from_secs(5);

pub(super) fn check_deadlocks(after: Option<Duration>) -> Result<(), String> {
    match after {
        Some(after) if after < Duration::from_millis(1) => {
            Err("shorter than a millisecond; to have none searched for use `off`".to_owned())
        }
        Some(after) if after > LONGEST_PATIENCE => {
            Err("longer than a year; to have none searched for use `off`".to_owned())
        }
        _ => Ok(()),
    }
}

/// Far more than a person reads before an error.
pub(super) const LONGEST_TAIL: usize = 10_000;

pub(super) fn check_log(queue: &Queue, tail: usize) -> Result<(), Error> {
    let wrong = |key: &str, message: String| Err(Error::new(Kind::Config, message).at_key(key));
    if !(1..=Queue::MOST).contains(&queue.capacity) {
        return wrong("log.capacity", format!("expected from 1 to {}, found {}", Queue::MOST, queue.capacity));
    }
    if tail > LONGEST_TAIL {
        return wrong("log.tail", format!("expected at most {LONGEST_TAIL}, found {tail}"));
    }
    Ok(())
}

/// A log file that no log4rs file describes.
pub(super) fn check_log_output(output: &Path) -> Result<(), String> {
    let shown = plain_path(output);
    let Some(text) = output.to_str() else { return Err(format!("{shown} is no UTF-8 text")) };
    if text.contains("$TIME{") {
        return Err("`$TIME{…}` is replaced in log4rs files only; write the name as it is to be".to_owned());
    }
    let is_yaml = |kind: &str| kind.eq_ignore_ascii_case("yaml") || kind.eq_ignore_ascii_case("yml");
    if output.extension().and_then(|kind| kind.to_str()).is_some_and(is_yaml) {
        return Err(format!("records would be appended to {shown}; a log4rs file is named by `file`"));
    }
    crate::log::unwritable(output).map_or(Ok(()), Err)
}

/// One signal asks for one thing.
pub(super) fn check_signals(profile: OsSignal, dump: OsSignal) -> Result<(), String> {
    if profile == dump && profile != OsSignal::None {
        return Err(format!("{profile} asks for a dump; name another signal here, or at `dump.signal`"));
    }
    Ok(())
}

pub(super) fn check_frequency(options: &Options) -> Result<(), String> {
    let (asked, can) = (options.get_frequency(), Options::FREQUENCIES);
    if can.contains(&asked) {
        return Ok(());
    }
    Err(format!("expected samples per second from {} to {}, found {asked}", can.start(), can.end()))
}

pub(super) fn check_output(output: &Path) -> Result<(), String> {
    if output.exists() && !output.is_dir() {
        return Err(format!("{} is a file; name a folder, it is made if need be", plain_path(output)));
    }
    Ok(())
}

pub(super) fn check_formats(formats: &[ProfileFormat]) -> Result<(), String> {
    if formats.is_empty() {
        return Err("no format, so the profile would be lost; name one, as svg".to_owned());
    }
    let again = formats.iter().enumerate().find(|(at, format)| formats[..*at].contains(format));
    again.map_or(Ok(()), |(_, format)| Err(format!("{format} is named twice")))
}
