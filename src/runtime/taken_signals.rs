//! Notices that another library has set a handler of its own for a signal that the runtime takes:
//! ctrlc, a C library, `signal(SIGINT, SIG_IGN)`. The system has one handler for each signal, so
//! the runtime does not hear that signal any more. This says so once for each signal.
//!
//! The runtime shares the handler of the crate signal-hook. That crate installs it for a signal
//! when it is first used for it, and calls the handler that it finds. It never installs it again.
//! So what another library sets after that stays, also when a further runtime starts.
//!
//! Nothing tells a process of such a change, so the runtime looks. It looks at its start, a quarter
//! of a second later, and then after ever longer pauses. Each pause is four times the one before. A
//! program that is idle for a day wakes up ten times. The runtime also looks when one of its
//! signals comes, and at its end.

use super::reserve::{self, LAST_WORDS};
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::os::inherit;
use crate::os::tell::tell;
use log::Level;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const TARGET: &str = "selvedge::runtime::signals";

/// What the runtime does when the signal comes.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// It stops the program in order.
    Stop,
    /// It makes a dump.
    Dump,
    /// It starts a recording, or ends it.
    Profile,
    /// It writes the records in the queue of the log.
    Flush,
}

/// A signal that the runtime takes.
struct Watched {
    signal: i32,
    name: String,
    is_for: Use,
    /// The handler by which the runtime hears it.
    own: usize,
    /// It had another handler when the runtime started.
    is_early: bool,
}

/// A signal with another handler than the runtime's.
struct Taken {
    watched: Watched,
    handler: usize,
}

struct State {
    /// Without the signals that were told.
    watched: Vec<Watched>,
    /// Each goes when another thread has told a signal.
    telling: Vec<Receiver<()>>,
}

impl State {
    const fn new() -> State {
        State { watched: Vec::new(), telling: Vec::new() }
    }
}

/// A forked child hears no signals: it watches none.
static STATE: PerProcess<Mutex<State>> = PerProcess::new(Mutex::new(State::new()), || Mutex::new(State::new()));

/// The address of signal-hook's handler, which is one function for all signals. 0: not known.
/// Relaxed: only the start of a runtime changes it, and runtimes start one at a time.
static SHARED: AtomicUsize = AtomicUsize::new(0);

/// Calls `register`, which registers actions for these signals with signal-hook. If that is the
/// first use of signal-hook for one of them, its handler is known from then on.
pub(super) fn registering<R>(signals: &[i32], register: impl FnOnce() -> R) -> R {
    let handlers = || signals.iter().map(|signal| inherit::handler(*signal));
    let before: Vec<_> = handlers().collect();
    let result = register();
    let is_function = |handler: &usize| ![inherit::DEFAULT, inherit::IGNORED].contains(handler);
    let mut changed = before.into_iter().zip(handlers()).filter(|(before, now)| before != now);
    if let Some(handler) = changed.find_map(|(_, now)| now.filter(is_function))
        && SHARED.load(Ordering::Relaxed) == 0
    {
        SHARED.store(handler, Ordering::Relaxed);
    }
    result
}

/// The handler by which the runtime hears a signal, whose handler is `now`. `None`: it hears the
/// signal by none.
fn own_handler(is_for: Use, now: usize) -> Option<usize> {
    match (is_for, SHARED.load(Ordering::Relaxed)) {
        #[cfg(feature = "log4rs")]
        (Use::Flush, _) => crate::os::abort::handler(),
        // Other code has used signal-hook for all of these signals before the first runtime
        // started. Then its handler stands there, as a rule.
        (_, 0) => Some(now).filter(|now| *now != inherit::DEFAULT),
        (_, shared) => Some(shared),
    }
}

/// From now on these signals are watched.
pub(super) fn watch(signals: impl IntoIterator<Item = (i32, String, Use)>) {
    let watched = signals.into_iter().filter_map(|(signal, name, is_for)| {
        let now = inherit::handler(signal)?;
        let own = own_handler(is_for, now)?;
        Some(Watched { signal, name, is_for, own, is_early: now != own })
    });
    STATE.lock().watched = watched.collect();
    look();
}

/// Looks, and tells on another thread, since the log may hang, and a name may take long to be
/// found.
pub(super) fn look() {
    let mut state = STATE.lock();
    let taken = state.take();
    if taken.is_empty() {
        return;
    }
    let (done, telling) = channel();
    state.telling.push(telling);
    drop(state);
    // Without a thread for it: the end of the runtime does not tell it either.
    let _ = reserve::run("main/selvedge/taken-signals", move || {
        taken.iter().for_each(Taken::tell);
        drop(done);
    });
}

/// The last look: the runtime ends.
pub(super) fn look_at_end() {
    look();
    let telling = std::mem::take(&mut *STATE.lock()).telling;
    let deadline = Instant::now() + LAST_WORDS;
    for told in telling {
        let _ = told.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

impl State {
    /// Takes out the signals whose handler is not the runtime's any more.
    fn take(&mut self) -> Vec<Taken> {
        let mut taken = Vec::new();
        for watched in std::mem::take(&mut self.watched) {
            match inherit::handler(watched.signal) {
                Some(handler) if handler != watched.own => taken.push(Taken { watched, handler }),
                _ => self.watched.push(watched),
            }
        }
        taken
    }
}

impl Taken {
    fn tell(&self) {
        // Handlers of crashes call the one before them, as a rule.
        let level = if matches!(self.watched.is_for, Use::Flush) { Level::Info } else { Level::Warn };
        let text = self.describe();
        if level == Level::Warn { tell(level, TARGET, &text) } else { log::log!(target: TARGET, level, "{text}") }
    }

    fn describe(&self) -> String {
        let Watched { name, is_for, is_early, .. } = &self.watched;
        let (now, is_function) = match self.handler {
            inherit::DEFAULT => ("has its default action again, which ends the process at once".to_owned(), false),
            inherit::IGNORED => ("is ignored".to_owned(), false),
            function => (format!("is handled by {}", describe_function(function)), true),
        };
        let so = match is_for {
            Use::Stop if self.handler == inherit::DEFAULT => "the program does not stop in order",
            Use::Stop => "it does not stop the program",
            Use::Dump => "no dump comes for it",
            Use::Profile => "it starts and ends no recording",
            Use::Flush => "records in the queue of the log are lost when the process aborts",
        };
        let unless = if is_function { ", unless that handler calls the one before it" } else { "" };
        let when = match is_for {
            _ if !is_early => "set after the start of the runtime".to_owned(),
            Use::Flush => format!("set after the log had taken {name}"),
            _ => format!(
                "set before this runtime started, but after {name} was taken by an earlier runtime or signal-hook"
            ),
        };
        let before = "set that handler before the first runtime of the process starts";
        let what_to_do = match (is_for, self.handler) {
            (_, inherit::DEFAULT) => format!("leave out the call that gives {name} its default action"),
            (Use::Stop, inherit::IGNORED) => format!(
                "leave out the call that ignores {name}, or make it before the first runtime of the process starts, \
                 which then leaves {name} ignored, and says so in the log"
            ),
            (_, inherit::IGNORED) => format!("leave out the call that ignores {name}"),
            (Use::Flush, _) => format!("{before}, which then calls both"),
            (Use::Stop, _) => format!(
                "{before}, and before signal-hook is used for {name}: then both are called; or do its work in \
                 please_stop.on_go_scoped(…) instead"
            ),
            (Use::Dump | Use::Profile, _) => {
                format!("{before}, and before signal-hook is used for {name}: then both are called")
            }
        };
        format!("{name} {now}, {when}: {so}{unless}; {what_to_do}")
    }
}

/// With debug information, if the program reads it at all: a function of a program is not exported.
fn describe_function(address: usize) -> String {
    #[cfg(feature = "profiling")]
    if let Some(text) = crate::profile::describe_function(address) {
        return text;
    }
    crate::os::code::describe(address).unwrap_or_else(|| format!("code at {address:#x}"))
}

/// When the runtime looks of itself.
pub(super) struct Looks {
    next: Instant,
    pause: Duration,
}

impl Looks {
    const FIRST: Duration = Duration::from_millis(250);

    pub(super) fn start() -> Looks {
        Looks { next: Instant::now() + Looks::FIRST, pause: Looks::FIRST }
    }

    /// Looks if it is time for it. Returns when it will be time again.
    pub(super) fn look_in_time(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if now >= self.next {
            look();
            self.pause = self.pause.saturating_mul(4);
            // Beyond what the clock can express nothing is to come.
            self.next = now.checked_add(self.pause)?;
        }
        Some(self.next)
    }
}
