//! Names of pools: what is equal in the paths of threads of one pool. Pictures, tables, metrics and
//! dumps take the same threads for a pool by this. So do recordings, which keep a bounded number of
//! ended threads apart.

#[cfg(feature = "profiling")]
use super::tree::RUNTIME;

/// Shortens a path. Threads are one pool if this makes their paths equal.
#[cfg(feature = "profiling")]
pub(crate) type Fold = fn(&str) -> String;

/// Tried one after the other, until few pools are left. Each one drops more of a path. The last fold
/// leaves one pool below `main`, and another one for the runtime's own threads.
#[cfg(feature = "profiling")]
pub(crate) const FOLDS: [Fold; 3] = [without_numbers, without_name, without_path];

/// The path under which a later reading of a recording may have the thread, or the pool, of `path`: of
/// its pools the smallest one that `is_there`.
#[cfg(all(feature = "profiling", any(feature = "inspect", feature = "push")))]
pub(crate) fn pool_of(path: &str, is_there: impl Fn(&str) -> bool) -> Option<String> {
    FOLDS.iter().map(|fold| fold(path)).find(|pool| pool != path && is_there(pool))
}

/// Replaces each number by a star: `main/pool-*/reader-*` of `main/pool-1/reader-12`.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if folded.ends_with('*') => {}
            true => folded.push('*'),
            false => folded.push(c),
        }
    }
    folded
}

/// `main/pool-*/*` of `main/pool-1/reader-12`, for names that differ in more than a number.
#[cfg(feature = "profiling")]
fn without_name(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((above, _)) => format!("{}/*", without_numbers(above)),
        None => path.to_owned(),
    }
}

/// `main/*` of `main/session-a/reader`, for parents whose names differ in more than a number.
#[cfg(feature = "profiling")]
fn without_path(path: &str) -> String {
    match path.split_once('/') {
        // The runtime's threads keep their place.
        Some((root, rest)) if rest.split('/').next() == Some(RUNTIME) => format!("{root}/{RUNTIME}/*"),
        Some((root, _)) => format!("{root}/*"),
        None => path.to_owned(),
    }
}

#[cfg(all(test, feature = "profiling"))]
mod tests {
    use super::*;

    #[test]
    fn each_fold_drops_more_of_a_path() {
        let folds = |path| FOLDS.map(|fold| fold(path));
        assert_eq!(folds("main/pool-1/reader-12"), ["main/pool-*/reader-*", "main/pool-*/*", "main/*"]);
        assert_eq!(folds("main/sha256-x7/7"), ["main/sha*-x*/*", "main/sha*-x*/*", "main/*"]);
        assert_eq!(folds("other/x/y"), ["other/x/y", "other/x/*", "other/*"]);
        assert_eq!(folds("main/selvedge/log")[2], "main/selvedge/*");
        assert_eq!(folds("main"), ["main"; 3]);
    }
}
