//! The options of a flamegraph, as users set them. Uses nothing else of the crate.

/// How a flamegraph is drawn. The default titles say what was recorded.
///
/// A picture has at most about ten thousand frames. Where there would be more, the narrowest are
/// summed up as `[n narrow frames]`, and the subtitle says how many. Folded lines and pprof files
/// keep all frames.
///
/// ```
/// # use selvedge::profile::FlameOptions;
/// let options = FlameOptions::new().title("indexer, first hour");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlameOptions {
    pub(super) title: Option<String>,
    pub(super) subtitle: Option<String>,
    pub(super) pools: Pools,
    pub(super) subtree: Option<String>,
    pub(super) threads_dropped: bool,
    pub(super) unabridged: bool,
    pub(super) icicle: bool,
    /// `None`: all known machinery.
    pub(super) collapse: Option<Vec<String>>,
    /// `None`: by the clock.
    pub(super) hides_runtime: Option<bool>,
}

/// Which pools are drawn as one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pools {
    /// Pools of more than 16 threads: the name of each thread would be too narrow to read.
    #[default]
    Large,
    All,
    None,
}

impl Pools {
    /// The maximum number of threads of a pool that are drawn one by one.
    const FEW: usize = 16;

    /// Returns `true` if a pool of that many threads is drawn as one.
    pub(super) fn folds(self, threads: usize) -> bool {
        threads
            > match self {
                Pools::Large => Pools::FEW,
                Pools::All => 1,
                Pools::None => usize::MAX,
            }
    }
}

impl FlameOptions {
    /// The default options.
    pub fn new() -> FlameOptions {
        FlameOptions::default()
    }

    /// The line over the picture; by default `<program>: CPU time of all threads`.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> FlameOptions {
        self.title = Some(title.into());
        self
    }

    /// The line under the title; by default samples, rate, duration, and how much of the CPU time
    /// they have seen.
    #[must_use]
    pub fn subtitle(mut self, subtitle: impl Into<String>) -> FlameOptions {
        self.subtitle = Some(subtitle.into());
        self
    }

    /// Draws each pool as one thread. Threads of one parent whose names differ only in numbers are a
    /// pool: `reader-1` to `reader-8` become `reader-*`. By default, a pool of
    /// more than 16 threads is drawn as one.
    #[must_use]
    pub fn fold_pools(mut self) -> FlameOptions {
        self.pools = Pools::All;
        self
    }

    /// Draws each thread of each pool, however many there are.
    #[must_use]
    pub fn keep_pools(mut self) -> FlameOptions {
        self.pools = Pools::None;
        self
    }

    /// Draws the root at the top: an icicle graph. By default the root is at the bottom.
    #[must_use]
    pub fn icicle(mut self) -> FlameOptions {
        self.icicle = true;
        self
    }

    /// Sets which machinery is drawn as one frame. Of each run of its frames, the first frame is
    /// drawn, which is the function that the program has called, and then one frame for the rest,
    /// for example `[rayon]`. If a stack ends in the machinery, its last frame is drawn too.
    /// Nothing is collapsed with `collapse([""; 0])`.
    ///
    /// | name | crates |
    /// |---|---|
    /// | `rayon` | rayon, rayon_core, crossbeam_deque, crossbeam_epoch |
    /// | `tokio` | tokio, tokio_util, mio, futures and its parts |
    /// | `serde` | serde, serde_core, serde_json, and derived code between their frames |
    ///
    /// By default these three. Any other name is the name of a crate, as in a path of Rust:
    /// `tower_http`. Folded lines and pprof files keep all frames, and so does a picture that is
    /// [`unabridged`](Self::unabridged).
    ///
    /// ```
    /// # use selvedge::profile::FlameOptions;
    /// let options = FlameOptions::new().collapse(["rayon", "tokio", "hyper", "hyper_util", "tower"]);
    /// ```
    #[must_use]
    pub fn collapse(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> FlameOptions {
        self.collapse = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Leaves out the runtime's own threads, `main/selvedge/…`. The subtitle says how many they
    /// are, and how much time they have. They mostly wait, so by the wall clock this is the
    /// default; otherwise they would take a large part of the picture. Folded lines and pprof files
    /// keep them.
    #[must_use]
    pub fn hide_runtime(mut self) -> FlameOptions {
        self.hides_runtime = Some(true);
        self
    }

    /// Draws the runtime's own threads, and so shows their cost. The default by the CPU clock.
    #[must_use]
    pub fn show_runtime(mut self) -> FlameOptions {
        self.hides_runtime = Some(false);
        self
    }

    /// Hides the runtime's own threads if `wanted`, unless the user has set whether to draw them.
    #[must_use]
    pub(crate) fn hide_runtime_if(mut self, wanted: bool) -> FlameOptions {
        self.hides_runtime.get_or_insert(wanted);
        self
    }

    /// Draws only the thread with that path, and all threads below it.
    #[must_use]
    pub fn subtree(mut self, path: impl Into<String>) -> FlameOptions {
        self.subtree = Some(path.into());
        self
    }

    /// Draws all functions, with their whole names and type parameters. Functions that only call a
    /// closure or catch its panic are drawn too (`FnOnce::call_once`), and nothing is
    /// [collapsed](Self::collapse). By default, functions that differ only in type parameters are
    /// one.
    #[must_use]
    pub fn unabridged(mut self) -> FlameOptions {
        self.unabridged = true;
        self
    }

    /// Draws the code of all threads together, without the threads.
    #[must_use]
    pub fn without_threads(mut self) -> FlameOptions {
        self.threads_dropped = true;
        self
    }
}
