//! Where the tree begins: `main`, the `main` that comes next, former roots; and the node of a
//! thread that the tree meets for the first time. Also brings the timer's threads into the tree.

use super::bodies::count_body;
use super::current::{CurrentThreadGuard, is_current, known, set_current, start_until_leaving};
use super::panic;
use super::policy::{Role, SpawnSettings};
use super::registration::Registration;
use super::stop_clock;
use super::tree::{Node, sanitize};
use crate::model::locks::Mutex;
use crate::os::fork::{self, PerProcess};
use crate::signal::{Signal, TimerMember, TimerTree, set_timer_tree};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A forked child has its own.
static ROOTS: PerProcess<Mutex<Roots>> = PerProcess::new(Mutex::new(Roots::new()), || Mutex::new(Roots::new()));

/// The roots of the process. Its lock is taken before that of a node.
struct Roots {
    /// `main`, unless it has ended.
    current: Option<Arc<Node>>,
    /// The `main` after it. Made when an unregistered thread spawns while `current` ends; takes its
    /// place afterwards.
    next: Option<Arc<Node>>,
    /// What the process's main thread was until a runtime started on another thread, if it has
    /// children.
    former: Vec<Arc<Node>>,
}

impl Roots {
    const fn new() -> Roots {
        Roots { current: None, next: None, former: Vec::new() }
    }

    /// The current root, and a root that has ended. Its drop may run the user's code: not with the
    /// lock held.
    fn current(&mut self) -> (Arc<Node>, Option<Arc<Node>>) {
        match &self.current {
            Some(node) if !node.stopped.is_go() => (node.clone(), None),
            _ => {
                let node = self.next.take().unwrap_or_else(new_root);
                let ended = self.current.replace(node.clone());
                (node, ended)
            }
        }
    }
}

fn new_root() -> Arc<Node> {
    serve_timer();
    let before = inherited();
    before.map_or_else(|| Node::new("main", "main", None, SpawnSettings::of(Role::Root)), |before| forked_root(&before))
}

/// `main`. After one has ended (a runtime was shut down) the next call makes a new one.
pub(crate) fn root() -> Arc<Node> {
    if inherited().is_some() {
        return in_child();
    }
    let (node, _ended) = ROOTS.lock().current();
    node
}

/// The root for a new child of a thread that is not in the tree. While `main` ends this is the next
/// `main`: `main` waits for its children, and unregistered threads may spawn faster than it can
/// join.
fn open_root() -> Arc<Node> {
    let (_ended, node) = {
        let mut roots = ROOTS.lock();
        let (current, ended) = roots.current();
        let node = if current.is_ending() { roots.next.get_or_insert_with(new_root).clone() } else { current };
        (ended, node)
    };
    node
}

/// All nodes without a parent: `main` first, then nodes that have children without being `main`.
pub(crate) fn roots() -> Vec<Arc<Node>> {
    let (_ended, nodes) = {
        let mut roots = ROOTS.lock();
        let (current, ended) = roots.current();
        (ended, std::iter::once(&current).chain(&roots.former).chain(&roots.next).cloned().collect())
    };
    nodes
}

/// The threads that unregistered threads have spawned while `main` ended, and that live: it does
/// not wait for them. A thread that is lent is not among them, since no `main` waits for it. What
/// it has spawned is.
pub(crate) fn left_to_next_main() -> Vec<Arc<Node>> {
    let next = ROOTS.lock().next.clone();
    let children = next.map_or_else(Vec::new, |next| next.children());
    let left = |child: Arc<Node>| if child.settings.is_lent { child.children() } else { vec![child] };
    children.into_iter().flat_map(left).collect()
}

/// Makes the calling thread `main` until the guard drops. The process's main thread may be `main`
/// already, because it has used the crate before. It is `other/main` from then on, and its children
/// stay below it as a former root.
pub(crate) fn become_main() -> (Arc<Node>, CurrentThreadGuard) {
    loop {
        let node = root();
        let is_mine = is_current(&node);
        if is_mine || node.started.get().is_none() {
            let guard = CurrentThreadGuard::enter(&node);
            if start_until_leaving(&node) || is_mine {
                return (node, guard);
            }
        }
        retire(&node);
    }
}

/// What the calling thread was in the parent process, if this is a forked child and the thread does
/// not know it yet. It is the thread that forked: the others have begun in the child.
fn inherited() -> Option<Arc<Node>> {
    if fork::generation() == 0 {
        return None;
    }
    known().filter(|node| node.is_inherited())
}

/// The root of a forked child, which the calling thread is from now on.
#[cold]
fn in_child() -> Arc<Node> {
    let (node, _ended) = ROOTS.lock().current();
    crate::wait::become_thread_for_good(node.path.clone(), node.waits.clone());
    start_until_leaving(&node);
    drop(set_current(Some(node.clone())));
    node
}

/// `node`, or the root that a forked child has in its place.
fn in_this_process(node: &Arc<Node>) -> Arc<Node> {
    let root = node.is_inherited().then(root);
    root.filter(|root| root.id == node.id).unwrap_or_else(|| node.clone())
}

/// `main`, if there is one and it has not ended.
pub(super) fn living_root() -> Option<Arc<Node>> {
    ROOTS.lock().current.as_ref().filter(|node| !node.stopped.is_go()).cloned()
}

/// `node` is not `main` any more, since another thread is.
fn retire(node: &Arc<Node>) {
    node.waits.retire();
    let mut roots = ROOTS.lock();
    if roots.current.as_ref().is_some_and(|current| current.id == node.id) {
        // The caller has it: this is not its last handle.
        roots.current = None;
        roots.former.push(node.clone());
    }
}

/// The former roots, for a `main` at its end, which ends their children too.
pub(crate) fn take_former_roots() -> Vec<Arc<Node>> {
    std::mem::take(&mut ROOTS.lock().former)
}

/// The calling thread's node.
pub(crate) fn current() -> Arc<Node> {
    match known() {
        Some(node) if node.is_inherited() => in_child(),
        // A root that has ended: the main thread after a shutdown, before the next start. A retired
        // root: the main thread after a runtime was started on another thread.
        Some(node) if node.settings.role != Role::Root || !(node.stopped.is_go() || node.waits.is_retired()) => node,
        _ => identify(),
    }
}

/// The node of a thread that the tree has not met: the process's main thread, or a thread that this
/// crate has not spawned.
fn identify() -> Arc<Node> {
    let node = main_thread().unwrap_or_else(unregistered);
    drop(set_current(Some(node.clone())));
    node
}

/// `main`, if the calling thread is the process's main thread and no other thread is `main`.
fn main_thread() -> Option<Arc<Node>> {
    // The name first: it costs no system call. Another thread may have that name, but the main
    // thread has no other, except in a forked child: its main thread is the thread that forked.
    let may_be_main = std::thread::current().name() == Some("main") || fork::generation() > 0;
    let is_main = may_be_main && crate::os::is_main_thread();
    let node = is_main.then(root)?;
    if !start_until_leaving(&node) {
        return None;
    }
    // For as long as the process lives, or until a runtime starts on another thread.
    crate::wait::become_thread_for_good(node.path.clone(), node.waits.clone());
    Some(node)
}

/// Makes the node `other/<name>` for the calling thread, which the tree has not met.
fn unregistered() -> Arc<Node> {
    // The thread may have been in the tree before, by a guard that is gone.
    crate::wait::leave_tree();
    let this = std::thread::current();
    let name = this.name().map_or_else(|| format!("{:?}", this.id()), str::to_owned);
    let name = sanitize(&name);
    let path = format!("other/{name}");
    let node = Node::new(&name, &path, None, SpawnSettings::of(Role::Unregistered));
    start_until_leaving(&node);
    node
}

/// The node under which the calling thread's children belong.
pub(crate) fn default_parent() -> Arc<Node> {
    let node = current();
    // A thread's last calls come from targets of its `stopped`, when it takes no children any more.
    if node.settings.role == Role::Unregistered || node.is_closed() { open_root() } else { node }
}

/// The same for a child of that role. The program's code runs on the runtime's own threads too, as
/// a target of a signal does: what it spawns there is `main`'s, not theirs.
fn default_parent_of(role: Role) -> Arc<Node> {
    let parent = default_parent();
    if role == Role::User && parent.settings.role == Role::Runtime { open_root() } else { parent }
}

/// A new child of `parent`, or of the calling thread.
///
/// # Errors
/// `parent` takes no children any more. Without a named parent there is always one to be had.
pub(super) fn new_child(
    parent: Option<&Arc<Node>>,
    name: &str,
    settings: SpawnSettings,
) -> io::Result<(Arc<Node>, String)> {
    let child = child_of(parent, name, settings)?;
    // Relaxed: the OS thread that reads it is made later, or is this one.
    child.0.spawner.store(known().map_or(0, |me| me.id), Ordering::Relaxed);
    Ok(child)
}

fn child_of(parent: Option<&Arc<Node>>, name: &str, settings: SpawnSettings) -> io::Result<(Arc<Node>, String)> {
    match parent {
        Some(parent) if parent.settings.role != Role::Unregistered => {
            Node::child(&in_this_process(parent), name, settings)
        }
        _ => loop {
            let open = if parent.is_some() { open_root() } else { default_parent_of(settings.role) };
            // An error: it has ended since, and the next attempt finds another one.
            if let Ok(child) = Node::child(&open, name, settings.clone()) {
                return Ok(child);
            }
        },
    }
}

/// The root of a forked child, whose one thread was `before` in the parent process. It has the same
/// number, path and `please_stop`, so that the handles which the thread's functions have stay
/// valid.
fn forked_root(before: &Node) -> Arc<Node> {
    if before.settings.role == Role::Unregistered {
        return Node::new("main", "main", None, SpawnSettings::of(Role::Root));
    }
    let mut node = Node::new(before.name(), &before.path, None, SpawnSettings::of(Role::Root));
    if let Some(new) = Arc::get_mut(&mut node) {
        new.id = before.id;
        new.please_stop = before.please_stop.clone();
    }
    node
}

/// Lets the threads of the timer, which `signal` starts, join the tree.
fn serve_timer() {
    let join = |name: &str, on_stop: fn()| {
        let root = living_root()?;
        panic::install_hook();
        let (node, _) = Node::child(&in_this_process(&root), name, SpawnSettings::of(Role::Runtime)).ok()?;
        let registration = Registration::begin(node);
        let please_stop = registration.node().please_stop.clone();
        please_stop.on_go_first(on_stop);
        // It is one of ours: what it may wake, the search for deadlocks sees.
        let guard = Box::new((registration, count_body()));
        Some(TimerMember { tree: root.id, is_asked: Box::new(move || please_stop.is_go()), guard })
    };
    let living = || living_root().map(|root| root.id);
    set_timer_tree(TimerTree { living, join, look_again: stop_clock::look_by });
}

impl Node {
    /// Returns `true` if it has neither stopped nor stayed behind in a parent process.
    pub(crate) fn is_alive(&self) -> bool {
        // Of the threads of the parent process the one that forked lives on, as the root.
        !self.stopped.is_go() && (!self.is_inherited() || root().id == self.id)
    }

    /// Goes when it and all threads below it have ended.
    pub(crate) fn stopped(&self) -> &Signal {
        if self.is_inherited() && !self.is_alive() {
            // In this process it is not there, so no thread may wait for its end.
            self.stopped.go();
        }
        self.stopped.get(&self.path, "stopped")
    }
}
