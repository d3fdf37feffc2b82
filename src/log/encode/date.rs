//! A date in a pattern, in chrono's format. It is rendered once a second; only what is finer than a
//! second is written for each record.

use std::fmt::Write as _;
use std::io;

use crate::model::locks::Mutex;
use crate::thread::foreign_locals::local_time;
use chrono::format::{Fixed, Item, Numeric, Pad, StrftimeItems};
use chrono::{DateTime, Utc};
use log4rs::encode::Write;

use crate::log::record::Time;

#[derive(Debug)]
pub(super) struct Date {
    utc: bool,
    parts: Vec<Part>,
    /// The last second, and the text of each part that is the same for a whole second. A thread that
    /// does not get it at once renders the date anew.
    cache: Mutex<Option<(i64, Vec<String>)>>,
}

#[derive(Debug)]
enum Part {
    /// The same for a whole second.
    Slow(Vec<Item<'static>>),
    /// The nanoseconds' first digits, perhaps with a point before them.
    Digits { point: bool, count: usize },
    /// A point and as many groups of three digits as are needed, or nothing.
    Shortest,
    /// Anything else that is finer than a second.
    Whole(Item<'static>),
}

impl Date {
    /// `None` if it is no format.
    pub(super) fn new(format: &str, utc: bool) -> Option<Date> {
        let mut parts: Vec<Part> = Vec::new();
        for item in StrftimeItems::new(format).parse_to_owned().ok()? {
            // The standard form, in parts. (It differs from this only beyond the year 9999.)
            if item == Item::Fixed(Fixed::RFC3339) {
                parts.push(Part::Slow(StrftimeItems::new("%Y-%m-%dT%H:%M:%S").parse_to_owned().ok()?));
                parts.push(Part::Shortest);
                parts.push(Part::Slow(StrftimeItems::new("%:z").parse_to_owned().ok()?));
                continue;
            }
            match (fine(&item), parts.last_mut()) {
                (Some(part), _) => parts.push(part),
                (None, Some(Part::Slow(items))) => items.push(item),
                (None, _) => parts.push(Part::Slow(vec![item])),
            }
        }
        Some(Date { utc, parts, cache: Mutex::new(None) })
    }

    pub(super) fn write<W: Write + ?Sized>(&self, time: Time, out: &mut W) -> io::Result<()> {
        // Without a wait: the lock is held while the date is written. A forked child in which it is
        // held by a thread of the parent would wait forever.
        let mut cache = self.cache.try_lock();
        let mut uncached = None;
        let cache = cache.as_deref_mut().unwrap_or(&mut uncached);
        let texts = match cache {
            Some((second, texts)) if *second == time.seconds => texts,
            cache => {
                let slow = self.parts.iter().map(|part| match part {
                    Part::Slow(items) => self.render(time, items),
                    _ => String::new(),
                });
                &mut cache.insert((time.seconds, slow.collect())).1
            }
        };
        for (part, text) in self.parts.iter().zip(texts) {
            match part {
                Part::Slow(_) => out.write_all(text.as_bytes())?,
                Part::Digits { point, count } => write_digits(out, time.nanos, *point, *count)?,
                Part::Shortest if time.nanos == 0 => {}
                Part::Shortest if time.nanos.is_multiple_of(1_000_000) => write_digits(out, time.nanos, true, 3)?,
                Part::Shortest if time.nanos.is_multiple_of(1_000) => write_digits(out, time.nanos, true, 6)?,
                Part::Shortest => write_digits(out, time.nanos, true, 9)?,
                Part::Whole(item) => out.write_all(self.render(time, std::slice::from_ref(item)).as_bytes())?,
            }
        }
        Ok(())
    }

    fn render(&self, time: Time, items: &[Item<'static>]) -> String {
        let utc = DateTime::<Utc>::from_timestamp(time.seconds, time.nanos).unwrap_or_default();
        let mut text = String::new();
        // Formats were tried when they were parsed; what still fails leaves its place empty.
        let _ = if self.utc {
            write!(text, "{}", utc.format_with_items(items.iter()))
        } else {
            write!(text, "{}", local_time(utc).format_with_items(items.iter()))
        };
        text
    }
}

fn fine(item: &Item<'static>) -> Option<Part> {
    // Those without a point are chrono's own secret, but can be compared.
    let without_point = |count| {
        (StrftimeItems::new(["%3f", "%6f", "%9f"][count / 3 - 1]).next().as_ref() == Some(item))
            .then_some(Part::Digits { point: false, count })
    };
    match item {
        Item::Fixed(Fixed::Nanosecond) => Some(Part::Shortest),
        Item::Fixed(Fixed::Nanosecond3) => Some(Part::Digits { point: true, count: 3 }),
        Item::Fixed(Fixed::Nanosecond6) => Some(Part::Digits { point: true, count: 6 }),
        Item::Fixed(Fixed::Nanosecond9) => Some(Part::Digits { point: true, count: 9 }),
        Item::Numeric(Numeric::Nanosecond, Pad::Zero) => Some(Part::Digits { point: false, count: 9 }),
        Item::Numeric(Numeric::Nanosecond, _) => Some(Part::Whole(item.clone())),
        _ => without_point(3).or_else(|| without_point(6)).or_else(|| without_point(9)),
    }
}

fn write_digits<W: Write + ?Sized>(out: &mut W, nanos: u32, point: bool, count: usize) -> io::Result<()> {
    let mut digits = *b".000000000";
    let mut rest = nanos / 10_u32.pow(9 - count as u32);
    for digit in digits[1..=count].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.write_all(&digits[usize::from(!point)..=count])
}
