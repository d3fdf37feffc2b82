//! The boundaries of a time trigger, held to a search second by second, in made-up time zones and
//! with clocks that step.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime};

use super::calendar::{Interval, Schedule, Unit, Zone};

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

/// The first boundary after `last`, found by checking each minute.
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

#[test]
fn boundaries_are_those_that_a_search_finds() {
    const SHIFTS: [i64; 8] = [HOUR, -HOUR, HOUR / 2, -HOUR / 2, 2 * HOUR, -20 * 60, DAY, -DAY];
    let mut random = crate::random::Random(0x5e1_4ed6e);
    let mut below = |end: i64| random.below(end as u64) as i64;
    let mut changed = 0;
    for round in 0..1500 {
        let begin = utc("1990-01-01 00:00") + below(40 * 366) * DAY;
        let first = (below(105) - 48) * 15 * 60;
        // Half of the changes are at a full hour of local time.
        let (mut at, mut offset, mut changes) = (begin, first, Vec::new());
        for _ in 0..6 {
            at += 4 * DAY + below(20 * 24 * 60) * 60;
            if below(2) == 0 {
                at -= (at + offset).rem_euclid(HOUR);
            }
            let shift = SHIFTS[below(8) as usize];
            // No zone is a day or more from UTC.
            offset += if (offset + shift).abs() < 16 * HOUR { shift } else { 0 };
            changes.push((at, offset));
        }
        // Most instants are near a change.
        let near = changes[below(6) as usize].0;
        let last = if below(4) > 0 { near + below(3 * DAY) - 2 * DAY } else { begin + below(60 * DAY) };
        let zone = Zones(first, changes);
        let unit = [Unit::Minute, Unit::Hour, Unit::Day, Unit::Week, Unit::Month][below(5) as usize];
        let count = if below(2) == 0 { 1 } else { 1 + below(if unit == Unit::Month { 2 } else { 7 }) };
        let interval = Interval { unit, count, modulate: below(2) == 0 };
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
