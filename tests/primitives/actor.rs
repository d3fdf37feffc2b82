//! Actors: one message after the other, an answer or an error, and an end that every sender hears
//! of.

use crate::support::{DEADLINE, until};
use selvedge::{AskError, Reply, Signal, Till, left_in_queues, spawn, spawn_actor};
use std::sync::mpsc;
use std::time::Duration;

enum Message {
    Add(u64),
    Sum(Reply<u64>),
    Ignore(Reply<u64>),
    Panic(Reply<u64>),
    WaitFor(Signal),
}

fn sum() -> selvedge::ActorHandle<Message> {
    spawn_actor("sum", 0, |sum, message, please_stop| match message {
        Message::Add(number) => *sum += number,
        Message::Sum(reply) => drop(reply.send(*sum)),
        Message::Ignore(reply) => drop(reply),
        Message::Panic(_reply) => panic!("this was one message too many"),
        Message::WaitFor(signal) => drop(signal.wait_for_go_till(please_stop)),
    })
}

#[test]
fn messages_are_handled_in_order() {
    let sum = sum();
    (1..=100).for_each(|number| sum.send(Message::Add(number)).unwrap());
    assert_eq!(sum.ask(Message::Sum), Ok(5050));
    assert_eq!(sum.clone().ask_till(&Signal::never(), Message::Sum), Ok(5050));
    assert_eq!(sum.ask_timeout(DEADLINE, Message::Sum), Ok(5050));
}

#[test]
fn an_unanswered_question_is_an_error() {
    let sum = sum();
    assert_eq!(sum.ask(Message::Ignore), Err(AskError::Unanswered));
    assert_eq!(sum.ask(Message::Sum), Ok(0), "it goes on");
    assert_eq!(sum.ask_till(&Signal::gone(), Message::Sum), Err(AskError::Stopped));
    let blocked = Signal::new("blocked");
    sum.send(Message::WaitFor(blocked.clone())).unwrap();
    assert_eq!(sum.ask_timeout(Duration::from_millis(2), Message::Sum), Err(AskError::TimedOut));
    assert_eq!(sum.ask_till(&Till::after(Duration::from_millis(2)), Message::Sum), Err(AskError::Stopped));
    blocked.go();
    assert_eq!(sum.ask(Message::Sum), Ok(0));
}

#[test]
fn a_question_that_a_draining_actor_drops_is_unanswered() {
    let sum = sum();
    let blocked = Signal::new("blocked");
    sum.send(Message::WaitFor(blocked.clone())).unwrap();
    let asking = spawn("asking", {
        let sum = sum.clone();
        move |_| sum.ask(Message::Ignore)
    });
    until("the question waits", || asking.thread().waiting_for().is_some());
    sum.close();
    blocked.go();
    assert_eq!(asking.join().unwrap(), Err(AskError::Unanswered), "it was handled");
    assert!(sum.thread().stopped().wait_for_go_timeout(DEADLINE));
    assert_eq!(sum.ask(Message::Ignore), Err(AskError::Ended));
}

#[test]
fn a_question_that_an_actor_keeps_until_its_end_has_no_answer() {
    let keeper = spawn_actor("keeper", Vec::new(), |kept, reply: Reply<u32>, _please_stop| kept.push(reply));
    let asking = spawn("asking", {
        let keeper = keeper.clone();
        move |_| keeper.ask(|reply| reply)
    });
    until("the question waits", || asking.thread().waiting_for().is_some());
    keeper.close();
    assert_eq!(asking.join().unwrap(), Err(AskError::Ended));
}

#[test]
fn a_panic_fails_all_pending_and_later_questions() {
    let sum = sum();
    let blocked = Signal::new("blocked");
    sum.send(Message::WaitFor(blocked.clone())).unwrap();
    let asking: Vec<_> = [Message::Panic as fn(Reply<u64>) -> Message, Message::Sum]
        .into_iter()
        .map(|question| {
            let sum = sum.clone();
            let thread = spawn("asking", move |_| sum.ask(question));
            // It waits for the answer: its question is in the queue, in front of the next.
            until("it waits", || thread.thread().waiting_for().is_some());
            thread
        })
        .collect();
    blocked.go();
    for question in asking {
        assert_eq!(question.join().unwrap(), Err(AskError::Ended));
    }
    assert!(sum.thread().stopped().wait_for_go_timeout(DEADLINE));
    assert_eq!(sum.ask(Message::Sum), Err(AskError::Ended));
    assert!(sum.send(Message::Add(1)).is_err_and(|error| error.is_closed()));
}

#[test]
fn a_stop_ends_it_and_returns_later_messages() {
    let sum = sum();
    let blocked = Signal::new("never");
    sum.send(Message::WaitFor(blocked)).unwrap();
    let (tell, asked) = mpsc::channel();
    let asking = std::thread::spawn({
        let sum = sum.clone();
        move || {
            sum.ask(|reply| {
                tell.send(()).unwrap();
                Message::Sum(reply)
            })
        }
    });
    asked.recv_timeout(DEADLINE).unwrap();
    sum.stop();
    assert!(sum.thread().stopped().wait_for_go_timeout(DEADLINE));
    assert_eq!(asking.join().unwrap(), Err(AskError::Ended));
    match sum.send(Message::Add(7)).unwrap_err().into_inner() {
        Message::Add(number) => assert_eq!(number, 7),
        _ => panic!("another message came back"),
    }
}

#[test]
fn without_handles_it_empties_its_queue_and_ends() {
    let (tell, hear) = mpsc::channel();
    let actor = spawn_actor("last will", (), move |(), number: u32, _| tell.send(number).unwrap());
    let stopped = actor.thread().stopped().clone();
    let other = actor.clone();
    (0..100).for_each(|number| actor.send(number).unwrap());
    drop(actor);
    other.send(100).unwrap();
    drop(other);
    assert!(stopped.wait_for_go_timeout(DEADLINE));
    assert_eq!(hear.try_iter().collect::<Vec<_>>(), (0..=100).collect::<Vec<_>>());
}

/// An actor that is at its first message, and lets the test say when it goes on.
fn busy(name: &str) -> (selvedge::ActorHandle<u32>, Signal, mpsc::Receiver<u32>) {
    let (tell, hear) = mpsc::channel();
    let go_on = Signal::new("go on");
    let gate = go_on.clone();
    let actor = spawn_actor(name, (), move |(), number: u32, _please_stop| {
        gate.wait_for_go();
        tell.send(number).unwrap();
    });
    (actor, go_on, hear)
}

fn left_by(actor: &str) -> u64 {
    let name = format!("messages of {actor}");
    left_in_queues().iter().find(|left| left.name() == name).map_or(0, |left| left.values())
}

#[test]
fn a_stop_drops_no_sent_message() {
    let (actor, go_on, hear) = busy("careful");
    (0..100).for_each(|number| actor.send(number).unwrap());
    actor.thread().stop();
    go_on.go();
    assert!(actor.thread().stopped().wait_for_go_timeout(DEADLINE));
    assert_eq!(hear.try_iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert_eq!(actor.send(100).unwrap_err().into_inner(), 100);
    assert_eq!(left_by("careful"), 0);
}

#[test]
fn a_closed_actor_handles_sent_messages_and_ends() {
    let (actor, go_on, hear) = busy("closed");
    (0..100).for_each(|number| actor.send(number).unwrap());
    actor.close();
    assert_eq!(actor.send(100).unwrap_err().into_inner(), 100);
    go_on.go();
    assert!(actor.thread().stopped().wait_for_go_timeout(DEADLINE));
    assert_eq!(hear.try_iter().count(), 100);
    assert!(!actor.thread().please_stop().is_go(), "it was not asked to stop");
}

#[test]
fn what_a_stopped_actor_leaves_is_counted() {
    let (actor, go_on, hear) = busy("hasty");
    (0..100).for_each(|number| actor.send(number).unwrap());
    actor.stop();
    go_on.go();
    assert!(actor.thread().stopped().wait_for_go_timeout(DEADLINE));
    let handled = hear.try_iter().count() as u64;
    assert!(handled <= 1, "{handled} messages were handled after the stop");
    assert_eq!(left_by("hasty"), 100 - handled);
}

#[test]
fn an_answer_that_comes_too_late_is_refused() {
    let (go_on, (tell, told)) = (Signal::new("go on"), mpsc::channel());
    let gate = go_on.clone();
    let late = spawn_actor("late", (), move |(), reply: Reply<u32>, _please_stop| {
        gate.wait_for_go();
        tell.send(reply.send(7)).unwrap();
    });
    assert_eq!(late.ask_timeout(Duration::from_millis(1), |reply| reply), Err(AskError::TimedOut));
    go_on.go();
    assert_eq!(told.recv_timeout(DEADLINE), Ok(false));
    assert_eq!(late.ask(|reply| reply), Ok(7));
    assert_eq!(told.recv_timeout(DEADLINE), Ok(true));
}

#[test]
fn a_panic_that_the_actor_survives_leaves_the_question_unanswered() {
    let careful = spawn_actor("careful", (), |(), (reply, is_helped): (Reply<u32>, bool), _please_stop| {
        let panics = move || {
            let _reply = reply;
            panic!("expected");
        };
        match is_helped {
            true => drop(std::thread::spawn(panics)),
            false => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics))),
        }
    });
    for is_helped in [true, false, false] {
        assert_eq!(careful.ask_timeout(DEADLINE, |reply| (reply, is_helped)), Err(AskError::Unanswered));
    }
    assert!(careful.thread().is_alive());
}

#[test]
fn a_busy_actor_returns_messages_after_a_stop() {
    let (actor, go_on, hear) = busy("stopped while busy");
    (0..2).for_each(|number| actor.send(number).unwrap());
    actor.thread().stop();
    assert_eq!(actor.send(2).unwrap_err().into_inner(), 2);
    go_on.go();
    assert!(actor.thread().stopped().wait_for_go_timeout(DEADLINE));
    assert_eq!(hear.try_iter().collect::<Vec<_>>(), [0, 1]);
}
