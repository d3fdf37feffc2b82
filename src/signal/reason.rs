//! Why a signal went: which thread made it go, where in the source, when, and because of which
//! event. Knows no signals; `walk.rs` finds the reason of a composite in its parts.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a [`Signal`](crate::Signal) went; above all, why a thread was asked to stop. See
/// [`Signal::reason`](crate::Signal::reason).
///
/// `Display` writes it as one line: what happened, in which thread and where, how long ago, and the
/// cause of that.
///
/// ```
/// use selvedge::Signal;
///
/// let please_stop = Signal::new("please_stop");
/// please_stop.go_because("the disk is full");
/// let reason = please_stop.reason().unwrap();
/// assert_eq!(reason.text(), "the disk is full");
/// assert!(reason.location().unwrap().file().ends_with(".rs"));
/// ```
#[derive(Clone)]
pub struct Reason(Arc<Inner>);

struct Inner {
    text: Cow<'static, str>,
    by: Arc<str>,
    at: Option<&'static Location<'static>>,
    when: Instant,
    cause: Option<Reason>,
}

impl Reason {
    /// The calling thread says so, at the place of the caller.
    #[track_caller]
    pub(crate) fn given(text: impl Into<Cow<'static, str>>) -> Reason {
        Reason::of(text, Some(Location::caller()), None)
    }

    /// The runtime says so; `cause` is what it comes from.
    pub(crate) fn of(
        text: impl Into<Cow<'static, str>>,
        at: Option<&'static Location<'static>>,
        cause: Option<Reason>,
    ) -> Reason {
        let by = crate::wait::my_path();
        // Only the first cause: a chain would be as long as the tree is deep, and say the same at
        // each step.
        let cause = cause.map(Reason::root);
        Reason(Arc::new(Inner { text: text.into(), by, at, when: Instant::now(), cause }))
    }

    /// The clock says so: the time of a Till came at `when`.
    pub(super) fn of_clock(when: Instant) -> Reason {
        let (text, by) = ("its time came".into(), "the clock".into());
        Reason(Arc::new(Inner { text, by, at: None, when, cause: None }))
    }

    /// The same reason, for a thread that learns of it later.
    pub(crate) fn again(&self) -> Reason {
        let Inner { text, by, at, cause, .. } = &*self.0;
        let (text, by, cause) = (text.clone(), by.clone(), cause.clone());
        Reason(Arc::new(Inner { text, by, at: *at, when: Instant::now(), cause }))
    }

    /// What happened: the text given to [`Signal::go_because`](crate::Signal::go_because), or the
    /// runtime's own words.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What it came from in the first place.
    fn root(self) -> Reason {
        match &self.0.cause {
            Some(cause) => cause.clone(),
            None => self,
        }
    }

    fn write_own(&self, now: Instant, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())?;
        if let Some(at) = self.location() {
            write!(f, " ({}, at {at})", self.by())?;
        }
        write!(f, " {:.1?} ago", now.saturating_duration_since(self.0.when))
    }

    /// What `Display` writes, with "ago" counted from `now`: for a text that is written later than
    /// it is true.
    pub(crate) fn as_of(&self, now: Instant) -> impl fmt::Display + '_ {
        AsOf { reason: self, now }
    }

    /// The path of the thread on which it happened.
    pub fn by(&self) -> &str {
        &self.0.by
    }

    /// The call that made it happen; `None` for what the runtime does by itself.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.0.at
    }

    /// When the signal was told to go.
    pub fn when(&self) -> Instant {
        self.0.when
    }

    /// How long ago that is.
    pub fn elapsed(&self) -> Duration {
        self.0.when.elapsed()
    }

    /// What it came from in the first place: of a thread that stops since its parent's parent was
    /// asked to, why that was.
    pub fn cause(&self) -> Option<&Reason> {
        self.0.cause.as_ref()
    }
}

/// The reason of one signal, as the signal keeps it. A plain call of `go` leaves its parts there: it allocates
/// nothing, and mostly no thread ever asks for the reason.
#[derive(Default)]
pub(super) enum KeptReason {
    /// The signal has not gone, or has been gone from the beginning.
    #[default]
    None,
    /// It went with nothing to say.
    Unexplained(Instant),
    /// `go` was called.
    Called { by: Arc<str>, at: &'static Location<'static>, when: Instant },
    /// Made by the caller, or on the first request.
    Made(Reason),
}

impl KeptReason {
    /// The calling thread calls `go` now, at that place.
    pub(super) fn called(at: &'static Location<'static>) -> KeptReason {
        KeptReason::Called { by: crate::wait::my_path(), at, when: Instant::now() }
    }

    /// It goes now with nothing to say.
    pub(super) fn unexplained() -> KeptReason {
        KeptReason::Unexplained(Instant::now())
    }

    /// When the signal went. `None` if it has not gone, or has been gone from the beginning.
    pub(super) fn when(&self) -> Option<Instant> {
        match self {
            KeptReason::None => None,
            KeptReason::Unexplained(when) | KeptReason::Called { when, .. } => Some(*when),
            KeptReason::Made(reason) => Some(reason.when()),
        }
    }

    /// The reason, the same one on each request.
    pub(super) fn get(&mut self) -> Option<Reason> {
        if let KeptReason::Called { by, at, when } = self {
            let (text, by, at) = ("go() was called".into(), by.clone(), Some(*at));
            *self = KeptReason::Made(Reason(Arc::new(Inner { text, by, at, when: *when, cause: None })));
        }
        match self {
            KeptReason::Made(reason) => Some(reason.clone()),
            KeptReason::None | KeptReason::Unexplained(_) | KeptReason::Called { .. } => None,
        }
    }
}

/// When and why a signal went, as its composites see it.
pub(super) struct Decision {
    /// `None` for a signal that has been gone from the beginning. It counts as gone before all others.
    pub(super) when: Option<Instant>,
    /// `None` if it has none to tell.
    pub(super) reason: Option<Reason>,
}

struct AsOf<'a> {
    reason: &'a Reason,
    now: Instant,
}

impl fmt::Display for AsOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.write_own(self.now, f)?;
        match self.reason.cause() {
            Some(cause) => {
                f.write_str(", after this: ")?;
                cause.write_own(self.now, f)
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_of(Instant::now()).fmt(f)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reason({self})")
    }
}
