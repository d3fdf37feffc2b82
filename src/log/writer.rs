//! The log writer's thread. The runtime stops it after all other threads but the stop watch, which
//! alone is older. When the log's file is read again, the same thread serves the new queue once the
//! old one is empty.

use std::io;
use std::sync::Arc;

use crate::model::locks::Mutex;

use super::channel::Channel;
use crate::os::fork::PerProcess;
use crate::signal::Signal;
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
    let spawned = builder.spawn(|please_stop| run(please_stop, Channel::serve));
    if spawned.is_err() {
        end();
    }
    spawned.map(drop)
}

/// The body of the thread. `serve` is `Channel::serve`.
fn run(please_stop: &Signal, serve: impl Fn(&Channel, &Signal)) {
    /// Ends the writer also when it panics. Else the next log would expect a writer, and a flush
    /// would wait for it forever.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            end();
        }
    }
    let _end = End;
    while !please_stop.is_go() {
        let current = WRITER.lock().current.clone();
        match current {
            Some(channel) => {
                serve(&channel, please_stop);
                channel.pause_after_exit(please_stop);
            }
            None => drop(please_stop.wait_for_go_timeout(std::time::Duration::from_secs(1))),
        }
    }
}

/// From now on the threads that log write by themselves.
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

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;
    use crate::log::sinks::Sinks;
    use crate::log::wiring::Overflow;
    use std::time::{Duration, Instant};

    fn channel() -> Arc<Channel> {
        Arc::new(Channel::new("log", 8, Overflow::Block, Sinks::new(Vec::new())))
    }

    #[test]
    fn a_panic_ends_the_writer() {
        if crate::own_process::passes(module_path!(), "a_panic_ends_the_writer", &[]) {
            return;
        }
        let (first, second) = (channel(), channel());
        replace(None, Some(first.clone()), || ());
        first.expect_writer();
        WRITER.lock().alive = true;
        let serve = |_: &Channel, _: &Signal| panic!("of the test");
        let ended = std::panic::catch_unwind(|| run(&Signal::new("stop"), serve));
        assert!(ended.is_err());
        // As after a reload: the new log has no writer either.
        replace(Some(first), Some(second.clone()), || ());
        assert!(second.flush(Some(Instant::now() + Duration::from_secs(100))), "it waits for a writer");
    }
}
