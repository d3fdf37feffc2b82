//! Starting threads, and the body that every thread of the tree runs in: identity, function, end of
//! the children, outcome.

use super::bodies::count_body;
use super::current::become_node;
use super::failure::Failure;
use super::handle::Thread;
use super::join::JoinHandle;
use super::kept_error::boxed;
use super::policy::{OnChildFailure, Role, SpawnSettings, StopOrder};
use super::register::{Registered, register_below};
use super::registration::end_those_left;
use super::result_slot::Slot;
use super::roots::new_child;
use super::tree::Node;
use super::{forked, mdc, panic, panic_flags, stop};
use crate::signal::{Signal, resume_timer};
use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Starts a thread below the calling one. It gets its `please_stop` and is expected to look at it
/// in a timely manner; when its parent ends, it is asked to stop and joined.
///
/// A panic in it is a [`Failure`], for the thread that joins it, or else for its parent.
///
/// It works at any time: also in the destructors of thread-locals, and on a thread that is not in
/// the tree while a runtime ends. The parent is then the `main` that comes next, and that end does
/// not wait for the new thread.
///
/// # Panics
/// If the OS gives no thread, as `std::thread::spawn` does; [`Builder::spawn`] returns that as an
/// error.
///
/// ```
/// use selvedge::{Queue, spawn};
///
/// let words: Queue<&str> = Queue::bounded("words", 10);
/// let from = words.popper();
/// let counter = spawn("counter", move |please_stop| {
///     let mut count = 0;
///     while from.pop_draining(please_stop).is_some() {
///         count += 1;
///     }
///     count
/// });
/// words.extend(["warp", "weft"]).unwrap();
/// words.close();
/// assert_eq!(counter.join().unwrap(), 2);
/// ```
#[track_caller]
pub fn spawn<T, F>(name: impl AsRef<str>, f: F) -> JoinHandle<T>
where
    F: FnOnce(&Signal) -> T + Send + 'static,
    T: Send + 'static,
{
    match start(name.as_ref(), None, None, SpawnSettings::here(), move |node| Ok(f(&node.please_stop))) {
        Ok(handle) => handle,
        Err(error) => panic!("no thread: {error}"),
    }
}

/// [`spawn`] for a function that can fail: an `Err` is a [`Failure`], just as a panic is. An error
/// that says that the thread was asked to stop is none, if it was; see [`Stopped`](crate::Stopped).
///
/// ```
/// use selvedge::spawn_fallible;
///
/// let port = spawn_fallible("config", |_please_stop| "8080x".parse::<u16>());
/// let failure = port.join().unwrap_err();
/// assert!(failure.is_error() && failure.message().contains("invalid digit"));
/// ```
///
/// # Panics
/// As [`spawn`].
#[track_caller]
pub fn spawn_fallible<T, E, F>(name: impl AsRef<str>, f: F) -> JoinHandle<T>
where
    F: FnOnce(&Signal) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    let f = move |node: &Node| f(&node.please_stop).map_err(|error| Failure::error(node, boxed(error)));
    match start(name.as_ref(), None, None, SpawnSettings::here(), f) {
        Ok(handle) => handle,
        Err(error) => panic!("no thread: {error}"),
    }
}

/// Starts threads with other than the usual settings.
///
/// ```
/// use selvedge::{Builder, OnChildFailure, StopOrder};
///
/// let service = Builder::new("service")
///     .stack_size(256 * 1024)
///     .stop_order(StopOrder::OneByOne)
///     .on_child_failure(OnChildFailure::StopSiblings)
///     .spawn(|please_stop| please_stop.wait_for_go())?;
/// service.stop();
/// service.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is started before spawn"]
pub struct Builder {
    name: String,
    stack_size: Option<usize>,
    parent: Option<Thread>,
    settings: SpawnSettings,
}

impl Builder {
    /// A thread with this name. In it, `/` and control characters become `_`; it may be as long as
    /// you like, and need not be the only one of this name.
    #[track_caller]
    pub fn new(name: impl AsRef<str>) -> Builder {
        Builder { name: name.as_ref().to_owned(), stack_size: None, parent: None, settings: SpawnSettings::here() }
    }

    /// Bytes of stack; the OS rounds up. The default is that of `std::thread`.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Another parent than the calling thread.
    pub fn parent(mut self, parent: &Thread) -> Builder {
        self.parent = Some(parent.clone());
        self.settings.is_placed = true;
        self
    }

    /// How this thread stops its children when it ends.
    pub fn stop_order(mut self, order: StopOrder) -> Builder {
        self.settings.stop_order = order;
        self
    }

    /// What this thread does when a child of its fails.
    pub fn on_child_failure(mut self, policy: OnChildFailure) -> Builder {
        self.settings.on_child_failure = policy;
        self
    }

    /// How long this thread may take from being asked to stop until it and its children have ended,
    /// before it is reported, instead of the runtime's [`patience`](crate::Config::patience):
    /// longer for a thread that must flush much, shorter for a thread that should be quick. Reports
    /// come again with growing distance; no report kills a thread.
    pub fn patience(mut self, patience: Duration) -> Builder {
        self.settings.patience = Some(patience);
        self
    }

    /// One of the runtime's own threads.
    pub(crate) fn runtime(mut self) -> Builder {
        self.settings.role = Role::Runtime;
        self
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// The OS gives no thread. Or the parent that was named has ended, or is ending and was given
    /// 1,000 children meanwhile by threads that are not below it.
    pub fn spawn<T, F>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce(&Signal) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.start(move |node| Ok(f(&node.please_stop)))
    }

    /// Starts the thread; an `Err` of its function is a [`Failure`].
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn spawn_fallible<T, E, F>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce(&Signal) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        self.start(move |node| f(&node.please_stop).map_err(|error| Failure::error(node, boxed(error))))
    }

    /// Brings the calling thread, which another library spawned, into the tree, as
    /// [`register`](crate::register) does; below the thread that was named as the
    /// [`parent`](Self::parent). For the start hooks of pools and runtimes, which run on each of
    /// their threads; the [recipes](crate::guide::recipes) show how rayon's and tokio's threads
    /// belong to the tree. A stack size has no effect.
    ///
    /// # Errors
    /// The parent that was named has ended, or takes no more children, as in
    /// [`spawn`](Self::spawn).
    ///
    /// ```
    /// use selvedge::{Builder, spawn};
    ///
    /// let pool = spawn("pool", |please_stop| please_stop.wait_for_go());
    /// let owner = pool.thread().clone();
    /// std::thread::spawn(move || {
    ///     let registered = Builder::new("worker-0").parent(&owner).register().unwrap();
    ///     assert!(registered.thread().path().ends_with("/pool/worker-0"));
    /// })
    /// .join()
    /// .unwrap();
    /// pool.stop();
    /// pool.join().unwrap();
    /// ```
    pub fn register(self) -> io::Result<Registered> {
        register_below(self.parent.as_ref(), &self.name, self.settings)
    }

    pub(super) fn start<T, F>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce(&Node) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        start(&self.name, self.stack_size, self.parent.as_ref(), self.settings, f)
    }
}

fn start<T, F>(
    name: &str,
    stack_size: Option<usize>,
    parent: Option<&Thread>,
    settings: SpawnSettings,
    f: F,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce(&Node) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    let context = mdc::inherit();
    let (node, path) = new_child(parent.map(Thread::node), name, settings)?;
    let slot = Slot::<T>::default();
    let body = {
        let (node, slot) = (node.clone(), slot.clone());
        move || {
            mdc::adopt(context);
            body(node, f, slot);
        }
    };
    let mut builder = std::thread::Builder::new().name(path);
    if let Some(bytes) = stack_size {
        builder = builder.stack_size(bytes);
    }
    let started = node.unless_started();
    match builder.spawn(body) {
        Ok(os) => {
            started();
            resume_timer();
            node.keep_os_handle(os);
            Ok(JoinHandle::new(node, slot))
        }
        Err(error) => {
            let message = format!("the system gives no thread for {}: {error}", node.path);
            Err(io::Error::new(error.kind(), message))
        }
    }
}

/// What every thread of the tree runs.
pub(super) fn body<T, F>(node: Arc<Node>, f: F, slot: Slot<T>)
where
    F: FnOnce(&Node) -> Result<T, Failure>,
{
    panic::install_hook();
    let may_borrow = node.settings.is_placed && node.settings.role == Role::User;
    let _counted = (!may_borrow).then(count_body);
    let guard = become_node(&node);
    crate::os::set_thread_name(node.name());
    // AssertUnwindSafe: what the closure shares with others is theirs to judge; they learn of the
    // panic by the Failure.
    let result =
        catch_unwind(AssertUnwindSafe(|| f(&node))).unwrap_or_else(|payload| Err(Failure::panic(&node, payload)));
    let own = match result {
        // It was stopped, and that is no failure.
        Err(failure) if !failure.is_stopped() => Some(failure),
        result => {
            *slot.lock() = Some(result);
            None
        }
    };
    if node.is_inherited() {
        forked::end_process(own);
    }
    end_those_left(&node);
    let survivors = stop::stop_children(&node, own.as_ref());
    let own = own.map(|own| own.with_survivors(survivors));
    let failure = Failure::merge(&node, own, node.take_failures());
    // If the handle is gone the value is dropped here. Its drop is the user's code: not with the
    // slot's lock held.
    let unwanted = if failure.is_some() { slot.lock().take() } else { None };
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        drop(unwanted);
        drop(slot);
    }));
    let failure = match dropped {
        Ok(()) => failure,
        Err(payload) => {
            let late = Failure::panic(&node, payload);
            Some(late.with_children(failure.into_iter().collect()))
        }
    };
    node.finish(failure);
    drop(guard);
    // It may be the last that has the node. With it go targets of its signals, and a panic of their
    // captures is caught: past the body, the hook would take it for the end of the process.
    drop(node);
    panic_flags::past_body();
}
