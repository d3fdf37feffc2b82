//! The configuration of a runtime: what a program asks for, and the settings that come of it.
//!
//! `setters`, `log`, `inspect` and `push` are the public face, `file` and `read_push` read a YAML
//! file, `set` keeps what either has set, and `resolve` makes the complete `settings` of that, with
//! `choices` (values by name), `environment` (variables that go before), and `checks`, `listen` and
//! `push_text` (limits).

mod checks;
mod choices;
mod environment;
mod file;
#[cfg(feature = "inspect")]
mod inspect;
mod listen;
mod log;
#[cfg(feature = "push")]
mod push;
mod push_text;
mod read_push;
mod resolve;
mod set;
mod setters;
mod settings;
#[cfg(test)]
mod tests;

pub use self::choices::{Ask, OnStuck, OsSignal, ProfileFormat};
#[cfg(feature = "push")]
pub use self::push::Push;
pub use self::setters::Config;
#[cfg(unix)]
pub(crate) use self::settings::DumpSettings;
#[cfg(feature = "inspect")]
pub(crate) use self::settings::Listen;
#[cfg(all(feature = "push", unix))]
pub(crate) use self::settings::PushFormat;
pub(crate) use self::settings::{LogTo, ProfileSettings, Settings, ShutdownSettings};
