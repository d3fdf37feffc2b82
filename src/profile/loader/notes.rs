//! Notes in ELF files, which linkers write. Reads bytes that it is given.

/// The build id among notes. A note is the length of its name, the length of its contents, its
/// kind, the name, and the contents; both are padded to four bytes.
pub(super) fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    const GNU_BUILD_ID: u32 = 3;
    loop {
        let word = |at: usize| Some(u32::from_ne_bytes(notes.get(at..at + 4)?.try_into().ok()?));
        let (name, contents, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let from = 12 + name.checked_next_multiple_of(4)?;
        let till = from.checked_add(contents)?;
        let found = notes.get(from..till)?;
        if kind == GNU_BUILD_ID && notes.get(12..12 + name) == Some(b"GNU\0") {
            return Some(found.to_vec());
        }
        notes = notes.get(till.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_is_found_among_other_notes() {
        let note = |name: &[u8], kind: u32, contents: &[u8]| {
            let mut bytes = Vec::new();
            for word in [name.len() as u32, contents.len() as u32, kind] {
                bytes.extend(word.to_ne_bytes());
            }
            for part in [name, contents] {
                bytes.extend(part);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes
        };
        let notes = [note(b"Go\0", 3, &[9; 5]), note(b"GNU\0", 1, &[1]), note(b"GNU\0", 3, &[7; 20])].concat();
        assert_eq!(build_id(&notes), Some(vec![7; 20]));
        assert_eq!(build_id(&notes[..notes.len() - 1]), None);
        assert_eq!(build_id(&[0xff; 64]), None);
        assert_eq!(build_id(&[]), None);
    }
}
