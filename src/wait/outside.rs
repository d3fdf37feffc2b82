//! The paths of threads that are not in the tree: `other/<name in the system>`. No thread of the
//! tree has such a path, since all paths in the tree begin with `main`.

use crate::os::printable::is_unprintable;

const OTHER: &str = "other";

/// The path of an unregistered thread. Its name is one part of the path, and stays on one line.
pub(crate) fn path_outside(name: &str) -> String {
    let shown = |c: char| match c {
        '/' => ':',
        c if is_unprintable(c) => '_',
        c => c,
    };
    let name: String = if name.is_empty() { "[unnamed]".into() } else { name.chars().map(shown).collect() };
    format!("{OTHER}/{name}")
}

/// Returns `true` if the path is that of an unregistered thread.
#[cfg(feature = "profiling")]
pub(crate) fn is_path_outside(path: &str) -> bool {
    path.strip_prefix(OTHER).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::path_outside;

    #[test]
    fn a_name_is_one_part_of_the_path_on_one_line() {
        for (name, path) in [
            ("pool-1", "other/pool-1"),
            ("", "other/[unnamed]"),
            ("kworker/0", "other/kworker:0"),
            ("x\nmain/fake, running", "other/x_main:fake, running"),
            ("\u{202e}\u{1b}[2J", "other/__[2J"),
        ] {
            assert_eq!(path_outside(name), path);
        }
    }
}
