//! The setters of `Config` for the inspection of a running program. The settings themselves are in
//! `settings.rs`.

use super::setters::Config;
use std::path::PathBuf;

impl Config {
    /// Where the program listens for tools that inspect it while it runs: `unix`, a socket that
    /// only the user of the process can use, or a loopback address, for example `127.0.0.1:6060`.
    /// Default: nowhere.
    ///
    /// What is served there is told in [the guide](crate::guide::live). An address needs
    /// [`inspect_token_file`](Self::inspect_token_file). The port 0 is any free port; the log names
    /// it. The environment variable `SELVEDGE_INSPECT` goes before this, and before the file:
    /// `off`, `unix` or an address. Unix only.
    ///
    /// Needs the feature `inspect`. Any other text is an error in the configuration when the
    /// runtime starts, as is an address that another process uses. If another user's folder is in
    /// the place of the socket's, a warning is logged, and the program runs without the inspection.
    ///
    /// ```
    /// let config = selvedge::Config::new("indexer").inspect("unix");
    /// # config.check().unwrap();
    /// ```
    #[must_use]
    pub fn inspect(mut self, listen: impl Into<String>) -> Config {
        self.set.inspect_text = Some(listen.into());
        self
    }

    /// The file with the token that each request to an [`inspect`](Self::inspect) address must
    /// have, relative to the working directory. `$ENV{NAME}` in the path is replaced.
    ///
    /// The token is the first line, of 16 to 256 visible ASCII characters. A file that does not
    /// exist is made when the runtime starts, with a random token, readable for its owner alone. A
    /// file that other users can read, also by its group, is an error. The Unix socket asks for no
    /// token.
    ///
    /// Needs the feature `inspect`.
    #[must_use]
    pub fn inspect_token_file(mut self, path: impl Into<PathBuf>) -> Config {
        self.set.inspect_token_file = Some(path.into());
        self
    }
}
