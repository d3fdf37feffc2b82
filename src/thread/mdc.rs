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

use super::foreign_locals::has_mdc;
use super::panic_flags::{is_past_body, silenced};
use crate::wait::{Context, Pair, publish_context, with_my_context};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

/// Sets the value of `key`. Returns the value that it had.
///
/// ```
/// assert_eq!(selvedge::mdc::insert("user", "ann"), None);
/// assert_eq!(selvedge::mdc::insert("user", "ben").as_deref(), Some("ann"));
/// ```
pub fn insert(key: impl Into<String>, value: impl Into<String>) -> Option<String> {
    set(key.into(), value.into()).1
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
    let (key, before, published) = set(key.into(), value.into());
    ContextGuard { key, before, published, _not_send: PhantomData }
}

/// The guard's name in this module.
pub use ContextGuard as Inserted;

/// Restores the value of a key when it is dropped, on the thread on which it was made; see
/// [`context`](crate::context).
#[must_use = "the value is taken back when this is dropped"]
#[derive(Debug)]
pub struct ContextGuard {
    key: Arc<str>,
    before: Option<String>,
    /// The whole context before, as others see it.
    published: Option<Context>,
    _not_send: PhantomData<*const ()>,
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        let (key, before) = (&*self.key, self.before.take());
        let restore = || match before {
            Some(before) => log_mdc::insert(key, before),
            None => log_mdc::remove(key),
        };
        change_back(restore, self.published.take());
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
    if is_past_body() || !has_mdc() {
        return None;
    }
    // It panics where its thread-local is borrowed.
    silenced(f).flatten()
}

/// [`unless_past`] for a change, which other threads see afterwards.
fn change<T>(f: impl FnOnce() -> Option<T>) -> Option<T> {
    change_back(f, None)
}

/// The same for a change after which the context is probably `published` again.
fn change_back<T>(f: impl FnOnce() -> Option<T>, published: Option<Context>) -> Option<T> {
    let result = unless_past(f);
    publish(published);
    result
}

/// Sets the value of `key`, and publishes that. Returns the key, the value that it had, and what
/// was published before.
fn set(key: String, value: String) -> (Arc<str>, Option<String>, Option<Context>) {
    let shared_key = known_key(&key);
    let of_pair = shared_key.clone();
    let changed = unless_past(move || {
        let shared_value = value.as_str().into();
        let before = log_mdc::insert(key, value);
        let context = with_my_context(|last| with_pair(last, (of_pair, shared_value)));
        // By calls of `log_mdc`, more may have changed.
        let context = if is_now(Some(&context)) { Some(context) } else { now() };
        Some((before, context))
    });
    let (before, context) = changed.unwrap_or_default();
    (shared_key, before, publish_context(context))
}

/// `context` with that pair.
fn with_pair(context: Option<&Context>, pair: Pair) -> Context {
    let pairs = context.map_or(&[][..], |context| &context.pairs);
    let (before, after) = match place(pairs, &pair.0) {
        Ok(at) => (&pairs[..at], &pairs[at + 1..]),
        Err(at) => pairs.split_at(at),
    };
    let pairs = before.iter().cloned().chain(std::iter::once(pair)).chain(after.iter().cloned());
    Context { pairs: pairs.collect() }
}

/// From now on dumps and samples have the calling thread's context as it is now: `probably`, if
/// that has the same pairs.
fn publish(probably: Option<Context>) {
    let now = unless_past(|| if is_now(probably.as_ref()) { probably } else { now() });
    publish_context(now);
}

/// Returns `true` if the calling thread's context has exactly these pairs.
fn is_now(context: Option<&Context>) -> bool {
    let pairs = context.map_or(&[][..], |context| &context.pairs);
    let (mut all, mut same) = (0, 0);
    log_mdc::iter(|key, value| {
        let is_same = || place(pairs, key).is_ok_and(|at| *pairs[at].1 == *value);
        all += 1;
        same += usize::from(all <= pairs.len() && is_same());
    });
    all == pairs.len() && same == all
}

/// The place of a key in pairs that are sorted. `Err`: where it would be.
fn place(pairs: &[Pair], key: &str) -> Result<usize, usize> {
    pairs.binary_search_by(|(known, _)| (**known).cmp(key))
}

/// The calling thread's context as it is now. What is the same as at the last publication is used
/// again. `None` if it is empty.
fn now() -> Option<Context> {
    let mut pairs: Vec<Pair> = Vec::new();
    with_my_context(|last| {
        let last = last.map_or(&[][..], |context| &context.pairs);
        log_mdc::iter(|key, value| {
            pairs.push(match place(last, key).map(|at| &last[at]) {
                Ok(known) if *known.1 == *value => known.clone(),
                Ok((key, _)) => (key.clone(), value.into()),
                Err(_) => (known_key(key), value.into()),
            });
        });
    });
    pairs.sort_unstable();
    (!pairs.is_empty()).then(|| Context { pairs: pairs.into() })
}

thread_local! {
    /// The first keys that the thread has used: there are few of them, and each is used often.
    static KEYS: RefCell<Vec<Arc<str>>> = const { RefCell::new(Vec::new()) };
}

/// Keys that a thread keeps.
const MOST_KEYS: usize = 8;

/// The key, made only once if it is among the first ones.
fn known_key(key: &str) -> Arc<str> {
    let kept = KEYS.try_with(|keys| {
        let mut keys = keys.borrow_mut();
        if let Some(known) = keys.iter().find(|known| ***known == *key) {
            return Some(known.clone());
        }
        (keys.len() < MOST_KEYS).then(|| {
            keys.push(key.into());
            keys[keys.len() - 1].clone()
        })
    });
    kept.ok().flatten().unwrap_or_else(|| key.into())
}

/// The pairs of the calling thread's context. If it is empty, this allocates nothing.
pub(super) fn inherit() -> Vec<(String, String)> {
    if is_past_body() || !has_mdc() {
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
        publish(None);
    }
}

/// Replaces the calling thread's context.
pub(super) fn reset(context: &[(String, String)]) {
    log_mdc::clear();
    log_mdc::extend(context.iter().cloned());
    publish(None);
}
