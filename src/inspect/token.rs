//! Secrets: the token of the token file, the session of a browser, the nonce of a page. All are
//! compared in a time that does not tell how much of them was right.

use crate::error::{Error, Kind};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) struct Token(String);

impl Token {
    /// The first line of the file; a file that does not exist is made, readable for its owner
    /// alone.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub(super) fn of_file(file: &Path) -> Result<Token, Error> {
        let wrong = |error: io::Error| {
            let message = format!("the token cannot be read from {}, or written to it", file.display());
            Error::new(Kind::Config, message).at_key("inspect.token_file").because(error)
        };
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => made(file).map_err(wrong)?,
            text => text.map_err(wrong)?,
        };
        match text.lines().next().unwrap_or_default() {
            "" => Err(wrong(io::Error::other("its first line is empty; write a token there, or delete the file"))),
            token => Ok(Token(token.to_owned())),
        }
    }

    /// 128 random bits as 32 hexadecimal digits.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn random() -> io::Result<Token> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Token(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Takes the same time for each text of one length.
    pub(super) fn is(&self, text: &str) -> bool {
        let (own, given) = (self.0.as_bytes(), text.as_bytes());
        let byte = |at: usize| given.get(at).copied().unwrap_or_default();
        let differs = own.iter().enumerate().fold(0, |differs, (at, own)| differs | (own ^ byte(at)));
        std::hint::black_box(differs) == 0 && own.len() == given.len() && !own.is_empty()
    }
}

/// Makes the file, and returns its text. It appears with its whole text at once. Another process may
/// make it at the same time: then that one's token counts.
fn made(file: &Path) -> io::Result<String> {
    let text = format!("{}\n", Token::random()?.text());
    let part = Part::create(file)?;
    (&part.file).write_all(text.as_bytes())?;
    match std::fs::hard_link(&part.path, file) {
        Ok(()) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => std::fs::read_to_string(file),
        // A file system without links.
        Err(_) => create(file)?.write_all(text.as_bytes()).map(|()| text),
    }
}

fn create(file: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(file)
}

/// A new file beside the token file, readable for its owner alone. Dropping it removes that name.
struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    fn create(beside: &Path) -> io::Result<Part> {
        let mut name = beside.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", Token::random()?.text()));
        let path = beside.with_file_name(name);
        Ok(Part { file: create(&path)?, path })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // A part that cannot be removed is no fault of the token.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The text `user:password` of a header for basic authentication. `None`: it is no base64, or no
/// text.
pub(super) fn decode_basic(text: &str) -> Option<String> {
    let text = text.trim_end_matches('=');
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len()), 0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = ((bits << 6 | u32::from(value)) & 0xffff, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_equal_to_itself_alone() {
        let token = Token("0123456789abcdef".into());
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "1123456789abcdef"] {
            assert!(!token.is(other), "{other}");
        }
        assert!(!Token(String::new()).is(""));
    }

    #[test]
    fn a_new_token_file_is_whole_for_all_that_make_it() {
        const AT_ONCE: usize = 8;
        let folder = std::env::temp_dir().join(format!("selvedge-tokens-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        for round in 0..50 {
            let file = folder.join(format!("token-{round}"));
            let begin = std::sync::Barrier::new(AT_ONCE);
            let read = || {
                begin.wait();
                Token::of_file(&file).map(|token| token.0).map_err(|error| error.to_string())
            };
            let tokens: Vec<_> = std::thread::scope(|scope| {
                let readers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(read)).collect();
                readers.into_iter().map(|reader| reader.join().unwrap()).collect()
            });
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(tokens.iter().all(|token| token.as_deref() == Ok(text.trim_end())), "{tokens:?}: {text}");
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 50, "a part is left");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn basic_authentication_is_base64() {
        assert_eq!(decode_basic("eDpUT0tFTg=="), Some("x:TOKEN".into()));
        assert_eq!(decode_basic("dXNlcjpwYXNzOndvcmQ="), Some("user:pass:word".into()));
        assert_eq!(decode_basic("eDo"), Some("x:".into()));
        assert_eq!((decode_basic("e!"), decode_basic("//79")), (None, None));
    }
}
