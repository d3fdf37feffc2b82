//! `Push`: where a program pushes its profiles to, as the program sets it. The limits of the values
//! are in `push_text`.

use super::push_text::PushText;
use super::setters::Config;
#[cfg(feature = "otlp")]
use super::settings::PushFormat;
use std::path::PathBuf;
use std::time::Duration;

/// A server that gets the profile of the running program, interval by interval; for
/// [`Config::push`].
///
/// ```
/// use selvedge::{Config, Push};
/// use std::time::Duration;
///
/// let push = Push::to("http://localhost:4040").every(Duration::from_secs(10)).label("region", "eu-west");
/// let config = Config::new("indexer").push(push);
/// # config.check().unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is for Config::push"]
pub struct Push(PushText);

impl Push {
    /// A Pyroscope server, or an agent that takes its protocol, as Grafana Alloy does:
    /// `http://HOST:PORT`, and a path in front of the server's own, if there is one. `https` is an
    /// error in the configuration: no TLS is built in.
    pub fn to(url: impl Into<String>) -> Push {
        Push(PushText { url: url.into(), ..PushText::default() })
    }

    /// The length of an interval. Default: 15 s; from a second to 30 minutes.
    pub fn every(mut self, every: Duration) -> Push {
        self.0.every = Some(every);
        self
    }

    /// Adds a label to all profiles, at most 24. A label that the server would refuse is an error
    /// in the configuration. The label `service_name` is the [name](Config::name) of the runtime,
    /// unless it is set here.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Push {
        self.0.labels.push((name.into(), value.into()));
        self
    }

    /// The file whose first line is the token, relative to the working directory; `$ENV{NAME}` in
    /// the path is replaced. It is sent as a
    /// bearer token, or with [`user`](Self::user) as a password. The file is read at each push, so
    /// the token can be renewed.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Push {
        self.0.token_file = Some(path.into());
        self
    }

    /// The user of basic authentication, whose password is the first line of
    /// [`token_file`](Self::token_file).
    pub fn user(mut self, user: impl Into<String>) -> Push {
        self.0.user = Some(user.into());
        self
    }

    /// The tenant of a server with several, the header `X-Scope-OrgID`.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Push {
        self.0.tenant = Some(tenant.into());
        self
    }

    /// Sends OpenTelemetry profiles (OTLP by HTTP, `/v1development/profiles`) in place of
    /// Pyroscope's protocol. Labels are the attributes of the resource. That protocol is in
    /// development: a later version of this crate may speak a later version of it.
    #[cfg(feature = "otlp")]
    pub fn otlp(mut self) -> Push {
        self.0.format = PushFormat::Otlp;
        self
    }
}

impl Config {
    /// Pushes the profile of the running program to a server: after each interval what the interval
    /// has added. Default: nowhere.
    ///
    /// It goes before a `push` of the file, as a whole. The profile is recorded as
    /// [`profile_options`](Self::profile_options) says; files are written only if
    /// [`profile_enabled`](Self::profile_enabled) says so. The environment variable `SELVEDGE_PUSH`
    /// goes before this, and before the file: `off` or a URL. What happens when the server does not
    /// take a profile is told in [the guide](crate::guide::live). Unix only.
    ///
    /// Needs the feature `push`.
    #[must_use]
    pub fn push(mut self, push: Push) -> Config {
        self.set.push = Some(Some(push.0));
        self
    }
}
