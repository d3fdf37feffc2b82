//! The log: strict reading of log4rs files, and the logger that they describe. Names `error`, `thread` and
//! log4rs; inside this crate the facade is `::log`.

mod check;
mod check_rolling;
mod logger;
pub mod logging;
mod paths;
mod pattern;
mod plan;
pub(crate) mod yaml;

pub(crate) use check::load;
pub(crate) use plan::console;

#[cfg(test)]
mod tests;
