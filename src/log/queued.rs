//! The public appender of kind `queued`: other appenders, with a queue before them and a writer
//! thread in the tree.

use std::io;
use std::sync::Arc;

use log4rs::append::Append;

use super::channel::Channel;
use super::process_hooks;
use super::queue_appender::QueueAppender;
use super::sink::{Output, Sink};
use super::sinks::Sinks;
use super::wiring::{Overflow, Queue};
use crate::thread::{Builder, Thread, roots};

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
            Ok(_tracked) => Ok(Queued { appender: QueueAppender::all(channel) }),
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
        self.appender.channel().close();
        self.appender.channel().finish_sinks();
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
