//! How log4rs builds the components of this crate: the appenders `queued` and `rolling_file`, and a
//! log file by its settings. The deserializers are public, for programs that load a log4rs file by
//! themselves.

use std::collections::BTreeMap;
use std::path::Path;

use log4rs::append::rolling_file::RollingFileAppenderDeserializer;
use log4rs::append::{Append, AppenderConfig};
use log4rs::config::{Deserialize, Deserializers};
use log4rs::encode::EncoderConfig;
use serde_value::Value;

use super::console::Console;
use super::file::LogFile;
use super::line_buffer::Encoder;
use super::queue_appender::DirectAppender;
use super::queued::Queued;
use super::rolling::Policy;
use super::sink::Output;
use super::wiring::{Overflow, Queue};
use super::{console, encode, paths};
use crate::yaml::expand_env;

/// log4rs's deserializers, with the kinds of this crate: the appender `queued`, the appender
/// `console`, which needs no lock of the standard library, and the encoders `pattern` and `json`.
/// These encoders print the time, thread and MDC of the call; log4rs's own print those of the
/// moment at which they encode.
///
/// For programs that load a log4rs file by themselves; a runtime has them already.
///
/// # Examples
///
/// With log4rs's feature `yaml_format`:
///
/// ```no_run
/// log4rs::init_file("log4rs.yaml", selvedge::logging::deserializers())?;
/// log::info!("an appender of kind `queued` hands this to a thread of its own");
/// log::logger().flush();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn deserializers() -> Deserializers {
    let mut with = Deserializers::default();
    encode::register(&mut with);
    console::register(&mut with);
    with.insert("queued", FromConfig);
    with.insert("rolling_file", RollingFromConfig);
    with
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct QueuedConfig {
    capacity: Option<usize>,
    overflow: Option<OverflowConfig>,
    appenders: Vec<AppenderConfig>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum OverflowConfig {
    Block,
    DropNewest,
    DropBelow(::log::Level),
}

struct FromConfig;

impl Deserialize for FromConfig {
    type Trait = dyn Append;
    type Config = QueuedConfig;

    fn deserialize(&self, config: QueuedConfig, with: &Deserializers) -> anyhow::Result<Box<dyn Append>> {
        let mut queue = Queue::default();
        queue.capacity = config.capacity.unwrap_or(queue.capacity);
        anyhow::ensure!(
            (1..=Queue::MOST).contains(&queue.capacity),
            "capacity: expected from 1 to {}, found {}",
            Queue::MOST,
            queue.capacity
        );
        anyhow::ensure!(!config.appenders.is_empty(), "no appenders, so what is queued would be lost");
        queue.overflow = match config.overflow {
            None | Some(OverflowConfig::Block) => Overflow::Block,
            Some(OverflowConfig::DropNewest) => Overflow::DropNewest,
            Some(OverflowConfig::DropBelow(level)) => Overflow::DropBelow(level),
        };
        let mut outputs = Vec::new();
        for inner in config.appenders {
            anyhow::ensure!(inner.filters.is_empty(), "filters belong to the queued appender itself");
            let output = match inner.kind.as_str() {
                "file" => Output::File(Box::new(open_file(inner.config, with, Opening::default())?)),
                "rolling_file" => rolling(inner.config, with)?,
                "console" => match Console::from_settings(inner.config, with, false)? {
                    Some(console) => Output::Console(console),
                    None => continue,
                },
                kind => Output::Other(with.deserialize(kind, inner.config)?),
            };
            outputs.push((inner.kind, output));
        }
        Ok(Box::new(Queued::start("queued", queue, outputs)?))
    }
}

/// The appender `rolling_file`.
struct RollingFromConfig;

impl Deserialize for RollingFromConfig {
    type Trait = dyn Append;
    type Config = Value;

    fn deserialize(&self, settings: Value, with: &Deserializers) -> anyhow::Result<Box<dyn Append>> {
        match rolling(settings, with)? {
            Output::Other(appender) => Ok(appender),
            output => Ok(Box::new(DirectAppender::start("rolling_file", output))),
        }
    }
}

/// A rolling file of this crate; one of log4rs's own if the program has registered a policy,
/// trigger or roller.
fn rolling(settings: Value, with: &Deserializers) -> anyhow::Result<Output> {
    let config: FileConfig = settings.clone().deserialize_into()?;
    let policy = config.policy.unwrap_or(Value::Unit);
    match Policy::read(&policy, Path::new(""))? {
        Some(rolling) => {
            let Value::Map(mut parts) = policy else { anyhow::bail!("the policy has no trigger") };
            parts.remove(&Value::String("kind".to_owned()));
            with.deserialize::<dyn log4rs::append::rolling_file::policy::Policy>("compound", Value::Map(parts))?;
            let opening = Opening { rolling: Some(rolling), ..Opening::default() };
            Ok(Output::File(Box::new(open_file(settings, with, opening)?)))
        }
        None => {
            let config = settings.deserialize_into()?;
            RollingFileAppenderDeserializer.deserialize(config, with).map(Output::Other)
        }
    }
}

/// The settings of log4rs's appenders `file` and `rolling_file`, as it takes them.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    path: String,
    append: Option<bool>,
    encoder: Option<EncoderConfig>,
    policy: Option<Value>,
}

/// How a log file is opened.
#[derive(Default)]
pub(super) struct Opening<'a> {
    /// Where the path in the settings leads, if that is known.
    pub(super) path: Option<&'a Path>,
    /// Only the encoders of this crate can be in the deserializers.
    pub(super) ours: bool,
    pub(super) rolling: Option<Policy>,
    /// The program has started before.
    pub(super) reload: bool,
}

pub(super) fn open_file(settings: Value, with: &Deserializers, opening: Opening<'_>) -> anyhow::Result<LogFile> {
    let config: FileConfig = settings.deserialize_into()?;
    let is_rolling = opening.rolling.is_some();
    anyhow::ensure!(config.policy.is_none() || is_rolling, "unknown field `policy`; it belongs to a rolling_file");
    let encoder = Encoder::from_config(config.encoder, with, opening.ours)?;
    let append = config.append.unwrap_or(true);
    if let Some(path) = opening.path {
        return Ok(LogFile::open(path, append, encoder, opening.rolling, opening.reload)?);
    }
    let mut path = expand_env(&config.path).map_err(anyhow::Error::msg)?;
    if !is_rolling {
        path = paths::expand_time(&path).map_err(anyhow::Error::msg)?;
    }
    Ok(LogFile::open(Path::new(&path), append, encoder, opening.rolling, opening.reload)?)
}

/// Makes the settings say that the file is appended to.
pub(super) fn force_append(settings: &mut Value) {
    if let Value::Map(settings) = settings {
        settings.insert(Value::String("append".to_owned()), Value::Bool(true));
    } else {
        *settings = Value::Map(BTreeMap::new());
    }
}
