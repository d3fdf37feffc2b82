//! How much of something a test does.
#![allow(unreachable_pub)] // a module of several test programs

/// `usual`, or `long` where `SELVEDGE_LONG` is set, as by `.ci/run`. The variable `own` in the environment says
/// otherwise for one test.
pub fn amount(own: &str, usual: u64, long: u64) -> u64 {
    let own = std::env::var(own).ok().and_then(|text| text.parse().ok());
    own.unwrap_or_else(|| of(usual, long))
}

/// The same, without a variable of its own.
pub fn of(usual: u64, long: u64) -> u64 {
    if std::env::var_os("SELVEDGE_LONG").is_some() { long } else { usual }
}
