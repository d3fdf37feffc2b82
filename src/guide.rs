//! The guide: the pages of `docs/`, for reading from top to bottom.
//!
//! | page | what it answers |
//! |---|---|
//! | [The life of a thread](threads) | What asks a thread to stop? Where does its failure go? In which order does a program end? |
//! | [How to stop without losing anything](stopping) | How does a pipeline end, so that each value is handled? |
//! | [From channels to Queue](from_channels) | How does a program that uses channels today move over? |
//! | [The cube](cube) | Which of the primitives is the right one? What is it called elsewhere? |
//! | [When something is wrong](shutdown) | Why does the program not end? How is a dump read? |
//! | [See it live](live) | How is a running program looked at from outside? What may which client ask? |
//! | [Profiling](profiling) | How is a flamegraph made and read? What can it not see? |
//! | [Logging](logging) | What changes for a user of log4rs? What is lost, and when? |
//! | [Recipes](recipes) | How do a tool, a server, a service, rayon, tokio and tracing go with it? |
//!
//! There is no code here. Each page ends with definitions of its links, which lead to files. The
//! lines above a page define the same links for rustdoc: the first definition counts.

/// [no-failure]: crate::guide::threads#being-stopped-is-no-failure
#[cfg(any(not(doctest), unix))]
#[doc = include_str!("../docs/stopping.md")]
pub mod stopping {}

/// [cube]: crate::guide::cube
/// [stopping]: crate::guide::stopping
#[doc = include_str!("../docs/from-channels.md")]
pub mod from_channels {}

/// [shutdown]: crate::guide::shutdown
/// [recipes]: crate::guide::recipes
/// [`Reason`]: crate::Reason
/// [`Failure`]: crate::Failure
/// [`selvedge::run`]: crate::run
#[doc = include_str!("../docs/threads.md")]
pub mod threads {}

/// [stopping]: crate::guide::stopping
/// [from-channels]: crate::guide::from_channels
#[doc = include_str!("../docs/cube.md")]
pub mod cube {}

/// [order]: crate::guide::threads#the-order-at-the-end-of-a-program
/// [threads]: crate::guide::threads
/// [example]: https://docs.rs/crate/selvedge/latest/source/examples/03_outage.rs
/// [configuration]: https://docs.rs/crate/selvedge/latest/source/config/outage.yaml
/// [picture]: https://docs.rs/crate/selvedge/latest/source/flamegraphs/reference-shutdown.png
#[doc = include_str!("../docs/shutdown.md")]
pub mod shutdown {}

/// [shutdown]: crate::guide::shutdown
/// [page-outage]: https://docs.rs/crate/selvedge/latest/source/docs/pictures/page-outage.png
/// [page-indexer]: https://docs.rs/crate/selvedge/latest/source/docs/pictures/page-indexer.png
/// [page-waits]: https://docs.rs/crate/selvedge/latest/source/docs/pictures/page-waits.png
/// [page-phone]: https://docs.rs/crate/selvedge/latest/source/docs/pictures/page-phone.png
#[doc = include_str!("../docs/live.md")]
pub mod live {}

#[cfg(any(not(doctest), feature = "profiling"))]
#[doc = include_str!("../docs/profiling.md")]
pub mod profiling {}

/// [tracing]: crate::guide::recipes::tracing#the-order
/// [benches]: https://docs.rs/crate/selvedge/latest/source/benches/README.md
#[doc = include_str!("../docs/logging.md")]
pub mod logging {}

/// [signals]: crate::guide::threads#signals
/// [channels]: crate::guide::from_channels
/// [logging]: crate::guide::logging#a-plain-file
/// [no-hooks]: crate::guide::recipes::rayon#pools-without-hooks
/// [command-line]: crate::guide::recipes::command_line
/// [threaded-server]: crate::guide::recipes::threaded_server
/// [systemd]: crate::guide::recipes::systemd
/// [rayon]: crate::guide::recipes::rayon
/// [tokio]: crate::guide::recipes::tokio
/// [tracing]: crate::guide::recipes::tracing
#[doc = include_str!("../docs/recipes.md")]
pub mod recipes {
    #[doc = include_str!("../docs/recipes/command-line.md")]
    pub mod command_line {}

    /// [example]: https://docs.rs/crate/selvedge/latest/source/examples/04_http_server.rs
    #[doc = include_str!("../docs/recipes/threaded-server.md")]
    pub mod threaded_server {}

    /// [service]: https://docs.rs/crate/selvedge/latest/source/tests/programs/service.rs
    #[doc = include_str!("../docs/recipes/systemd.md")]
    pub mod systemd {}

    /// [recipes]: crate::guide::recipes
    /// [registered]: crate::guide::threads#registered-threads
    #[doc = include_str!("../docs/recipes/rayon.md")]
    pub mod rayon {}

    /// [recipes]: crate::guide::recipes
    /// [tracing]: crate::guide::recipes::tracing
    /// [signals]: crate::guide::threads#signals
    #[doc = include_str!("../docs/recipes/tokio.md")]
    pub mod tokio {}

    /// [logging]: crate::guide::logging
    #[doc = include_str!("../docs/recipes/tracing.md")]
    pub mod tracing {}
}
