//! The environment variables that go before files and setters, so that a person can change a
//! deployed program.

use super::checks::check_output;
use super::listen::{NO_TOKEN_FILE, read_listen};
use super::push_text::PushText;
use super::settings::Listen;
use crate::error::{Error, Kind};
use crate::profile::{Clock, Options};
use crate::yaml::expand_path;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Whether, and by which clock, the whole run is recorded.
const PROFILE: &str = "SELVEDGE_PROFILE";

/// The folder of the profile's files.
const PROFILE_OUTPUT: &str = "SELVEDGE_PROFILE_OUTPUT";

/// Where the program listens for tools that inspect it.
const INSPECT: &str = "SELVEDGE_INSPECT";

/// Where the program pushes its profiles.
const PUSH: &str = "SELVEDGE_PUSH";

/// Changes what the files and setters say of the profile to what the environment says.
///
/// # Errors
/// The variable has a value that is none of the known ones.
pub(super) fn apply(enabled: &mut bool, options: &mut Options) -> Result<(), Error> {
    match std::env::var_os(PROFILE) {
        // Empty: as `VARIABLE= program` unsets a variable.
        None => Ok(()),
        Some(value) if value.is_empty() => Ok(()),
        Some(value) => set(&value, enabled, options),
    }
}

/// The folder of the profile's files, if the environment does not name another one. For a program
/// that may record. As in a file, `$ENV{…}` is replaced. A relative path is relative to the working
/// directory.
///
/// # Errors
/// What is there is no folder, or a variable in the path is not set.
pub(super) fn profile_output(set: PathBuf) -> Result<PathBuf, Error> {
    let value = std::env::var_os(PROFILE_OUTPUT).filter(|value| !value.is_empty());
    value.map_or(Ok(set), |value| read_output(&value))
}

/// Where the program listens, if the environment does not say another place; `None`: nowhere. An
/// address needs `token_file`, which only files and setters can name.
///
/// # Errors
/// The variable has a value that is none of the known ones, or an address without a token file.
pub(super) fn inspect(set: Option<Listen>, token_file: Option<&Path>) -> Result<Option<Listen>, Error> {
    let value = std::env::var_os(INSPECT).filter(|value| !value.is_empty());
    value.map_or(Ok(set), |value| read_inspect(&value.to_string_lossy(), token_file))
}

/// Returns `true` if the environment says that nothing is recorded.
pub(super) fn records_nothing() -> bool {
    std::env::var_os(PROFILE).is_some_and(|value| value == "off")
}

/// Where the profiles are pushed to, if the environment does not say another place; and the key to
/// name where that place is wrong.
pub(super) fn push(set: Option<PushText>) -> (Option<PushText>, Option<String>) {
    let Some(value) = std::env::var_os(PUSH).filter(|value| !value.is_empty()) else { return (set, None) };
    if value == "off" {
        return (None, None);
    }
    let url = value.to_string_lossy().into_owned();
    (Some(PushText { url, ..set.unwrap_or_default() }), Some(format!("the environment variable {PUSH}")))
}

fn read_output(value: &OsStr) -> Result<PathBuf, Error> {
    let wrong = |message: String| {
        Error::new(Kind::Config, message).at_key(format!("the environment variable {PROFILE_OUTPUT}"))
    };
    // A path that is no text has no variables in it.
    let output = match value.to_str() {
        Some(text) => PathBuf::from(expand_path(text).map_err(wrong)?),
        None => PathBuf::from(value),
    };
    check_output(&output).map_err(wrong)?;
    Ok(output)
}

fn read_inspect(value: &str, token_file: Option<&Path>) -> Result<Option<Listen>, Error> {
    if value == "off" {
        return Ok(None);
    }
    let wrong =
        |message: String| Error::new(Kind::Config, message).at_key(format!("the environment variable {INSPECT}"));
    let listen = read_listen(value).map_err(|message| wrong(format!("{message}, or off")))?;
    if listen != Listen::Unix && token_file.is_none() {
        return Err(wrong(format!("`{value}`: {NO_TOKEN_FILE}; or say {INSPECT}=unix, which needs no token")));
    }
    Ok(Some(listen))
}

fn set(value: &OsString, enabled: &mut bool, options: &mut Options) -> Result<(), Error> {
    let clock = |clock| options.clone().clock(clock);
    (*enabled, *options) = match value.to_str() {
        Some("on") => (true, options.clone()),
        Some("off") => (false, options.clone()),
        Some("cpu") => (true, clock(Clock::Cpu)),
        Some("wall") => (true, clock(Clock::Wall)),
        _ => {
            let message = format!("expected on, off, cpu or wall, found `{}`", value.to_string_lossy());
            return Err(Error::new(Kind::Config, message).at_key(format!("the environment variable {PROFILE}")));
        }
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(value: &str, enabled: bool) -> Result<(bool, Options), String> {
        let (mut enabled, mut options) = (enabled, Options::new().frequency(997));
        set(&value.into(), &mut enabled, &mut options).map_err(|error| error.to_string())?;
        Ok((enabled, options))
    }

    #[test]
    fn the_variable_wins_and_changes_nothing_else() {
        let options = Options::new().frequency(997);
        assert_eq!(result("on", false), Ok((true, options.clone())));
        assert_eq!(result("off", true), Ok((false, options.clone())));
        assert_eq!(result("wall", false), Ok((true, options.clone().clock(Clock::Wall))));
        assert_eq!(result("cpu", false), Ok((true, options.clock(Clock::Cpu))));
        let error = result("yes", false).unwrap_err();
        assert_eq!(error, "the environment variable SELVEDGE_PROFILE: expected on, off, cpu or wall, found `yes`");
    }

    #[test]
    fn the_folder_of_the_profile_is_checked_as_in_a_file() {
        let test = "the_folder_of_the_profile_is_checked_as_in_a_file";
        if crate::own_process::passes(module_path!(), test, &[("PROFILES", "/var/profiles")]) {
            return;
        }
        let read = |value: &str| read_output(OsStr::new(value)).map_err(|error| error.to_string());
        assert_eq!(read("made/if/need/be"), Ok("made/if/need/be".into()));
        let error = read("Cargo.toml").unwrap_err();
        let place = "the environment variable SELVEDGE_PROFILE_OUTPUT: ";
        assert_eq!(error, format!("{place}Cargo.toml is a file; name a folder, it is made if need be"));
        let error = read("$ENV{SELVEDGE_NOT_SET}/x").unwrap_err();
        assert!(error.starts_with(place) && error.contains("SELVEDGE_NOT_SET"), "{error}");
        assert_eq!(read("$ENV{PROFILES}/new"), Ok("/var/profiles/new".into()));
    }

    #[test]
    fn the_place_to_listen_is_a_word_or_an_address() {
        let token = Some(Path::new("token"));
        let read = |value: &str| read_inspect(value, token).map_err(|error| error.to_string());
        assert_eq!(read("off"), Ok(None));
        assert_eq!(read("unix"), Ok(Some(Listen::Unix)));
        assert_eq!(read("127.0.0.1:6060"), Ok(Some(Listen::Tcp(([127, 0, 0, 1], 6060).into()))));
        let error = read("0.0.0.0:6060").unwrap_err();
        assert!(error.starts_with("the environment variable SELVEDGE_INSPECT: 0.0.0.0:6060 can be reached"), "{error}");
        // Without a token file.
        assert_eq!(read_inspect("unix", None).unwrap(), Some(Listen::Unix));
        let error = read_inspect("localhost:6060", None).unwrap_err().to_string();
        let place = "the environment variable SELVEDGE_INSPECT: `localhost:6060`: an address needs `token_file`";
        assert!(error.starts_with(place) && error.ends_with("SELVEDGE_INSPECT=unix, which needs no token"), "{error}");
    }
}
