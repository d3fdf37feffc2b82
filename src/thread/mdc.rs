//! The mapped diagnostic context, which log lines show as `{X(key)}`: a child starts with that of the thread that spawns it.

/// What the calling thread's has in it. Empty, it costs no allocation.
pub(super) fn inherit() -> Vec<(String, String)> {
    let mut context = Vec::new();
    log_mdc::iter(|key, value| context.push((key.to_owned(), value.to_owned())));
    context
}

pub(super) fn adopt(context: Vec<(String, String)>) {
    if !context.is_empty() {
        log_mdc::extend(context);
    }
}
