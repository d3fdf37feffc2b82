//! The settings of a runtime, complete and checked. Types only; `resolve` makes them.

use super::choices::{Ask, OnStuck, OsSignal, ProfileFormat};
use crate::error::Error;
use crate::log::Wiring;
use crate::profile::Options;
use std::net::SocketAddr;
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
    /// `None`: the program cannot be inspected from outside.
    pub(crate) inspect: Option<InspectSettings>,
    /// `None`: profiles are pushed nowhere.
    pub(crate) push: Option<PushSettings>,
}

/// Where the profile is pushed to while the program runs.
// A program without the feature reads it, and pushes nothing.
#[cfg_attr(not(feature = "push"), allow(dead_code))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushSettings {
    pub(crate) url: PushUrl,
    /// The length of an interval.
    pub(crate) every: Duration,
    /// Names and values, in the order in which they were given.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) format: PushFormat,
    pub(crate) token_file: Option<PathBuf>,
    /// With it the token is a password.
    pub(crate) user: Option<String>,
    pub(crate) tenant: Option<String>,
}

/// The parts of an address `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushUrl {
    /// A name or an address in numbers, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Empty, or begins with a slash; has none at its end.
    pub(crate) path: String,
}

/// The protocol of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PushFormat {
    #[default]
    Pyroscope,
    Otlp,
}

/// Where the program is inspected from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InspectSettings {
    pub(crate) listen: Listen,
    // A program without the feature reads it, and serves nothing.
    #[cfg_attr(not(feature = "inspect"), allow(dead_code))]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// A Unix socket that only the user of the process can use.
    Unix,
    /// A loopback address.
    Tcp(SocketAddr),
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
    /// To this file, as text.
    Output(LogOutput),
    /// Where the program's own logger writes it. The runtime installs none.
    Own,
    /// Nowhere. The runtime installs no logger.
    Off,
}

/// A log file that no log4rs file describes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogOutput {
    pub(crate) path: PathBuf,
    /// The file and the line that name it; `None`: a setter did.
    pub(crate) place: Option<(PathBuf, u64)>,
}

impl LogOutput {
    /// An error of this setting.
    pub(crate) fn at_place(&self, error: Error) -> Error {
        let error = error.at_key("log.output");
        match &self.place {
            Some((file, line)) => error.at_file(file).at_line(*line),
            None => error,
        }
    }
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
