//! Actors: a thread that owns a state, and a queue through which other threads talk to it. Built of
//! `signal`, `queue` and `thread`; the protocol of its end is in the table at `spawn_actor`.

use crate::model::locks::Mutex;
use crate::queue::{AddError, PopError, Queue};
use crate::signal::{OnGoScoped, Signal};
use crate::thread::{Thread, spawn};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;

/// Starts a child of the calling thread that owns `state` and handles one message after the other.
/// There is no lock, since no other thread can reach the state.
///
/// How it ends, and what happens to the messages that were sent and not handled yet:
///
/// | what happens | the messages in its queue | a message that is sent later |
/// |---|---|---|
/// | its parent, or [`Thread::stop`], asks it to stop | are handled first | comes back in the error |
/// | the last handle is dropped, or [`close`](ActorHandle::close) is called | are handled first | comes back in the error |
/// | [`ActorHandle::stop`] | are dropped, once the current message is handled | comes back in the error |
/// | `handle` panics | are dropped | comes back in the error |
///
/// Messages that are dropped are counted ([`left_in_queues`](crate::left_in_queues)) and logged,
/// and each question among them fails with [`AskError::Ended`]. `handle` gets the thread's
/// `please_stop`: once it has gone, a handler can shorten its work. A panic is the thread's
/// [`Failure`](crate::Failure), which goes to the parent.
///
/// The idea is Hewitt's (1973) and Erlang's; its `ask` is `gen_server:call`. Peers are Akka's typed
/// actors and actix.
///
/// # Panics
/// If the system gives no thread, as [`spawn`](crate::spawn()) does.
///
/// # Example
/// ```
/// use selvedge::{Reply, spawn_actor};
/// use std::collections::BTreeMap;
///
/// enum Stock {
///     Delivered(&'static str, u32),
///     Take(&'static str, u32, Reply<bool>),
/// }
///
/// let stock = spawn_actor("stock", BTreeMap::new(), |shelves, message, _please_stop| match message {
///     Stock::Delivered(what, count) => *shelves.entry(what).or_insert(0) += count,
///     Stock::Take(what, count, reply) => {
///         let there = shelves.entry(what).or_insert(0);
///         let enough = *there >= count;
///         if enough {
///             *there -= count;
///         }
///         reply.send(enough);
///     }
/// });
/// stock.send(Stock::Delivered("thread", 10)).unwrap();
/// assert!(stock.ask(|reply| Stock::Take("thread", 7, reply)).unwrap());
/// assert!(!stock.ask(|reply| Stock::Take("thread", 7, reply)).unwrap());
/// stock.stop();
/// stock.thread().stopped().wait_for_go();
/// assert!(stock.ask(|reply| Stock::Take("thread", 1, reply)).unwrap_err().is_ended());
/// ```
#[must_use = "an actor whose last handle is dropped handles what was sent, and ends"]
#[track_caller]
pub fn spawn_actor<S, M, F>(name: impl AsRef<str>, state: S, handle: F) -> ActorHandle<M>
where
    S: Send + 'static,
    M: Send + 'static,
    F: FnMut(&mut S, M, &Signal) + Send + 'static,
{
    let messages = Queue::unbounded(format!("messages of {}", name.as_ref()));
    let drop_rest = Signal::new(format!("{} drops the rest", name.as_ref()));
    let end = Arc::<End>::default();
    let inbox = Inbox { messages: messages.clone(), end: end.clone() };
    let (mut state, mut handle, no_more) = (state, handle, drop_rest.clone());
    let thread = spawn(name, move |please_stop| {
        // In here, so that it is dropped with the body, also by a panic.
        let inbox = inbox;
        inbox.end.thread.get_or_init(|| std::thread::current().id());
        while let Some(message) = inbox.next(please_stop, &no_more) {
            handle(&mut state, message, please_stop);
        }
    });
    let thread = thread.thread().clone();
    // On the thread that asks: the actor may need long for its current message.
    let closed = messages.clone();
    let closes = thread.please_stop().on_go_first_scoped(move || {
        closed.close();
    });
    ActorHandle(Arc::new(Sender { messages, drop_rest, end, thread, _closes: closes }))
}

/// A handle to talk to an actor. Clones are handles to the same actor. When the last handle is
/// dropped, the actor handles what was sent and ends.
pub struct ActorHandle<M>(Arc<Sender<M>>);

struct Sender<M> {
    messages: Queue<M>,
    /// Goes when the messages in the queue are to be dropped.
    drop_rest: Signal,
    end: Arc<End>,
    thread: Thread,
    /// At the thread's `please_stop`: closes the queue.
    _closes: OnGoScoped,
}

/// How far the actor is from its end, as the replies see it.
#[derive(Default)]
struct End {
    /// | value | means                               | set by                  |
    /// |-------|-------------------------------------|-------------------------|
    /// | false | the actor may handle more messages  |                         |
    /// | true  | it handles none any more            | the drop of [`Inbox`]   |
    ///
    /// Relaxed: it guards nothing. Questions that the drop of `Inbox` drops are dropped on the same
    /// thread. A [`Reply`] that another thread drops at that moment may find either value.
    is_over: AtomicBool,
    /// The actor's thread, from its first instructions on.
    thread: OnceLock<ThreadId>,
    /// `undecided` has something in it. Relaxed: only the actor's thread reads and writes it.
    has_undecided: AtomicBool,
    /// Questions whose replies a panic has dropped on the actor's thread. The panic ends the actor,
    /// unless the handler catches it.
    undecided: Mutex<Vec<(Arc<OnceLock<AskError>>, Signal)>>,
}

/// Where the answer to one question goes. If it is dropped without an answer, the question fails.
#[must_use = "a reply that is dropped fails the question"]
pub struct Reply<R>(Arc<Answer<R>>);

/// The asking thread's end of a question. Its drop gives up.
struct Question<R>(Arc<Answer<R>>);

struct Answer<R> {
    state: Mutex<State<R>>,
    end: Arc<End>,
    /// Goes when there is an answer, or when there will be none.
    settled: Signal,
}

/// The state of a question. It changes under the lock, so the asking thread and the reply agree on
/// whether the answer has arrived.
///
/// | value     | means                                                   | set by                         |
/// |-----------|---------------------------------------------------------|--------------------------------|
/// | Open      | there is no answer yet                                  | `ask_within`                   |
/// | Answered  | there is an answer, which the asking thread has to take | [`Reply::send`], if Open       |
/// | Failed    | there will be none                                      | the drop of `Reply`, if Open   |
/// | Undecided | the same; why is known once `settled` has gone          | the drop of `Reply`, if Open   |
/// | Gone      | the asking thread has its result or gave up             | [`Question`], always           |
enum State<R> {
    Open,
    Answered(R),
    Failed(AskError),
    Undecided(Arc<OnceLock<AskError>>),
    Gone,
}

/// Why there is no answer.
///
/// ```
/// use selvedge::{AskError, Reply, spawn_actor};
///
/// let deaf = spawn_actor("deaf", (), |_state, question: Reply<u32>, _please_stop| drop(question));
/// assert_eq!(deaf.ask(|reply| reply), Err(AskError::Unanswered));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AskError {
    /// The actor has ended without an answer: it has not handled the question, has ended by a panic
    /// while it handled it, or has kept the [`Reply`] to its end.
    Ended,
    /// The [`Reply`] was dropped without an answer, and the actor goes on: its handler has dropped
    /// the reply, has caught the panic that dropped it, or has given it to a thread that dropped it.
    Unanswered,
    /// The signal that was given as `till` has gone; [`Reply::send`] returns `false` for an answer
    /// that comes later.
    Stopped,
    /// The time of a `_timeout` form has passed; [`Reply::send`] returns `false` for an answer that
    /// comes later.
    TimedOut,
}

impl<M> ActorHandle<M> {
    /// Sends a message. Does not block.
    ///
    /// # Errors
    /// [`AddError::Closed`] with the message: the actor has ended, or it was asked to stop and only
    /// handles what was sent before.
    pub fn send(&self, message: M) -> Result<(), AddError<M>> {
        self.0.messages.add(message)
    }

    /// Sends the message that `question` makes with the reply, and waits for the answer.
    ///
    /// # Blocking
    /// Until the question is answered, its [`Reply`] is dropped, or the actor ends. A thread with a
    /// `please_stop` wants [`ask_till`](Self::ask_till). An actor that asks itself waits forever.
    ///
    /// # Errors
    /// [`AskError::Ended`] or [`AskError::Unanswered`].
    pub fn ask<R>(&self, question: impl FnOnce(Reply<R>) -> M) -> Result<R, AskError> {
        self.ask_within(question, Signal::wait_for_go, AskError::Unanswered)
    }

    /// [`ask`](Self::ask), but gives up when `till` goes. An answer that is there then is returned.
    /// If `till` has gone before the call, the question is not sent.
    ///
    /// # Blocking
    /// As [`ask`](Self::ask), or until `till` goes.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ask_till<R>(&self, till: &Signal, question: impl FnOnce(Reply<R>) -> M) -> Result<R, AskError> {
        if till.is_go() {
            return Err(AskError::Stopped);
        }
        self.ask_within(question, |settled| _ = settled.wait_for_go_till(till), AskError::Stopped)
    }

    /// [`ask`](Self::ask), but gives up when `timeout` has passed. An answer that is there then is
    /// returned.
    ///
    /// # Blocking
    /// As [`ask`](Self::ask), or until `timeout` has passed.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn ask_timeout<R>(&self, timeout: Duration, question: impl FnOnce(Reply<R>) -> M) -> Result<R, AskError> {
        self.ask_within(question, |settled| _ = settled.wait_for_go_timeout(timeout), AskError::TimedOut)
    }

    /// Asks the actor to stop after its current message. Messages that were sent and not handled
    /// are dropped, counted and logged; [`close`](Self::close) has them handled. Returns at once;
    /// wait for `thread().stopped()` to see it end.
    #[track_caller]
    pub fn stop(&self) {
        self.0.drop_rest.go_unexplained();
        // The thread first: once the queue is closed and empty, it would otherwise end as if it had
        // not been stopped.
        self.0.thread.stop();
        self.0.messages.close();
    }

    /// Closes the queue: the actor handles what was sent, and ends. Returns at once; wait for
    /// `thread().stopped()` to see it end. Dropping the last handle does the same.
    ///
    /// ```
    /// # use selvedge::spawn_actor;
    /// let diary = spawn_actor("diary", Vec::new(), |lines, line: &str, _please_stop| lines.push(line));
    /// diary.send("rain").unwrap();
    /// diary.close(); // "rain" is written down.
    /// assert_eq!(diary.send("sun").unwrap_err().into_inner(), "sun");
    /// ```
    pub fn close(&self) {
        self.0.messages.close();
    }

    /// Its thread.
    pub fn thread(&self) -> &Thread {
        &self.0.thread
    }

    /// `otherwise`: the error if `wait` returns before there is an answer.
    fn ask_within<R>(
        &self,
        question: impl FnOnce(Reply<R>) -> M,
        wait: impl FnOnce(&Signal),
        otherwise: AskError,
    ) -> Result<R, AskError> {
        let settled = Signal::new(format!("answer of {}", self.0.thread.path()));
        let answer = Arc::new(Answer { state: Mutex::new(State::Open), end: self.0.end.clone(), settled });
        let asked = Question(answer.clone());
        match self.send(question(Reply(answer))) {
            Ok(()) => {
                wait(&asked.0.settled);
                asked.finish(otherwise)
            }
            // The reply is in the message, or was used before the message was sent.
            Err(_unsent) => asked.finish(AskError::Ended),
        }
    }
}

impl<R> Question<R> {
    /// What the question has got; `otherwise` if that is nothing yet. An answer that comes later is
    /// refused.
    fn finish(self, otherwise: AskError) -> Result<R, AskError> {
        #[cfg(all(test, not(selvedge_model)))]
        crate::model::meanwhile::happens();
        let state = std::mem::replace(&mut *self.0.state.lock(), State::Gone);
        match state {
            State::Answered(answer) => Ok(answer),
            State::Failed(why) => Err(why),
            State::Undecided(why) => Err(why.get().copied().unwrap_or(otherwise)),
            State::Open | State::Gone => Err(otherwise),
        }
    }
}

impl<R> Drop for Question<R> {
    fn drop(&mut self) {
        // Dropped with no lock held: an answer is the user's.
        let _unread = std::mem::replace(&mut *self.0.state.lock(), State::Gone);
    }
}

impl End {
    /// The questions whose replies a panic has dropped fail because of `why`.
    fn decide(&self, why: AskError) {
        if self.has_undecided.swap(false, Ordering::Relaxed) {
            let undecided = std::mem::take(&mut *self.undecided.lock());
            for (place, settled) in undecided {
                place.get_or_init(|| why);
                settled.go_unexplained();
            }
        }
    }

    /// Returns `true` on the actor's thread while it panics.
    fn may_be_near(&self) -> bool {
        std::thread::panicking() && self.thread.get().is_some_and(|actor| *actor == std::thread::current().id())
    }
}

impl<M> Drop for Sender<M> {
    fn drop(&mut self) {
        self.messages.close();
    }
}

impl<M> Clone for ActorHandle<M> {
    fn clone(&self) -> ActorHandle<M> {
        ActorHandle(self.0.clone())
    }
}

impl<M> fmt::Debug for ActorHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorHandle({:?}, {} messages)", self.0.thread, self.0.messages.len())
    }
}

/// The actor's end of the queue. Its drop closes and empties the queue, so the asking threads learn
/// that there will be no answer.
struct Inbox<M> {
    messages: Queue<M>,
    end: Arc<End>,
}

impl<M> Inbox<M> {
    /// The next message to handle. `None` once the queue is closed and empty, or `drop_rest` has
    /// gone.
    fn next(&self, please_stop: &Signal, drop_rest: &Signal) -> Option<M> {
        // The handler has returned: it has caught its panics.
        self.end.decide(AskError::Unanswered);
        match self.messages.pop_till(please_stop) {
            Ok(message) => return Some(message),
            Err(PopError::Closed) => return None,
            Err(PopError::Stopped) => {}
        }
        if drop_rest.is_go() {
            return None;
        }
        // `please_stop` has gone, and its target closes the queue now. From then on each message
        // comes back to its sender. What was taken before is finite, and is handled.
        self.messages.close();
        self.messages.try_pop()
    }
}

impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        self.end.is_over.store(true, Ordering::Relaxed);
        self.end.decide(AskError::Ended);
        self.messages.close();
        let left = self.messages.pop_all();
        let how = format_args!("was left by {}, which has ended, with", crate::wait::my_path());
        self.messages.lose(left.len(), how, "ActorHandle::close has them handled");
    }
}

impl<R> Reply<R> {
    /// Answers. Returns `true` if the asking thread gets the answer. Returns `false` if that thread
    /// has given up; the answer is then dropped.
    pub fn send(self, answer: R) -> bool {
        let mut state = self.0.state.lock();
        let is_awaited = matches!(*state, State::Open);
        if is_awaited {
            *state = State::Answered(answer);
        }
        is_awaited
    }
}

impl<R> Drop for Reply<R> {
    fn drop(&mut self) {
        let answer = &*self.0;
        let mut state = answer.state.lock();
        if matches!(*state, State::Open) {
            if answer.end.is_over.load(Ordering::Relaxed) {
                *state = State::Failed(AskError::Ended);
            } else if answer.end.may_be_near() {
                let why = Arc::new(OnceLock::new());
                *state = State::Undecided(why.clone());
                drop(state);
                answer.end.undecided.lock().push((why, answer.settled.clone()));
                answer.end.has_undecided.store(true, Ordering::Relaxed);
                return;
            } else {
                *state = State::Failed(AskError::Unanswered);
            }
        }
        drop(state);
        answer.settled.go_unexplained();
    }
}

impl<R> fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({})", self.0.settled.name())
    }
}

impl AskError {
    /// The actor has ended.
    pub fn is_ended(&self) -> bool {
        matches!(self, AskError::Ended)
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AskError::Ended => "the actor has ended",
            AskError::Unanswered => "the question was dropped without an answer",
            AskError::Stopped => "stopped while waiting for the actor's answer",
            AskError::TimedOut => "timed out while waiting for the actor's answer",
        })
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        matches!(self, AskError::Stopped).then_some(crate::error::STOPPED)
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;
    use crate::model::meanwhile;
    use std::sync::mpsc;

    #[test]
    fn an_answer_in_the_last_moment_arrives() {
        let (go_on, (tell, told)) = (Signal::new("go on"), mpsc::channel());
        let gate = go_on.clone();
        let slow = spawn_actor("slow", (), move |(), reply: Reply<u32>, _please_stop| {
            gate.wait_for_go();
            tell.send(reply.send(7)).unwrap();
        });
        // Its time has passed, and it has not given up yet.
        let answers = move || {
            go_on.go();
            assert!(told.recv_timeout(Duration::from_secs(100)).unwrap(), "the asking thread gets it");
        };
        meanwhile::plan([Box::new(answers)]);
        assert_eq!(slow.ask_timeout(Duration::from_millis(1), |reply| reply), Ok(7));
    }
}
