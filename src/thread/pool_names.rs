//! Names of pools: what is equal in the paths of threads of one pool. Pictures, tables, metrics and
//! dumps take the same threads for a pool by this.

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
pub(crate) fn without_name(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((above, _)) => format!("{}/*", without_numbers(above)),
        None => path.to_owned(),
    }
}
