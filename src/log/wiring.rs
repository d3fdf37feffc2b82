//! The settings of a runtime's log besides its log4rs file: the queue to the writer, what happens
//! when the queue is full, and the level. Also how YAML spells them, in a selvedge.yaml and in a
//! log4rs file. Names neither log4rs nor another file of this room, because the runtime's settings
//! hold these types in each build.

// Without log4rs they are read, and then refused.
#![cfg_attr(not(feature = "log4rs"), allow(dead_code, unreachable_pub))]

use ::log::{Level, LevelFilter};

use crate::error::Error;
use crate::yaml::{Field, Section, one_of};

/// What happens to a record for which the queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The thread that logs it waits for room. Nothing is lost.
    #[default]
    Block,
    /// It is dropped and counted. The log tells how many records are missing, at the place where
    /// they are missing.
    DropNewest,
    /// It is dropped and counted if it is less severe than this level. Else the thread waits for
    /// room.
    DropBelow(Level),
}

impl Overflow {
    pub(super) fn drops(self, level: Level) -> bool {
        match self {
            Overflow::Block => false,
            Overflow::DropNewest => true,
            // Greater is less severe.
            Overflow::DropBelow(least) => level > least,
        }
    }
}

/// A queue and its rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Queue {
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
}

impl Queue {
    /// Some 150 MB of records.
    pub(crate) const MOST: usize = 1_000_000;
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { capacity: 8192, overflow: Overflow::Block }
    }
}

/// How the log of a runtime is wired.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wiring {
    /// Without it records are written on the thread that logs them.
    pub(crate) queue: Option<Queue>,
    /// How many records that were filtered out an error brings with it.
    pub(crate) tail: usize,
    /// Of the root logger, in place of the level that its file names.
    pub(crate) level: Option<LevelFilter>,
}

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::Off),
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
];

pub(super) fn levels() -> String {
    one_of(&LEVELS.map(|(word, _)| word))
}

pub(crate) fn read_level(field: &Field<'_>) -> Result<LevelFilter, Error> {
    // log4rs does not mind the case.
    let level = field.text("").ok().and_then(|text| text.parse().ok());
    level.map_or_else(|| field.choice(&LEVELS), Ok)
}

/// `capacity` and `overflow`, which stand in a log4rs file and in a selvedge.yaml alike.
pub(crate) fn read_queue(section: &Section<'_>) -> Result<Queue, Error> {
    let mut queue = Queue::default();
    if let Some(capacity) = section.get("capacity") {
        queue.capacity = capacity.integer(1..=Queue::MOST, "how many records the queue holds")?;
    }
    if let Some(overflow) = section.get("overflow") {
        queue.overflow = read_overflow(&overflow)?;
    }
    Ok(queue)
}

const RULES: &str = "block, drop_newest or `{ drop_below: warn }`";

fn read_overflow(field: &Field<'_>) -> Result<Overflow, Error> {
    if let Ok(word) = field.text("") {
        return match word {
            "block" => Ok(Overflow::Block),
            "drop_newest" => Ok(Overflow::DropNewest),
            "drop_below" => Err(field.error("`drop_below` needs a level; write `overflow: { drop_below: warn }`")),
            _ => Err(field.expected(RULES)),
        };
    }
    let below = field.section(&["drop_below"]);
    let below = below.map_err(|error| if field.is_section() { error } else { field.expected(RULES) })?;
    let level = below.get("drop_below").ok_or_else(|| field.expected(RULES))?;
    match read_level(&level)?.to_level() {
        Some(least) => Ok(Overflow::DropBelow(least)),
        None => Err(level.error("`off` would drop nothing or all; write `block` or `drop_newest`")),
    }
}
