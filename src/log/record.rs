//! A log record that outlives the call that made it: what was so then, on the thread that made it.
//! Knows nothing of where it goes.
//!
//! Invariants
//! 1. A record is one box with one text, both used again: capturing allocates nothing once there
//!    are enough of them, and counts no references, which would pass a cache line to and fro
//!    between the caller and the writer.
//! 2. Nothing of the user's (a Display, a Debug, a key-value) runs once a record has been captured.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::log::kv::{self, Key, Value, VisitSource};
use ::log::{Level, Record};

use super::pool;

/// A point of the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

impl Time {
    pub(super) fn now() -> Time {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Time { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() },
            // A clock that is set before 1970.
            Err(_) => Time { seconds: 0, nanos: 0 },
        }
    }
}

/// The thread that makes records.
#[derive(Debug)]
struct Caller {
    /// Its path in the tree; of a thread that is not in it, its own name, if it has one.
    name: Option<Arc<str>>,
    in_tree: bool,
    id: usize,
}

thread_local! {
    /// Made after the MDC's thread-local (see `with`), so destroyed before it: while this one is
    /// alive, so is that.
    static CALLER: RefCell<Option<Caller>> = const { RefCell::new(None) };
    /// The record that is being encoded.
    static CURRENT: RefCell<Option<Captured>> = const { RefCell::new(None) };
    /// What records captured now shall have: one time for a record that goes to several appenders,
    /// its own time and level for one of the tail.
    static STAMP: Cell<Option<(Time, Option<Level>)>> = const { Cell::new(None) };
}

impl Caller {
    fn new() -> Caller {
        let (name, in_tree) = match crate::wait::tree_path() {
            Some(path) => (Some(path), true),
            None => (std::thread::current().name().map(Arc::from), false),
        };
        Caller { name, in_tree, id: thread_id::get() }
    }

    /// Gives `f` the calling thread, and whether its MDC may be asked: not once its thread-locals
    /// are being destroyed.
    fn with(mut f: impl FnMut(&Caller, bool)) {
        let known = CALLER.try_with(|caller| {
            let mut caller = caller.try_borrow_mut().ok()?;
            if let Some(caller) = &*caller
                && crate::wait::is_tree_path(caller.name.as_ref().filter(|_| caller.in_tree))
            {
                f(caller, true);
                return Some(());
            }
            // `get` panics if the MDC is gone already, which happens when the first record of a
            // thread comes from a thread-local's Drop.
            crate::thread::panic_flags::silenced(|| log_mdc::get("", |_| ()))?;
            f(caller.insert(Caller::new()), true);
            Some(())
        });
        if !matches!(known, Ok(Some(()))) {
            f(&Caller::new(), false);
        }
    }
}

/// What a record holds. Its text lies in one piece: the message, then the names that have no
/// `'static` of their own, then the MDC and the key-values, each key and value as `length:text`.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) time: Time,
    pub(super) level: Level,
    /// Which of the sinks behind a queue gets it, and how many are missing there before it.
    pub(super) to: usize,
    pub(super) gap: u64,
    line: Option<u32>,
    thread_id: usize,
    /// Names that need no place in the text.
    target: Option<&'static str>,
    module: Option<&'static str>,
    file: Option<&'static str>,
    text: String,
    /// Where the parts of the text end; the key-values end with it.
    ends: [usize; PARTS],
    /// For each part that is a name: whether the record has it.
    there: [bool; PARTS],
}

const MESSAGE: usize = 0;
const THREAD: usize = 1;
const TARGET: usize = 2;
const MODULE: usize = 3;
const FILE: usize = 4;
const MDC: usize = 5;
const PARTS: usize = 6;

/// Most messages and names fit; the text then does not move while it is written.
const USUAL_TEXT: usize = 120;

impl Default for Body {
    fn default() -> Body {
        Body {
            time: Time { seconds: 0, nanos: 0 },
            level: Level::Info,
            to: 0,
            gap: 0,
            line: None,
            thread_id: 0,
            target: None,
            module: None,
            file: None,
            text: String::with_capacity(USUAL_TEXT),
            ends: [0; PARTS],
            there: [false; PARTS],
        }
    }
}

impl Body {
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    fn end(&mut self, part: usize, name: Option<&str>) {
        if let Some(name) = name {
            self.text.push_str(name);
        }
        self.there[part] = name.is_some();
        self.ends[part] = self.text.len();
    }

    /// All but the message, which is in the text already.
    fn complete(&mut self, record: &Record<'_>) {
        self.end(MESSAGE, None);
        // Without `target:` in the macro it is the module's path, which is static.
        self.module = record.module_path_static();
        self.target = self.module.filter(|path| std::ptr::eq(*path, record.target()));
        self.file = record.file_static();
        self.line = record.line();
        Caller::with(|caller, has_mdc| {
            self.thread_id = caller.id;
            self.end(THREAD, caller.name.as_deref());
            self.end(TARGET, Some(record.target()).filter(|_| self.target.is_none()));
            self.end(MODULE, record.module_path().filter(|_| self.module.is_none()));
            self.end(FILE, record.file().filter(|_| self.file.is_none()));
            if has_mdc {
                log_mdc::iter(|key, value| put_pair(&mut self.text, key, value));
            }
        });
        self.end(MDC, None);
        if record.key_values().count() > 0 {
            let _complete = record.key_values().visit(&mut Collect(&mut self.text));
        }
        let (time, level) = STAMP.get().unwrap_or_else(|| (Time::now(), None));
        (self.time, self.level) = (time, level.unwrap_or(record.level()));
        (self.to, self.gap) = (0, 0);
    }

    fn part(&self, part: usize) -> &str {
        &self.text[if part == 0 { 0 } else { self.ends[part - 1] }..self.ends[part]]
    }

    fn name(&self, fixed: Option<&'static str>, part: usize) -> Option<&str> {
        fixed.or_else(|| self.there[part].then(|| self.part(part)))
    }
}

/// A captured record. What held it goes back to where it came from when it is dropped.
#[derive(Debug)]
pub(super) struct Captured(Option<Box<Body>>);

impl Drop for Captured {
    fn drop(&mut self) {
        if let Some(body) = self.0.take() {
            pool::give(body);
        }
    }
}

impl Deref for Captured {
    type Target = Body;

    fn deref(&self) -> &Body {
        self.0.as_ref().expect("taken only by its drop")
    }
}

impl DerefMut for Captured {
    fn deref_mut(&mut self) -> &mut Body {
        self.0.as_mut().expect("taken only by its drop")
    }
}

impl Clone for Captured {
    fn clone(&self) -> Captured {
        let mut copy = Captured(Some(pool::take()));
        let mut text = std::mem::take(&mut copy.text);
        text.clone_from(&self.text);
        *copy = Body { text, ..**self };
        copy
    }
}

impl Captured {
    /// Formats the message here, on the calling thread, with no lock held.
    pub(super) fn new(record: &Record<'_>) -> Captured {
        let mut captured = Captured(Some(pool::take()));
        captured.text.clear();
        format_into(&mut captured.text, *record.args());
        captured.complete(record);
        captured
    }

    /// A record of the log's own.
    pub(super) fn own(level: Level, message: &str) -> Captured {
        Captured::new(&Record::builder().level(level).target("selvedge::log").args(format_args!("{message}")).build())
    }

    pub(super) fn message(&self) -> &str {
        self.part(MESSAGE)
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            time: self.time,
            thread: self.name(None, THREAD),
            thread_id: self.thread_id,
            mdc: Pairs(self.part(MDC)),
            message: None,
        }
    }

    /// As the facade's record.
    pub(super) fn with_record<R>(&self, f: impl FnOnce(&Record<'_>) -> R) -> R {
        let pairs = Pairs(&self.text[self.ends[MDC]..]);
        f(&Record::builder()
            .level(self.level)
            .target(self.name(self.target, TARGET).unwrap_or(""))
            .args(format_args!("{}", self.part(MESSAGE)))
            .module_path(self.name(self.module, MODULE))
            .file(self.name(self.file, FILE))
            .line(self.line)
            .key_values(&pairs)
            .build())
    }

    /// For encoders of ours that are asked directly: as the facade's record, and what that has no
    /// place for.
    pub(super) fn with_both<R>(&self, f: impl FnOnce(&Record<'_>, &Context<'_>) -> R) -> R {
        let context = Context { message: Some(self.part(MESSAGE)), ..self.context() };
        self.with_record(|record| f(record, &context))
    }
}

/// Writes `arguments`, and says so where their Display gives up.
pub(super) fn format_into(text: &mut String, arguments: fmt::Arguments<'_>) {
    match arguments.as_str() {
        Some(fixed) => text.push_str(fixed),
        None if fmt::write(text, arguments).is_err() => text.push_str("… (formatting failed)"),
        None => {}
    }
}

fn put_pair(text: &mut String, key: &str, value: &str) {
    for part in [key, value] {
        // Writing to a String does not fail.
        let _ = write!(text, "{}:{part}", part.len());
    }
}

struct Collect<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Collect<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let mut text = String::new();
        // Not to_string, which panics where a Display gives up.
        format_into(&mut text, format_args!("{value}"));
        put_pair(self.0, key.as_str(), &text);
        Ok(())
    }
}

/// Keys and values, each as `length:text`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs<'a>(&'a str);

impl<'a> Pairs<'a> {
    fn part(&mut self) -> Option<&'a str> {
        let (length, rest) = self.0.split_once(':')?;
        let (part, rest) = rest.split_at_checked(length.parse().ok()?)?;
        self.0 = rest;
        Some(part)
    }

    pub(super) fn get(self, key: &str) -> Option<&'a str> {
        self.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        Some((self.part()?, self.part()?))
    }
}

impl kv::Source for Pairs<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        for (key, value) in *self {
            visitor.visit_pair(Key::from_str(key), Value::from(value))?;
        }
        Ok(())
    }

    /// The first of a name, as it is with what the macros make.
    fn get(&self, key: Key<'_>) -> Option<Value<'_>> {
        Pairs::get(*self, key.as_str()).map(Value::from)
    }
}

/// What an encoder cannot get from the facade's record.
pub(super) struct Context<'a> {
    pub(super) time: Time,
    /// Its path in the tree; of a thread that is not in it, its own name, if it has one.
    pub(super) thread: Option<&'a str>,
    pub(super) thread_id: usize,
    pub(super) mdc: Pairs<'a>,
    /// The record's message, where it is known to be plain text.
    pub(super) message: Option<&'a str>,
}

/// Gives `f` the context of the record that is being encoded; outside of that, the one of now and
/// here.
pub(super) fn with_context<R>(f: impl FnOnce(&Context<'_>) -> R) -> R {
    let mut f = Some(f);
    let known = CURRENT.try_with(|current| {
        let current = current.try_borrow().ok()?;
        let captured = current.as_ref()?;
        f.take().map(|f| f(&captured.context()))
    });
    match (known, f) {
        (Ok(Some(result)), _) => result,
        (_, Some(f)) => f(&Captured::new(&Record::builder().build()).context()),
        // f is taken only where its result is returned.
        (_, None) => unreachable!("the context was given, and no result came of it"),
    }
}

/// While `f` runs, encoders on this thread see the record. Gives it back if `f` says so, or panics.
pub(super) fn encoding<R>(
    captured: Captured,
    f: impl FnOnce(&Captured) -> R,
    wanted: impl FnOnce(&R) -> bool,
) -> (std::thread::Result<R>, Option<Captured>) {
    let mut captured = Some(captured);
    let put = CURRENT.try_with(|current| *current.borrow_mut() = captured.take());
    // AssertUnwindSafe: what `f` leaves half-done are appenders, which have to bear that in log4rs
    // too.
    let result = match (put, &captured) {
        (Ok(()), _) => CURRENT.with(|current| {
            let current = current.borrow();
            let captured = current.as_ref().expect("just put there");
            catch_unwind(AssertUnwindSafe(|| f(captured)))
        }),
        // A thread that is ending: its encoders find out the same, as the caller is this very
        // thread.
        (Err(_), Some(captured)) => catch_unwind(AssertUnwindSafe(|| f(captured))),
        (Err(_), None) => unreachable!("taken only where it is put"),
    };
    if put.is_ok() {
        let back = result.as_ref().map_or(true, wanted);
        let _ = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            // Dropped in its place, if it is not wanted.
            if back { captured = current.take() } else { *current = None }
        });
    }
    (result, captured)
}

/// While `f` runs, all records that are captured on this thread have the same time.
pub(super) fn at_one_time<R>(f: impl FnOnce() -> R) -> R {
    // One of the tail has its own already.
    let stamp = STAMP.get().unwrap_or_else(|| (Time::now(), None));
    stamped(stamp, f)
}

/// While `f` runs, records that are captured on this thread are of that time and level.
pub(super) fn at<R>(time: Time, level: Level, f: impl FnOnce() -> R) -> R {
    stamped((time, Some(level)), f)
}

fn stamped<R>(stamp: (Time, Option<Level>), f: impl FnOnce() -> R) -> R {
    struct Restore(Option<(Time, Option<Level>)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            STAMP.set(self.0);
        }
    }
    let _restore = Restore(STAMP.replace(Some(stamp)));
    f()
}
