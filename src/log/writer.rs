//! The log writer's thread. The runtime stops it after all other threads but the stop watch, which
//! alone is older. When the log's file is read again, the same thread serves the new queue once the
//! old one is empty.

use std::io;
use std::sync::Arc;

use crate::model::locks::Mutex;

use super::channel::Channel;
use crate::os::fork::PerProcess;
use crate::thread::tree::Node;
use crate::thread::{Builder, Thread};

struct Writer {
    /// Its thread runs, and serves the channel in `current`.
    alive: bool,
    current: Option<Arc<Channel>>,
}

/// A forked child has no writer.
static WRITER: PerProcess<Mutex<Writer>> = PerProcess::new(Mutex::new(Writer::new()), || Mutex::new(Writer::new()));

impl Writer {
    const fn new() -> Writer {
        Writer { alive: false, current: None }
    }
}

/// Puts `new` in the place of `old`. In between, `swap` makes the callers use it.
pub(super) fn replace(old: Option<Arc<Channel>>, new: Option<Arc<Channel>>, swap: impl FnOnce()) {
    {
        let mut writer = WRITER.lock();
        // Before any caller sees the new channel: a thread that puts must not write by itself,
        // ahead of the old channel's records.
        if let (true, Some(new)) = (writer.alive, &new) {
            new.expect_writer();
        }
        writer.current = new;
    }
    swap();
    if let Some(old) = old {
        old.close();
        // What its sinks cannot write is lost with it.
        old.finish_sinks();
    }
}

/// Starts the thread below `main`, if there is a queue to serve. Called by the start of the
/// runtime, as `start_writer`.
pub(crate) fn start(main: &Arc<Node>) -> io::Result<()> {
    {
        let mut writer = WRITER.lock();
        let Some(channel) = &writer.current else { return Ok(()) };
        channel.expect_writer();
        writer.alive = true;
    }
    let builder = Builder::new("log-writer").parent(&Thread::from_node(main.clone())).runtime();
    let spawned = builder.spawn(|please_stop| {
        while !please_stop.is_go() {
            let current = WRITER.lock().current.clone();
            match current {
                Some(channel) => {
                    channel.serve(please_stop);
                    channel.pause_after_exit(please_stop);
                }
                None => drop(please_stop.wait_for_go_timeout(std::time::Duration::from_secs(1))),
            }
        }
        end();
    });
    if spawned.is_err() {
        end();
    }
    spawned.map(drop)
}

fn end() {
    let current = {
        let mut writer = WRITER.lock();
        writer.alive = false;
        writer.current.clone()
    };
    if let Some(channel) = current {
        channel.write_directly();
    }
}
