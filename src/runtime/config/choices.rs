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

/// The OS signal for which a runtime that is up writes a [dump](crate::dump()) of its
/// threads.
///
/// The dump goes to the log, as one record of level WARN and target `selvedge::dump`. Where the log
/// goes to files, it goes to stderr as well, as it does if the log does not take it within a
/// second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DumpSignal {
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

pub(super) const DUMP_SIGNALS: [(&str, DumpSignal); 4] = [
    ("SIGUSR1", DumpSignal::Usr1),
    ("SIGUSR2", DumpSignal::Usr2),
    ("SIGQUIT", DumpSignal::Quit),
    ("none", DumpSignal::None),
];
