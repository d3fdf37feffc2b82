//! The settings that are a choice between words, and how a file spells these words.

use std::fmt;

/// What happens when threads are still alive once [`Config::patience`](crate::Config::patience) is
/// over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnStuck {
    /// Say which threads are left and what each waits for, and go on waiting.
    #[default]
    Wait,
    /// Say the same, and end the process. Only while the whole program ends: a thread that does not
    /// stop when [`Thread::stop`](crate::Thread::stop) asks it in a program that goes on is
    /// reported, and nothing else happens.
    Abort,
}

/// Which threads SIGINT and SIGTERM ask to stop. See [`Config::ask`](crate::Config::ask).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Ask {
    /// `main` alone. Its children are asked when `main`'s function has returned, so `main` decides
    /// the order: it ends the input, joins the threads that still have values to handle, and
    /// returns.
    #[default]
    Main,
    /// `main` and all threads below it, at once, as [`Thread::stop`](crate::Thread::stop) asks
    /// them: a parent before its children, the youngest first. The children of a thread with
    /// [`StopOrder::OneByOne`](crate::StopOrder::OneByOne) are asked when that thread's function
    /// has returned.
    All,
}

/// An OS signal that a runtime answers: with a dump
/// ([`Config::dump_signal`](crate::Config::dump_signal)), or with a recording
/// ([`Config::profile_signal`](crate::Config::profile_signal)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OsSignal {
    /// None.
    None,
    /// SIGUSR1.
    #[default]
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGQUIT, as the JVM takes it; a terminal sends it for Ctrl-\\.
    Quit,
}

/// A file that a finished profile is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProfileFormat {
    /// `<name>.svg`: the flamegraph.
    Svg,
    /// `<name>.folded`: one line for each stack.
    Folded,
    /// `<name>.pb.gz`: for `go tool pprof` and others that read its format.
    Pprof,
    /// `<name>.waits.svg`: what threads waited for, and where, as `Profile::write_waits` draws it.
    /// The recording counts waits.
    Waits,
    /// `<name>.block.pb.gz`: Go's block profile, as `Profile::write_block` writes it. The recording
    /// counts waits.
    Block,
    /// `<name>.mutex.pb.gz`: Go's mutex profile, as `Profile::write_contention` writes it. The
    /// recording counts waits.
    Mutex,
    /// `<name>.blame.svg`: what threads did while others waited for them, as `Profile::write_blame`
    /// draws it. The recording counts waits.
    Blame,
    /// `<name>.timeline.json`: for the Firefox Profiler, as `Profile::write_timeline` writes it.
    /// The recording counts waits.
    Timeline,
}

impl fmt::Display for ProfileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, _) = FORMATS.iter().find(|(_, format)| format == self).unwrap_or(&FORMATS[0]);
        f.write_str(word)
    }
}

pub(super) const FORMATS: [(&str, ProfileFormat); 8] = [
    ("svg", ProfileFormat::Svg),
    ("folded", ProfileFormat::Folded),
    ("pprof", ProfileFormat::Pprof),
    ("waits", ProfileFormat::Waits),
    ("block", ProfileFormat::Block),
    ("mutex", ProfileFormat::Mutex),
    ("blame", ProfileFormat::Blame),
    ("timeline", ProfileFormat::Timeline),
];

/// The formats of a profile whose formats are not named.
pub(super) const DEFAULT_FORMATS: [ProfileFormat; 3] =
    [ProfileFormat::Svg, ProfileFormat::Folded, ProfileFormat::Pprof];

impl ProfileFormat {
    /// Returns `true` if it is made of waits.
    pub(super) fn needs_waits(self) -> bool {
        !DEFAULT_FORMATS.contains(&self)
    }
}

impl fmt::Display for OsSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, _) = OS_SIGNALS.iter().find(|(_, signal)| signal == self).unwrap_or(&("none", OsSignal::None));
        f.write_str(word)
    }
}

pub(super) const OS_SIGNALS: [(&str, OsSignal); 4] =
    [("SIGUSR1", OsSignal::Usr1), ("SIGUSR2", OsSignal::Usr2), ("SIGQUIT", OsSignal::Quit), ("none", OsSignal::None)];
