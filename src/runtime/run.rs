//! `run`: a program from its configuration to its exit code, and what its function may return.
//! Start and end are in `lifecycle.rs`.

use super::config::Config;
use super::lifecycle::{Runtime, log_before_report};
use super::{exit, exit_codes, signals};
use crate::signal::{Reason, Signal};
use crate::thread::tree::Node;
use crate::thread::{Failure, boxed, is_of_stop, with_sources};
use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// Runs a program: starts the runtime, calls `main` on this thread with the `please_stop` of the
/// whole program, and when it returns ends all threads in order, writes the profile and gives the
/// exit code.
///
/// `config` is the path of a YAML file or a [`Config`]. SIGINT and SIGTERM make `please_stop` go
/// ([`Config::ask`]: or that of all threads); a second one while the program is stopping, later
/// than [`Config::grace`], says which threads are left and ends the process at once. A signal that
/// is ignored when the program starts stays ignored.
///
/// | exit code | when |
/// |---|---|
/// | 0 | `main` returned and no thread failed; also after SIGTERM |
/// | its own | `main` returned an [`ExitCode`] other than 0, and no thread failed; also after a signal ([`interrupted`]) |
/// | 1 | `main` returned an error or panicked, or a thread failed and no thread had joined it, also a [registered](crate::register) one; the report is on stderr |
/// | 70 | a thread did not stop, and `shutdown.on_stuck` is `abort` |
/// | 78 | the configuration is wrong or asks for what cannot be had here; what and where is on stderr, and nothing was started |
/// | 130 | after SIGINT, everything having stopped in order; or at once, after a second one |
/// | 143 | at once, after a second signal that was SIGTERM |
///
/// `main` may return what a program's own `main` may: see [`MainResult`]. An error that says that
/// `main` was asked to stop, while it was, is a normal return: see [`Stopped`](crate::Stopped). So
/// after SIGTERM it is 0 too; a tool that has left its work half done returns a code of its own
/// ([`interrupted`]). The
/// runtime of a program that is well and has no log file writes nothing to stderr; the program's
/// own records go there from `info` on. [`Config::log_level`] and the environment variable
/// `RUST_LOG` set another level for both.
///
/// # Blocking
/// Until `main` has returned and all threads have ended. A second signal ends the process at once.
///
/// # Death by SIGINT
/// After SIGINT, a process that exits with 130 dies of SIGINT instead (Linux with glibc): at the
/// very end, after the return from the program's own `main`. A shell shows 130 in both cases, and
/// only after a death by SIGINT stops the script or loop that the program is part of.
///
/// ```no_run
/// use selvedge::{Config, Queue, Signal, spawn};
///
/// fn main() -> std::process::ExitCode {
///     selvedge::run(Config::new("jobs"), |please_stop: &Signal| {
///         let jobs: Queue<String> = Queue::bounded("jobs", 100);
///         let from = jobs.popper();
///         let worker = spawn("worker", move |please_stop| {
///             // Also after a stop: until the queue is closed and everything in it was handled.
///             while let Some(job) = from.pop_draining(please_stop) {
///                 log::info!("doing {job}");
///             }
///         });
///         // Closes the queue when it is dropped: at the end, and by each `?`.
///         let adder = jobs.adder();
///         for line in selvedge::lines_till(std::io::stdin(), please_stop)? {
///             adder.add(line?)?;
///         }
///         drop(adder);
///         worker.join()?;
///         Ok::<(), Box<dyn std::error::Error>>(())
///     })
/// }
/// ```
#[must_use = "the exit code is to be returned from main"]
pub fn run<R, F>(config: impl Into<Config>, main: F) -> ExitCode
where
    F: FnOnce(&Signal) -> R,
    R: MainResult,
{
    let runtime = match Runtime::start(config) {
        Ok(runtime) => runtime,
        Err(error) => {
            exit::say(&format!("selvedge: {error}"));
            return ExitCode::from(if error.is_config() || error.is_profile() {
                exit_codes::CONFIG
            } else {
                exit_codes::FAILURE
            });
        }
    };
    let node = runtime.node().clone();
    // AssertUnwindSafe: nothing that main shared is used here again. An error's text is the
    // program's code, too.
    let outcome = catch_unwind(AssertUnwindSafe(|| match main(&node.please_stop).into_exit() {
        Ok(code) => (None, code),
        Err(error) => (Some(error.into_failure(&node)), None),
    }));
    let (own, code) = outcome.unwrap_or_else(|payload| (Some(Failure::panic(&node, payload)), None));
    // That it was asked to stop is no failure.
    let own = own.filter(|failure| !failure.is_stopped());
    let name = runtime.name().to_owned();
    let why = match &own {
        None => "main returned",
        Some(failure) if failure.is_panic() => "main panicked",
        Some(_) => "main failed",
    };
    let (failure, interrupted) = runtime.end(own, Reason::of(why, None, None), log_before_report);
    match (failure, code, interrupted) {
        (Some(failure), ..) => {
            let report = failure.report(exit::is_coloured()).to_string();
            exit::say(&format!("selvedge: {name} failed\n{report}{}", exit::hint(&report)));
            ExitCode::from(exit_codes::FAILURE)
        }
        (None, Some(code), _) if !is_success(code) => code,
        (None, _, Some(signal)) => ExitCode::from(signals::exit_code(signal)),
        (None, ..) => ExitCode::SUCCESS,
    }
}

/// Of an exit code only the text can be had, and no other code has that of success.
fn is_success(code: ExitCode) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
}

/// The signal that has interrupted the program: the first SIGINT (2) or SIGTERM (15) since the
/// runtime started. `None` if none has come.
///
/// For a program that ends in another way after an interruption: it removes its half-written
/// output, or has an exit code of its own. After the runtime has ended it says what came, until the
/// next runtime starts.
///
/// ```
/// use selvedge::{Config, Signal};
/// use std::process::ExitCode;
///
/// selvedge::run(Config::new("copy"), |please_stop: &Signal| {
///     let is_whole = !please_stop.is_go(); // … the work
///     if selvedge::interrupted().is_some() && !is_whole {
///         eprintln!("copy: interrupted, the copy is not complete");
///         return ExitCode::from(20);
///     }
///     ExitCode::SUCCESS
/// });
/// ```
pub fn interrupted() -> Option<i32> {
    signals::interrupted()
}

/// What the function given to [`run`] may return: what a program's own `main` may
/// (`std::process::Termination`).
///
/// | type | is |
/// |---|---|
/// | `()` | success |
/// | [`ExitCode`] | success or not, with that code |
/// | `Result<T, E>`, `T` one of these, `E` any type with `Display` | the `Ok`, or the failure of `main` |
/// | `!`, [`Infallible`] | there is no return |
///
/// An error is reported by its `Display` (`{:#}`, so that a type that keeps a chain prints all of
/// it), with the sources of a boxed one. A [`Failure`] from a join stays what it is. For another
/// type that implements `Termination`, return `value.report()`.
///
/// ```
/// use selvedge::{Config, Signal, run};
/// use std::process::ExitCode;
///
/// let count = |_please_stop: &Signal| -> Result<ExitCode, Box<dyn std::error::Error>> {
///     let lines = std::fs::read_to_string("Cargo.toml")?.lines().count();
///     // As grep: 1 if there is none.
///     Ok(if lines > 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
/// };
/// run(Config::new("count"), count);
/// ```
pub trait MainResult {
    /// The exit code that the program has chosen, if it has, or its error.
    #[doc(hidden)]
    fn into_exit(self) -> Result<Option<ExitCode>, MainError>;
}

impl MainResult for () {
    fn into_exit(self) -> Result<Option<ExitCode>, MainError> {
        Ok(None)
    }
}

impl MainResult for ExitCode {
    fn into_exit(self) -> Result<Option<ExitCode>, MainError> {
        Ok(Some(self))
    }
}

impl MainResult for Infallible {
    fn into_exit(self) -> Result<Option<ExitCode>, MainError> {
        match self {}
    }
}

/// Names the type `!`, which cannot be written here otherwise.
trait Returns {
    type Type;
}

impl<T> Returns for fn() -> T {
    type Type = T;
}

// The associated type is `!`, which is public.
#[allow(private_interfaces)]
impl MainResult for <fn() -> ! as Returns>::Type {
    fn into_exit(self) -> Result<Option<ExitCode>, MainError> {
        self
    }
}

impl<T: MainResult, E: fmt::Display + 'static> MainResult for Result<T, E> {
    fn into_exit(self) -> Result<Option<ExitCode>, MainError> {
        self.map_err(MainError::new)?.into_exit()
    }
}

/// The error of a program's `main`: any type with `Display`. Not exported, so that [`MainResult`]
/// is implemented here alone.
pub struct MainError {
    error: Box<dyn Any>,
    text: fn(&dyn Any) -> String,
}

impl MainError {
    fn new<E: fmt::Display + 'static>(error: E) -> MainError {
        // `{:#}`: with it, error types that keep a chain print all of it.
        let text = |error: &dyn Any| error.downcast_ref::<E>().map_or_else(String::new, |error| format!("{error:#}"));
        MainError { error: Box::new(error), text }
    }

    /// `main`'s error may be a failure that it got from a join, bare or boxed; that is not told
    /// once more as a text.
    fn into_failure(self, node: &Node) -> Failure {
        type Shared = Box<dyn std::error::Error + Send + Sync>;
        type Plain = Box<dyn std::error::Error>;
        let MainError { error, text } = self;
        let error = match error.downcast::<Failure>() {
            Ok(failure) => return Failure::adopt(node, *failure),
            Err(error) => error,
        };
        let error = match error.downcast::<Shared>() {
            Ok(error) => return Failure::error(node, *error),
            Err(error) => error,
        };
        let error = match error.downcast::<io::Error>() {
            Ok(error) => return Failure::error(node, error),
            Err(error) => error,
        };
        let error = match error.downcast::<anyhow::Error>() {
            Ok(error) => return Failure::error(node, boxed(*error)),
            Err(error) => error,
        };
        match error.downcast::<Plain>() {
            Ok(error) => match error.downcast::<Failure>() {
                Ok(failure) => Failure::adopt(node, *failure),
                Err(error) if node.please_stop.is_go() && is_of_stop(&*error) => Failure::stopped(node, &*error),
                Err(error) => Failure::text(node, with_sources(&*error)),
            },
            Err(error) => Failure::text(node, text(&*error)),
        }
    }
}

impl fmt::Debug for MainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MainError({})", (self.text)(&*self.error))
    }
}
