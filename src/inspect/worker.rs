//! The threads that make the answers. A fault in an answer is that answer's: the client is told,
//! and the thread goes on.

use super::client::{Client, Reply};
use super::events::{self, Events};
use super::program::Program;
use super::request::{Method, Request};
use super::response::{self, Response};
use super::{record, router};
use crate::error::{drop_payload, panic_message};
use crate::model::locks::Mutex;
use crate::os::poll::Waker;
use crate::signal::Signal;
use crate::wait::{self, Ender, WaitDescription};
use crossbeam_channel::Receiver;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(super) enum Job {
    Request {
        connection: u64,
        request: Box<Request>,
        /// Goes if the client has ended its side.
        cancel: Signal,
    },
    /// Make the next event; `fresh` clients have had none.
    Tick { fresh: Vec<u64> },
    /// No client gets events any more.
    Rest,
}

pub(super) enum Done {
    /// The head of an answer whose body comes later.
    Head {
        connection: u64,
        head: Vec<u8>,
    },
    Request {
        connection: u64,
        answer: Answer,
    },
    Tick {
        fresh: Vec<u64>,
        snapshot: Vec<u8>,
        change: Vec<u8>,
    },
}

pub(super) enum Answer {
    Bytes(Vec<u8>),
    /// The body of an answer whose head is sent, as chunks.
    Rest(Vec<u8>),
    /// The head of an answer that has events for its body.
    Events(Vec<u8>),
}

/// Where the workers leave what they have made.
pub(super) struct Results {
    pub(super) finished: Mutex<Vec<Done>>,
    pub(super) waker: Arc<Waker>,
}

/// Works until the server has ended.
pub(super) fn run(program: &Program, events: &Events, jobs: &Receiver<Job>, results: &Results) {
    let name: Arc<str> = "inspect".into();
    loop {
        let next = {
            let _published = WaitDescription::new("request for", name.clone()).limited(true).publish();
            wait::begin_sleep();
            let next = jobs.recv();
            wait::ended_by(|| Ender::OUTSIDE);
            next
        };
        let done = match next {
            // The server tells the clients that the program ends.
            Ok(_) if program.stop.is_go() => return,
            Ok(Job::Request { connection, request, cancel }) => {
                let early = |response: Response| {
                    results.give(Done::Head { connection, head: response.into_chunked_head() });
                };
                let client = Client { cancel, early: request.takes_chunks.then_some(&early) };
                Done::Request { connection, answer: answer(program, &request, &client) }
            }
            Ok(Job::Tick { fresh }) => {
                let made = catch_unwind(AssertUnwindSafe(|| events.tick(program, !fresh.is_empty())));
                let (snapshot, change) = made.unwrap_or_else(|payload| {
                    drop_payload(payload);
                    Default::default()
                });
                Done::Tick { fresh, snapshot, change }
            }
            Ok(Job::Rest) => {
                events.rest();
                continue;
            }
            Err(_) => return,
        };
        results.give(done);
    }
}

impl Results {
    fn give(&self, done: Done) {
        self.finished.lock().push(done);
        self.waker.wake();
    }
}

fn answer(program: &Program, request: &Request, client: &Client<'_>) -> Answer {
    // The end of the program does not wait for an answer. The search for names takes the longest.
    let make = || record::names_until(&program.stop, || router::reply(program, request, client));
    // AssertUnwindSafe: what the answers share is behind locks, and each change of it is whole.
    let reply = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|payload| {
        let text = format!("a fault in selvedge, which is to be reported: {}", panic_message(&*payload));
        drop_payload(payload);
        Reply::Whole(Response::text(500, text))
    });
    match reply {
        // Names may be missing in it.
        _ if program.stop.is_go() => Answer::Bytes(gone().into_bytes(request.method != Method::Head)),
        Reply::Whole(response) => Answer::Bytes(response.into_bytes(request.method != Method::Head)),
        Reply::Rest(body) => Answer::Rest(response::chunks(&body)),
        Reply::Events(response) if request.method == Method::Head => Answer::Bytes(response.into_bytes(false)),
        Reply::Events(response) => {
            let mut head = response.into_open_head();
            head.extend_from_slice(events::FIRST);
            Answer::Events(head)
        }
    }
}

/// What a client gets whose answer was not made before the end of the program.
pub(super) fn gone() -> Response {
    Response::text(503, "the program ends, and the answer was not made before")
}
