//! What a captured record holds: one text with its parts, and what was so at the call on the thread
//! that made it. Knows nothing of how a record is passed on.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::log::{Level, Record};

use super::pairs::{Collect, put_pair};
use super::text::Text;
use crate::thread::foreign_locals::has_mdc;

/// A time of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::log) struct Time {
    pub(in crate::log) seconds: i64,
    pub(in crate::log) nanos: u32,
}

impl Time {
    pub(in crate::log) fn now() -> Time {
        Time::of(SystemTime::now())
    }

    pub(super) fn of(at: SystemTime) -> Time {
        match at.duration_since(UNIX_EPOCH) {
            Ok(since) => Time { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() },
            // A clock that is set before 1970.
            Err(_) => Time { seconds: 0, nanos: 0 },
        }
    }
}

/// The thread that logs.
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
    /// What records captured now shall have: one time for a record that goes to several appenders,
    /// its own time and level for one of the tail.
    static STAMP: Cell<Option<(SystemTime, Option<Level>)>> = const { Cell::new(None) };
    /// The MDC of the record of the tail that is captured again, as its text has it. Read only while
    /// `STAMP` has a level.
    static TAIL_MDC: RefCell<Option<String>> = const { RefCell::new(None) };
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
        let has_mdc = has_mdc();
        let known = CALLER.try_with(|caller| {
            let mut caller = caller.try_borrow_mut().ok()?;
            if let Some(caller) = &*caller
                && crate::wait::is_tree_path(caller.name.as_ref().filter(|_| caller.in_tree))
            {
                f(caller, has_mdc);
                return Some(());
            }
            // The MDC is gone if the first record of a thread comes from a thread-local's Drop.
            has_mdc.then(|| f(caller.insert(Caller::new()), true))
        });
        if !matches!(known, Ok(Some(()))) {
            f(&Caller::new(), false);
        }
    }
}

/// What a record holds. Its text lies in one piece: the message, then the names that have no
/// `'static` of their own, then the MDC and the key-values, each key and value as `length:text`.
#[derive(Debug)]
pub(in crate::log) struct Body {
    /// When it was logged. The thread that encodes it makes a [`Time`] of it.
    pub(in crate::log) at: SystemTime,
    pub(in crate::log) level: Level,
    /// Which of the sinks behind a queue gets it, and how many are missing there before it.
    pub(in crate::log) to: usize,
    pub(in crate::log) gap: u64,
    pub(super) line: Option<u32>,
    pub(super) thread_id: usize,
    /// The target is the module's path, which is in `module`.
    pub(super) target_is_module: bool,
    /// Names that need no place in the text.
    pub(super) module: Option<&'static str>,
    pub(super) file: Option<&'static str>,
    pub(super) text: Text,
    /// Where the parts of the text end; the key-values end with it.
    pub(super) ends: [usize; PARTS],
    /// For each part that is a name: whether the record has it.
    pub(super) there: [bool; PARTS],
}

pub(super) const MESSAGE: usize = 0;
pub(super) const THREAD: usize = 1;
pub(super) const TARGET: usize = 2;
pub(super) const MODULE: usize = 3;
pub(super) const FILE: usize = 4;
pub(super) const MDC: usize = 5;
const PARTS: usize = 6;

impl Default for Body {
    fn default() -> Body {
        Body {
            at: UNIX_EPOCH,
            level: Level::Info,
            to: 0,
            gap: 0,
            line: None,
            thread_id: 0,
            target_is_module: false,
            module: None,
            file: None,
            text: Text::new(),
            ends: [0; PARTS],
            there: [false; PARTS],
        }
    }
}

impl Body {
    pub(super) fn heap(&self) -> usize {
        self.text.heap()
    }

    pub(in crate::log) fn time(&self) -> Time {
        Time::of(self.at)
    }

    /// Becomes a copy of `other`. Takes fields apart, so that a new one is not forgotten.
    pub(super) fn copy_from(&mut self, other: &Body) {
        let Body { at, level, to, gap, line, thread_id, target_is_module, module, file, ref text, ends, there } =
            *other;
        (self.at, self.level, self.to, self.gap) = (at, level, to, gap);
        (self.line, self.thread_id, self.target_is_module) = (line, thread_id, target_is_module);
        (self.module, self.file, self.ends, self.there) = (module, file, ends, there);
        self.text.begin();
        self.text.push_str(text.as_str());
    }

    fn end(&mut self, part: usize, name: Option<&str>) {
        if let Some(name) = name {
            self.text.push_str(name);
        }
        self.there[part] = name.is_some();
        self.ends[part] = self.text.len();
    }

    /// All but the message, which is in the text already.
    pub(super) fn complete(&mut self, record: &Record<'_>) {
        self.end(MESSAGE, None);
        // Without `target:` in the macro it is the module's path, which is static.
        self.module = record.module_path_static();
        self.target_is_module = self.module.is_some_and(|path| std::ptr::eq(path, record.target()));
        self.file = record.file_static();
        self.line = record.line();
        Caller::with(|caller, has_mdc| {
            self.thread_id = caller.id;
            self.end(THREAD, caller.name.as_deref());
            self.end(TARGET, Some(record.target()).filter(|_| !self.target_is_module));
            self.end(MODULE, record.module_path().filter(|_| self.module.is_none()));
            self.end(FILE, record.file().filter(|_| self.file.is_none()));
            if !self.put_mdc_of_tail() && has_mdc {
                log_mdc::iter(|key, value| put_pair(&mut self.text, key, value));
            }
        });
        self.end(MDC, None);
        if record.key_values().count() > 0 {
            let _complete = record.key_values().visit(&mut Collect(&mut self.text));
        }
        let (at, level) = STAMP.get().unwrap_or_else(|| (SystemTime::now(), None));
        (self.at, self.level) = (at, level.unwrap_or(record.level()));
        (self.to, self.gap) = (0, 0);
    }

    /// Adds the MDC of the record of the tail, if one is captured again. Returns `true` if it did.
    fn put_mdc_of_tail(&mut self) -> bool {
        let is_tail = STAMP.get().is_some_and(|(_, level)| level.is_some());
        let mut put = || {
            let put = |mdc: &RefCell<Option<String>>| {
                self.text.push_str(mdc.try_borrow().ok()?.as_deref()?);
                Some(())
            };
            TAIL_MDC.try_with(put).ok().flatten().is_some()
        };
        is_tail && put()
    }

    pub(super) fn part(&self, part: usize) -> &str {
        &self.text.as_str()[if part == 0 { 0 } else { self.ends[part - 1] }..self.ends[part]]
    }

    pub(super) fn target(&self) -> &str {
        if self.target_is_module { self.module.unwrap_or("") } else { self.part(TARGET) }
    }

    pub(super) fn name(&self, fixed: Option<&'static str>, part: usize) -> Option<&str> {
        fixed.or_else(|| self.there[part].then(|| self.part(part)))
    }
}

/// While `f` runs, all records that are captured on this thread have the same time.
pub(in crate::log) fn at_one_time<R>(f: impl FnOnce() -> R) -> R {
    // One of the tail has its own already.
    let stamp = STAMP.get().unwrap_or_else(|| (SystemTime::now(), None));
    stamped(stamp, f)
}

/// While `f` runs, records that are captured on this thread have the time, the level and the MDC of
/// `tail`, a record of the tail.
pub(in crate::log) fn again<R>(tail: &Body, f: impl FnOnce() -> R) -> R {
    /// Puts back what was there: an appender may log an error while a record of the tail is logged.
    struct Restore(Option<String>);
    impl Drop for Restore {
        fn drop(&mut self) {
            put(self.0.take());
        }
    }
    fn put(mdc: Option<String>) -> Option<String> {
        TAIL_MDC
            .try_with(|place| place.try_borrow_mut().ok().and_then(|mut place| std::mem::replace(&mut *place, mdc)))
            .ok()
            .flatten()
    }
    let _restore = Restore(put(Some(tail.part(MDC).to_owned())));
    stamped((tail.at, Some(tail.level)), f)
}

fn stamped<R>(stamp: (SystemTime, Option<Level>), f: impl FnOnce() -> R) -> R {
    struct Restore(Option<(SystemTime, Option<Level>)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            STAMP.set(self.0);
        }
    }
    let _restore = Restore(STAMP.replace(Some(stamp)));
    f()
}
