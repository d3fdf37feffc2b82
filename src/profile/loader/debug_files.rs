//! The paths at which distributions put separate debug information. Opens no file.

use std::path::{Path, PathBuf};

/// The paths at which the debug information of a file may be. None if the file has no build id,
/// since the right file could not be recognized.
pub(super) fn debug_files(file: &Path, build_id: &[u8], link: Option<&[u8]>) -> Vec<PathBuf> {
    let Some((first, rest)) = build_id.split_first() else { return Vec::new() };
    let root = Path::new("/usr/lib/debug");
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut places = vec![root.join(format!(".build-id/{first:02x}/{rest}.debug"))];
    if let (Some(link), Some(folder)) = (link.and_then(|link| std::str::from_utf8(link).ok()), file.parent()) {
        places.extend([folder.join(link), folder.join(".debug").join(link)]);
        places.extend(folder.strip_prefix("/").map(|folder| root.join(folder).join(link)));
    }
    // Its own name would be the file itself, in which there is nothing.
    places.retain(|place| place != file);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_files_are_looked_for_by_build_id_and_by_link() {
        let places = debug_files(Path::new("/opt/a/libx.so"), &[0xab, 0x01, 0xff], Some(b"libx.debug"));
        let expected = [
            "/usr/lib/debug/.build-id/ab/01ff.debug",
            "/opt/a/libx.debug",
            "/opt/a/.debug/libx.debug",
            "/usr/lib/debug/opt/a/libx.debug",
        ];
        assert_eq!(places, expected.map(PathBuf::from));
        assert_eq!(debug_files(Path::new("/opt/a/libx.so"), &[1, 2], Some(b"libx.so")).len(), 3);
        assert!(debug_files(Path::new("/opt/a/libx.so"), &[], Some(b"libx.debug")).is_empty());
    }
}
