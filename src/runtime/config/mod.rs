//! The configuration of a runtime: what a program asks for, and the settings that come of it.
//!
//! `setters` and `log` are the public face, `file` reads a YAML file, `set` keeps what either has
//! set, and `resolve` makes the complete `settings` of that, with `choices` (values by name),
//! `environment` (variables that go before) and `checks` and `listen` (limits).

mod checks;
mod choices;
mod environment;
mod file;
#[cfg(feature = "inspect")]
mod inspect;
mod listen;
mod log;
mod resolve;
mod set;
mod setters;
mod settings;
#[cfg(test)]
mod tests;

pub use self::choices::{Ask, OnStuck, OsSignal, ProfileFormat};
pub use self::setters::Config;
#[cfg(unix)]
pub(crate) use self::settings::DumpSettings;
#[cfg(feature = "inspect")]
pub(crate) use self::settings::Listen;
pub(crate) use self::settings::{LogTo, ProfileSettings, Settings, ShutdownSettings};
