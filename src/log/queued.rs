//! The appender of kind `queued`: others, with a queue before them and a writer thread of the tree
//! behind it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use log4rs::append::rolling_file::RollingFileAppenderDeserializer;
use log4rs::append::{Append, AppenderConfig};
use log4rs::config::{Deserialize, Deserializers};
use log4rs::encode::EncoderConfig;
use serde_value::Value;

use super::channel::Channel;
use super::console::Console;
use super::file::LogFile;
use super::line_buffer::Encoder;
use super::record::Captured;
use super::rolling::Policy;
use super::sink::{Output, Sink};
use super::sinks::Sinks;
use super::wiring::{Overflow, Queue};
use super::{console, encode, paths, process_hooks};
use super::{logger, recent};
use crate::os::tell::note_logged;
use crate::thread::{Builder, Thread, roots};
use crate::yaml::expand_env;

/// log4rs's deserializers, with the kinds of this crate: the appender `queued`, the appender
/// `console`, which needs no lock of the standard library, and the encoders `pattern` and `json`,
/// which print what was so when the call was made, in the place of those that print what is so when
/// they encode.
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

/// An appender that captures each record and goes on; a thread of its own hands them to the
/// appenders behind it.
///
/// The thread is a child of `main`, and is asked to stop after all threads of the program. Later
/// records are written by the thread that logs them. `flush` returns when all records that were
/// logged before it have passed through the appenders. Encoders of this crate print the time,
/// thread and MDC of the call; others see the record with its formatted message.
///
/// # Examples
///
/// ```
/// use log4rs::append::console::ConsoleAppender;
/// use log4rs::config::{Appender, Config, Root};
/// use selvedge::logging::{Overflow, Queued};
///
/// let queued = Queued::builder()
///     .capacity(1000)
///     .overflow(Overflow::DropNewest)
///     .appender("console", ConsoleAppender::builder().build())
///     .build()?;
/// let config = Config::builder()
///     .appender(Appender::builder().build("out", Box::new(queued)))
///     .build(Root::builder().appender("out").build(log::LevelFilter::Info))?;
/// # drop(config);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Queued {
    appender: QueueAppender,
}

impl Queued {
    /// An appender with a queue for 8192 records, whose callers wait when it is full.
    pub fn builder() -> QueuedBuilder {
        QueuedBuilder { queue: Queue::default(), name: None, appenders: Vec::new() }
    }

    pub(super) fn start(name: &str, queue: Queue, outputs: Vec<(String, Output)>) -> io::Result<Queued> {
        let sinks: Vec<Sink> =
            outputs.into_iter().map(|(name, output)| Sink::new(&name, output, queue.capacity)).collect();
        let channel = Arc::new(Channel::new(name, queue.capacity, queue.overflow, Sinks::new(sinks)));
        let channel = process_hooks::register(channel);
        channel.expect_writer();
        let served = channel.clone();
        let builder = Builder::new(format!("log-writer {name}")).parent(&Thread::from_node(roots::root())).runtime();
        let spawned = builder.spawn(move |please_stop| served.serve(please_stop));
        match spawned {
            Ok(_tracked) => Ok(Queued { appender: QueueAppender { channel, sink: None } }),
            Err(error) => {
                channel.write_directly();
                Err(error)
            }
        }
    }
}

impl Append for Queued {
    fn append(&self, record: &::log::Record<'_>) -> anyhow::Result<()> {
        self.appender.append(record)
    }

    fn flush(&self) {
        self.appender.flush();
    }
}

/// What is queued is written before it is gone.
impl Drop for Queued {
    fn drop(&mut self) {
        self.appender.channel.close();
        self.appender.channel.finish_sinks();
    }
}

/// Makes a [`Queued`].
#[derive(Debug)]
pub struct QueuedBuilder {
    queue: Queue,
    name: Option<String>,
    appenders: Vec<(String, Output)>,
}

impl QueuedBuilder {
    /// How many records the queue holds; at least one.
    #[must_use]
    pub fn capacity(mut self, records: usize) -> QueuedBuilder {
        self.queue.capacity = records.clamp(1, Queue::MOST);
        self
    }

    /// What happens to a record for which it has no room.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> QueuedBuilder {
        self.queue.overflow = overflow;
        self
    }

    /// One more appender that gets the records; the name stands in reports of its failures.
    #[must_use]
    pub fn appender(mut self, name: impl Into<String>, appender: impl Append) -> QueuedBuilder {
        let name = name.into();
        self.name.get_or_insert_with(|| name.clone());
        self.appenders.push((name, Output::Other(Box::new(appender))));
        self
    }

    /// Starts its thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn build(self) -> io::Result<Queued> {
        Queued::start(self.name.as_deref().unwrap_or("nothing"), self.queue, self.appenders)
    }
}

/// Where records enter a queue: for one of the sinks behind it, or for all.
#[derive(Debug)]
pub(super) struct QueueAppender {
    channel: Arc<Channel>,
    sink: Option<usize>,
}

impl QueueAppender {
    pub(super) fn one(channel: Arc<Channel>, sink: usize) -> QueueAppender {
        QueueAppender { channel, sink: Some(sink) }
    }
}

impl Append for QueueAppender {
    fn append(&self, record: &::log::Record<'_>) -> anyhow::Result<()> {
        let captured = Captured::new(record);
        if logger::captures() {
            recent::note(&captured);
        }
        let (first, last) = match self.sink {
            Some(sink) => (sink, sink),
            None if self.channel.sinks() == 0 => return Ok(()),
            None => (0, self.channel.sinks() - 1),
        };
        let mut kept = false;
        for sink in first..last {
            kept |= self.channel.put(sink, captured.clone());
        }
        kept |= self.channel.put(last, captured);
        if kept {
            note_logged();
        }
        Ok(())
    }

    fn flush(&self) {
        // One flush is for all sinks of the queue.
        if self.sink.is_none_or(|sink| sink == 0) {
            self.channel.flush(None);
        }
    }
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
            output => Ok(Box::new(Direct::start("rolling_file", output))),
        }
    }
}

/// A rolling file of ours. Of log4rs's own, if the program has registered a policy, trigger or
/// roller.
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

/// A log file that is written by the thread that logs: a queue without a writer.
#[derive(Debug)]
pub(super) struct Direct {
    appender: QueueAppender,
}

impl Direct {
    pub(super) fn start(name: &str, output: Output) -> Direct {
        let queue = Queue::default();
        let sinks = Sinks::new(vec![Sink::new(name, output, queue.capacity)]);
        let channel = process_hooks::register(Arc::new(Channel::new(name, queue.capacity, queue.overflow, sinks)));
        Direct { appender: QueueAppender::one(channel, 0) }
    }

    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.appender.channel
    }
}

impl Append for Direct {
    fn append(&self, record: &::log::Record<'_>) -> anyhow::Result<()> {
        self.appender.append(record)
    }

    fn flush(&self) {
        self.appender.flush();
    }
}

/// What could not be written is told.
impl Drop for Direct {
    fn drop(&mut self) {
        self.appender.channel.finish_sinks();
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

/// The file is appended to, also where the settings say otherwise.
pub(super) fn force_append(settings: &mut Value) {
    if let Value::Map(settings) = settings {
        settings.insert(Value::String("append".to_owned()), Value::Bool(true));
    } else {
        *settings = Value::Map(BTreeMap::new());
    }
}
