//! The settings of a runtime, complete and checked. Types only; `resolve` makes them.

use super::choices::{Ask, OnStuck, OsSignal, ProfileFormat};
use crate::log::Wiring;
use crate::profile::Options;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a runtime, complete and checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) log: LogSettings,
    pub(crate) shutdown: ShutdownSettings,
    pub(crate) dump: DumpSettings,
    /// How long a wait must have lasted for a search for deadlocks.
    pub(crate) deadlocks: Option<Duration>,
    pub(crate) profile: ProfileSettings,
}

#[derive(Debug)]
pub(crate) struct LogSettings {
    pub(crate) to: LogTo,
    pub(crate) wiring: Wiring,
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LogTo {
    /// To stderr.
    Console,
    /// Where this log4rs file says.
    File(PathBuf),
    /// Where the program's own logger writes it. The runtime installs none.
    Own,
    /// Nowhere. The runtime installs no logger.
    Off,
}

#[derive(Clone, Debug)]
pub(crate) struct ShutdownSettings {
    pub(crate) patience: Duration,
    pub(crate) on_stuck: OnStuck,
    /// Signals that come so soon after the first are the same request.
    pub(crate) grace: Duration,
    pub(crate) ask: Ask,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct DumpSettings {
    pub(crate) signal: OsSignal,
    /// The program or its file has set this signal.
    pub(crate) is_asked: bool,
}

#[derive(Debug)]
pub(crate) struct ProfileSettings {
    pub(crate) enabled: bool,
    /// Starts a recording, and ends it.
    pub(crate) signal: OsSignal,
    pub(crate) options: Options,
    pub(crate) output: PathBuf,
    pub(crate) formats: Vec<ProfileFormat>,
    // A program without the feature reads these, and draws nothing.
    /// `None`: only large pools are drawn as one thread.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fold_pools: Option<bool>,
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) icicle: bool,
    /// `None`: each kind of machinery that is known.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) collapse: Option<Vec<String>>,
    /// `None`: by the wall clock they are hidden.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) hide_runtime: Option<bool>,
    /// Print the accounts at the end.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) accounts: bool,
}
