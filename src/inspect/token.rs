//! Secrets: the token of the token file, the session of a browser, the nonce of a page. All are
//! compared in a time that does not tell how much of them was right.

use crate::error::{Error, Kind};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
            Err(error) if error.kind() == io::ErrorKind::NotFound => return made(file).map_err(wrong),
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

/// Another process may make it at the same time: then that one's token counts.
fn made(file: &Path) -> io::Result<Token> {
    let token = Token::random()?;
    let created = File::options().write(true).create_new(true).mode(0o600).open(file);
    match created {
        Ok(mut created) => created.write_all(format!("{}\n", token.text()).as_bytes()).map(|()| token),
        Err(error) => Err(error),
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
    fn basic_authentication_is_base64() {
        assert_eq!(decode_basic("eDpUT0tFTg=="), Some("x:TOKEN".into()));
        assert_eq!(decode_basic("dXNlcjpwYXNzOndvcmQ="), Some("user:pass:word".into()));
        assert_eq!(decode_basic("eDo"), Some("x:".into()));
        assert_eq!((decode_basic("e!"), decode_basic("//79")), (None, None));
    }
}
