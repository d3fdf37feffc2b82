//! Where a program listens for tools that inspect it: how it is spelt, and what is refused. Returns
//! texts; `file` and `resolve` add the place.

use super::push_text::without_user;
use super::settings::{InspectSettings, Listen};
use crate::error::{Error, Kind};
use crate::yaml::plain_path;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// What is expected.
pub(super) const LISTEN: &str = "unix, or a loopback address with a port, as 127.0.0.1:6060";

pub(super) const NO_TOKEN_FILE: &str = "an address needs `token_file`, the path of a file with a token, since each \
                                        user of the machine can connect to it; the file is made if there is none";

/// The number of characters in a token.
pub(super) const TOKEN_LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;

/// `unix`, or an address.
pub(super) fn read_listen(text: &str) -> Result<Listen, String> {
    if text == "unix" {
        return Ok(Listen::Unix);
    }
    let localhost = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let address = match localhost {
        Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        // A person may have written the address of a tool here, with the token.
        None => text.parse().map_err(|_| format!("expected {LISTEN}, found `{}`", without_user(text)))?,
    };
    if !address.ip().is_loopback() {
        return Err(format!("{address} can be reached from other machines; expected {LISTEN}"));
    }
    Ok(Listen::Tcp(address))
}

/// What the setter was given, or what the file says.
pub(super) fn asked(setter: Option<String>, file: Option<Listen>) -> Result<Option<Listen>, Error> {
    let wrong = |message: String| Error::new(Kind::Config, message).at_key("inspect.listen");
    setter.map_or(Ok(file), |text| read_listen(&text).map(Some).map_err(wrong))
}

/// The settings of both, checked.
pub(super) fn resolve(listen: Option<Listen>, token_file: Option<PathBuf>) -> Result<Option<InspectSettings>, Error> {
    let Some(listen) = listen else { return Ok(None) };
    let wrong = |key: &str, message: &str| Error::new(Kind::Config, message).at_key(key);
    match &token_file {
        None if listen != Listen::Unix => return Err(wrong("inspect.listen", NO_TOKEN_FILE)),
        Some(file) => check_token_file(file).map_err(|message| wrong("inspect.token_file", &message))?,
        None => {}
    }
    Ok(Some(InspectSettings { listen, token_file }))
}

/// Looks for errors in a token file that is there. A missing one is made when the program starts.
pub(super) fn check_token_file(file: &Path) -> Result<(), String> {
    let shown = plain_path(file);
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            return match folder {
                Some(folder) if !folder.is_dir() => {
                    Err(format!("{shown} cannot be made: {} is no folder; make it", plain_path(folder)))
                }
                _ => Ok(()),
            };
        }
        Err(error) => return Err(format!("cannot read {shown}: {error}")),
    };
    if !metadata.is_file() {
        return Err(format!("{shown} is no file; expected the path of a file with a token"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(format!("{shown} has mode {mode:04o}, so other users can get at the token; chmod 600 it"));
        }
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    check_token(text.lines().next().unwrap_or_default()).map_err(|message| format!("{shown}: {message}"))
}

fn check_token(token: &str) -> Result<(), String> {
    let (least, most) = (TOKEN_LENGTHS.start(), TOKEN_LENGTHS.end());
    let expected = format!("expected {least} to {most} characters from ! to ~ in its first line");
    if !TOKEN_LENGTHS.contains(&token.len()) {
        return Err(format!("the token has {} characters; {expected}", token.chars().count()));
    }
    match token.chars().find(|c| !c.is_ascii_graphic()) {
        Some(wrong) => Err(format!("the token has the character {wrong:?} in it; {expected}")),
        None => Ok(()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_file_is_its_owners_alone() {
        let file = std::env::temp_dir().join(format!("selvedge-mode-{}", std::process::id()));
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let check = |mode: u32| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            check_token_file(&file)
        };
        assert_eq!(check(0o600), Ok(()));
        for mode in [0o640, 0o620, 0o604, 0o610] {
            assert!(check(mode).unwrap_err().ends_with("other users can get at the token; chmod 600 it"), "{mode:o}");
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_token_in_the_address_is_not_repeated() {
        let message = read_listen("x:secret@127.0.0.1:6060").unwrap_err();
        assert!(message.ends_with("found `…@127.0.0.1:6060`"), "{message}");
    }
}
