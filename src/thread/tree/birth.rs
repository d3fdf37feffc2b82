//! The birth of a node: its name and path, whether its parent still takes it, and whether it is
//! asked to stop at once: because its parent ends, or was asked, or because a sibling has failed.

use super::{Node, Phase, RUNTIME, sanitize};
use crate::signal::Reason;
use crate::thread::policy::{OnChildFailure, Role, SpawnSettings, StopOrder};
use crate::thread::roots::current;
use crate::thread::{stop, stop_clock};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The maximum number of children that an ending thread takes from threads that are not below it.
/// Each is asked to stop and joined, and the end must come even if another thread keeps spawning.
const MOST_LATE_CHILDREN: usize = 1000;

impl Node {
    /// Also gives the path, for the name of an OS thread.
    pub(crate) fn child(parent: &Arc<Node>, name: &str, settings: SpawnSettings) -> io::Result<(Arc<Node>, String)> {
        let mut name = sanitize(name);
        let (is_users, is_below_main) = (settings.role == Role::User, parent.settings.role == Role::Root);
        let place = if is_below_main && settings.role == Role::Runtime { [RUNTIME, "/"] } else { ["", ""] };
        if is_below_main && is_users && name == RUNTIME {
            name += "_";
        }
        // With room for the NUL that the standard library adds.
        let mut path = String::with_capacity(parent.path.len() + RUNTIME.len() + name.len() + 3);
        path.extend([&*parent.path, "/", place[0], place[1], &name]);
        settings.patience.iter().for_each(|patience| stop_clock::note_own_patience(*patience));
        let node = Node::new(&name, &path, Some(parent.clone()), settings);
        // Threads below it may spawn as long as they live: it waits for them anyhow.
        let is_from_below = parent.is_ending() && {
            let me = current();
            me.id == parent.id || me.is_below(parent)
        };
        let stops_siblings = is_users && parent.settings.on_child_failure == OnChildFailure::StopSiblings;
        let (ending, failed) = {
            let mut state = parent.state.lock();
            if state.phase == Phase::Ended {
                let why = if parent.is_inherited() { "is a thread of the parent process" } else { "has ended" };
                let message = format!("{} {why}: it cannot have a child {name}", parent.path);
                return Err(io::Error::other(message));
            }
            if state.phase == Phase::Ending && is_users {
                if !is_from_below {
                    if state.late_children == MOST_LATE_CHILDREN {
                        let message = format!(
                            "{} is ending and was given {MOST_LATE_CHILDREN} children meanwhile; it takes no child \
                             {name} from a thread that is not below it",
                            parent.path
                        );
                        return Err(io::Error::other(message));
                    }
                    state.late_children += 1;
                }
                node.born_late.store(true, Ordering::Relaxed);
            }
            state.children.insert(node.id, node.clone());
            let failed = if stops_siblings { state.failed_child(&parent.path) } else { None };
            (state.ending.as_ref().map(|ending| ending.reason.again()), failed)
        };
        // After the insertion: a stop that came before it has not seen the child. A OneByOne parent
        // asks no child before it ends, and so not the new one either.
        let asked = || parent.settings.stop_order == StopOrder::Together && parent.please_stop.is_go();
        let born_late = || Reason::of("its parent had been asked already", None, parent.please_stop.reason());
        let why =
            ending.or_else(|| asked().then(born_late)).or_else(|| failed.map(|sibling| stop::sibling_failed(&sibling)));
        if let Some(why) = why.filter(|_| is_users) {
            node.please_stop.go_for(&why);
        }
        Ok((node, path))
    }
}
