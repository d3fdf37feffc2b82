//! What was set, by a file or by setters: an option for each setting. No defaults, no checks of
//! values. Replaces the environment variables in paths of setters.

use super::choices::{Ask, OnStuck, OsSignal, ProfileFormat};
use super::push_text::PushText;
use super::settings::{Listen, LogTo};
use crate::error::{Error, Kind};
use crate::log::Overflow;
use crate::profile::Options;
use crate::yaml::expand_env;
use log::LevelFilter;
use std::path::PathBuf;
use std::time::Duration;

/// What was set; all else is a default.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub(super) name: Option<String>,
    /// The console is no value of it: that is the default.
    pub(super) log_to: Option<LogTo>,
    pub(super) log_level: Option<LevelFilter>,
    pub(super) log_queued: Option<bool>,
    pub(super) log_capacity: Option<usize>,
    pub(super) log_overflow: Option<Overflow>,
    pub(super) log_tail: Option<usize>,
    pub(super) patience: Option<Duration>,
    pub(super) on_stuck: Option<OnStuck>,
    pub(super) grace: Option<Duration>,
    pub(super) ask: Option<Ask>,
    pub(super) dump_signal: Option<OsSignal>,
    /// None within: off.
    pub(super) deadlocks: Option<Option<Duration>>,
    pub(super) profile_enabled: Option<bool>,
    pub(super) profile_signal: Option<OsSignal>,
    pub(super) profile_options: Option<Options>,
    pub(super) profile_output: Option<PathBuf>,
    pub(super) profile_formats: Option<Vec<ProfileFormat>>,
    pub(super) profile_fold_pools: Option<bool>,
    pub(super) profile_icicle: Option<bool>,
    pub(super) profile_collapse: Option<Vec<String>>,
    pub(super) profile_hide_runtime: Option<bool>,
    pub(super) profile_accounts: Option<bool>,
    /// What a setter was given; goes before `inspect`.
    pub(super) inspect_text: Option<String>,
    /// `None` within: off.
    pub(super) inspect: Option<Option<Listen>>,
    pub(super) inspect_token_file: Option<PathBuf>,
    /// `None` within: off.
    pub(super) push: Option<Option<PushText>>,
}

impl Set {
    /// These settings; a setting that is missing here is taken from `file`.
    pub(super) fn over(self, file: Set) -> Set {
        Set {
            name: self.name.or(file.name),
            log_to: self.log_to.or(file.log_to),
            log_level: self.log_level.or(file.log_level),
            log_queued: self.log_queued.or(file.log_queued),
            log_capacity: self.log_capacity.or(file.log_capacity),
            log_overflow: self.log_overflow.or(file.log_overflow),
            log_tail: self.log_tail.or(file.log_tail),
            patience: self.patience.or(file.patience),
            on_stuck: self.on_stuck.or(file.on_stuck),
            grace: self.grace.or(file.grace),
            ask: self.ask.or(file.ask),
            dump_signal: self.dump_signal.or(file.dump_signal),
            deadlocks: self.deadlocks.or(file.deadlocks),
            profile_enabled: self.profile_enabled.or(file.profile_enabled),
            profile_signal: self.profile_signal.or(file.profile_signal),
            profile_options: self.profile_options.or(file.profile_options),
            profile_output: self.profile_output.or(file.profile_output),
            profile_formats: self.profile_formats.or(file.profile_formats),
            profile_fold_pools: self.profile_fold_pools.or(file.profile_fold_pools),
            profile_icicle: self.profile_icicle.or(file.profile_icicle),
            profile_collapse: self.profile_collapse.or(file.profile_collapse),
            profile_hide_runtime: self.profile_hide_runtime.or(file.profile_hide_runtime),
            profile_accounts: self.profile_accounts.or(file.profile_accounts),
            inspect_text: self.inspect_text,
            inspect: self.inspect.or(file.inspect),
            inspect_token_file: self.inspect_token_file.or(file.inspect_token_file),
            push: self.push.or(file.push),
        }
    }
}

impl Set {
    /// The paths of setters with their environment variables replaced, as `file` does it for the
    /// paths of a file.
    pub(super) fn with_variables(mut self) -> Result<Set, Error> {
        match &mut self.log_to {
            // A file has named it, and its variables are replaced.
            Some(LogTo::Output(output)) if output.place.is_some() => {}
            Some(LogTo::Output(output)) => expand("log.output", &mut output.path)?,
            Some(LogTo::File(file)) => expand("log.file", file)?,
            _ => {}
        }
        let token_file = self.push.iter_mut().flatten().find_map(|push| push.token_file.as_mut());
        let paths = [
            ("profile.output", self.profile_output.as_mut()),
            ("inspect.token_file", self.inspect_token_file.as_mut()),
            ("push.token_file", token_file),
        ];
        for (key, path) in paths {
            path.map_or(Ok(()), |path| expand(key, path))?;
        }
        Ok(self)
    }

    /// A setting of the log where the runtime has no log would have no effect.
    pub(super) fn has_log_for_its_settings(&self) -> Result<(), Error> {
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

/// Replaces `$ENV{…}` in the path of a setter. A path that is no text has no variables in it.
fn expand(key: &str, path: &mut PathBuf) -> Result<(), Error> {
    if let Some(text) = path.to_str() {
        *path = expand_env(text).map_err(|message| Error::new(Kind::Config, message).at_key(key))?.into();
    }
    Ok(())
}
