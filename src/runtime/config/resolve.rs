//! From what was set to complete settings: the setters go before the file, the file before the
//! defaults. Then the values are checked.

use super::checks::{
    DEADLOCKS_AFTER, check_deadlocks, check_formats, check_frequency, check_grace, check_log, check_log_output,
    check_name, check_output, check_patience, check_signals,
};
use super::choices::{DEFAULT_FORMATS, OsSignal, ProfileFormat};
use super::push_text::PushText;
use super::setters::Config;
use super::settings::{DumpSettings, LogSettings, LogTo, ProfileSettings, PushSettings, Settings, ShutdownSettings};
use super::{environment, file, listen, push_text};
use crate::error::{Error, Kind};
use crate::log::{Queue, Wiring};
use crate::os::program;
use crate::profile::Options;
use std::time::Duration;

impl Config {
    /// Reads the file, if there is one to read, and fills in the defaults.
    pub(crate) fn resolve(self) -> Result<Settings, Error> {
        let set = self.set.with_variables()?;
        let set = match self.file {
            Some(file) => set.over(file::read(&file)?),
            None => set,
        };
        set.has_log_for_its_settings()?;
        let name = set.name.unwrap_or_else(default_name);
        let queue = Queue {
            capacity: set.log_capacity.unwrap_or(Queue::default().capacity),
            overflow: set.log_overflow.unwrap_or_default(),
        };
        let formats: Vec<ProfileFormat> = set.profile_formats.unwrap_or_else(|| DEFAULT_FORMATS.into());
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
                signal: set.profile_signal.unwrap_or(OsSignal::None),
                options: options(set.profile_options.unwrap_or_default(), set.profile_accounts, &formats),
                output: set.profile_output.unwrap_or_else(|| "flamegraphs".into()),
                formats,
                fold_pools: set.profile_fold_pools,
                icicle: set.profile_icicle.unwrap_or(false),
                collapse: set.profile_collapse,
                hide_runtime: set.profile_hide_runtime,
                accounts: set.profile_accounts.unwrap_or(false),
            },
            inspect: None,
            push: None,
            name,
        };
        environment::apply(&mut settings.profile.enabled, &mut settings.profile.options)?;
        // A person may set the variable for many programs, also for those that record nothing.
        let may_record = settings.profile.enabled || settings.profile.signal != OsSignal::None;
        if may_record && cfg!(feature = "profiling") {
            settings.profile.output = environment::profile_output(settings.profile.output)?;
        }
        let listen = listen::asked(set.inspect_text, set.inspect.flatten())?;
        settings.inspect =
            listen::resolve(environment::inspect(listen, set.inspect_token_file.as_deref())?, set.inspect_token_file)?;
        settings.push = push(set.push.flatten(), settings.profile.signal)?;
        check_settings(&settings, &queue)?;
        Ok(settings)
    }
}

/// Looks at the values of settings that came from setters; those of a file were looked at there.
fn check_settings(settings: &Settings, queue: &Queue) -> Result<(), Error> {
    let wrong = |key: &str, message: String| Error::new(Kind::Config, message).at_key(key);
    check_name(&settings.name).map_err(|message| wrong("name", message))?;
    check_log(queue, settings.log.wiring.tail)?;
    if let LogTo::Output(output) = &settings.log.to {
        check_log_output(&output.path).map_err(|message| output.at_place(Error::new(Kind::Config, message)))?;
    }
    check_patience(settings.shutdown.patience).map_err(|message| wrong("shutdown.patience", message))?;
    check_grace(settings.shutdown.grace).map_err(|message| wrong("shutdown.grace", message))?;
    check_deadlocks(settings.deadlocks).map_err(|message| wrong("deadlocks.after", message))?;
    check_signals(settings.profile.signal, settings.dump.signal).map_err(|message| wrong("profile.signal", message))?;
    check_frequency(&settings.profile.options).map_err(|message| wrong("profile.frequency", message))?;
    check_output(&settings.profile.output).map_err(|message| wrong("profile.output", message))?;
    check_formats(&settings.profile.formats).map_err(|message| wrong("profile.formats", message))?;
    Ok(())
}

/// Where the profiles are pushed to. The recording that is pushed runs all the time.
fn push(set: Option<PushText>, signal: OsSignal) -> Result<Option<PushSettings>, Error> {
    let (text, place) = environment::push(set);
    let Some(text) = text.filter(|_| !environment::records_nothing()) else { return Ok(None) };
    let settings = push_text::check(text).map_err(|wrong| {
        let place = place.filter(|_| wrong.key == "url").unwrap_or_else(|| format!("push.{}", wrong.key));
        Error::new(Kind::Config, wrong.message).at_key(place)
    })?;
    if signal != OsSignal::None {
        let message =
            format!("{signal} would end the recording that `push` needs; leave the signal out, or the `push`");
        return Err(Error::new(Kind::Config, message).at_key("profile.signal"));
    }
    Ok(Some(settings))
}

/// Accounts and some formats are made of waits.
fn options(set: Options, accounts: Option<bool>, formats: &[ProfileFormat]) -> Options {
    let needs_waits = accounts == Some(true) || formats.iter().any(|format| format.needs_waits());
    if needs_waits { set.waits(true) } else { set }
}

pub(super) fn default_name() -> String {
    program::name().filter(|name| check_name(name).is_ok()).unwrap_or_else(|| "program".to_owned())
}
