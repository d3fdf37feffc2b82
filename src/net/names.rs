//! What the ends of a socket are called in dumps and profiles. Asks the socket; waits for nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{self as unix, UnixListener, UnixStream};
use std::sync::Arc;

use crate::model::locks::Mutex;
use crate::os::fork::{self, PerProcess};

/// The name of the other end, and of this end for a listener.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// In a dump.
    pub(super) name: Arc<str>,
    /// In a profile, where each name makes frames of its own: without the port of the peer.
    pub(super) lasting: Arc<str>,
}

/// Peers that have a name of their own in a profile. A public service has more of them than a
/// profile can hold.
const MOST_PEERS: usize = 64;
static PEERS: PerProcess<Peers> = PerProcess::new(Mutex::new(BTreeSet::new()), Peers::default);
type Peers = Mutex<BTreeSet<IpAddr>>;

pub(super) trait Named {
    fn names(&self) -> Names;
}

impl Names {
    pub(super) fn one(name: impl Into<Arc<str>>) -> Names {
        let name = name.into();
        Names { name: name.clone(), lasting: name }
    }

    pub(super) fn of_peer(peer: SocketAddr) -> Names {
        let ip = peer.ip();
        let is_known = {
            fork::watch();
            let mut peers = PEERS.lock();
            peers.contains(&ip) || (peers.len() < MOST_PEERS && peers.insert(ip))
        };
        let lasting = if is_known { Arc::from(ip.to_string()) } else { Arc::from("further peers") };
        Names { name: Arc::from(peer.to_string()), lasting }
    }
}

impl Named for TcpListener {
    fn names(&self) -> Names {
        Names::one(self.local_addr().map_or_else(|_| "a TCP listener".to_owned(), |address| address.to_string()))
    }
}

impl Named for UnixListener {
    fn names(&self) -> Names {
        Names::one(self.local_addr().ok().and_then(|address| path(&address)).unwrap_or("a Unix listener".into()))
    }
}

impl Named for TcpStream {
    fn names(&self) -> Names {
        self.peer_addr().map_or_else(|_| Names::one("a TCP stream"), Names::of_peer)
    }
}

impl Named for UnixStream {
    /// One end has a path, as a rule: that of the listener.
    fn names(&self) -> Names {
        let of = |address: std::io::Result<unix::SocketAddr>| address.ok().and_then(|address| path(&address));
        Names::one(of(self.peer_addr()).or_else(|| of(self.local_addr())).unwrap_or("a Unix stream".into()))
    }
}

impl<S: Named> Named for &S {
    fn names(&self) -> Names {
        (**self).names()
    }
}

fn path(address: &unix::SocketAddr) -> Option<String> {
    address.as_pathname().map(|path| path.display().to_string())
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_a_limited_number_of_peers() {
        let names: BTreeSet<_> = (0..1000)
            .map(|n| Names::of_peer(([10, 0, (n / 250) as u8, (n % 250) as u8], 4000 + n).into()))
            .collect::<Vec<_>>()
            .iter()
            .map(|names| names.lasting.clone())
            .collect();
        assert!(names.len() <= MOST_PEERS + 1 && names.contains("further peers"), "{names:?}");
        let again = Names::of_peer(([10, 0, 0, 0], 7).into());
        assert!(&*again.name == "10.0.0.0:7" && matches!(&*again.lasting, "10.0.0.0" | "further peers"));
    }
}
