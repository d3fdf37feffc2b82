//! What is known of a thread that failed, and of those below it.

use crate::error::{drop_payload, panic_message};
use parking_lot::Mutex;
use std::any::Any;
use std::backtrace::Backtrace;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

type Payload = Box<dyn Any + Send>;

/// A thread failed: it panicked, it returned an error, or threads below it failed and nobody had joined them.
///
/// `Display` writes the whole tree of failures, a line for each; with `{:#}` also the backtrace of each panic, trimmed
/// to the program's own frames.
///
/// ```
/// let child = selvedge::spawn_fallible("config", |_please_stop| Err::<(), _>("no such file"));
/// let failure = child.join().unwrap_err();
/// assert!(failure.is_error());
/// assert!(failure.to_string().ends_with("/config failed: no such file"));
/// ```
pub struct Failure(Box<Inner>);

struct Inner {
    path: Arc<str>,
    cause: Cause,
    message: String,
    location: Option<String>,
    backtrace: Option<Backtrace>,
    children: Vec<Failure>,
}

enum Cause {
    /// The payload, until somebody takes it. In a lock only because payloads are not Sync, and errors should be.
    Panic(Mutex<Option<Payload>>),
    Error(Option<Box<dyn Error + Send + Sync>>),
    /// The thread itself was well.
    Children,
    /// Its parent was told when it ended.
    Told,
}

impl Failure {
    /// On the thread that has panicked, after the catch.
    pub(crate) fn panic(path: &Arc<str>, payload: Payload) -> Failure {
        let message = panic_message(&*payload);
        let seen = super::panic::take_seen(&message);
        let (location, backtrace) = seen.map_or((None, None), |seen| (seen.location, Some(seen.backtrace)));
        Failure::new(path, Cause::Panic(Mutex::new(Some(payload))), message, location, backtrace)
    }

    pub(crate) fn error(path: &Arc<str>, error: Box<dyn Error + Send + Sync>) -> Failure {
        // A failure that comes back as an error, from join()?, is not told once more as a text: it stays a failure.
        match error.downcast::<Failure>() {
            Ok(failure) => Failure::adopt(path, *failure),
            Err(error) => {
                let message = with_sources(&*error);
                Failure::new(path, Cause::Error(Some(error)), message, None, None)
            }
        }
    }

    /// For an error of which only the text can be had.
    pub(crate) fn text(path: &Arc<str>, message: String) -> Failure {
        Failure::new(path, Cause::Error(None), message, None, None)
    }

    /// `failure` of another thread was returned by this one.
    pub(crate) fn adopt(path: &Arc<str>, failure: Failure) -> Failure {
        if failure.0.path == *path {
            return failure;
        }
        Failure::below(path, vec![failure])
    }

    pub(crate) fn told(path: &Arc<str>, parent: &str) -> Failure {
        Failure::new(path, Cause::Told, format!("{parent} has been told of it"), None, None)
    }

    pub(crate) fn below(path: &Arc<str>, children: Vec<Failure>) -> Failure {
        let mut failure = Failure::new(path, Cause::Children, String::new(), None, None);
        failure.set_children(children);
        failure
    }

    fn new(
        path: &Arc<str>,
        cause: Cause,
        message: String,
        location: Option<String>,
        backtrace: Option<Backtrace>,
    ) -> Failure {
        Failure(Box::new(Inner { path: path.clone(), cause, message, location, backtrace, children: Vec::new() }))
    }

    /// The thread's own failure and those of its children as one; `None` if all is well.
    pub(crate) fn merge(path: &Arc<str>, own: Option<Failure>, children: Vec<Failure>) -> Option<Failure> {
        match own {
            None if children.is_empty() => None,
            None => Some(Failure::below(path, children)),
            Some(mut own) => {
                let mut all = std::mem::take(&mut own.0.children);
                all.extend(children);
                own.set_children(all);
                Some(own)
            }
        }
    }

    fn set_children(&mut self, children: Vec<Failure>) {
        if matches!(self.0.cause, Cause::Children) {
            let count = children.len();
            self.0.message = format!("{count} thread{} below it failed", if count == 1 { "" } else { "s" });
        }
        self.0.children = children;
    }

    /// The path of the thread that failed.
    pub fn thread_path(&self) -> &str {
        &self.0.path
    }

    /// What the panic said, or the error with its sources. Of a payload that is no string, that it is none.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it panicked, as `file:line:column`. `None` for errors.
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// The stack at the panic, always captured. `None` for errors.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.0.backtrace.as_ref()
    }

    /// The thread panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.cause, Cause::Panic(_))
    }

    /// The thread returned an error.
    pub fn is_error(&self) -> bool {
        matches!(self.0.cause, Cause::Error(_))
    }

    /// Failures of threads below this one that nobody had joined, the oldest first.
    pub fn children(&self) -> &[Failure] {
        &self.0.children
    }

    /// The panic's payload, for `resume_unwind`. For other failures, the text of the failure.
    pub fn into_panic(self) -> Payload {
        let payload = match &self.0.cause {
            Cause::Panic(payload) => payload.lock().take(),
            _ => None,
        };
        payload.unwrap_or_else(|| Box::new(self.to_string()))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let inner = &*self.0;
        match (&inner.cause, &inner.location) {
            (Cause::Panic(_), Some(location)) => write!(f, "{} panicked at {location}: ", inner.path)?,
            (Cause::Panic(_), None) => write!(f, "{} panicked: ", inner.path)?,
            (Cause::Error(_) | Cause::Children, _) => write!(f, "{} failed: ", inner.path)?,
            (Cause::Told, _) => write!(f, "{} failed; ", inner.path)?,
        }
        let bar = if inner.children.is_empty() { "   " } else { "│  " };
        for (number, line) in inner.message.lines().enumerate() {
            if number > 0 {
                write!(f, "\n{indent}{bar}")?;
            }
            f.write_str(line)?;
        }
        if f.alternate()
            && let Some(backtrace) = &inner.backtrace
        {
            for line in super::panic::own_frames(backtrace) {
                write!(f, "\n{indent}{bar}{line}")?;
            }
        }
        for (number, child) in inner.children.iter().enumerate() {
            let last = number + 1 == inner.children.len();
            write!(f, "\n{indent}{}", if last { "└─ " } else { "├─ " })?;
            child.write(f, &format!("{indent}{}", if last { "   " } else { "│  " }))?;
        }
        Ok(())
    }
}

/// The message of an error and of what caused it, each once.
pub(crate) fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("{error:#}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors print their source themselves.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "")
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "")
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.cause {
            Cause::Error(Some(error)) => Some(&**error),
            _ => None,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        match &mut self.cause {
            Cause::Panic(payload) => payload.get_mut().take().into_iter().for_each(drop_payload),
            Cause::Error(error) => error.take().into_iter().for_each(drop_payload),
            Cause::Children | Cause::Told => {}
        }
    }
}
