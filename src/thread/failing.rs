//! Makes a failure of the way in which a thread's function ended: a panic, an error, a stop,
//! failures of children.

use super::current;
use super::failure::{Cause, Failure, Failures, Payload};
use super::failure_context::FailureContext;
use super::kept_error;
use super::policy::Role;
use super::seen::{self, Seen, Unwinding};
use super::tree::Node;
use crate::error::{Stopped, is_text_of_stop, panic_message};
use crate::model::locks::Mutex;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Of a thread deeper in the tree than this, the nearest spawn sites are shown.
const MOST_SITES: usize = 32;

impl Failure {
    /// On the thread that has panicked, after the catch.
    pub(crate) fn panic(node: &Node, payload: Payload) -> Failure {
        // A failure that was raised as a panic stays what it is.
        let payload = match payload.downcast::<Failure>() {
            Ok(failure) => return Failure::adopt(node, *failure),
            Err(payload) => payload,
        };
        let message = panic_message(&*payload);
        let seen = seen::take(&*payload, &message);
        let mut failure = Failure::of(node, Cause::Panic(Mutex::new(Some(payload))), message);
        match seen {
            Some(seen) => failure.take_from(seen),
            // It did not pass through the hook.
            None => failure.0.failure_context = FailureContext::of_now(),
        }
        failure.0.failure_context.of_thread(node);
        failure
    }

    /// On a registered thread, of which `panic` unwinds the guard. `None` if a guard within has made
    /// a failure of the same panic.
    pub(super) fn unwinding(node: &Node, panic: Unwinding, children: &Failures) -> Option<Failure> {
        let mut failure = match panic {
            Unwinding::Told => return None,
            Unwinding::Unseen if children.kept.iter().any(Failure::is_of_guard) => return None,
            Unwinding::Unseen => {
                let message = "a panic that was raised again, whose text is not known here".to_owned();
                Failure::of(node, Cause::Panic(Mutex::new(None)), message)
            }
            Unwinding::New(seen) => {
                let mut failure = Failure::of(node, Cause::Panic(Mutex::new(None)), seen.text.clone());
                failure.take_from(seen);
                failure
            }
        };
        failure.0.is_of_guard = true;
        failure.0.failure_context.of_thread(node);
        Some(failure)
    }

    /// On the thread that panics, which is at `path`, before that aborts the process. Called by the
    /// panic hook.
    pub(super) fn of_abort(path: &Arc<str>, seen: Seen) -> Failure {
        let mut failure = Failure::new(path, Cause::Panic(Mutex::new(None)), seen.text.clone());
        failure.take_from(seen);
        if let Some(node) = current::known().filter(|node| node.settings.role != Role::Unregistered) {
            failure.0.failure_context.of_thread(&node);
        }
        failure
    }

    fn take_from(&mut self, seen: Seen) {
        self.0.logged = seen.logged;
        self.0.location = seen.location;
        self.0.backtrace = Some(seen.backtrace);
        self.0.failure_context = seen.failure_context;
    }

    /// On the thread that has returned it.
    pub(crate) fn error(node: &Node, error: Box<dyn Error + Send + Sync>) -> Failure {
        let above = kept_error::above::<Failure>(&*error);
        if above.as_ref().is_none_or(|texts| !texts.is_empty()) && node.please_stop.is_go() && is_of_stop(&*error) {
            let message = with_sources(&*error);
            return Failure::of(node, Cause::Stopped(Some(error)), message);
        }
        // A failure that comes back as an error, from join()?, is not told once more as a text: it
        // stays a failure. A context that the program has put above it is this thread's own error.
        match (kept_error::downcast::<Failure>(error), above) {
            (Ok(failure), Some(texts)) if !texts.is_empty() => {
                let own = Failure::of(node, Cause::Error(None), texts.join(": ")).with_failure_context(node);
                own.with_children(vec![failure])
            }
            (Ok(failure), _) => Failure::adopt(node, failure),
            (Err(error), _) => {
                let message = with_sources(&*error);
                Failure::of(node, Cause::Error(Some(error)), message).with_failure_context(node)
            }
        }
    }

    /// For an error of which only the text can be had.
    pub(crate) fn text(node: &Node, message: String) -> Failure {
        if node.please_stop.is_go() && is_text_of_stop(&message) {
            return Failure::of(node, Cause::Stopped(None), message);
        }
        Failure::of(node, Cause::Error(None), message).with_failure_context(node)
    }

    /// `node` was asked to stop, and `error` says so.
    pub(crate) fn stopped(node: &Node, error: &dyn Error) -> Failure {
        Failure::of(node, Cause::Stopped(None), error.to_string())
    }

    fn with_failure_context(mut self, node: &Node) -> Failure {
        self.0.failure_context = FailureContext::of_now();
        self.0.failure_context.of_thread(node);
        self
    }

    /// `failure` of another thread was returned by this one.
    pub(crate) fn adopt(node: &Node, failure: Failure) -> Failure {
        if failure.0.path == node.path {
            return failure;
        }
        if failure.is_stopped() && node.please_stop.is_go() {
            return Failure::of(node, Cause::Stopped(None), failure.to_string());
        }
        Failure::below(node, Failures { kept: vec![failure], omitted: 0 })
    }

    pub(crate) fn reported(path: &Arc<str>, parent: &str) -> Failure {
        Failure::new(path, Cause::Reported, format!("{parent} has been told of it"))
    }

    /// It had not ended, or its failure was still to be told, when the process forked.
    pub(crate) fn in_parent_process(path: &Arc<str>) -> Failure {
        let message = "it is a thread of the parent process; this process is a forked child".to_owned();
        Failure::new(path, Cause::Reported, message)
    }

    fn below(node: &Node, children: Failures) -> Failure {
        let mut failure = Failure::of(node, Cause::Children, String::new());
        failure.set_children(children);
        failure
    }

    fn of(node: &Node, cause: Cause, message: String) -> Failure {
        let mut failure = Failure::new(&node.path, cause, message);
        failure.0.restarts = node.restarts.load(Ordering::Relaxed);
        failure
    }

    /// The thread's own failure and the failures of its children as one; `None` if there is none.
    pub(crate) fn merge(node: &Node, own: Option<Failure>, mut children: Failures) -> Option<Failure> {
        if let Some(own) = &own {
            // A panic that has unwound a guard below, and was raised again up to here.
            children.kept.retain(|child| !child.is_of_guard_and(own));
        }
        match own {
            None if children.is_empty() => None,
            None => Some(Failure::below(node, children)),
            Some(own) => Some(own.with_more(children)),
        }
    }
}

impl FailureContext {
    /// Adds what the tree knows: why the thread was asked to stop, and where it and its parents
    /// were spawned.
    pub(super) fn of_thread(&mut self, node: &Node) {
        self.stop = node.please_stop.reason();
        let mut next = Some(node);
        while let Some(node) = next
            && self.sites.len() < MOST_SITES
        {
            if let (Some(parent), Some(at)) = (&node.parent, node.settings.spawned_at) {
                self.sites.push((parent.path.clone(), at));
            }
            next = node.parent.as_deref();
        }
    }
}

/// Returns `true` if the error, or what caused it, says that the thread was asked to stop.
pub(crate) fn is_of_stop(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        // Whether a failure of another thread was a stop was decided when that thread ended.
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.is_stopped();
        }
        if error.is::<Stopped>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The message of an error and of its sources, each once.
pub(crate) fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("{error:#}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors print their source themselves.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
