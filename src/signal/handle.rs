//! The public handle to a signal: naming it, letting it go, waiting for it, attaching targets. The
//! state is in `core.rs`, and composites in `compose.rs` and `walk.rs`.

use super::core::{Core, Kind, Name};
use super::on_go::{self, OnGo, OnGoScoped};
use super::reason::{KeptReason, Reason};
use super::timer;
use super::wait_set::WaitSet;
use crate::model::Receiver;
use crate::wait::{self, Ender, Handles, WaitDescription};
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// A fact that is not yet true, and once true stays true: *go*.
///
/// In the cube of resource × binary × irreversible it is the cell "binary, irreversible, without an
/// owner": any number of threads may look, wait, and activate it. It is what `please_stop` is.
/// Clones are handles to the same signal.
///
/// Signals combine: `&a | &b` has gone when one of them has, `&a & &b` when both have. A composite
/// holds its parts; the parts know of the composite only while it has a target or a receiver.
///
/// # Memory ordering
/// What a thread did before it made the signal go is visible to each thread that has seen the
/// signal gone.
///
/// The idea is that of mo-threads' `Signal`; peers are Java's `CountDownLatch(1)`, Go's closed
/// `chan struct{}`, and tokio-util's `CancellationToken`.
///
/// ```
/// use selvedge::{Signal, Till};
/// use std::time::Duration;
///
/// let please_stop = Signal::new("please_stop");
/// let paused = Till::after(Duration::from_millis(5));
/// // Pause, but not beyond a stop; then find out which of the two it was.
/// (&paused | &please_stop).wait_for_go();
/// assert!(paused.is_go() && !please_stop.is_go());
/// ```
#[derive(Clone)]
pub struct Signal(pub(super) Arc<Core>);

impl Signal {
    /// A signal that has not gone yet. The name appears in `Debug`, in messages and in what a
    /// waiting thread shows.
    #[must_use]
    pub fn new(name: impl AsRef<str>) -> Signal {
        Signal(Core::new(Kind::Plain(Name::Own(Arc::from(name.as_ref())))))
    }

    /// One of several signals of the same thing, called `<owner> <what>`.
    pub(crate) fn of(owner: &Arc<str>, what: &'static str) -> Signal {
        Signal(Core::new(Kind::Plain(Name::Of(owner.clone(), what))))
    }

    /// The mark of something at a number, called `<owner> at <number>`.
    pub(crate) fn mark(owner: &Arc<str>, number: u64) -> Signal {
        Signal(Core::new(Kind::Plain(Name::At(owner.clone(), number))))
    }

    /// A signal that never goes: the zero of `|`, the one of `&`.
    #[must_use]
    pub fn never() -> Signal {
        static NEVER: LazyLock<Signal> = LazyLock::new(|| Signal(Core::new(Kind::Never)));
        NEVER.clone()
    }

    /// A signal that has gone: the one of `|`, the zero of `&`.
    #[must_use]
    pub fn gone() -> Signal {
        static GONE: LazyLock<Signal> = LazyLock::new(|| {
            let signal = Signal::new("gone");
            signal.0.be_gone_since_ever();
            signal
        });
        GONE.clone()
    }

    /// Goes, wakes all waiting threads and runs the targets of [`on_go`](Self::on_go), in the order
    /// of their attachment, on this thread. Returns `true` for the one call that did it, `false` if
    /// the signal had gone already.
    ///
    /// A composite and [`never`](Self::never) cannot be told to go, since they are statements about
    /// others: the call changes nothing, logs a warning and returns `false`.
    ///
    /// ```
    /// # use selvedge::Signal;
    /// let loaded = Signal::new("index loaded");
    /// assert!(loaded.go());
    /// assert!(!loaded.go()); // It has gone already.
    /// ```
    #[track_caller]
    pub fn go(&self) -> bool {
        let at = Location::caller();
        self.0.go(|| KeptReason::called(at))
    }

    /// [`go`](Self::go), and says why: [`reason`](Self::reason) gives this text, the calling
    /// thread, this place and time.
    ///
    /// ```
    /// # use selvedge::Signal;
    /// let please_stop = Signal::new("please_stop");
    /// please_stop.go_because("the last client has left");
    /// assert_eq!(please_stop.reason().unwrap().text(), "the last client has left");
    /// ```
    #[track_caller]
    pub fn go_because(&self, why: impl Into<Cow<'static, str>>) -> bool {
        let at = Location::caller();
        self.0.go(|| KeptReason::Made(Reason::of(why, Some(at), None)))
    }

    /// Of several that go for one reason, [`BatchWake`](super::BatchWake) is faster.
    pub(crate) fn go_for(&self, reason: &Reason) -> bool {
        self.0.go(|| KeptReason::Made(reason.clone()))
    }

    /// For signals whose meaning is their reason: `stopped`, `closed`.
    pub(crate) fn go_unexplained(&self) -> bool {
        self.0.go(|| KeptReason::None)
    }

    /// Why it went, if it has gone: which thread made it go, where, when, and why. A composite has
    /// the reason of the part that decided, of `a | b` the first that went, of `a & b` the last. A
    /// [`Till`](crate::Till) has as its reason that its time came. `None` before, and for signals that
    /// the crate itself makes go as a matter of course:
    /// [`Thread::stopped`](crate::Thread::stopped), [`Queue::closed`](crate::Queue::closed) and
    /// their like. A composite that such a signal has decided has none either, also after other
    /// parts go.
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason()
    }

    /// Returns `true` if it has gone. One atomic load; a [`Till`](crate::Till) that has not been
    /// seen expired reads the clock, a composite asks its parts.
    #[inline]
    pub fn is_go(&self) -> bool {
        self.0.is_go()
    }

    /// Waits until the signal has gone.
    ///
    /// # Blocking
    /// Until the signal goes; forever, if no thread makes it go. Most threads want
    /// [`wait_for_go_till`](Self::wait_for_go_till) with their `please_stop`.
    ///
    /// ```
    /// # use selvedge::{Signal, spawn};
    /// let loaded = Signal::new("index loaded");
    /// let theirs = loaded.clone();
    /// let loader = spawn("loader", move |_please_stop| theirs.go());
    /// loaded.wait_for_go();
    /// # loader.join().unwrap();
    /// ```
    pub fn wait_for_go(&self) {
        self.wait(None, None);
    }

    /// Waits until the signal has gone, for at most `timeout`. Returns `true` if it has gone, and
    /// `false` if the time has passed before.
    ///
    /// # Blocking
    /// Until the signal goes, or `timeout` has passed.
    ///
    /// ```
    /// # use selvedge::Signal; use std::time::Duration;
    /// assert!(!Signal::new("reply").wait_for_go_timeout(Duration::from_millis(1)));
    /// ```
    pub fn wait_for_go_timeout(&self, timeout: Duration) -> bool {
        // A deadline beyond what the clock can express is no deadline.
        self.wait(None, Instant::now().checked_add(timeout))
    }

    /// Waits until this signal has gone, or `till` has. Returns `true` if this one has gone, and
    /// `false` if only `till` has.
    ///
    /// # Blocking
    /// Until one of the two signals goes.
    ///
    /// ```
    /// # use selvedge::Signal;
    /// let (reply, please_stop) = (Signal::new("reply"), Signal::new("please_stop"));
    /// please_stop.go();
    /// assert!(!reply.wait_for_go_till(&please_stop));
    /// ```
    pub fn wait_for_go_till(&self, till: &Signal) -> bool {
        self.wait(Some(till), None)
    }

    /// Runs `target` once, when the signal goes, on the thread that makes it go; at once and here,
    /// if it has gone already. When the clock decides, for a [`Till`](crate::Till) or a composite
    /// with one, it runs on the timer thread. That thread belongs to the process: a target runs at
    /// its time also after the end of the runtime.
    ///
    /// A call that lets several signals go, as [`Thread::stop`](crate::Thread::stop) does, wakes all
    /// waiting threads first. Then it runs the targets: those of one signal in the order of their
    /// attachment, the signals in the order in which they went. So a target may wait for what a
    /// woken thread does, and must not wait for what a later target does.
    ///
    /// Targets should be short. If one runs on the timer thread for more than 0.1 s while others
    /// are due, another thread runs those, and the log has a warning with the place where the slow
    /// target was attached. A panic in one is caught and logged with the place of this call; it
    /// reaches neither the other targets nor the caller of `go`. Dropping the returned handle
    /// leaves the target attached. What it has captured stays until the target has run, was
    /// cancelled, or can no longer run, since a signal that it waits for was dropped. On a thread's
    /// `please_stop`, a target that has that thread, or one below it, should be cancelled, or it
    /// keeps both.
    ///
    /// ```
    /// # use selvedge::Signal;
    /// # use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    /// let stop = Signal::new("stop");
    /// let closed = Arc::new(AtomicBool::new(false));
    /// let seen = closed.clone();
    /// stop.on_go(move || seen.store(true, Ordering::SeqCst));
    /// stop.go();
    /// assert!(closed.load(Ordering::SeqCst));
    /// ```
    #[track_caller]
    pub fn on_go(&self, target: impl FnOnce() + Send + 'static) -> OnGo {
        on_go::attach(&self.0, Box::new(target), true)
    }

    /// [`on_go`](Self::on_go), until the guard that it returns is dropped: for a target that
    /// belongs to one call, for example to wake it up. When the guard has been dropped, the
    /// target has run to its end or never runs.
    ///
    /// # Blocking
    /// This call does not block. Dropping the guard blocks while the target runs on another thread,
    /// until the target has ended. So no lock that the target takes may be held then.
    ///
    /// ```
    /// # use selvedge::Signal;
    /// # use std::{io::Read, net::{Shutdown, TcpStream}};
    /// fn read_all(mut stream: TcpStream, please_stop: &Signal) -> std::io::Result<Vec<u8>> {
    ///     let other = stream.try_clone()?;
    ///     // Ends the read. Cancelled when the function returns, so that `please_stop` does not collect targets.
    ///     let _ends_read = please_stop.on_go_scoped(move || drop(other.shutdown(Shutdown::Both)));
    ///     let mut bytes = Vec::new();
    ///     stream.read_to_end(&mut bytes)?;
    ///     Ok(bytes)
    /// }
    /// ```
    #[track_caller]
    pub fn on_go_scoped(&self, target: impl FnOnce() + Send + 'static) -> OnGoScoped {
        on_go::attach_scoped(&self.0, Box::new(target), true)
    }

    /// [`on_go`](Self::on_go) for a target of this crate, which wakes threads or forwards a stop. It
    /// runs before all targets of the program. It may neither block nor run code of the program.
    #[track_caller]
    pub(crate) fn on_go_first(&self, target: impl FnOnce() + Send + 'static) -> OnGo {
        on_go::attach(&self.0, Box::new(target), false)
    }

    /// The same, until the guard is dropped.
    #[track_caller]
    pub(crate) fn on_go_first_scoped(&self, target: impl FnOnce() + Send + 'static) -> OnGoScoped {
        on_go::attach_scoped(&self.0, Box::new(target), false)
    }

    /// A channel that never carries a message and is disconnected when the signal goes: the
    /// signal's place in any `crossbeam_channel::select!`.
    ///
    /// Keep the signal as long as the channel: a clone of the channel that outlives every handle to
    /// the signal is disconnected too, as crossbeam does when the last sender is dropped.
    ///
    /// ```
    /// # use selvedge::Signal;
    /// # let (_sender, jobs) = crossbeam_channel::unbounded::<u32>();
    /// # let please_stop = Signal::new("please_stop");
    /// # please_stop.go();
    /// crossbeam_channel::select! {
    ///     recv(jobs) -> job => println!("{job:?}"),
    ///     recv(please_stop.receiver()) -> _ => println!("stopping"),
    /// }
    /// ```
    pub fn receiver(&self) -> &Receiver<Infallible> {
        self.0.linked_receiver()
    }

    /// Makes `select` ready when the signal goes. Under a model, whose channels are not
    /// crossbeam's, it leaves it alone.
    #[cfg(feature = "log4rs")]
    pub(crate) fn watch_in<'a>(&'a self, select: &mut crossbeam_channel::Select<'a>) {
        #[cfg(not(all(test, selvedge_model)))]
        select.recv(self.receiver());
        #[cfg(all(test, selvedge_model))]
        let _ = select;
    }

    /// The name given to [`new`](Self::new); for a composite, the expression.
    pub fn name(&self) -> String {
        self.0.name().to_string()
    }

    /// Returns `true` if this handle is the only one and nothing is attached, so that its drop has
    /// no effect on others.
    pub(crate) fn is_unused(&self) -> bool {
        self.0.is_unused()
    }

    /// What made it go, while a recording counts waits.
    pub(crate) fn ender(&self) -> Ender {
        self.0.ender()
    }

    /// Returns `true` if there is anything that could make it go.
    pub(crate) fn can_go(&self) -> bool {
        !matches!(self.0.kind, Kind::Never)
    }

    /// Returns `true` if this many handles to it are all there are.
    pub(crate) fn has_handles(&self, count: usize) -> bool {
        Arc::strong_count(&self.0) == count
    }

    /// How many targets are attached.
    #[cfg(test)]
    pub(crate) fn target_count(&self) -> usize {
        self.0.target_count()
    }

    /// What the calls that end on `till` or a deadline have in common.
    fn wait(&self, till: Option<&Signal>, deadline: Option<Instant>) -> bool {
        let what = || {
            let what = WaitDescription::new("signal", self.0.name());
            let what = match self.0.lasting_name() {
                Some(lasting) => what.stable_name(lasting),
                None => what,
            };
            if deadline.is_some() || till.is_some_and(Signal::can_go) {
                return what;
            }
            let shared = Arc::downgrade(&self.0);
            what.handles(Handles::of(self, shared))
        };
        self.wait_as(what, till, deadline)
    }

    /// The same, for a caller that has a better name for what it waits for.
    pub(crate) fn wait_as(
        &self,
        what: impl FnOnce() -> WaitDescription,
        till: Option<&Signal>,
        deadline: Option<Instant>,
    ) -> bool {
        if self.is_go() {
            return true;
        }
        if till.is_some_and(Signal::is_go) || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return false;
        }
        let limited = deadline.is_some() || till.is_some_and(Signal::can_go);
        let _published = wait::publish_with(|| what().limited(limited));
        self.wait_unpublished(till, deadline)
    }

    /// The same, for a caller that has published itself.
    pub(crate) fn wait_unpublished(&self, till: Option<&Signal>, deadline: Option<Instant>) -> bool {
        if self.is_go() {
            return true;
        }
        timer::resume();
        if till.is_none() && self.0.sleep(deadline) {
            return self.is_go();
        }
        let mut wait_set = WaitSet::default();
        loop {
            wait_set.clear(deadline);
            wait_set.watch(self);
            if let Some(till) = till {
                wait_set.watch(till);
            }
            wait_set.block();
            if self.is_go() {
                wait::ended_by(|| self.ender());
                return true;
            }
            let is_till = till.is_some_and(Signal::is_go);
            if is_till || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                wait::ended_by(|| till.filter(|_| is_till).map_or(Ender::clock(deadline), Signal::ender));
                return false;
            }
        }
    }
}

impl WaitSet {
    /// Adds what has to change before `signal` can have gone.
    pub(crate) fn watch(&mut self, signal: &Signal) {
        self.watch_core(&signal.0);
    }
}

impl AsRef<Signal> for Signal {
    fn as_ref(&self) -> &Signal {
        self
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({}, {})", self.0.name(), if self.is_go() { "gone" } else { "waiting" })
    }
}
