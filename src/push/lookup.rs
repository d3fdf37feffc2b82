//! The addresses of the server. They are used for a minute at most, and until a request is not
//! taken. A look-up of a name may take as long as the system likes, so it runs on a thread that is
//! not waited for; at most one at a time.

use crate::os::task;
use crate::signal::Signal;
use crate::thread::bodies;
use crate::wait::{self, Ender, WaitDescription};
use crossbeam_channel::{Receiver, bounded, select};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Known {
    addresses: Vec<SocketAddr>,
    /// `None`: the host was an address already.
    looked_up: Option<Instant>,
}

type Answer = io::Result<Vec<SocketAddr>>;

/// Looks a name up. May block as long as the system likes.
type Resolve = Arc<dyn Fn(&str, u16) -> Answer + Send + Sync>;

/// How long the addresses of a name are used. After that the name may belong to another server.
const VALID: Duration = Duration::from_secs(60);

pub(super) struct Lookup {
    host: Arc<str>,
    port: u16,
    /// `None`: not looked up, or no longer good.
    known: Option<Known>,
    /// The look-up that runs.
    running: Option<Receiver<Answer>>,
    resolve: Resolve,
}

impl Lookup {
    pub(super) fn new(host: &str, port: u16) -> Lookup {
        Lookup::with(host, port, Arc::new(|host, port| (host, port).to_socket_addrs().map(Iterator::collect)))
    }

    /// With this in the place of the system's look-up.
    pub(super) fn with(host: &str, port: u16, resolve: Resolve) -> Lookup {
        let fixed = |ip: IpAddr| Known { addresses: vec![SocketAddr::from((ip, port))], looked_up: None };
        let known = host.parse().ok().map(fixed);
        Lookup { host: host.into(), port, known, running: None, resolve }
    }

    /// The addresses. The name is looked up, unless that was done within the last minute.
    ///
    /// # Errors
    /// The name has none; or `till` has gone before the system has answered.
    pub(super) fn addresses(&mut self, till: &Signal) -> Answer {
        self.addresses_at(Instant::now(), till)
    }

    fn addresses_at(&mut self, now: Instant, till: &Signal) -> Answer {
        let is_valid = |known: &&Known| known.looked_up.is_none_or(|at| now.saturating_duration_since(at) < VALID);
        if let Some(known) = self.known.as_ref().filter(is_valid) {
            return Ok(known.addresses.clone());
        }
        self.known = None;
        let addresses = self.look_up(till)?;
        self.known = Some(Known { addresses: addresses.clone(), looked_up: Some(now) });
        Ok(addresses)
    }

    /// The server did not take a request: the address may belong to another server by now. The next
    /// request looks the name up again.
    pub(super) fn forget(&mut self) {
        self.known = self.known.take().filter(|known| known.looked_up.is_none());
    }

    fn look_up(&mut self, till: &Signal) -> Answer {
        let running = match self.running.take() {
            Some(running) => running,
            None => start(self.host.clone(), self.port, self.resolve.clone())?,
        };
        let answer = {
            let _published = WaitDescription::new("address of", self.host.clone()).limited(true).publish();
            wait::begin_sleep();
            let answer = select! {
                recv(running) -> answer => answer.ok(),
                recv(till.receiver()) -> _ => None,
            };
            wait::ended_by(|| Ender::OUTSIDE);
            answer
        };
        let failed = |why: String| io::Error::other(format!("{}: {why}", self.host));
        match answer {
            Some(Ok(addresses)) if addresses.is_empty() => Err(failed("the name has no address".to_owned())),
            Some(answer) => answer.map_err(|error| failed(format!("the name cannot be looked up: {error}"))),
            None => {
                let why = "the system does not answer the look-up of the name in time".to_owned();
                let error = failed(why);
                self.running = Some(running);
                Err(error)
            }
        }
    }
}

/// Looks the name up on a thread of its own, outside of the tree: the end does not wait for it.
fn start(host: Arc<str>, port: u16, resolve: Resolve) -> io::Result<Receiver<Answer>> {
    let (answer, running) = bounded(1);
    let body = move || {
        let _counted = bodies::count_body();
        let _hidden = task::hide();
        let _ = answer.send(resolve(&host, port));
    };
    std::thread::Builder::new().name("main/selvedge/push-lookup".to_owned()).spawn(body)?;
    Ok(running)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU16, Ordering};

    #[test]
    fn a_name_is_looked_up_again_after_a_while() {
        // Each look-up finds another port, so an answer tells which look-up it came from.
        let count = AtomicU16::new(0);
        let resolve =
            move |_: &str, _| Ok(vec![SocketAddr::from(([127, 0, 0, 1], count.fetch_add(1, Ordering::SeqCst)))]);
        let mut lookup = Lookup::with("pyroscope.svc", 4040, Arc::new(resolve));
        let mut port = |now: Instant| lookup.addresses_at(now, &Signal::never()).unwrap()[0].port();
        let begin = Instant::now();
        assert_eq!(port(begin), 0);
        assert_eq!(port(begin + VALID - Duration::from_nanos(1)), 0);
        assert_eq!(port(begin + VALID), 1);
        assert_eq!(port(begin + VALID), 1);
    }
}
