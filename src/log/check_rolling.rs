//! The part of a log4rs file that says when a log file is rolled, and what becomes of the old ones.

use log4rs::append::rolling_file::policy::Policy;
use log4rs::append::rolling_file::policy::compound::roll::Roll;
use log4rs::append::rolling_file::policy::compound::trigger::Trigger;

use super::check::{Check, read_kind};
use super::yaml::Field;
use crate::error::Error;

const CENTURY: u64 = 100 * 366 * 24 * 3600;

pub(super) fn policy(check: &Check, field: &Field<'_>) -> Result<(), Error> {
    let kind = read_kind(field, "policy", &["compound"], Some("compound"))?;
    let section = field.section(&["kind", "trigger", "roller"])?;
    trigger(check, &section.required("trigger", "when the file is rolled")?)?;
    roller(check, &section.required("roller", "what becomes of the old file")?)?;
    check.build::<dyn Policy>(field, kind).map(drop)
}

fn trigger(check: &Check, field: &Field<'_>) -> Result<(), Error> {
    let kind = read_kind(field, "trigger", &["size", "time", "onstartup"], None)?;
    match kind {
        "size" => {
            let limit = field.section(&["kind", "limit"])?.required("limit", "a size such as `10 mb`")?;
            let size = "a size such as `10 mb` (units: b, kb, mb, gb, tb)";
            check.build::<dyn Trigger>(field, kind).map_err(|_| limit.expected(size))?;
        }
        "time" => {
            let section = field.section(&["kind", "interval", "modulate", "max_random_delay"])?;
            let interval = section.required("interval", "a time such as `1 day`")?;
            section.get("modulate").map_or(Ok(false), |modulate| modulate.boolean())?;
            section.get("max_random_delay").map_or(Ok(0), |delay| delay.integer(0..=CENTURY, "seconds"))?;
            let time = "a time such as `12 hours` or `1 day` (units: second to year)";
            check.build::<dyn Trigger>(field, kind).map_err(|_| interval.expected(time))?;
            // log4rs takes these, and panics when the first record is logged.
            if !seconds(&interval).is_some_and(|seconds| (1..=CENTURY).contains(&seconds)) {
                return Err(interval.expected("a time from 1 second to 100 years"));
            }
        }
        _ => {
            let section = field.section(&["kind", "min_size"])?;
            section.get("min_size").map_or(Ok(0), |size| size.integer(0..=u64::MAX, "bytes"))?;
            check.build::<dyn Trigger>(field, kind)?;
        }
    }
    Ok(())
}

/// The length of an interval that log4rs has accepted: digits, then a unit or none.
fn seconds(field: &Field<'_>) -> Option<u64> {
    const DAY: u64 = 24 * 3600;
    let Ok(text) = field.text("") else {
        return field.integer(0..=u64::MAX, "").ok();
    };
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim().to_ascii_lowercase();
    let length = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 3600,
        "day" => DAY,
        "week" => 7 * DAY,
        "month" => 31 * DAY,
        "year" => 366 * DAY,
        _ => 1,
    };
    number.parse::<u64>().ok()?.checked_mul(length)
}

fn roller(check: &Check, field: &Field<'_>) -> Result<(), Error> {
    let kind = read_kind(field, "roller", &["delete", "fixed_window"], None)?;
    if kind == "delete" {
        field.section(&["kind"])?;
    } else {
        let section = field.section(&["kind", "pattern", "base", "count"])?;
        let count = section.required("count", "how many old files are kept")?;
        let kept = count.integer(0..=u32::MAX, "old files to keep")?;
        if let Some(base) = section.get("base") {
            base.integer(0..=u32::MAX - kept, "the first number")?;
        }
        let pattern = section.required("pattern", "the name of the old files, with `{}` for their number")?;
        let text = pattern.text("the name of the old files, with `{}` for their number")?;
        if !text.contains("{}") {
            return Err(pattern.expected("a name with `{}` in it, for the number of the old file"));
        }
    }
    check.build::<dyn Roll>(field, kind).map(drop)
}
