//! The thread that waits for all connections at once, and its end. It makes no answer itself: the
//! workers do.

use super::connection::{Connection, Step};
use super::events::{self, Events};
use super::listener::{Listener, Place};
use super::program::Program;
use super::response::Response;
use super::worker::{self, Answer, Done, Job};
use crate::error::{Error, Kind};
use crate::log::keep_tail;
use crate::model::locks::Mutex;
use crate::os::poll::{Interest, Waker, until_any};
use crate::signal::Signal;
use crate::thread::tree::Node;
use crate::thread::{Builder, Thread};
use crate::wait::{self, Ender, WaitDescription};
use crossbeam_channel::{Sender, bounded};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many connections there are at most. A further one takes the place of another one; see
/// `least_needed`.
const MOST_CONNECTIONS: usize = 64;
/// Of these, how many get events.
const MOST_EVENTS: usize = 16;
/// One may record, one may find names for stacks, one is free.
const WORKERS: usize = 3;
/// Between two events.
const EVERY: Duration = Duration::from_secs(1);
/// The pause after an accept that failed and would fail again at once: no descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens, and starts the threads that answer. They end with the runtime's own threads, after all
/// threads of the user. `patience`: how long a thread may take to stop. Nothing is started if there is no
/// place for the Unix socket; a warning has said so.
///
/// # Errors
/// The place cannot be had, or no thread.
pub(crate) fn start(main: &Arc<Node>, name: &str, place: &Place, patience: Duration) -> Result<(), Error> {
    let refused = |error: io::Error| Error::new(Kind::Io, "no thread for the inspection").because(error);
    let Some((listener, access)) = Listener::bind(place, name)? else { return Ok(()) };
    let waker = Arc::new(Waker::new().map_err(refused)?);
    let (jobs, work) = bounded(MOST_CONNECTIONS + 2);
    let stop = Signal::new("the inspection ends");
    let program = Arc::new(Program::new(name, main, &listener.shown, access, &stop, patience));
    let events = Arc::new(Events::default());
    let (shown, remark) = (listener.shown.clone(), listener.remark.clone());
    let done = Arc::new(worker::Results { finished: Mutex::new(Vec::new()), waker: waker.clone() });
    let server = Server {
        listener,
        waker: waker.clone(),
        jobs,
        done: done.clone(),
        connections: BTreeMap::new(),
        next: 0,
        paused: None,
        ticking: false,
        next_tick: None,
    };
    let builder = Builder::new("inspect").parent(&Thread::from_node(main.clone())).runtime();
    let handle = builder
        .spawn(move |please_stop| {
            let wakes = waker.clone();
            let ends = stop.clone();
            please_stop.on_go_first(move || {
                ends.go_unexplained();
                wakes.wake();
            });
            server.run(please_stop);
        })
        .map_err(refused)?;
    for number in 1..=WORKERS {
        let (program, events) = (program.clone(), events.clone());
        let (work, done) = (work.clone(), done.clone());
        let builder = Builder::new(format!("worker-{number}")).parent(handle.thread()).runtime();
        builder.spawn(move |_| worker::run(&program, &events, &work, &done)).map(drop).map_err(refused)?;
    }
    keep_tail(true);
    if let Some(remark) = remark {
        log::warn!("inspect: {remark}; so it listens elsewhere");
    }
    log::info!("inspect: tools can connect to {shown}");
    Ok(())
}

struct Server {
    listener: Listener,
    waker: Arc<Waker>,
    /// The workers end when it is dropped.
    jobs: Sender<Job>,
    done: Arc<worker::Results>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    /// No connection is accepted before.
    paused: Option<Instant>,
    /// A worker makes the next event.
    ticking: bool,
    /// When the next event is made; `None` without a client that gets it.
    next_tick: Option<Instant>,
}

/// What a place in the list of descriptors stands for.
#[derive(Clone, Copy)]
enum Source {
    Waker,
    Listener,
    Connection(u64),
}

impl Server {
    fn run(mut self, please_stop: &Signal) {
        let name: Arc<str> = self.listener.shown.as_str().into();
        while !please_stop.is_go() {
            let ready = self.wait(&name);
            for source in ready {
                match source {
                    Source::Waker => self.take_results(),
                    Source::Listener => self.accept(),
                    Source::Connection(id) => self.advance(id),
                }
            }
            self.pass_time();
        }
        self.end();
    }

    /// Blocks until something is to be done.
    fn wait(&mut self, name: &Arc<str>) -> Vec<Source> {
        let limit = self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut sources = vec![Source::Waker];
        let mut entries: Vec<(BorrowedFd<'_>, Interest)> = vec![(self.waker.as_fd(), Interest::Read)];
        if self.paused.is_none() {
            sources.push(Source::Listener);
            entries.push((self.listener.as_fd(), Interest::Read));
        }
        for (id, connection) in &self.connections {
            if let Some(interest) = connection.interest() {
                sources.push(Source::Connection(*id));
                entries.push((connection.fd(), interest));
            }
        }
        let _published = WaitDescription::new("connection on", name.clone()).limited(true).publish();
        wait::begin_sleep();
        let ready = until_any(&entries, limit);
        wait::ended_by(|| Ender::OUTSIDE);
        match ready {
            Ok(ready) => sources.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(source, _)| source).collect(),
            // Without memory for it; the loop must not take a whole processor.
            Err(_) => {
                std::thread::sleep(PAUSE);
                Vec::new()
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let tick = self.next_tick.filter(|_| !self.ticking);
        self.connections.values().filter_map(Connection::deadline).chain(self.paused).chain(tick).min()
    }

    fn accept(&mut self) {
        // The others come at the next round.
        for _ in 0..MOST_CONNECTIONS {
            match self.listener.accept() {
                Ok(stream) => {
                    self.make_room();
                    self.connections.insert(self.next, Connection::new(stream));
                    self.next += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one(&error) => {}
                Err(_) => {
                    self.paused = Some(Instant::now() + PAUSE);
                    return;
                }
            }
        }
    }

    /// Ends a connection if all are taken.
    fn make_room(&mut self) {
        if self.connections.len() < MOST_CONNECTIONS {
            return;
        }
        let Some(id) = least_needed(&self.connections) else { return };
        if let Some(mut connection) = self.connections.remove(&id) {
            let text = format!("there are more than {MOST_CONNECTIONS} connections; try again");
            connection.answer(Response::text(503, text).with("Retry-After", "1"), true);
        }
    }

    fn advance(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Step::Request(request, cancel) = connection.advance() {
            // There is room for a job of each connection. A connection that has gone may leave its job.
            if self.jobs.try_send(Job::Request { connection: id, request, cancel }).is_err() {
                let text = "too many requests wait for their answers; try again";
                connection.answer(Response::text(503, text).with("Retry-After", "1"), true);
            }
        }
        self.forget(id);
    }

    fn take_results(&mut self) {
        self.waker.clear();
        let finished = std::mem::take(&mut *self.done.finished.lock());
        for done in finished {
            match done {
                Done::Head { connection: id, head } => {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.begin(&head);
                    }
                }
                Done::Request { connection: id, answer } => self.send(id, answer),
                Done::Tick { fresh, snapshot, change } => {
                    self.ticking = false;
                    for (id, connection) in &mut self.connections {
                        match connection.has_snapshot() {
                            true => connection.event(&change),
                            false if fresh.contains(id) => connection.event(&snapshot),
                            false => {}
                        }
                    }
                }
            }
        }
    }

    fn send(&mut self, id: u64, answer: Answer) {
        let events = self.connections.values().filter(|connection| connection.has_events()).count();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match answer {
            Answer::Bytes(bytes) => connection.send_whole(bytes),
            Answer::Rest(body) => connection.send_rest(body),
            Answer::Events(_) if events >= MOST_EVENTS => {
                let text = format!("{MOST_EVENTS} clients get events already");
                connection.answer(Response::text(503, text).with("Retry-After", "5"), true);
            }
            Answer::Events(head) => {
                connection.begin_events(head);
                // Its first event comes at once.
                self.next_tick = Some(Instant::now());
            }
        }
        self.forget(id);
    }

    /// What is due by the clock.
    fn pass_time(&mut self) {
        let now = Instant::now();
        self.paused = self.paused.filter(|paused| *paused > now);
        for connection in self.connections.values_mut() {
            if connection.deadline().is_some_and(|deadline| deadline <= now) {
                connection.expire();
            }
        }
        self.connections.retain(|_, connection| !connection.is_over());
        let clients = || self.connections.iter().filter(|(_, connection)| connection.has_events());
        if clients().next().is_none() {
            if self.next_tick.take().is_some() {
                // The workers forget what the events were made from.
                let _ = self.jobs.try_send(Job::Rest);
            }
            return;
        }
        if !self.ticking && self.next_tick.is_none_or(|tick| tick <= now) {
            let fresh = clients().filter(|(_, connection)| !connection.has_snapshot()).map(|(id, _)| *id).collect();
            self.ticking = self.jobs.try_send(Job::Tick { fresh }).is_ok();
            self.next_tick = Some(now + EVERY);
        }
    }

    fn forget(&mut self, id: u64) {
        if self.connections.get(&id).is_some_and(Connection::is_over) {
            self.connections.remove(&id);
        }
    }

    /// Tells the clients that nothing more comes.
    fn end(mut self) {
        keep_tail(false);
        self.take_results();
        for connection in self.connections.values_mut() {
            match connection.has_events() {
                true => connection.event(events::LAST),
                false if connection.is_waiting() => connection.answer(worker::gone(), true),
                false => {}
            }
        }
    }
}

/// The connection that makes room for a new one.
///
/// 1. The client has its whole answer.
/// 2. The request is not whole.
/// 3. The request waits for its answer, of which nothing was sent. The newest one goes, since an
///    older one may be a recording. Clients without the token can send many requests, and must not
///    end it.
/// 4. The answer is being sent.
/// 5. Any. Workers and events are too few to take all connections, so there is one before.
fn least_needed(connections: &BTreeMap<u64, Connection>) -> Option<u64> {
    // Of these, the connection that has stood still for the longest time.
    let stillest = |is: fn(&Connection) -> bool| {
        let such = connections.iter().filter(|(_, connection)| is(connection));
        such.min_by_key(|(_, connection)| connection.since()).map(|(id, _)| *id)
    };
    let newest = || connections.iter().rev().find(|(_, connection)| connection.is_unanswered()).map(|(id, _)| *id);
    stillest(Connection::is_served)
        .or_else(|| stillest(Connection::is_idle))
        .or_else(newest)
        .or_else(|| stillest(Connection::is_writing))
        .or_else(|| connections.keys().next().copied())
}

/// The error is one connection's, and not the listener's.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::super::connection::tests::working;
    use super::super::listener::Stream;
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn recordings_and_events_are_needed_most() {
        let (mut connections, mut clients) = (BTreeMap::new(), Vec::new());
        let mut add = |id: u64, begin: fn(&mut Connection)| {
            let (mut connection, client, _cancel) = working();
            begin(&mut connection);
            clients.push(client);
            connections.insert(id, connection);
        };
        add(0, |recording| recording.begin(b"HTTP/1.1 200 OK\r\n"));
        add(1, |events| events.begin_events(b"HTTP/1.1 200 OK\r\n".to_vec()));
        // More than the socket takes.
        add(2, |writing| writing.send_whole(vec![b'x'; 16 << 20]));
        add(3, |_| {});
        add(4, |_| {});
        add(6, |answered| answered.send_whole(b"whole".to_vec()));
        add(7, |answered| answered.send_whole(b"whole".to_vec()));
        let (client, idle) = UnixStream::pair().unwrap();
        clients.push(client);
        connections.insert(5, Connection::new(Stream::Unix(idle)));
        let mut given_up = Vec::new();
        while let Some(id) = least_needed(&connections) {
            connections.remove(&id);
            given_up.push(id);
        }
        assert_eq!(given_up, [6, 7, 5, 4, 3, 2, 0, 1]);
    }
}
