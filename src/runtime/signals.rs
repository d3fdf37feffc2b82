//! SIGINT, SIGTERM and the signals that ask for a dump or a recording: a thread of the tree takes
//! them, and acts on them without blocking.

use super::config::{Ask, Settings, ShutdownSettings};
use super::dumps::{self, aside};
use super::profile_signal::ProfileSignal;
use super::reserve::LAST_WORDS;
use super::taken_signals::{self, Use};
pub(super) use super::taken_signals::{Looks, look_at_end};
use super::{exit, exit_codes};
use crate::error::{Error, Kind};
use crate::log as logs;
use crate::os::fork::PerProcess;
use crate::os::{inherit, process};
use crate::signal::Reason;
use crate::thread::tree::Node;
use crate::thread::{Builder, Thread};
use crate::wait::{self, Ender, Stamp, WaitDescription};
use signal_hook::consts::{SIGABRT, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// The log target of records about an interruption. On the console it is not shown, unless a
/// level is asked for: a program that is interrupted and stops in order is well.
pub(super) const STOPPING: &str = "selvedge::stopping";

/// While no runtime is up the signals do what they did before: they end the process, or call the
/// handler that the program had set.
static IDLE: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The same order: `true` once the action of that signal while no runtime is up is registered.
/// Relaxed: only the start of a runtime changes them, and runtimes start one at a time.
static SETTLED: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// The first that came since the runtime started; 0 for none. SeqCst: it is set and read a few
/// times in a program.
static FIRST: PerProcess<AtomicI32> = PerProcess::new(AtomicI32::new(0), AtomicI32::default);

struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// From now on a process that exits with 130 after SIGINT dies of SIGINT.
pub(super) fn prepare_end() {
    inherit::at_exit_with(|code| {
        // The log's own exit handler runs after this, if a queue was made before this was registered.
        crate::log::finish_exit();
        exit::die_as(code as u8);
    });
}

/// Starts the thread that takes them.
pub(super) fn start(main: &Arc<Node>, settings: &Arc<Settings>) -> Result<(), Error> {
    let refused = |error| Error::new(Kind::Io, "no handler for SIGINT and SIGTERM").because(error);
    let (idle, handled) = default_while_idle().map_err(refused)?;
    for signal in SIGNALS.iter().filter(|signal| !handled.contains(signal)) {
        // As the shell has arranged it: an interrupt at its terminal is not for a program in the
        // background.
        log::info!("{} is ignored, as it was when the program started: it stops nothing", name(*signal));
    }
    let dump = dumps::signal(settings.dump);
    let recording = ProfileSignal::new(settings, main);
    let all: Vec<i32> =
        handled.into_iter().chain(dump).chain(recording.as_ref().map(|recording| recording.signal)).collect();
    let mut signals = taken_signals::registering(&all, || Signals::new(&all)).map_err(refused)?;
    // Only now: until there is a thread to take them they end the process.
    idle.store(false, Ordering::SeqCst);
    let busy = Busy(idle);
    let stops = SIGNALS
        .iter()
        .filter(|signal| all.contains(signal))
        .map(|signal| (*signal, name(*signal).to_owned(), Use::Stop));
    let dumping = dump.map(|signal| (signal, settings.dump.signal.to_string(), Use::Dump));
    let profiling = recording.as_ref().map(|recording| (recording.signal, recording.name.to_string(), Use::Profile));
    let flushing = cfg!(feature = "log4rs").then(|| (SIGABRT, "SIGABRT".to_owned(), Use::Flush));
    let acted_on: Vec<_> = stops.chain(dumping).chain(profiling).collect();
    let names: Vec<&str> = acted_on.iter().map(|(_, name, _)| &**name).collect();
    let names: Arc<str> = names.join(", ").into();
    taken_signals::watch(acted_on.into_iter().chain(flushing));
    let (closer, closed) = (signals.handle(), Arc::new(Stamp::default()));
    FIRST.store(0, Ordering::SeqCst);
    let mut answers =
        Answers { program: settings.name.clone(), shutdown: settings.shutdown.clone(), main: main.clone(), came: None };
    Builder::new("os-signals")
        .parent(&Thread::from_node(main.clone()))
        .runtime()
        .spawn(move |please_stop| {
            let closing = closed.clone();
            please_stop.on_go_first(move || {
                closing.set();
                closer.close();
            });
            // The program may have been started with them blocked, and all its threads with it.
            inherit::unblock(&all);
            let mut answer = |signal| {
                match &recording {
                    _ if Some(signal) == dump => dumps::write(),
                    Some(recording) if recording.signal == signal => recording.answer(),
                    _ => answers.answer(signal),
                }
                taken_signals::look();
            };
            listen(&mut signals, &names, &closed, &mut answer);
            // While it listens, and no longer: a log that hangs at the very end can still be
            // interrupted. What came between its last look and this is answered here.
            drop(busy);
            signals.pending().for_each(&mut answer);
        })
        .map(drop)
        .map_err(|error| Error::new(Kind::Io, "no thread for SIGINT and SIGTERM").because(error))
}

/// Calls `answer` for each signal that comes, until `signals` is closed by the thread that stamps
/// `closed`. `names`: of the signals that are waited for.
fn listen(signals: &mut Signals, names: &Arc<str>, closed: &Stamp, answer: &mut impl FnMut(i32)) {
    let handle = signals.handle();
    while !handle.is_closed() {
        // Limited: whatever the threads of the program wait for, a signal can come.
        let published = WaitDescription::new("OS signals", names.clone()).limited(true).publish();
        wait::begin_sleep();
        let came = signals.wait();
        wait::ended_by(|| if handle.is_closed() { closed.get() } else { Ender::OUTSIDE });
        drop(published);
        came.for_each(&mut *answer);
    }
}

pub(super) fn interrupted() -> Option<i32> {
    match FIRST.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

/// What is done about SIGINT and SIGTERM.
struct Answers {
    program: String,
    shutdown: ShutdownSettings,
    main: Arc<Node>,
    /// When the first came.
    came: Option<Instant>,
}

impl Answers {
    fn answer(&mut self, signal: i32) {
        let Some(came) = self.came else {
            self.came = Some(Instant::now());
            FIRST.store(signal, Ordering::SeqCst);
            if signal == SIGINT {
                inherit::die_if_exiting_with(i32::from(exit_codes::INTERRUPTED));
            }
            return self.stop(signal);
        };
        // One request may come as several signals: `timeout` signals the program and then its
        // group, a terminal the whole group, of which a parent passes it on.
        if came.elapsed() < self.shutdown.grace {
            return;
        }
        let why = format!("a second signal, {}, while stopping: ending at once", name(signal));
        exit::at_once(&why, if signal == SIGTERM { exit_codes::TERMINATED } else { exit_codes::INTERRUPTED });
    }

    /// The first signal. Logging, the terminal and the targets of `please_stop` may hang, so they
    /// run aside: the next signal must be handled.
    fn stop(&self, signal: i32) {
        let (program, grace) = (self.program.clone(), self.shutdown.grace);
        let told = aside("notice", move || notice(&program, signal, grace));
        let (main, ask) = (self.main.clone(), self.shutdown.ask);
        aside("asker", move || {
            told.wait_for_go_timeout(LAST_WORDS);
            let reason = Reason::of(format!("{} came", name(signal)), None, None);
            match ask {
                Ask::Main => drop(main.please_stop.go_for(&reason)),
                Ask::All => main.request_stop(&reason),
            }
        });
    }
}

fn notice(program: &str, signal: i32, grace: Duration) {
    let signal = name(signal);
    // For the person there, unless the log shows it to them. Where stderr is no terminal, a program
    // that is well says nothing.
    let is_in_sight = logs::is_console() && log::log_enabled!(target: STOPPING, log::Level::Info);
    if std::io::stderr().is_terminal() && !is_in_sight {
        exit::say(&format!("{program}: {signal}: stopping; again to end at once"));
    }
    let after = if grace.is_zero() { String::new() } else { format!(", later than {grace:?} from now,") };
    log::info!(target: STOPPING, "interrupted by {signal}: stopping; a second one{after} ends the process at once");
    log::logger().flush();
}

/// Also returns which of the signals are handled: the others were ignored when the program started.
fn default_while_idle() -> std::io::Result<(Arc<AtomicBool>, Vec<i32>)> {
    // In a forked child nothing listens: there they end the process too, until it starts a runtime
    // of its own.
    extern "C" fn nothing() {}
    extern "C" fn in_child() {
        if let Some(idle) = IDLE.get() {
            idle.store(true, Ordering::SeqCst);
        }
    }
    let idle = IDLE.get_or_init(|| {
        process::at_fork(nothing, nothing, in_child);
        Arc::new(AtomicBool::new(true))
    });
    let mut handled = Vec::new();
    for (signal, is_settled) in SIGNALS.iter().zip(&SETTLED) {
        if !is_settled.load(Ordering::Relaxed) {
            if inherit::is_ignored(*signal) {
                continue;
            }
            // The first process of a namespace has no default action that could end it: there the
            // signal does nothing. A handler that the program has set before has the signal alone:
            // signal-hook calls it first, and then this action would end the process.
            if std::process::id() != 1 && !inherit::is_handled(*signal) {
                let ends = || signal_hook::flag::register_conditional_default(*signal, idle.clone());
                taken_signals::registering(&[*signal], ends)?;
            }
            is_settled.store(true, Ordering::Relaxed);
        }
        handled.push(*signal);
    }
    Ok((idle.clone(), handled))
}

/// The exit code after everything has stopped in order: a command that was interrupted must not
/// look finished to a shell, a service that was told to end has done what it should.
pub(super) fn exit_code(signal: i32) -> u8 {
    if signal == SIGTERM { 0 } else { exit_codes::INTERRUPTED }
}

pub(super) fn name(signal: i32) -> &'static str {
    if signal == SIGTERM { "SIGTERM" } else { "SIGINT" }
}
