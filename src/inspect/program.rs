//! What the answers know of the program: its name, since when it runs, which clients may ask, and
//! whether one of them records.

use super::access::Access;
use super::pools::{Names, Pools};
use super::recorder::Recorder;
use super::told::Told;
use crate::dump::Clocks;
use crate::model::locks::Mutex;
use crate::signal::Signal;
use crate::thread::tree::Node;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub(super) struct Program {
    pub(super) name: String,
    pub(super) main: Arc<Node>,
    /// `unix:…` or `tcp:…`.
    pub(super) listen: String,
    pub(super) access: Access,
    pub(super) began: Instant,
    pub(super) started: SystemTime,
    /// Goes when the inspection ends.
    pub(super) stop: Signal,
    pub(super) recorder: Recorder,
    /// CPU times at the last look of a client that asks now and then.
    pub(super) clocks: Mutex<Option<Clocks>>,
    pub(super) pools: Arc<Pools>,
    /// The queues whose dropped values have a counter of their own.
    pub(super) dropped_in: Names,
    /// The counters that clients have read.
    pub(super) told: Told,
    /// How long a thread may take to stop before the runtime reports it.
    pub(super) patience: Duration,
}

impl Program {
    pub(super) fn new(
        name: &str,
        main: &Arc<Node>,
        listen: &str,
        access: Access,
        stop: &Signal,
        patience: Duration,
    ) -> Program {
        Program {
            name: name.to_owned(),
            main: main.clone(),
            listen: listen.to_owned(),
            access,
            began: Instant::now(),
            started: SystemTime::now(),
            stop: stop.clone(),
            recorder: Recorder::default(),
            clocks: Mutex::new(None),
            pools: Pools::watch(),
            dropped_in: Names::default(),
            told: Told::default(),
            patience,
        }
    }

    /// `stopping` once `main` was asked to stop.
    pub(super) fn state(&self) -> &'static str {
        if self.main.please_stop.is_go() { "stopping" } else { "running" }
    }
}
