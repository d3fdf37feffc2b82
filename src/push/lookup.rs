//! The addresses of the server. A look-up of a name may take as long as the system likes, so it
//! runs on a thread that is not waited for; at most one at a time.

use crate::os::task;
use crate::signal::Signal;
use crate::thread::bodies;
use crate::wait::{self, Ender, WaitDescription};
use crossbeam_channel::{Receiver, bounded, select};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

type Answer = io::Result<Vec<SocketAddr>>;

pub(super) struct Lookup {
    host: Arc<str>,
    port: u16,
    /// Empty: not looked up, or no longer good.
    known: Vec<SocketAddr>,
    /// The look-up that runs.
    running: Option<Receiver<Answer>>,
}

impl Lookup {
    pub(super) fn new(host: &str, port: u16) -> Lookup {
        let known = host.parse::<IpAddr>().map(|ip| SocketAddr::from((ip, port)));
        Lookup { host: host.into(), port, known: known.into_iter().collect(), running: None }
    }

    /// The addresses, looked up if need be.
    ///
    /// # Errors
    /// The name has none; or `till` has gone before the system has answered.
    pub(super) fn addresses(&mut self, till: &Signal) -> Answer {
        if self.known.is_empty() {
            self.known = self.look_up(till)?;
        }
        Ok(self.known.clone())
    }

    /// None of the addresses could be connected to. The name is looked up again.
    pub(super) fn forget(&mut self) {
        if self.host.parse::<IpAddr>().is_err() {
            self.known.clear();
        }
    }

    fn look_up(&mut self, till: &Signal) -> Answer {
        let running = match self.running.take() {
            Some(running) => running,
            None => start(self.host.clone(), self.port)?,
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
fn start(host: Arc<str>, port: u16) -> io::Result<Receiver<Answer>> {
    let (answer, running) = bounded(1);
    let body = move || {
        let _counted = bodies::count_body();
        let _hidden = task::hide();
        let found = (&*host, port).to_socket_addrs().map(Iterator::collect);
        let _ = answer.send(found);
    };
    std::thread::Builder::new().name("main/selvedge/push-lookup".to_owned()).spawn(body)?;
    Ok(running)
}
