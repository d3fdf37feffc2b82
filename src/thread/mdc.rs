//! The mapped diagnostic context (MDC) of the calling thread: pairs of a key and a value, for
//! example the number of the request that it works on.
//!
//! A pattern of the log shows a value as `{X(key)}`, the JSON encoder shows all pairs, and so does
//! the report of a failure. A thread starts with a copy of the context of the thread that spawns
//! it. A thread that has come to the destructors of its thread-locals has no context: then the
//! functions that change it do nothing.
//!
//! The context is that of the crate `log-mdc`, which log4rs reads. These functions do not need that
//! crate in your Cargo.toml, so its version cannot differ from that of log4rs.
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
use std::marker::PhantomData;

/// Sets the value of `key`. Returns the value that it had.
///
/// ```
/// assert_eq!(selvedge::mdc::insert("user", "ann"), None);
/// assert_eq!(selvedge::mdc::insert("user", "ben").as_deref(), Some("ann"));
/// ```
pub fn insert(key: impl Into<String>, value: impl Into<String>) -> Option<String> {
    let (key, value) = (key.into(), value.into());
    unless_past(|| log_mdc::insert(key, value))
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
pub fn insert_scoped(key: impl Into<String>, value: impl Into<String>) -> Inserted {
    let key = key.into();
    let before = insert(key.clone(), value);
    Inserted { key, before, _not_send: PhantomData }
}

/// Restores the value of a key when it is dropped, on the thread on which it was made; see
/// [`insert_scoped`].
#[must_use = "the value is taken back when this is dropped"]
#[derive(Debug)]
pub struct Inserted {
    key: String,
    before: Option<String>,
    _not_send: PhantomData<*const ()>,
}

impl Drop for Inserted {
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
    unless_past(|| log_mdc::remove(key))
}

/// Removes all keys.
pub fn clear() {
    unless_past(|| {
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
    }
}

/// Replaces the calling thread's context.
pub(super) fn reset(context: &[(String, String)]) {
    log_mdc::clear();
    log_mdc::extend(context.iter().cloned());
}
