//! Unix: where a function is, by its address.

use std::ffi::CStr;

/// The function at `address`, as a part of a sentence: its name, if its library exports it, and the
/// file of the library or program. `None` for code that no file was loaded for.
pub(crate) fn describe(address: usize) -> Option<String> {
    // SAFETY: all-zero is a valid Dl_info: null pointers.
    let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: any address may be asked for; `found` is writable for one Dl_info.
    let is_found = unsafe { libc::dladdr(address as *const libc::c_void, &raw mut found) } != 0;
    if !is_found || found.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own text, which ends, and stays while the library is loaded; its code is
    // installed as a handler.
    let file = unsafe { CStr::from_ptr(found.dli_fname) }.to_string_lossy();
    // The nearest exported function below, which is another one where this one is not exported.
    if !found.dli_sname.is_null() && found.dli_saddr as usize == address {
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(found.dli_sname) }.to_string_lossy();
        return Some(format!("`{name}` in {file}"));
    }
    Some(format!("a function in {file}, at offset {:#x}", address.wrapping_sub(found.dli_fbase as usize)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn functions_are_found_by_their_address() {
        // A function with one name only.
        let exported = super::describe(libc::qsort as *const () as usize).unwrap();
        assert!(exported.starts_with("`qsort` in "), "{exported}");
        let own = super::describe(super::describe as fn(usize) -> Option<String> as usize).unwrap();
        assert!(own.contains(" in ") || own.contains("at offset"), "{own}");
        assert_eq!(super::describe(8), None);
    }
}
