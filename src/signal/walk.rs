//! Walks over the parts of composite signals: whether it has gone, its name, its reason, which
//! threads can make it go. No walk is recursive: a program may nest an expression as deeply as it
//! likes, and a thread's stack has an end. Knows no targets and no timer.

use super::core::{Core, Kind, Name};
use super::reason::{Decision, Reason};
use crate::wait::{Ender, Shared};
use std::sync::Arc;
use std::time::Instant;

/// The parts of a composite; empty for all other kinds.
pub(super) fn parts(core: &Core) -> &[Arc<Core>] {
    match &core.kind {
        Kind::Any(parts) | Kind::All(parts) => parts,
        Kind::Plain(_) | Kind::Never | Kind::Till(_) => &[],
    }
}

/// Which answer of one part settles the whole composite: `true`, it has gone, for `|`; `false` for
/// `&`.
fn settling_answer(composite: &Core) -> bool {
    matches!(composite.kind, Kind::Any(_))
}

/// Returns `true` if the composite has gone. Each composite that is found to have gone on the way
/// is marked.
pub(super) fn has_gone(composite: &Core) -> bool {
    // The composites around the current one, each with the parts that were not asked yet. An
    // expression of one level needs none.
    let mut around = Vec::new();
    let (mut current, mut left) = (composite, parts(composite).iter());
    // The answer of the part that was asked last: whether it has gone.
    let mut last = None;
    loop {
        let settling = settling_answer(current);
        let has_gone = if last == Some(settling) {
            settling
        } else if let Some(part) = left.next() {
            last = part.has_gone_by_itself();
            if last.is_none() {
                // The part is a composite. Its parts are asked before the rest of the current one.
                around.push((std::mem::replace(&mut current, part), left));
                left = parts(part).iter();
            }
            continue;
        } else {
            // No part has settled it.
            !settling
        };
        if has_gone {
            current.mark_gone();
        }
        last = Some(has_gone);
        match around.pop() {
            Some(outer) => (current, left) = outer,
            None => return has_gone,
        }
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
                let between = if matches!(core.kind, Kind::Any(_)) { " | " } else { " & " };
                next.push(Token::Text(")"));
                for (place, part) in parts(core).iter().enumerate().rev() {
                    next.push(Token::Name(part));
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
/// a leaf has none. The handle is `None` for the whole expression, and the one in its composite
/// for each part.
pub(super) fn fold<T>(core: &Core, mut value: impl FnMut(&Core, Option<&Arc<Core>>, Vec<T>) -> T) -> T {
    let mut around = Vec::new();
    let (mut now, mut handle, mut left, mut values) = (core, None, parts(core).iter(), Vec::new());
    loop {
        if let Some(part) = left.next() {
            around.push((now, handle, left, values));
            (now, handle, left, values) = (part, Some(part), parts(part).iter(), Vec::new());
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
        if parts(&part).is_empty() {
            continue;
        }
        // `None`: another handle is left, and the last of them drops the parts.
        if let Some(mut core) = Arc::into_inner(part) {
            left.extend(taken(&mut core));
        }
    }
}

impl Core {
    /// Asks the clock or the parts, and marks the signal if they say that it has gone.
    #[cold]
    pub(super) fn evaluate(&self) -> bool {
        self.has_gone_by_itself().unwrap_or_else(|| has_gone(self))
    }

    /// The name without what is another one at each call: the time that is left to a Till, the
    /// number of a mark. `None`: the name is the same at each call.
    pub(super) fn lasting_name(&self) -> Option<Arc<str>> {
        let lasting = match &self.kind {
            Kind::Plain(Name::At(owner, _)) => Arc::from(format!("{owner} at *")),
            Kind::Plain(_) | Kind::Never => return None,
            Kind::Till(_) => Arc::from("till"),
            Kind::Any(_) | Kind::All(_) => expression(self, |leaf| leaf.lasting_name().unwrap_or_else(|| leaf.name())),
        };
        Some(lasting)
    }

    pub(super) fn name(&self) -> Arc<str> {
        match &self.kind {
            Kind::Plain(Name::Own(name)) => name.clone(),
            Kind::Plain(Name::Of(owner, what)) => Arc::from(format!("{owner} {what}")),
            Kind::Plain(Name::At(owner, number)) => Arc::from(format!("{owner} at {number}")),
            Kind::Never => Arc::from("never"),
            Kind::Till(at) => {
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() { Arc::from("till now") } else { Arc::from(format!("till in {left:.1?}")) }
            }
            Kind::Any(_) | Kind::All(_) => expression(self, Core::name),
        }
    }

    /// What made it go, while a recording counts waits; of a composite, what made the part go that
    /// decided.
    pub(super) fn ender(&self) -> Ender {
        let first = |a: Ender, b: Ender| if b.at() < a.at() { b } else { a };
        let last = |a: Ender, b: Ender| if b.at() > a.at() { b } else { a };
        // `None`: it has not gone.
        let ender = fold(self, |core, _, parts: Vec<Option<Ender>>| match &core.kind {
            Kind::Plain(_) | Kind::Never => core.given_ender(),
            // A thread may make it go before its time.
            Kind::Till(at) if Instant::now() < *at => core.given_ender(),
            Kind::Till(at) => Some(Ender::clock(Some(*at))),
            Kind::Any(_) => parts.into_iter().flatten().reduce(first),
            Kind::All(_) => parts.into_iter().collect::<Option<Vec<_>>>()?.into_iter().reduce(last),
        });
        ender.unwrap_or(Ender::UNKNOWN)
    }

    /// When and why it went. A composite has this of the part that decided: of `a | b` the first
    /// that went, of `a & b` the last. `None` if it has not gone.
    pub(super) fn decision(&self) -> Option<Decision> {
        fold(self, |core, _, parts: Vec<Option<Decision>>| match &core.kind {
            Kind::Plain(_) | Kind::Never | Kind::Till(_) => core.own_decision(),
            Kind::Any(_) => parts.into_iter().flatten().min_by_key(|part| part.when),
            Kind::All(_) => {
                let all: Option<Vec<_>> = parts.into_iter().collect();
                all.and_then(|all| all.into_iter().max_by_key(|part| part.when))
            }
        })
    }

    /// Why it has gone. `None` if the part that decided has nothing to say.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.decision()?.reason
    }
}

impl Shared for Core {
    fn is_left_to(&self, known: usize, all: usize) -> bool {
        // Of a part, the composite that it is a part of has one handle.
        fold(self, |core, handle: Option<&Arc<Core>>, parts: Vec<bool>| {
            let (known, all) = handle.map_or((known, all), |handle| (1, Arc::strong_count(handle)));
            let is_part_gone = handle.is_some() && core.is_known_gone();
            !is_part_gone
                && match &core.kind {
                    Kind::Plain(_) => all <= known && !core.is_known_gone(),
                    // A thread that waits for what never goes means it.
                    Kind::Never | Kind::Till(_) => false,
                    // No call makes a composite go, so only the handles to its parts count.
                    Kind::Any(_) => parts.iter().all(|&is_left| is_left),
                    Kind::All(_) => parts.iter().any(|&is_left| is_left),
                }
        })
    }
}
