//! Paths of log files: the time in them, whether such a file can be written, and what opening it
//! creates. Checks without creating anything.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::pattern_syntax::render_date;
use crate::os::log_file;
use crate::yaml::{plain_path, quoted};

/// log4rs replaces no more of them in one path.
const MOST_TIMES: usize = 5;

/// Replaces `$TIME{format}` by the present time. An invalid format makes log4rs panic, so it is an
/// error here.
pub(super) fn expand_time(path: &str) -> Result<String, String> {
    let mut expanded = path.to_owned();
    let mut replaced = 0;
    while let Some(start) = expanded.find("$TIME{") {
        let Some(end) = expanded[start..].find('}').map(|length| start + length) else { break };
        let format = &expanded[start + "$TIME{".len()..end];
        let time = render_date(format)
            .ok_or_else(|| format!("{} in the path is no date format", quoted(&expanded[start..=end])))?;
        expanded.replace_range(start..=end, &time);
        replaced += 1;
        if replaced > MOST_TIMES {
            return Err(format!("more than {MOST_TIMES} times `$TIME{{…}}` in the path; log4rs replaces no more"));
        }
    }
    Ok(expanded)
}

/// Why this file could not be opened for writing, as far as that shows without creating it.
pub(crate) fn unwritable(path: &Path) -> Option<String> {
    let shown = plain_path(path);
    if path.as_os_str().to_string_lossy().ends_with('/') {
        return Some(format!("{shown} names a directory, not a file"));
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Some(format!("{shown} is a directory, not a file")),
        Ok(metadata) if log_file::is_socket(&metadata) => Some(format!("{shown} is a socket, not a file or FIFO")),
        // To open a FIFO would block.
        Ok(metadata) if metadata.is_file() => {
            let refused = OpenOptions::new().append(true).open(path).err()?;
            Some(format!("{shown} cannot be opened for writing: {refused}"))
        }
        Ok(_) => None,
        Err(_) => {
            let (folder, metadata) = path.ancestors().skip(1).find_map(|folder| {
                let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                fs::metadata(folder).ok().map(|metadata| (folder, metadata))
            })?;
            // Only opening shows whether it may be written; mode bits do not (root, read-only
            // mounts).
            (!metadata.is_dir())
                .then(|| format!("{shown} cannot be created: {} is not a directory", plain_path(folder)))
        }
    }
}

/// The files and folders that opening log files creates. They are removed again unless `keep` is
/// called.
pub(super) struct Created {
    paths: Vec<PathBuf>,
}

impl Created {
    pub(super) fn nothing() -> Created {
        Created { paths: Vec::new() }
    }

    /// To be called before `file` is opened.
    pub(super) fn will_open(&mut self, file: &Path) {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && fs::symlink_metadata(path).is_err();
        self.paths.extend(file.ancestors().take_while(missing).map(Path::to_owned));
    }

    pub(super) fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        // Only an empty file or an empty folder is removed: another process may have filled it
        // meanwhile.
        for path in &self.paths {
            let _gone = match fs::symlink_metadata(path) {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir(path),
                Ok(metadata) if metadata.is_file() && metadata.len() == 0 => fs::remove_file(path),
                _ => Ok(()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_makes_log4rs_panic_is_refused() {
        assert!(expand_time("log-$TIME{%Y}.log").unwrap().starts_with("log-2"));
        assert_eq!(expand_time("log-$TIME{(a)}").unwrap(), "log-(a)");
        assert_eq!(expand_time("log-$TIME{%Y").unwrap(), "log-$TIME{%Y");
        assert!(expand_time("log-$TIME{%Q}").unwrap_err().contains("no date format"));
        assert!(expand_time(&"$TIME{%Y}".repeat(6)).unwrap_err().contains("more than 5"));
    }
}
