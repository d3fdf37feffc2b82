//! Profiles of all threads of the tree. The room above `thread`, below `runtime`; `flame` draws what it makes.

mod options;

pub use options::{Clock, Engine, Options};
