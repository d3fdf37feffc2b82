//! From what an engine has found, and what was counted of waits, to the profile. The names are found
//! later, when something asks for them: whatever that needs is kept until then.

use super::accounts::Account;
use super::build;
use super::counted_waits::CountedWaits;
use super::model::{Profile, Session};
use super::named::{Named, Names, warn_once};
use super::raw::{Effective, OwnStacksTaken, RawProfile, StacksByNumber};
use super::symbols::{OfThisProcess, Resolve};
use super::trace::Traced;
use super::traced_stacks::TracedStacks;
use super::wait_stacks::{Contention, LetGo};
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
    let mut session = Session { effective, started, duration, trouble, unread: Vec::new(), process_cpu: None };
    if are_contexts_too_many {
        session.unread.push(TOO_MANY_CONTEXTS.into());
    }
    let (mut profile, samples) = build::counted(samples, &lifetimes, session);
    profile.traced = traced.map(Arc::new);
    let waits = waits.map(|CountedWaits { accounts, let_go, can_take }| {
        profile.accounts = accounts.into();
        Waits { accounts: profile.accounts.clone(), let_go, can_take }
    });
    let unnamed = Unnamed { samples, traced: profile.traced.clone(), stacks, waits, own_stacks };
    profile.names = Names::later(move || unnamed.named(&mut OfThisProcess::new(history)));
    warn_once(&profile.session.unread);
    if let Some(sentence) = profile.missing() {
        log::warn!("profiling: {sentence}");
    }
    profile
}

/// What is to be named.
struct Unnamed {
    samples: Vec<build::Owned>,
    traced: Option<Arc<Traced>>,
    stacks: StacksByNumber,
    /// `None`: waits were not counted.
    waits: Option<Waits>,
    own_stacks: OwnStacksTaken,
}

/// As in [`CountedWaits`].
struct Waits {
    accounts: Arc<[Account]>,
    let_go: LetGo,
    can_take: bool,
}

impl Unnamed {
    fn named(self, names: &mut dyn Resolve) -> Named {
        let Unnamed { samples, traced, stacks, waits, own_stacks } = self;
        let mut named = Named { stacks: build::stacks(samples, &own_stacks.stacks, names), ..Named::default() };
        if let Some(traced) = traced {
            named.traced = Arc::new(TracedStacks::new(&traced.trace, &stacks, &own_stacks.stacks, names));
        }
        if let Some(Waits { accounts, let_go, can_take }) = waits {
            named.contention = Contention::new(&accounts, let_go, &own_stacks, can_take, names);
        }
        named.unread = names.unread();
        named
    }
}
