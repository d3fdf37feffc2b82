//! The settings of a runtime, complete and checked: what was set, over the file, over the defaults.

use super::checks::{
    DEADLOCKS_AFTER, check_deadlocks, check_formats, check_frequency, check_grace, check_log, check_name, check_output,
    check_patience,
};
use super::choices::FORMATS;
use super::{Ask, Config, DumpSignal, OnStuck, ProfileFormat, Set, environment, file};
use crate::error::{Error, Kind};
use crate::log::{Queue, Wiring};
use crate::os::program;
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
    pub(crate) signal: DumpSignal,
    /// The program or its file has set this signal.
    pub(crate) is_asked: bool,
}

#[derive(Debug)]
pub(crate) struct ProfileSettings {
    pub(crate) enabled: bool,
    pub(crate) options: Options,
    pub(crate) output: PathBuf,
    pub(crate) formats: Vec<ProfileFormat>,
    // A program without the feature reads these, and draws nothing.
    /// `None`: only large pools are drawn as one thread.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fold_pools: Option<bool>,
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) icicle: bool,
    /// `None`: all that is known.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) collapse: Option<Vec<String>>,
    /// `None`: by the wall clock they are hidden.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) hide_runtime: Option<bool>,
}

impl Config {
    /// Reads the file, if there is one to read, and fills in the defaults.
    pub(crate) fn resolve(self) -> Result<Settings, Error> {
        let set = match self.file {
            Some(file) => self.set.over(file::read(&file)?),
            None => self.set,
        };
        set.has_log_for_its_settings()?;
        let name = set.name.unwrap_or_else(default_name);
        let queue = Queue {
            capacity: set.log_capacity.unwrap_or(Queue::default().capacity),
            overflow: set.log_overflow.unwrap_or_default(),
        };
        let mut settings = Settings {
            log: LogSettings {
                to: set.log_to.unwrap_or(LogTo::Console),
                wiring: Wiring {
                    queue: set.log_queued.unwrap_or(true).then_some(queue),
                    tail: set.log_tail.unwrap_or(0),
                    level: set.log_level,
                },
            },
            shutdown: ShutdownSettings {
                patience: set.patience.unwrap_or(Duration::from_secs(5)),
                on_stuck: set.on_stuck.unwrap_or_default(),
                grace: set.grace.unwrap_or(Duration::from_secs(1)),
                ask: set.ask.unwrap_or_default(),
            },
            dump: DumpSettings { signal: set.dump_signal.unwrap_or_default(), is_asked: set.dump_signal.is_some() },
            deadlocks: set.deadlocks.unwrap_or(Some(DEADLOCKS_AFTER)),
            profile: ProfileSettings {
                enabled: set.profile_enabled.unwrap_or(false),
                options: set.profile_options.unwrap_or_default(),
                output: set.profile_output.unwrap_or_else(|| "flamegraphs".into()),
                formats: set.profile_formats.unwrap_or_else(|| FORMATS.map(|(_, format)| format).into()),
                fold_pools: set.profile_fold_pools,
                icicle: set.profile_icicle.unwrap_or(false),
                collapse: set.profile_collapse,
                hide_runtime: set.profile_hide_runtime,
            },
            name,
        };
        environment::apply(&mut settings.profile.enabled, &mut settings.profile.options)?;
        let wrong = |key: &str, message: String| Error::new(Kind::Config, message).at_key(key);
        check_name(&settings.name).map_err(|message| wrong("name", message))?;
        check_log(&queue, settings.log.wiring.tail)?;
        check_patience(settings.shutdown.patience).map_err(|message| wrong("shutdown.patience", message))?;
        check_grace(settings.shutdown.grace).map_err(|message| wrong("shutdown.grace", message))?;
        check_deadlocks(settings.deadlocks).map_err(|message| wrong("deadlocks.after", message))?;
        check_frequency(&settings.profile.options).map_err(|message| wrong("profile.frequency", message))?;
        check_output(&settings.profile.output).map_err(|message| wrong("profile.output", message))?;
        check_formats(&settings.profile.formats).map_err(|message| wrong("profile.formats", message))?;
        Ok(settings)
    }
}

impl Set {
    /// A setting of the log where the runtime has no log would have no effect.
    fn has_log_for_its_settings(&self) -> Result<(), Error> {
        let word = match self.log_to {
            Some(LogTo::Own) => "own",
            Some(LogTo::Off) => "off",
            _ => return Ok(()),
        };
        let settings = [
            (self.log_level.is_some(), "log.level"),
            (self.log_queued.is_some(), "log.queued"),
            (self.log_capacity.is_some(), "log.capacity"),
            (self.log_overflow.is_some(), "log.overflow"),
            (self.log_tail.is_some(), "log.tail"),
        ];
        let Some((_, key)) = settings.iter().find(|(is_set, _)| *is_set) else { return Ok(()) };
        let message = format!("has no effect with `log: {word}`, since the runtime installs no logger then");
        Err(Error::new(Kind::Config, message).at_key(*key))
    }
}

pub(super) fn default_name() -> String {
    program::name().filter(|name| check_name(name).is_ok()).unwrap_or_else(|| "program".to_owned())
}
