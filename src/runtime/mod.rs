//! Where tree, log and profile are wired together. The top room: nothing but `lib` names it.

mod config;

pub use config::{Config, OnStuck, ProfileFormat};
