//! Threads that are run again when they fail: how often, how soon, and when that is given up. The
//! runs follow each other on one OS thread, in one node of the tree.
//!
//! One thread and not a new one for each run, because the path, the handle, the `please_stop`, the
//! place in the profile and the CPU time then belong to the one thread that the program asked for,
//! and because a restart cannot fail for want of a thread when things are bad already. The price is
//! that thread-locals are not made anew.

use super::failure::Failure;
use super::join::JoinHandle;
use super::kept_error::boxed;
use super::registration::end_those_left;
use super::roots::current;
use super::spawn::Builder;
use super::tree::Node;
use super::{mdc, stop};
use crate::error::ignore_panic;
use crate::os::tell::tell;
use crate::signal::Signal;
use log::Level;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often a thread that fails is run again, and how soon; for [`Builder::restart`].
///
/// The names are Erlang's: more than the *intensity* of restarts within the *period*, and the
/// supervisor gives up. The period slides: it is the time before the failure that is judged. The
/// wait before a restart doubles with each restart that lies within the period, from the first to
/// the greatest; so after a quiet period it begins anew.
///
/// ```
/// use selvedge::Restart;
/// use std::time::Duration;
///
/// // At most 5 times in a minute; after 100 ms, 200 ms, 400 ms, 800 ms and 1 s.
/// let policy = Restart::up_to(5)
///     .within(Duration::from_secs(60))
///     .backoff(Duration::from_millis(100), Duration::from_secs(1));
/// # let _ = policy;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    intensity: u32,
    period: Duration,
    first: Duration,
    greatest: Duration,
}

impl Restart {
    /// At most so many times within the period, which is a minute unless [`within`](Self::within)
    /// says otherwise; at once, unless [`backoff`](Self::backoff) says otherwise. 0: never.
    pub fn up_to(intensity: u32) -> Restart {
        Restart { intensity, period: Duration::from_secs(60), first: Duration::ZERO, greatest: Duration::ZERO }
    }

    /// The period.
    #[must_use]
    pub fn within(self, period: Duration) -> Restart {
        Restart { period, ..self }
    }

    /// Waits before each restart: the first time `first`, then twice as long each time, but at most
    /// `greatest`.
    ///
    /// Together the waits should fit into the period: a thread that is restarted so slowly that the
    /// period never has enough restarts is restarted forever.
    #[must_use]
    pub fn backoff(self, first: Duration, greatest: Duration) -> Restart {
        Restart { first, greatest, ..self }
    }
}

/// When it was restarted, as far as the policy asks.
struct History {
    policy: Restart,
    restarts: VecDeque<Instant>,
}

impl History {
    /// It failed `now`. How long to wait before it is restarted; `None`: that was once too often.
    fn failed(&mut self, now: Instant) -> Option<Duration> {
        let Restart { intensity, period, first, greatest } = self.policy;
        while self.restarts.front().is_some_and(|restart| now.saturating_duration_since(*restart) >= period) {
            self.restarts.pop_front();
        }
        let recent = self.restarts.len() as u32;
        if recent >= intensity {
            return None;
        }
        self.restarts.push_back(now);
        // Beyond what can be expressed is beyond the greatest.
        let doubled = 1_u32.checked_shl(recent).map_or(Duration::MAX, |times| first.saturating_mul(times));
        Some(if first.is_zero() { first } else { doubled.min(greatest) })
    }
}

/// A [`Builder`] whose thread is run again when it fails; made by [`Builder::restart`].
#[derive(Debug)]
#[must_use = "nothing is started before spawn"]
pub struct Restarting {
    builder: Builder,
    policy: Restart,
}

impl Builder {
    /// A thread that is run again when it fails: by a panic, an `Err`, or failures of its children
    /// that no thread had joined. Its function can be called more than once. A return without
    /// failure ends the thread as usual.
    ///
    /// It stays the same thread: its path, [`please_stop`](crate::Thread::please_stop), handle and
    /// thread-locals go on, its children do not: before it is run again they are asked to stop, and
    /// joined. Each restart is a warning in the log, with the failure;
    /// [`Thread::restarts`](crate::Thread::restarts) counts them. When the policy allows no more,
    /// or the thread has been asked to stop, the failure is the thread's own, and says how often it
    /// was [restarted](Failure::restarts). A wait before a restart ends at once when it is asked to
    /// stop.
    ///
    /// Signals stay gone, [`child_failed`](crate::Thread::child_failed) too: a function that waits
    /// for it finds it gone in the next run. What the function shares with others, and what it
    /// keeps from one run to the next, is as the failed run left it.
    ///
    /// The idea is that of Erlang's supervisors, with the child as its own supervisor:
    /// `one_for_one`. A parent that is itself restarted, and spawns its children anew, is
    /// `one_for_all`.
    ///
    /// ```
    /// use selvedge::{Builder, Restart};
    /// use std::time::Duration;
    ///
    /// let mut attempts = 0;
    /// let policy = Restart::up_to(3).backoff(Duration::from_millis(1), Duration::from_millis(10));
    /// let client = Builder::new("client").restart(policy).spawn_fallible(move |_please_stop| {
    ///     attempts += 1;
    ///     if attempts < 3 { Err("connection refused") } else { Ok(attempts) }
    /// })?;
    /// let thread = client.thread().clone();
    /// assert_eq!(client.join().unwrap(), 3);
    /// assert_eq!(thread.restarts(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// What can be called only once cannot be restarted:
    /// ```compile_fail,E0507
    /// # use selvedge::{Builder, Restart};
    /// let text = String::from("gone after the first run");
    /// let _ = Builder::new("once").restart(Restart::up_to(1)).spawn(move |_| drop(text));
    /// ```
    pub fn restart(self, policy: Restart) -> Restarting {
        Restarting { builder: self, policy }
    }
}

impl Restarting {
    /// Starts the thread.
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    pub fn spawn<T, F>(self, mut f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnMut(&Signal) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.start(move |node| Ok(f(&node.please_stop)))
    }

    /// Starts the thread; an `Err` of its function is a [`Failure`].
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    pub fn spawn_fallible<T, E, F>(self, mut f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnMut(&Signal) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        self.start(move |node| f(&node.please_stop).map_err(|error| Failure::error(node, boxed(error))))
    }

    fn start<T, F>(self, mut f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnMut(&Node) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let policy = self.policy;
        self.builder.start(move |_| {
            let node = current();
            let outcome = run_all(&node, policy, &mut f);
            // Its captured values are the user's; a panic in their drop must not replace the
            // earlier failure.
            let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(f))) else { return outcome };
            let late = Failure::panic(&node, payload);
            let before = outcome.map(|value| ignore_panic(|| drop(value))).err();
            Err(late.with_children(before.into_iter().collect()))
        })
    }
}

/// Run after run, until one is well or the policy allows no more.
fn run_all<T>(
    node: &Arc<Node>,
    policy: Restart,
    f: &mut impl FnMut(&Node) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut history = History { policy, restarts: VecDeque::new() };
    let context = mdc::inherit();
    loop {
        let failure = match run(node, f) {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        let restarts = node.restarts.load(Ordering::Relaxed);
        let again = if node.please_stop.is_go() { None } else { history.failed(Instant::now()) };
        let Some(delay) = again else { return Err(failure) };
        let count = history.restarts.len();
        ignore_panic(|| {
            let text = format!(
                "{} has failed; restart {count} of at most {} within {:.1?} comes in {delay:.1?}: {failure}",
                node.path, policy.intensity, policy.period,
            );
            tell(Level::Warn, module_path!(), &text);
        });
        if node.please_stop.wait_for_go_timeout(delay) {
            return Err(failure);
        }
        node.restarts.store(restarts + 1, Ordering::Relaxed);
        mdc::reset(&context);
    }
}

/// One run, with the end of its children. They are stopped after a good one too: a failure of
/// theirs is one of the run.
fn run<T>(node: &Arc<Node>, f: &mut impl FnMut(&Node) -> Result<T, Failure>) -> Result<T, Failure> {
    // AssertUnwindSafe: that the function is called again is what was asked for.
    let (own, value) = match catch_unwind(AssertUnwindSafe(|| f(node))) {
        Ok(Ok(value)) => (None, Some(value)),
        Ok(Err(failure)) => (Some(failure), None),
        Err(payload) => (Some(Failure::panic(node, payload)), None),
    };
    end_those_left(node);
    let survivors = stop::end_run(node, own.is_some());
    let own = own.map(|own| own.with_survivors(survivors));
    match (Failure::merge(node, own, node.take_failures()), value) {
        (None, Some(value)) => Ok(value),
        (Some(failure), value) => {
            // Its drop is the user's code.
            ignore_panic(|| drop(value));
            Err(failure)
        }
        (None, None) => unreachable!("a run that has no value has failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a person would say it: no memory, all failures looked at again.
    fn expected(policy: Restart, failures: &[Duration]) -> Vec<Option<Duration>> {
        let mut restarts: Vec<Duration> = Vec::new();
        let judge = |at: &Duration| {
            let recent = restarts.iter().filter(|restart| *at - **restart < policy.period).count();
            (recent < policy.intensity as usize).then(|| {
                restarts.push(*at);
                let doubled = (0..recent).fold(policy.first, |delay, _| delay.saturating_mul(2));
                if policy.first.is_zero() { Duration::ZERO } else { doubled.min(policy.greatest) }
            })
        };
        failures.iter().map(judge).collect()
    }

    #[test]
    fn any_failures_are_judged_as_the_policy_says() {
        let mut random = crate::random::Random(1);
        let mut random = move |below: u64| random.below(below);
        let begin = Instant::now();
        let (mut refused, mut restarted) = (0, 0);
        for _ in 0..2000 {
            let policy = Restart::up_to(random(6) as u32)
                .within(Duration::from_millis(random(200)))
                .backoff(Duration::from_millis(random(10)), Duration::from_millis(random(100)));
            let mut at = Duration::ZERO;
            let mut failures = Vec::new();
            for _ in 0..random(80) {
                at += Duration::from_millis(random(60));
                failures.push(at);
            }
            let mut history = History { policy, restarts: VecDeque::new() };
            let judged: Vec<_> = failures.iter().map(|at| history.failed(begin + *at)).collect();
            assert_eq!(judged, expected(policy, &failures), "{policy:?} {failures:?}");
            refused += judged.iter().filter(|delay| delay.is_none()).count();
            restarted += judged.iter().flatten().count();
        }
        assert!(refused > 1000 && restarted > 1000, "{refused} {restarted}");
    }

    #[test]
    fn many_restarts_wait_no_longer_than_the_greatest() {
        let policy = Restart::up_to(100).backoff(Duration::from_secs(1), Duration::MAX);
        let mut history = History { policy, restarts: VecDeque::new() };
        let now = Instant::now();
        let delays: Vec<_> = (0..101).map(|_| history.failed(now)).collect();
        assert_eq!(delays[31], Some(Duration::from_secs(1 << 31)));
        assert_eq!((delays[32], delays[99], delays[100]), (Some(Duration::MAX), Some(Duration::MAX), None));
    }
}
