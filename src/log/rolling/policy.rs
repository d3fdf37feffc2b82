//! The settings of a rolling file in log4rs's form: its `policy`, with `trigger` and `roller`.

use std::collections::BTreeMap;
use std::path::Path;

use log4rs::append::rolling_file::policy::compound::trigger::time::{TimeTriggerConfig, TimeTriggerInterval};
use serde_value::Value;

use super::archive::Archives;
use super::calendar::{Interval, Unit};
use crate::yaml::expand_env;

/// The longest interval, in seconds.
pub(in crate::log) const CENTURY: i64 = 100 * 366 * 24 * 3600;

/// When a file is rolled, and what becomes of it.
#[derive(Clone, Debug)]
pub(in crate::log) struct Policy {
    pub(super) trigger: Trigger,
    /// `None`: the file is deleted.
    pub(in crate::log) archives: Option<Archives>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trigger {
    /// After the record with which the file has more bytes than that.
    Size(u64),
    Time {
        interval: Interval,
        delay: u64,
    },
    /// Before the first record, if the file has so many bytes.
    Start(u64),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SizeConfig {
    limit: Value,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StartConfig {
    min_size: Option<u64>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowConfig {
    pattern: String,
    base: Option<u32>,
    count: u32,
}

impl Policy {
    /// `None` if a kind in it is not one of log4rs: a program may have registered kinds of its own.
    /// log4rs itself is expected to have checked the rest. Archives are relative to `folder`.
    pub(in crate::log) fn read(settings: &Value, folder: &Path) -> anyhow::Result<Option<Policy>> {
        let (kind, mut parts) = kind_of(settings);
        let (trigger, roller) = (parts.remove(&text("trigger")), parts.remove(&text("roller")));
        let (Some(trigger), Some(roller)) = (trigger, roller) else { return Ok(None) };
        if kind.is_some_and(|kind| kind != "compound") {
            return Ok(None);
        }
        let Some(trigger) = Trigger::read(&trigger)? else { return Ok(None) };
        let (kind, settings) = kind_of(&roller);
        let archives = match kind.as_deref() {
            Some("delete") => None,
            Some("fixed_window") => {
                let config: WindowConfig = Value::Map(settings).deserialize_into()?;
                let base = config.base.unwrap_or(0);
                anyhow::ensure!(base.checked_add(config.count).is_some(), "base and count go beyond {}", u32::MAX);
                let pieces = pieces(&config.pattern).map_err(anyhow::Error::msg)?;
                Some(Archives::new(folder, pieces, base, config.count))
            }
            _ => return Ok(None),
        };
        Ok(Some(Policy { trigger, archives }))
    }
}

impl Trigger {
    fn read(settings: &Value) -> anyhow::Result<Option<Trigger>> {
        let (kind, settings) = kind_of(settings);
        let settings = Value::Map(settings);
        Ok(Some(match kind.as_deref() {
            Some("size") => {
                let limit = settings.deserialize_into::<SizeConfig>()?.limit;
                Trigger::Size(bytes(&limit).ok_or_else(|| anyhow::anyhow!("the limit is not a size: {limit:?}"))?)
            }
            Some("time") => {
                let config: TimeTriggerConfig = settings.deserialize_into()?;
                let (unit, count) = match config.interval {
                    TimeTriggerInterval::Second(count) => (Unit::Second, count),
                    TimeTriggerInterval::Minute(count) => (Unit::Minute, count),
                    TimeTriggerInterval::Hour(count) => (Unit::Hour, count),
                    TimeTriggerInterval::Day(count) => (Unit::Day, count),
                    TimeTriggerInterval::Week(count) => (Unit::Week, count),
                    TimeTriggerInterval::Month(count) => (Unit::Month, count),
                    TimeTriggerInterval::Year(count) => (Unit::Year, count),
                };
                let interval = Interval { unit, count, modulate: config.modulate };
                let length = interval.length().filter(|length| (1..=CENTURY).contains(length));
                anyhow::ensure!(length.is_some(), "the interval is not from 1 second to 100 years");
                Trigger::Time { interval, delay: config.max_random_delay }
            }
            Some("onstartup") => Trigger::Start(settings.deserialize_into::<StartConfig>()?.min_size.unwrap_or(1)),
            _ => return Ok(None),
        }))
    }
}

/// Whether these are the settings of a trigger that can be used.
pub(in crate::log) fn is_trigger(settings: &Value) -> bool {
    matches!(Trigger::read(settings), Ok(Some(_)))
}

/// Whether each record makes the file too long.
pub(in crate::log) fn is_limit_zero(settings: &Value) -> bool {
    matches!(Trigger::read(settings), Ok(Some(Trigger::Size(0))))
}

/// The kind of a component, and its other settings.
fn kind_of(settings: &Value) -> (Option<String>, BTreeMap<Value, Value>) {
    let Value::Map(settings) = settings else { return (None, BTreeMap::new()) };
    let mut rest = settings.clone();
    let kind = match rest.remove(&text("kind")) {
        Some(Value::String(kind)) => Some(kind),
        _ => None,
    };
    (kind, rest)
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// The parts of the name of an archive, before, between and after its numbers. An error is a
/// variable that is not set.
pub(in crate::log) fn pieces(pattern: &str) -> Result<Vec<String>, String> {
    pattern.split("{}").map(expand_env).collect()
}

/// A size, with its unit or without.
fn bytes(limit: &Value) -> Option<u64> {
    let limit = match limit {
        Value::String(limit) => limit,
        number => return number.clone().deserialize_into().ok(),
    };
    let (number, unit) = limit.split_at(limit.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(limit.len()));
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "kb" | "kib" => 10,
        "mb" | "mib" => 20,
        "gb" | "gib" => 30,
        "tb" | "tib" => 40,
        _ => return None,
    };
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}
