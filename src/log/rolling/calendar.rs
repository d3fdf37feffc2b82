//! When a rolling file is due by the clock: the next boundary of a calendar unit in local time. A
//! pure function of a time zone's offsets and an instant; it reads no clock.
//!
//! Instants are seconds since 1970 in UTC. A local time is an instant plus the offset of the zone
//! at that instant.

use crate::thread::foreign_locals::local_time;
use chrono::{DateTime, Datelike, NaiveDate};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A time zone.
pub(super) trait Zone {
    /// How many seconds local time is ahead of UTC at this instant.
    fn offset_at(&self, instant: i64) -> i64;
}

/// The zone of the machine, or of the variable TZ.
pub(super) struct Local;

impl Zone for Local {
    fn offset_at(&self, instant: i64) -> i64 {
        let time = DateTime::from_timestamp(instant, 0);
        time.map_or(0, |time| local_time(time).offset().local_minus_utc().into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

/// How often a file is rolled, as log4rs's time trigger means it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) unit: Unit,
    /// At least 1.
    pub(super) count: i64,
    /// Boundaries lie at multiples of `count` within the next larger unit (6 hours: at 0, 6, 12 and
    /// 18 o'clock).
    pub(super) modulate: bool,
}

impl Interval {
    /// The longest that it usually lasts, in seconds. `None`: more than can be counted.
    pub(super) fn length(self) -> Option<i64> {
        self.count.checked_mul(match self.unit {
            Unit::Second => 1,
            Unit::Minute => MINUTE,
            Unit::Hour => HOUR,
            Unit::Day => DAY,
            Unit::Week => 7 * DAY,
            Unit::Month => 31 * DAY,
            Unit::Year => 366 * DAY,
        })
    }

    /// The first boundary after `last`.
    ///
    /// Days and longer units end where the local date changes: at the first midnight after `last`,
    /// or, where the clock skips midnight, at the moment of the change. Hours and shorter units
    /// last as long as they do on a stopwatch, so a repeated hour is an hour of its own; modulated
    /// hours end where the local clock shows the next multiple.
    pub(super) fn next(self, zone: &impl Zone, last: i64) -> i64 {
        let local = last + zone.offset_at(last);
        let part = |size: i64, of: i64| local.div_euclid(size).rem_euclid(of);
        let next = match self.unit {
            Unit::Second => self.elapsed(zone, last, 1, part(1, 60)),
            Unit::Minute => self.elapsed(zone, last, MINUTE, part(MINUTE, 60)),
            Unit::Hour if self.modulate && self.count > 1 => {
                let hour = local - local.rem_euclid(HOUR);
                first_after(zone, hour + self.step(part(HOUR, 24)) * HOUR, last)
            }
            Unit::Hour => self.elapsed(zone, last, HOUR, part(HOUR, 24)),
            _ => self.date(local).and_then(|date| first_after(zone, date, last)),
        };
        next.unwrap_or(last.saturating_add(self.length().unwrap_or(i64::MAX))).max(last + 1)
    }

    /// How many units on, where `part` is the present one within the next larger unit.
    fn step(self, part: i64) -> i64 {
        if self.modulate { self.count - part % self.count } else { self.count }
    }

    /// After so many units of `size` seconds, at a time that the local clock shows as the start of
    /// a unit.
    fn elapsed(self, zone: &impl Zone, last: i64, size: i64, part: i64) -> Option<i64> {
        let local = last + zone.offset_at(last);
        let start = last - local.rem_euclid(size);
        let target = start + self.step(part) * size;
        let shown = target + zone.offset_at(target);
        let floor = shown - shown.rem_euclid(size);
        let aligned = if shown == floor {
            Some(target)
        } else {
            // The offset changed meanwhile by a part of a unit.
            instants(zone, floor).into_iter().chain(instants(zone, floor + size)).filter(|at| *at >= target).min()
        };
        if self.count > 1 {
            return aligned;
        }
        // The clock may skip the start of a unit.
        let skipped = first_after(zone, local - local.rem_euclid(size) + size, last);
        aligned.into_iter().chain(skipped).min()
    }

    /// The midnight, in local time, at which the current day, week, month or year of `local` is
    /// over.
    fn date(self, local: i64) -> Option<i64> {
        let today = DateTime::from_timestamp(local, 0)?.date_naive();
        let day = local.div_euclid(DAY);
        let first_of = |months: i64| {
            let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
            let first = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, u32::try_from(month).ok()?, 1)?;
            Some(first.and_hms_opt(0, 0, 0)?.and_utc().timestamp())
        };
        let (year, month) = (i64::from(today.year()), i64::from(today.month0()));
        match self.unit {
            Unit::Year => first_of((year + self.step(year)) * 12),
            Unit::Month => first_of(year * 12 + month + self.step(month)),
            Unit::Week => {
                let monday = day - i64::from(today.weekday().num_days_from_monday());
                Some((monday + 7 * self.step(i64::from(today.iso_week().week0()))) * DAY)
            }
            _ => Some((day + self.step(i64::from(today.ordinal0()))) * DAY),
        }
    }
}

/// The first instant after `last` at which the local clock shows `local`, or at which it skips it.
fn first_after(zone: &impl Zone, local: i64, last: i64) -> Option<i64> {
    instants(zone, local).into_iter().filter(|at| *at > last).min()
}

/// All instants at which the local clock shows `local`; two in a repeated hour. If the clock skips
/// it: when it does.
fn instants(zone: &impl Zone, local: i64) -> Vec<i64> {
    // An offset is less than a day, so these are the offsets before and after any change nearby.
    let offsets = [local - DAY, local, local + DAY].map(|near| zone.offset_at(near));
    let mut found: Vec<i64> = Vec::new();
    for at in offsets.map(|offset| local - offset) {
        if at + zone.offset_at(at) == local && !found.contains(&at) {
            found.push(at);
        }
    }
    if found.is_empty() {
        let most = offsets.into_iter().fold(i64::MIN, i64::max);
        let least = offsets.into_iter().fold(i64::MAX, i64::min);
        let (mut before, mut after) = (local - most, local - least);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if middle + zone.offset_at(middle) >= local { after = middle } else { before = middle }
        }
        found.push(after);
    }
    found
}

/// The boundary at which a file is due next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    interval: Interval,
    /// Up to so many seconds, by chance, are added to each boundary.
    delay: u64,
    /// The current period began at this instant.
    last: i64,
    next: i64,
}

impl Schedule {
    pub(super) fn new(interval: Interval, delay: u64, zone: &impl Zone, now: i64) -> Schedule {
        Schedule { interval, delay, last: now, next: interval.next(zone, now).saturating_add(chance(delay)) }
    }

    pub(super) fn has(&self, interval: Interval, delay: u64) -> bool {
        (self.interval, self.delay) == (interval, delay)
    }

    /// Returns `true` if the boundary has come for a record of the time `at`.
    ///
    /// A clock that steps back changes nothing: the next boundary stays, so that none is met twice.
    /// Only if it is back behind the current period by more than a whole one, the period begins
    /// anew at `now`, or else no file would be rolled until the clock has caught up.
    pub(super) fn is_due(&mut self, zone: &impl Zone, at: i64, now: impl FnOnce() -> i64) -> bool {
        let length = self.interval.length().unwrap_or(i64::MAX).saturating_add_unsigned(self.delay);
        if at.saturating_add(length) < self.last {
            // Not the record's time: a record of a tail may be old.
            let now = now();
            if now.saturating_add(length) < self.last {
                *self = Schedule::new(self.interval, self.delay, zone, now);
            }
        }
        at >= self.next
    }

    /// The file was rolled for a record of the time `at`: the next period begins.
    pub(super) fn rolled(&mut self, zone: &impl Zone, at: i64) {
        *self = Schedule::new(self.interval, self.delay, zone, at.max(self.last));
    }
}

/// A number of seconds below `most`, by chance.
fn chance(most: u64) -> i64 {
    use std::hash::{BuildHasher, RandomState};
    if most == 0 { 0 } else { i64::try_from(RandomState::new().hash_one(most) % most).unwrap_or(0) }
}
