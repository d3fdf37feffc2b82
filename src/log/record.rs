//! A log record that outlives the call that made it: what was so then, on the thread that made it. Knows nothing of where
//! it goes.
//!
//! Invariants
//! 1. One allocation for a record: all its text lies in `text`; names that are not `'static` are copied there too.
//! 2. Nothing of the user's (a Display, a Debug, a key-value) runs once a record has been captured.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::log::kv::{self, Key, Value, VisitSource};
use ::log::{Level, Record};

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

/// The thread that made a record.
#[derive(Debug)]
pub(super) struct Caller {
    /// Its path in the tree; of a thread that is not in it, its own name, if it has one.
    pub(super) name: Option<Arc<str>>,
    in_tree: bool,
    pub(super) id: usize,
}

thread_local! {
    /// Made after the MDC's thread-local (see `Caller::new`), so destroyed before it: while this one is alive, so is that.
    static CALLER: RefCell<Option<Arc<Caller>>> = const { RefCell::new(None) };
    /// The record that is being encoded.
    static CURRENT: RefCell<Option<Captured>> = const { RefCell::new(None) };
    /// What records captured now shall have: one time for a record that goes to several appenders, its own time and
    /// level for one of the tail.
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

    /// The calling thread, and whether its MDC may be asked: not once its thread-locals are being destroyed.
    fn current() -> (Arc<Caller>, bool) {
        let cached = CALLER.try_with(|caller| {
            let mut caller = caller.try_borrow_mut().ok()?;
            if let Some(caller) = &*caller
                && crate::wait::is_tree_path(caller.name.as_ref().filter(|_| caller.in_tree))
            {
                return Some(caller.clone());
            }
            // `get` panics if the MDC is gone already, which happens when the first record of a thread comes from a
            // thread-local's Drop.
            let _inside = crate::thread::panic::enter_logger();
            catch_unwind(|| log_mdc::get("", |_| ())).ok()?;
            Some(caller.insert(Arc::new(Caller::new())).clone())
        });
        match cached {
            Ok(Some(caller)) => (caller, true),
            _ => (Arc::new(Caller::new()), false),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Name {
    None,
    Static(&'static str),
    /// Between these bytes of the text.
    Copied(usize, usize),
}

impl Name {
    fn keep(fixed: Option<&'static str>, any: Option<&str>, text: &mut String) -> Name {
        match (fixed, any) {
            (Some(fixed), _) => Name::Static(fixed),
            (None, Some(any)) => {
                let from = text.len();
                text.push_str(any);
                Name::Copied(from, text.len())
            }
            (None, None) => Name::None,
        }
    }
}

/// A captured record.
#[derive(Clone, Debug)]
pub(super) struct Captured {
    pub(super) time: Time,
    pub(super) level: Level,
    line: Option<u32>,
    target: Name,
    module: Name,
    file: Name,
    caller: Arc<Caller>,
    /// The message, copied names, the MDC, the key-values; of the last two each key and value as `length:text`.
    text: String,
    message_end: usize,
    mdc_start: usize,
    kv_start: usize,
}

/// Most messages fit; the text then does not move while it is written. And of those sizes that glibc frees quickest, also
/// on another thread than the one that has allocated.
const USUAL_TEXT: usize = 96;

impl Captured {
    /// Formats the message here, on the calling thread, with no lock held.
    pub(super) fn new(record: &Record<'_>) -> Captured {
        let mut text = String::with_capacity(USUAL_TEXT);
        format_into(&mut text, *record.args());
        Captured::with_text(record, text)
    }

    /// A record of the log's own.
    pub(super) fn own(level: Level, message: String) -> Captured {
        Captured::with_text(&Record::builder().level(level).target("selvedge::log").build(), message)
    }

    fn with_text(record: &Record<'_>, mut text: String) -> Captured {
        let (caller, has_mdc) = Caller::current();
        let (time, level) = STAMP.get().unwrap_or_else(|| (Time::now(), None));
        let message_end = text.len();
        let module_path = record.module_path_static();
        let module = Name::keep(module_path, record.module_path(), &mut text);
        let file = Name::keep(record.file_static(), record.file(), &mut text);
        // Without `target:` in the macro it is the module's path, which is static.
        let target = match module_path {
            Some(path) if std::ptr::eq(path, record.target()) => Name::Static(path),
            _ => Name::keep(None, Some(record.target()), &mut text),
        };
        let mdc_start = text.len();
        if has_mdc {
            log_mdc::iter(|key, value| put_pair(&mut text, key, value));
        }
        let kv_start = text.len();
        if record.key_values().count() > 0 {
            let _complete = record.key_values().visit(&mut Collect(&mut text));
        }
        let (level, line) = (level.unwrap_or(record.level()), record.line());
        Captured { time, level, line, target, module, file, caller, text, message_end, mdc_start, kv_start }
    }

    fn name(&self, name: Name) -> Option<&str> {
        match name {
            Name::None => None,
            Name::Static(name) => Some(name),
            Name::Copied(from, to) => self.text.get(from..to),
        }
    }

    pub(super) fn message(&self) -> &str {
        &self.text[..self.message_end]
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context { time: self.time, caller: &self.caller, mdc: Pairs(&self.text[self.mdc_start..self.kv_start]) }
    }

    /// As the facade's record.
    pub(super) fn with_record<R>(&self, f: impl FnOnce(&Record<'_>) -> R) -> R {
        let pairs = Pairs(&self.text[self.kv_start..]);
        f(&Record::builder()
            .level(self.level)
            .target(self.name(self.target).unwrap_or(""))
            .args(format_args!("{}", &self.text[..self.message_end]))
            .module_path(self.name(self.module))
            .file(self.name(self.file))
            .line(self.line)
            .key_values(&pairs)
            .build())
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
        put_pair(self.0, key.as_str(), &value.to_string());
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
    pub(super) caller: &'a Caller,
    pub(super) mdc: Pairs<'a>,
}

/// Gives `f` the context of the record that is being encoded; outside of that, the one of now and here.
pub(super) fn with_context<R>(f: impl FnOnce(&Context<'_>) -> R) -> R {
    let mut f = Some(f);
    let known = CURRENT.try_with(|current| {
        let current = current.try_borrow().ok()?;
        let captured = current.as_ref()?;
        f.take().map(|f| f(&captured.context()))
    });
    match (known, f) {
        (Ok(Some(result)), _) => result,
        (_, Some(f)) => f(&Captured::with_text(&Record::builder().build(), String::new()).context()),
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
    // AssertUnwindSafe: what `f` leaves half-done are appenders, which have to bear that in log4rs too.
    let result = match (put, &captured) {
        (Ok(()), _) => CURRENT.with(|current| {
            let current = current.borrow();
            let captured = current.as_ref().expect("just put there");
            catch_unwind(AssertUnwindSafe(|| f(captured)))
        }),
        // A thread that is ending: its encoders find out the same, as the caller is this very thread.
        (Err(_), Some(captured)) => catch_unwind(AssertUnwindSafe(|| f(captured))),
        (Err(_), None) => unreachable!("taken only where it is put"),
    };
    if put.is_ok() {
        let back = result.as_ref().map_or(true, wanted);
        let _ = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            // Dropped where it lies, if nobody wants it.
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
