//! The mapped diagnostic context, which log lines show as `{X(key)}`: a child starts with that of the thread that spawns it.
//!
//! It lives in a thread-local of the crate `log-mdc`, which panics once that is destroyed, and does not tell before. A thread
//! that has come to the destructors of its thread-locals has no context.

use super::panic;

/// What the calling thread's has in it. Empty, it costs no allocation.
pub(super) fn inherit() -> Vec<(String, String)> {
    if panic::is_past_body() {
        return Vec::new();
    }
    let context = panic::silenced(|| {
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

/// The calling thread's is this one, and nothing of what it was.
pub(super) fn reset(context: &[(String, String)]) {
    log_mdc::clear();
    log_mdc::extend(context.iter().cloned());
}
