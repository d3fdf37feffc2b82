//! From what an engine has found, and what was counted of waits, to the profile.

use super::build;
use super::counted_waits::CountedWaits;
use super::model::{Profile, Session};
use super::raw::{Effective, RawProfile};
use super::symbols::{OfThisProcess, Resolve};
use super::trace::Traced;
use super::traced_stacks::TracedStacks;
use super::wait_stacks::Contention;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Contexts have lost their values.
const TOO_MANY_CONTEXTS: &str = "there are more contexts than a profile keeps, and the values of some are [others]; \
                                 give `context` fewer different values";

/// Makes the profile, and logs what is missing.
pub(super) fn profile(
    found: RawProfile,
    waits: Option<CountedWaits>,
    traced: Option<Traced>,
    effective: Effective,
    started: SystemTime,
    duration: Duration,
) -> Profile {
    if let Some(trouble) = &found.trouble {
        log::error!("profiling: {trouble}");
    }
    let RawProfile { samples, lifetimes, stacks, history, trouble, own_stacks, are_contexts_too_many } = found;
    let session = Session { effective, started, duration, trouble, unread: Vec::new(), process_cpu: None };
    let mut names = OfThisProcess::new(history);
    build::prepare(&samples, &own_stacks.stacks, &mut names);
    let mut profile = build::profile(samples, &lifetimes, session, &mut names);
    if let Some(traced) = traced {
        let named = TracedStacks::new(&traced.trace, &stacks, &own_stacks.stacks, &mut names);
        (profile.traced, profile.traced_stacks) = (Some(Arc::new(traced)), Arc::new(named));
    }
    if let Some(CountedWaits { accounts, let_go, can_take }) = waits {
        profile.contention = Contention::new(&accounts, let_go, &own_stacks, can_take, &mut names);
        profile.accounts = accounts;
        profile.session.unread.extend(names.unread());
    }
    if are_contexts_too_many {
        profile.session.unread.push(TOO_MANY_CONTEXTS.into());
    }
    warn_once(profile.unread());
    if let Some(sentence) = profile.missing() {
        log::warn!("profiling: {sentence}");
    }
    profile
}

/// Logs the sentences that were not logged before. Each profile has them all, but there may be many
/// snapshots.
fn warn_once(unread: &[String]) {
    static LOGGED: PerProcess<Mutex<BTreeSet<String>>> = PerProcess::new(Mutex::new(BTreeSet::new()), Mutex::default);
    for sentence in unread {
        // Appenders are the user's: the lock is not held while they run.
        let is_new = LOGGED.lock().insert(sentence.clone());
        if is_new {
            log::warn!("profiling: {sentence}");
        }
    }
}
