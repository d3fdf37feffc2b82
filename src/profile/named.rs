//! The part of a profile that has the names of functions. Finding them takes longest, so it is done
//! when something first asks for one. Knows no engine.

use super::later::{Later, Lost};
use super::traced_stacks::TracedStacks;
use super::wait_stacks::Contention;
use crate::flame::Stacks;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What has names of functions.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub(super) stacks: Stacks,
    pub(super) contention: Contention,
    pub(super) traced: Arc<TracedStacks>,
    /// Files that could not be read to find names, and why, as sentences.
    pub(super) unread: Vec<String>,
}

/// The names, or how to find them. A clone finds nothing twice.
#[derive(Clone, Debug)]
pub(super) enum Names {
    Found(Arc<Named>),
    Later(Arc<Later<Named>>),
}

impl Names {
    pub(super) fn found(named: Named) -> Names {
        Names::Found(Arc::new(named))
    }

    /// `find` is called by the thread that first needs a name.
    pub(super) fn later(find: impl FnOnce() -> Named + Send + 'static) -> Names {
        Names::Later(Arc::new(Later::new(Box::new(find))))
    }

    /// The names. Blocks for as long as it takes to find them, the first time.
    pub(super) fn get(&self) -> &Named {
        match self {
            Names::Found(named) => named,
            Names::Later(later) => {
                let named = later.get(without_names);
                // Only now, since a user's appender may ask this profile for names again.
                warn_once(&named.unread);
                named
            }
        }
    }

    /// The stacks with their names.
    pub(super) fn stacks(&self) -> &Stacks {
        &self.get().stacks
    }

    /// The names, to be changed for this profile alone.
    #[cfg(feature = "inspect")]
    pub(super) fn change(&mut self) -> &mut Named {
        if let Names::Later(_) = self {
            *self = Names::found(self.get().clone());
        }
        match self {
            Names::Found(named) => Arc::make_mut(named),
            Names::Later(_) => unreachable!("they were found above"),
        }
    }
}

/// What a profile shows whose names cannot be had.
fn without_names(lost: Lost) -> Named {
    let why = match lost {
        Lost::Forked => {
            "this process was forked while another thread of its parent looked for the names of functions: the parent \
             has the profile"
        }
        Lost::Panicked => "the search for the names of functions has panicked: this profile has no stacks",
    };
    Named { unread: vec![why.to_owned()], ..Named::default() }
}

/// Logs the sentences that were not logged before. Each profile has them all, but there may be many
/// snapshots.
pub(super) fn warn_once(unread: &[String]) {
    static LOGGED: PerProcess<Mutex<BTreeSet<String>>> = PerProcess::new(Mutex::new(BTreeSet::new()), Mutex::default);
    for sentence in unread {
        // Appenders are the user's: the lock is not held while they run.
        let is_new = LOGGED.lock().insert(sentence.clone());
        if is_new {
            log::warn!("profiling: {sentence}");
        }
    }
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use crate::profile::assemble;
    use crate::profile::loader::History;
    use crate::profile::model::Profile;
    use crate::profile::options::{Clock, Engine};
    use crate::profile::raw::{Effective, Ending, Lifetime, Owner, RawProfile, RawSample, SAMPLER, Stack};
    use crate::profile::symbols::SEARCHES;
    use std::time::{Duration, UNIX_EPOCH};

    /// A recording with one sample, of the thread with that path, in `here`.
    fn recorded(path: &str) -> Profile {
        let address = here as fn(&str) as usize as u64;
        let ending = Ending::Root;
        let stack = Stack::Sampled { addresses: [address].into(), ending, generation: 0, waiting: None };
        let sample = RawSample { owner: Owner::Lifetime(0), stack, context: None, samples: 1, weight: 1_000 };
        let lifetime = Lifetime {
            path: path.into(),
            os_thread: None,
            started: 0,
            ended: None,
            cpu: Duration::from_nanos(1_000),
            lost: Some(0),
            merged: 0,
            pool: None,
            held: Vec::new(),
        };
        let (samples, lifetimes) = (vec![sample], vec![lifetime]);
        let found = RawProfile { samples, lifetimes, history: History::of_now(), ..RawProfile::default() };
        let period = Duration::from_nanos(1_000);
        let effective = Effective { engine: Engine::Timer, clock: Clock::Cpu, period };
        assemble::profile(found, None, None, effective, UNIX_EPOCH, Duration::from_secs(1))
    }

    #[inline(never)]
    fn here(text: &str) {
        std::hint::black_box(text);
    }

    fn folded(profile: &Profile) -> String {
        let mut text = Vec::new();
        profile.write_folded(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn names_are_searched_when_one_is_needed() {
        let before = SEARCHES.get();
        let profile = recorded("main");
        let copy = profile.clone();
        let thread = &profile.threads()[0];
        assert_eq!((thread.path(), thread.samples(), profile.samples()), ("main", 1, 1));
        assert_eq!(thread.sampled_time(), thread.cpu_time());
        assert_eq!(SEARCHES.get(), before, "counting needs no names");
        assert_eq!(folded(&copy), "main;selvedge::profile::named::tests::here 1000\n");
        assert_eq!(SEARCHES.get(), before + 1, "one file has the address");
        assert_eq!((folded(&profile), profile.top(1).entries().len()), (folded(&copy), 1));
        assert_eq!(SEARCHES.get(), before + 1, "what a copy has found is not searched again");
    }

    #[test]
    fn the_samplers_own_code_is_not_searched() {
        let before = SEARCHES.get();
        assert_eq!(folded(&recorded(SAMPLER)), "main;selvedge;sampler;[runtime] 1000\n");
        assert_eq!(SEARCHES.get(), before);
    }
}
