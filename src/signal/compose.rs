//! `|` and `&`: signals made of signals.
//!
//! Built so that the algebra holds without being computed at every look: `never` and what has gone
//! are absorbed, what is named twice is kept once, `(a | b) | c` becomes one level. A composite that
//! has gone as it is made is the part that decided, with its name and its reason.

use super::core::{Core, Kind};
use super::handle::Signal;
use super::till::Till;
use std::ops::{BitAnd, BitOr};
use std::sync::Arc;
use std::time::Instant;

/// Up to this many parts, duplicates are looked for.
const FEW: usize = 16;

impl Signal {
    /// A signal that has gone when at least one of these has. Of none: [`never`](Self::never). If one
    /// has gone already: that one, the first that went.
    ///
    /// ```
    /// # use selvedge::Signal;
    /// let replies = ["first", "second", "third"].map(Signal::new);
    /// let any = Signal::any(&replies);
    /// replies[1].go();
    /// assert!(any.is_go());
    /// ```
    #[must_use = "a signal that is dropped does nothing; wait for it, or attach a target"]
    pub fn any<S: AsRef<Signal>>(signals: impl IntoIterator<Item = S>) -> Signal {
        let (mut parts, mut gone) = (Vec::new(), Vec::new());
        for signal in signals {
            let signal = signal.as_ref();
            if signal.0.is_known_gone() {
                gone.push(signal.0.clone());
                continue;
            }
            match &signal.0.kind {
                Kind::Never => {}
                Kind::Any(inner) => inner.iter().for_each(|part| add(&mut parts, part)),
                _ => add(&mut parts, &signal.0),
            }
        }
        if !gone.is_empty() {
            // The time of a Till may have come before.
            gone.extend(parts.into_iter().filter(|part| part.is_go()));
            return gone.into_iter().min_by_key(went_at).map_or_else(Signal::gone, Signal);
        }
        match parts.len() {
            0 => Signal::never(),
            1 => Signal(parts.remove(0)),
            _ => Signal(Core::new(Kind::Any(parts.into()))),
        }
    }

    /// A signal that has gone when all of these have. Of none: [`gone`](Self::gone). If all have gone
    /// already: the last that went.
    ///
    /// ```
    /// # use selvedge::Signal;
    /// let parts = ["index", "cache"].map(Signal::new);
    /// let ready = Signal::all(&parts);
    /// parts.iter().for_each(|part| drop(part.go()));
    /// assert!(ready.is_go());
    /// ```
    #[must_use = "a signal that is dropped does nothing; wait for it, or attach a target"]
    pub fn all<S: AsRef<Signal>>(signals: impl IntoIterator<Item = S>) -> Signal {
        let (mut parts, mut gone) = (Vec::new(), Vec::new());
        for signal in signals {
            let signal = signal.as_ref();
            if signal.0.is_known_gone() {
                gone.push(signal.0.clone());
                continue;
            }
            match &signal.0.kind {
                Kind::Never => return Signal::never(),
                Kind::All(inner) => inner.iter().for_each(|part| add(&mut parts, part)),
                _ => add(&mut parts, &signal.0),
            }
        }
        if !gone.is_empty() {
            // The time of a Till may have come before. What is left goes after all of these.
            gone.extend(parts.extract_if(.., |part| part.is_go()));
        }
        match parts.len() {
            0 => gone.into_iter().max_by_key(went_at).map_or_else(Signal::gone, Signal),
            1 => Signal(parts.remove(0)),
            _ => Signal(Core::new(Kind::All(parts.into()))),
        }
    }
}

/// When a signal that has gone went.
fn went_at(core: &Arc<Core>) -> Option<Instant> {
    core.decision().and_then(|decision| decision.when)
}

fn add(parts: &mut Vec<Arc<Core>>, part: &Arc<Core>) {
    if parts.len() > FEW || !parts.iter().any(|known| Arc::ptr_eq(known, part)) {
        parts.push(part.clone());
    }
}

macro_rules! operators {
    ($($left:ty),*) => {$(
        impl<R: AsRef<Signal>> BitOr<R> for $left {
            type Output = Signal;
            fn bitor(self, right: R) -> Signal {
                Signal::any([AsRef::<Signal>::as_ref(&self), right.as_ref()])
            }
        }
        impl<R: AsRef<Signal>> BitAnd<R> for $left {
            type Output = Signal;
            fn bitand(self, right: R) -> Signal {
                Signal::all([AsRef::<Signal>::as_ref(&self), right.as_ref()])
            }
        }
    )*};
}
operators!(Signal, &Signal, Till, &Till);
