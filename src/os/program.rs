//! The file that this program was started from. Used for names; nothing depends on it.

use std::path::PathBuf;
use std::sync::OnceLock;

/// The path of the program's file, as it was when this was asked first; `None` if the system does
/// not tell.
///
/// It is the program's also if the loader was started with the program as its argument, without a
/// mounted `/proc`, and after the file was deleted or replaced.
pub(crate) fn path() -> Option<PathBuf> {
    static PATH: OnceLock<Option<PathBuf>> = OnceLock::new();
    PATH.get_or_init(find).clone()
}

/// The name of the program's file, without its folder; `None` if the system does not tell.
pub(crate) fn name() -> Option<String> {
    let path = path().or_else(|| std::env::args_os().next().map(PathBuf::from))?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    let suffix = std::env::consts::EXE_SUFFIX;
    Some(name.strip_suffix(suffix).filter(|name| !name.is_empty()).map_or(name.clone(), str::to_owned))
}

#[cfg(target_os = "linux")]
fn find() -> Option<PathBuf> {
    use super::maps;
    // The loader corrects these two if it was started as the program.
    // SAFETY: has no preconditions.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
    // The link of `/proc` comes second: it names the loader, if that was started.
    let mapped = maps::files().ok().and_then(|files| maps::at(&files, headers).map(|file| file.path.clone()));
    mapped.or_else(|| std::env::current_exe().ok()).or_else(started_as)
}

/// The path that was given to `execve`, as it is from the working directory of now.
#[cfg(target_os = "linux")]
pub(crate) fn started_as() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: has no preconditions.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    if name.is_null() {
        return None;
    }
    // SAFETY: the kernel's own text on the first stack, or the loader's; it ends, and stays as long
    // as the process lives.
    let name = unsafe { std::ffi::CStr::from_ptr(name) };
    std::path::absolute(std::ffi::OsStr::from_bytes(name.to_bytes())).ok()
}

#[cfg(not(target_os = "linux"))]
fn find() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_of_the_tests_is_found() {
        let expected = std::env::current_exe().unwrap();
        assert_eq!(super::path(), Some(expected.clone()));
        assert_eq!(super::name().as_deref(), expected.file_name().unwrap().to_str());
    }
}
