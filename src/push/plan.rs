//! Where profiles go, and how often. Plain data; the configuration has checked it.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) struct Plan {
    /// The name of the program for the server.
    pub(crate) service: String,
    /// A name or an address in numbers, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// In front of the server's own paths: empty, or begins with a slash.
    pub(crate) path: String,
    pub(crate) every: Duration,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) format: Format,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) tenant: Option<String>,
}

/// The protocol of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Pyroscope,
    #[cfg(feature = "otlp")]
    Otlp,
}

impl Plan {
    /// As in the header `Host`.
    pub(super) fn authority(&self) -> String {
        let Plan { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// As the log shows it.
    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.authority(), self.path)
    }
}
