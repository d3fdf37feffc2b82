//! The log: strict reading of log4rs files, and the logger that they describe. Names `error` and log4rs; inside this
//! crate the facade is `::log`.

mod check;
mod check_rolling;
pub mod logging;
mod paths;
mod pattern;
mod plan;
pub(crate) mod yaml;

pub(crate) use check::load;
#[allow(unused_imports)] // for run, which is not here yet
pub(crate) use plan::{Plan, console};

#[cfg(test)]
mod tests;
