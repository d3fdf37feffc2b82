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

/// An OS signal that a runtime answers: with a dump ([`Config::dump_signal`](crate::Config::dump_signal)),
/// or with a recording ([`Config::profile_signal`](crate::Config::profile_signal)).
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
}

impl fmt::Display for ProfileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProfileFormat::Svg => "svg",
            ProfileFormat::Folded => "folded",
            ProfileFormat::Pprof => "pprof",
        })
    }
}

pub(super) const FORMATS: [(&str, ProfileFormat); 3] =
    [("svg", ProfileFormat::Svg), ("folded", ProfileFormat::Folded), ("pprof", ProfileFormat::Pprof)];

impl fmt::Display for OsSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, _) = OS_SIGNALS.iter().find(|(_, signal)| signal == self).unwrap_or(&("none", OsSignal::None));
        f.write_str(word)
    }
}

pub(super) const OS_SIGNALS: [(&str, OsSignal); 4] =
    [("SIGUSR1", OsSignal::Usr1), ("SIGUSR2", OsSignal::Usr2), ("SIGQUIT", OsSignal::Quit), ("none", OsSignal::None)];
