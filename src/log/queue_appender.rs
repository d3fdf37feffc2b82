//! The appenders through which records enter a queue: with a writer thread, or without one. Without
//! one, the logging thread writes.

use std::sync::Arc;

use log4rs::append::Append;

use super::channel::Channel;
use super::record::Captured;
use super::sink::{Output, Sink};
use super::sinks::Sinks;
use super::wiring::Queue;
use super::{process_hooks, recent, tail};
use crate::os::tell::note_logged;

/// Where records enter a queue: for one of the sinks behind it, or for all.
#[derive(Debug)]
pub(super) struct QueueAppender {
    channel: Arc<Channel>,
    sink: Option<usize>,
}

impl QueueAppender {
    pub(super) fn all(channel: Arc<Channel>) -> QueueAppender {
        QueueAppender { channel, sink: None }
    }

    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    pub(super) fn one(channel: Arc<Channel>, sink: usize) -> QueueAppender {
        QueueAppender { channel, sink: Some(sink) }
    }
}

impl QueueAppender {
    /// Takes a record that comes past log4rs, and keeps it for the thread's failure.
    #[inline]
    pub(super) fn capture(&self, record: &::log::Record<'_>) {
        let captured = Captured::new(record);
        recent::note(&captured);
        tail::note(&captured);
        self.put(captured);
    }

    #[inline]
    fn put(&self, captured: Captured) {
        let (first, last) = match self.sink {
            Some(sink) => (sink, sink),
            None if self.channel.sinks() == 0 => return,
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
    }
}

impl Append for QueueAppender {
    fn append(&self, record: &::log::Record<'_>) -> anyhow::Result<()> {
        self.put(Captured::new(record));
        Ok(())
    }

    fn flush(&self) {
        // One flush is for all sinks of the queue.
        if self.sink.is_none_or(|sink| sink == 0) {
            self.channel.flush(None);
        }
    }
}

/// A log file that is written by the thread that logs: a queue without a writer.
#[derive(Debug)]
pub(super) struct DirectAppender {
    appender: QueueAppender,
}

impl DirectAppender {
    pub(super) fn start(name: &str, output: Output) -> DirectAppender {
        let queue = Queue::default();
        let sinks = Sinks::new(vec![Sink::new(name, output, queue.capacity)]);
        let channel = process_hooks::register(Arc::new(Channel::new(name, queue.capacity, queue.overflow, sinks)));
        DirectAppender { appender: QueueAppender::one(channel, 0) }
    }
}

impl Append for DirectAppender {
    fn append(&self, record: &::log::Record<'_>) -> anyhow::Result<()> {
        self.appender.append(record)
    }

    fn flush(&self) {
        self.appender.flush();
    }
}

/// Records that could not be written are reported.
impl Drop for DirectAppender {
    fn drop(&mut self) {
        self.appender.channel().finish_sinks();
    }
}
