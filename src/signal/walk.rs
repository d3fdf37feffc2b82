//! Walks over the parts of composite signals. No walk is recursive: a program may nest an
//! expression as deeply as it likes, and a thread's stack has an end.

use super::core::{Core, Kind};
use super::{Signal, WaitSet};
use std::sync::Arc;
use std::time::Instant;

/// The parts of a composite; empty for all other kinds.
pub(super) fn parts(core: &Core) -> &[Signal] {
    match &core.kind {
        Kind::Any(parts) | Kind::All(parts) => parts,
        Kind::Plain(_) | Kind::Never | Kind::Till(_) => &[],
    }
}

/// What decides for the whole composite, once a part has it: gone for `|`, not gone for `&`.
fn decides(composite: &Core) -> bool {
    matches!(composite.kind, Kind::Any(_))
}

/// Returns `true` if the composite has gone. Each composite that is found to have gone on the way
/// is marked.
pub(super) fn has_gone(composite: &Core) -> bool {
    // The composites around the current one, each with the parts that were not asked yet. An
    // expression of one level needs none.
    let mut around = Vec::new();
    let (mut now, mut left) = (composite, parts(composite).iter());
    // Whether the part that was asked last has gone.
    let mut last = None;
    loop {
        let outcome = match left.next() {
            _ if last == Some(decides(now)) => decides(now),
            None => !decides(now),
            Some(part) => {
                last = part.0.has_gone_by_itself();
                if last.is_none() {
                    around.push((std::mem::replace(&mut now, &part.0), left));
                    left = parts(&part.0).iter();
                }
                continue;
            }
        };
        if outcome {
            now.mark_gone();
        }
        last = Some(outcome);
        match around.pop() {
            Some(outer) => (now, left) = outer,
            None => return outcome,
        }
    }
}

/// Adds to `wait_set` what has to change before the signal can have gone.
///
/// The caller has asked whether it has gone, so the parts of an `&` up to the missing one are
/// marked. Without that, or if one went since, the round ends at once, and the caller asks again.
pub(super) fn frontier(core: &Core, wait_set: &mut WaitSet) {
    let mut next = Vec::new();
    let mut now = Some(core);
    while let Some(core) = now {
        match &core.kind {
            Kind::Plain(_) => wait_set.push(core.own_receiver()),
            Kind::Never => {}
            Kind::Till(at) => {
                wait_set.push(core.own_receiver());
                wait_set.until(*at);
            }
            Kind::Any(parts) => next.extend(parts.iter().rev().map(|part| &*part.0)),
            // Not `is_go`, which would walk through the whole part, at each level.
            Kind::All(parts) => match parts.iter().find(|part| !part.0.is_known_gone()) {
                Some(missing) => next.push(&*missing.0),
                None => wait_set.until(Instant::now()),
            },
        }
        now = next.pop();
    }
}

/// The expression, with `leaf` for the name of each signal that is no composite.
pub(super) fn expression(core: &Core, leaf: fn(&Core) -> Arc<str>) -> Arc<str> {
    enum Token<'a> {
        Text(&'static str),
        Name(&'a Core),
    }
    let mut text = String::new();
    let mut next = vec![Token::Name(core)];
    while let Some(token) = next.pop() {
        match token {
            Token::Text(token) => text.push_str(token),
            Token::Name(core) if parts(core).is_empty() => text.push_str(&leaf(core)),
            Token::Name(core) => {
                let between = if decides(core) { " | " } else { " & " };
                next.push(Token::Text(")"));
                for (place, part) in parts(core).iter().enumerate().rev() {
                    next.push(Token::Name(&part.0));
                    if place > 0 {
                        next.push(Token::Text(between));
                    }
                }
                next.push(Token::Text("("));
            }
        }
    }
    Arc::from(text)
}

/// The value of an expression: `value` gives it for a signal from the values of its parts, of which
/// a leaf has none. `Signal` is `None` for the whole expression, and the handle in its composite
/// for each part.
pub(super) fn fold<T>(core: &Core, mut value: impl FnMut(&Core, Option<&Signal>, Vec<T>) -> T) -> T {
    let mut around = Vec::new();
    let (mut now, mut handle, mut left, mut values) = (core, None, parts(core).iter(), Vec::new());
    loop {
        if let Some(part) = left.next() {
            around.push((now, handle, left, values));
            (now, handle, left, values) = (&part.0, Some(part), parts(&part.0).iter(), Vec::new());
            continue;
        }
        let done = value(now, handle, values);
        match around.pop() {
            Some(outer) => (now, handle, left, values) = outer,
            None => return done,
        }
        values.push(done);
    }
}

/// Drops the parts of a composite that nothing refers to any more, and theirs.
pub(super) fn drop_parts(composite: &mut Core) {
    let taken = |core: &mut Core| match &mut core.kind {
        Kind::Any(parts) | Kind::All(parts) => std::mem::take(parts),
        Kind::Plain(_) | Kind::Never | Kind::Till(_) => Box::default(),
    };
    let mut left = taken(composite).into_vec();
    while let Some(part) = left.pop() {
        if parts(&part.0).is_empty() {
            continue;
        }
        // `None`: another handle is left, and the last of them drops the parts.
        if let Some(mut core) = Arc::into_inner(part.0) {
            left.extend(taken(&mut core));
        }
    }
}
