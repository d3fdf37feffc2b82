//! The mapped diagnostic context (MDC) of the calling thread: pairs of a key and a value, for
//! example the number of the request that it works on.
//!
//! A pattern of the log shows a value as `{X(key)}`, the JSON encoder shows all pairs, and so do a
//! dump, the report of a failure, and the labels of samples in a pprof file: see
//! [`context`](crate::context), which sets a pair of the same map. A thread starts with a copy of
//! the context of the thread that spawns it. A thread that has come to the destructors of its
//! thread-locals has no context: then the functions that change it do nothing.
//!
//! The context is that of the crate `log-mdc`, which log4rs reads. A change by a call of that crate
//! is in the log at once, and in dumps and samples after the next change by a call of this module.
//! These functions do not need that crate in your Cargo.toml, so its version cannot differ from
//! that of log4rs.
//!
//! ```
//! use selvedge::{mdc, spawn};
//!
//! let _request = mdc::insert_scoped("request", "17");
//! // The log shows `request` for each record of this thread and of the new one.
//! let worker = spawn("worker", |_please_stop| mdc::get("request"));
//! assert_eq!(worker.join().unwrap().as_deref(), Some("17"));
//! ```

use super::panic_flags::{is_past_body, silenced};
use crate::wait::publish_context;
use std::marker::PhantomData;
use std::sync::Arc;

/// Sets the value of `key`. Returns the value that it had.
///
/// ```
/// assert_eq!(selvedge::mdc::insert("user", "ann"), None);
/// assert_eq!(selvedge::mdc::insert("user", "ben").as_deref(), Some("ann"));
/// ```
pub fn insert(key: impl Into<String>, value: impl Into<String>) -> Option<String> {
    let (key, value) = (key.into(), value.into());
    change(|| log_mdc::insert(key, value))
}

/// Sets the value of `key` until the guard is dropped; then it has the value again that it had
/// before, or none.
///
/// ```
/// use selvedge::mdc;
///
/// {
///     let _step = mdc::insert_scoped("step", "parse");
///     assert_eq!(mdc::get("step").as_deref(), Some("parse"));
/// }
/// assert_eq!(mdc::get("step"), None);
/// ```
pub fn insert_scoped(key: impl Into<String>, value: impl Into<String>) -> ContextGuard {
    context(key, value)
}

/// Says what the calling thread works on, until the guard is dropped; then `key` has the value
/// again that it had before, or none. The threads that it spawns meanwhile begin with it.
///
/// There is one map of each thread, [`mdc`](crate::mdc); this is
/// [`mdc::insert_scoped`](crate::mdc::insert_scoped) under its general name. The map is in each log
/// record (`{X(request)}`, and the JSON encoder), in [dumps](crate::dump()), in the report of a
/// failure, and, with the feature `profiling`, a label of each sample in a pprof file:
/// `go tool pprof -tagfocus request=17`. Flamegraphs and folded lines do not show it.
///
/// A profile keeps 4096 contexts that have samples. The values of further ones are `[others]`, and
/// the profile says so.
///
/// ```
/// use selvedge::{context, dump, spawn};
///
/// let _request = context("request", "17");
/// let worker = spawn("worker", |_please_stop| dump().to_string());
/// assert!(worker.join().unwrap().contains("request=17"));
/// ```
pub fn context(key: impl Into<String>, value: impl Into<String>) -> ContextGuard {
    let key = key.into();
    let before = insert(key.clone(), value);
    ContextGuard { key, before, _not_send: PhantomData }
}

/// The guard's name in this module.
pub use ContextGuard as Inserted;

/// Restores the value of a key when it is dropped, on the thread on which it was made; see
/// [`context`](crate::context).
#[must_use = "the value is taken back when this is dropped"]
#[derive(Debug)]
pub struct ContextGuard {
    key: String,
    before: Option<String>,
    _not_send: PhantomData<*const ()>,
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        let key = std::mem::take(&mut self.key);
        match self.before.take() {
            Some(before) => drop(insert(key, before)),
            None => drop(remove(&key)),
        }
    }
}

/// The value of `key`. `None` if it has none.
pub fn get(key: &str) -> Option<String> {
    unless_past(|| log_mdc::get(key, |value| value.map(str::to_owned)))
}

/// Removes `key`. Returns the value that it had.
pub fn remove(key: &str) -> Option<String> {
    change(|| log_mdc::remove(key))
}

/// Removes all keys.
pub fn clear() {
    change(|| {
        log_mdc::clear();
        None::<()>
    });
}

/// All keys with their values, in no order.
pub fn pairs() -> Vec<(String, String)> {
    inherit()
}

fn unless_past<T>(f: impl FnOnce() -> Option<T>) -> Option<T> {
    if is_past_body() {
        return None;
    }
    // It panics where its thread-local is destroyed already.
    silenced(f).flatten()
}

/// [`unless_past`] for a change, which other threads see afterwards.
fn change<T>(f: impl FnOnce() -> Option<T>) -> Option<T> {
    let result = unless_past(f);
    publish();
    result
}

/// From now on dumps and samples have the calling thread's context as it is now.
fn publish() {
    let pairs = unless_past(|| {
        let mut pairs: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        log_mdc::iter(|key, value| pairs.push((key.into(), value.into())));
        Some(pairs)
    });
    publish_context(pairs.unwrap_or_default());
}

/// The pairs of the calling thread's context. If it is empty, this allocates nothing.
pub(super) fn inherit() -> Vec<(String, String)> {
    if is_past_body() {
        return Vec::new();
    }
    let context = silenced(|| {
        let mut context = Vec::new();
        log_mdc::iter(|key, value| context.push((key.to_owned(), value.to_owned())));
        context
    });
    context.unwrap_or_default()
}

/// On a thread that begins.
pub(super) fn adopt(context: Vec<(String, String)>) {
    if !context.is_empty() {
        log_mdc::extend(context);
        publish();
    }
}

/// Replaces the calling thread's context.
pub(super) fn reset(context: &[(String, String)]) {
    log_mdc::clear();
    log_mdc::extend(context.iter().cloned());
    publish();
}
