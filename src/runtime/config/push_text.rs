//! Where a program pushes its profiles to: how it is spelt, and what is refused. Returns texts;
//! `read_push` and `resolve` add the place.

use super::settings::{PushFormat, PushSettings, PushUrl};
use crate::yaml::plain_path;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is expected of a URL.
pub(super) const URL: &str = "http://HOST:PORT, as http://localhost:4040";

const DEFAULT_EVERY: Duration = Duration::from_secs(15);
const LEAST_EVERY: Duration = Duration::from_secs(1);
/// A Pyroscope server refuses a profile that begins more than an hour ago, and the first attempt to
/// send one may fail.
const MOST_EVERY: Duration = Duration::from_secs(30 * 60);

/// A Pyroscope server takes 30 labels, some of which are the runtime's.
const MOST_LABELS: usize = 24;
/// Bytes, as a Pyroscope server has them.
const LONGEST_LABEL_NAME: usize = 1024;
const LONGEST_LABEL: usize = 2048;
/// Bytes of a user, a tenant or a token.
const LONGEST_WORD: usize = 4096;

/// The settings as the program or its file has written them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PushText {
    pub(super) url: String,
    pub(super) every: Option<Duration>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) format: PushFormat,
    pub(super) token_file: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) tenant: Option<String>,
}

/// What is wrong, and the key below `push` that is.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) key: &'static str,
    pub(super) message: String,
}

/// The settings, checked.
pub(super) fn check(text: PushText) -> Result<PushSettings, Wrong> {
    let wrong = |key| move |message| Wrong { key, message };
    let url = read_url(&text.url).map_err(wrong("url"))?;
    let every = text.every.unwrap_or(DEFAULT_EVERY);
    check_every(every).map_err(wrong("every"))?;
    check_labels(&text.labels, text.format).map_err(wrong("labels"))?;
    if let Some(file) = &text.token_file {
        check_token_file(file).map_err(wrong("token_file"))?;
    }
    if let Some(user) = &text.user {
        check_word(user, "a user").map_err(wrong("user"))?;
        if user.contains(':') {
            return Err(wrong("user")("a user has no colon in its name; its password is in `token_file`".to_owned()));
        }
        if text.token_file.is_none() {
            return Err(wrong("user")("has no effect without `token_file`, the path of its password".to_owned()));
        }
    }
    if let Some(tenant) = &text.tenant {
        check_word(tenant, "a tenant").map_err(wrong("tenant"))?;
    }
    let PushText { labels, format, token_file, user, tenant, .. } = text;
    Ok(PushSettings { url, every, labels, format, token_file, user, tenant })
}

pub(super) fn read_url(text: &str) -> Result<PushUrl, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("expected {URL}, found `{}`", without_user(text)));
    };
    if scheme.eq_ignore_ascii_case("https") {
        let instead = "push to an agent or a proxy near the program that speaks it (Grafana Alloy, an OpenTelemetry \
                       collector), as http://localhost:4040";
        return Err(format!("no TLS is built in; {instead}"));
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(format!("the scheme {} is not known; expected {URL}", without_user(scheme)));
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    // The password is not repeated. It may have a slash in it.
    if authority.contains('@') || (path.contains('@') && read_authority(authority).is_err()) {
        return Err(
            "has a user in it; name the user with `user`, and a file with its password with `token_file`".into()
        );
    }
    if path.contains(['?', '#']) || authority.contains(['?', '#']) {
        return Err(format!("has a query or a fragment, which would not be sent; expected {URL}"));
    }
    if let Some(odd) = path.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(format!("has the character {odd:?} in its path; write it as % and two digits"));
    }
    let (host, port) = read_authority(authority)?;
    Ok(PushUrl { host, port, path: path.trim_end_matches('/').to_owned() })
}

/// The text without a user and a password, which stand before the `@`.
pub(super) fn without_user(text: &str) -> String {
    text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, rest)| format!("…@{rest}"))
}

/// The host, and the port, which is 80 if none is named.
fn read_authority(authority: &str) -> Result<(String, u16), String> {
    let bracketed = authority.strip_prefix('[').map(|rest| rest.split_once(']'));
    let (host, rest) = match bracketed {
        Some(None) => return Err(format!("the bracket of `{authority}` is not closed; expected {URL}")),
        Some(Some((host, rest))) => (host, rest),
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    if host.is_empty() {
        return Err(format!("has no host; expected {URL}"));
    }
    let is_known = match bracketed {
        Some(_) => host.parse::<Ipv6Addr>().is_ok(),
        None => host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')),
    };
    if !is_known {
        return Err(format!("`{host}` is neither a name nor an address; expected {URL}"));
    }
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => 80,
        None => return Err(format!("`{rest}` follows the host; expected {URL}")),
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 && !port.to_string().is_empty() => port,
            _ => return Err(format!("`{port}` is no port from 1 to 65535; expected {URL}")),
        },
    };
    Ok((host.to_owned(), port))
}

pub(super) fn check_every(every: Duration) -> Result<(), String> {
    match every {
        _ if every < LEAST_EVERY => Err("shorter than a second; expected from 1s to 30m".to_owned()),
        _ if every > MOST_EVERY => {
            Err("longer than 30 minutes, and servers refuse what begins an hour ago; expected from 1s to 30m"
                .to_owned())
        }
        _ => Ok(()),
    }
}

fn check_labels(labels: &[(String, String)], format: PushFormat) -> Result<(), String> {
    if labels.len() > MOST_LABELS {
        return Err(format!("{} labels; expected at most {MOST_LABELS}", labels.len()));
    }
    for (at, (name, value)) in labels.iter().enumerate() {
        check_label(name, value, format).map_err(|message| format!("{name}: {message}"))?;
        if labels[..at].iter().any(|(known, _)| known == name) {
            return Err(format!("{name} is named twice"));
        }
    }
    Ok(())
}

/// What the server would refuse, with all profiles that have the label.
pub(super) fn check_label(name: &str, value: &str, format: PushFormat) -> Result<(), String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match format {
        PushFormat::Pyroscope if !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) => {
            return Err("a label's name has letters a to z, digits and _, and begins with no digit".to_owned());
        }
        PushFormat::Otlp if name.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            return Err("an attribute's name has no blanks".to_owned());
        }
        _ => {}
    }
    if name.is_empty() {
        return Err("a label's name is empty".to_owned());
    }
    if name.starts_with("__") {
        return Err("names that begin with __ are the server's own; choose another name".to_owned());
    }
    if name == "thread" {
        return Err("each sample has the label thread, its thread; choose another name".to_owned());
    }
    if name.len() > LONGEST_LABEL_NAME {
        return Err(format!("the name has {} bytes; expected at most {LONGEST_LABEL_NAME}", name.len()));
    }
    if value.is_empty() {
        return Err("the value is empty; leave the label out".to_owned());
    }
    if value.len() > LONGEST_LABEL {
        return Err(format!("the value has {} bytes; expected at most {LONGEST_LABEL}", value.len()));
    }
    Ok(())
}

/// A word that is sent in a header.
pub(super) fn check_word(word: &str, what: &str) -> Result<(), String> {
    match word.chars().find(|c| !c.is_ascii_graphic()) {
        _ if word.is_empty() => Err(format!("{what} is empty")),
        _ if word.len() > LONGEST_WORD => Err(format!("{what} has more than {LONGEST_WORD} characters")),
        Some(odd) => Err(format!("{what} has the character {odd:?} in it; expected characters from ! to ~")),
        None => Ok(()),
    }
}

/// It is read again at each push, so a token can be renewed while the program runs.
pub(super) fn check_token_file(file: &Path) -> Result<(), String> {
    let shown = plain_path(file);
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let token = text.lines().next().unwrap_or_default();
    check_word(token, "the token, its first line,").map_err(|message| format!("{shown}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, host, port, path) in [
            ("http://localhost:4040", "localhost", 4040, ""),
            ("http://localhost:4040/", "localhost", 4040, ""),
            ("HTTP://pyroscope.mon.svc", "pyroscope.mon.svc", 80, ""),
            ("http://10.1.2.3:65535/tenant/a/", "10.1.2.3", 65535, "/tenant/a"),
            ("http://[::1]:4040/x", "::1", 4040, "/x"),
            ("http://[fe80::1]", "fe80::1", 80, ""),
        ] {
            let expected = PushUrl { host: host.into(), port, path: path.into() };
            assert_eq!(read_url(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn urls_that_would_not_work_are_refused() {
        for (text, part) in [
            ("localhost:4040", "expected http://HOST:PORT"),
            ("", "expected http://HOST:PORT"),
            ("https://grafana.net", "no TLS is built in; push to an agent"),
            ("ftp://host", "the scheme ftp is not known"),
            ("://host", "the scheme  is not known"),
            ("http://", "has no host"),
            ("http:///path", "has no host"),
            ("http://:4040", "has no host"),
            ("http://host:", "`` is no port"),
            ("http://host:0", "`0` is no port"),
            ("http://host:65536", "`65536` is no port"),
            ("http://host:4040x", "`4040x` is no port"),
            ("http://me:secret@host", "has a user in it"),
            ("http://me:secret/x@host", "has a user in it"),
            ("me:secret@host:4040", "found `…@host:4040`"),
            ("me:secret@http://host", "the scheme …@http is not known"),
            ("http://host/?a=b", "has a query"),
            ("http://host#x", "has a query"),
            ("http://[::1", "is not closed"),
            ("http://[::1]4040", "`4040` follows the host"),
            ("http://[host]:80", "`host` is neither"),
            ("http://a b", "`a b` is neither"),
            ("http://host\r\nX: y", "neither a name nor an address"),
            ("http://host/a b", "has the character ' ' in its path"),
            ("http://host/ü", "has the character 'ü' in its path"),
        ] {
            let message = read_url(text).unwrap_err();
            assert!(message.contains(part) && !message.contains("secret"), "{text}: {message}");
        }
    }

    #[test]
    fn labels_that_the_server_refuses_are_refused() {
        let is_good = |name: &str, value: &str, format| check_label(name, value, format).is_ok();
        for format in [PushFormat::Pyroscope, PushFormat::Otlp] {
            assert!(is_good("region", "eu-west", format) && is_good("_x9", "ü", format));
            for (name, value) in [("", "x"), ("__name__", "x"), ("thread", "x"), ("region", "")] {
                assert!(!is_good(name, value, format), "{name}: {value}");
            }
            assert!(!is_good("region", &"x".repeat(LONGEST_LABEL + 1), format));
        }
        assert!(is_good("host.name", "a", PushFormat::Otlp) && !is_good("host name", "a", PushFormat::Otlp));
        for name in ["host.name", "9a", "a-b", "ä"] {
            assert!(!is_good(name, "a", PushFormat::Pyroscope), "{name}");
        }
        let label = |number: usize| (format!("l{number}"), "x".to_owned());
        let labels: Vec<_> = (0..=MOST_LABELS).map(label).collect();
        assert!(check_labels(&labels[1..], PushFormat::Pyroscope).is_ok());
        assert!(check_labels(&labels, PushFormat::Pyroscope).unwrap_err().contains("expected at most 24"));
        assert!(check_labels(&[label(1), label(1)], PushFormat::Otlp).unwrap_err().contains("l1 is named twice"));
    }

    #[test]
    fn what_belongs_together_is_asked_for() {
        let text = || PushText { url: "http://localhost:4040".into(), ..PushText::default() };
        let settings = check(text()).unwrap();
        assert_eq!((settings.every, settings.format), (DEFAULT_EVERY, PushFormat::Pyroscope));
        let wrong = |text: PushText| check(text).unwrap_err().key;
        assert_eq!(wrong(PushText { every: Some(Duration::from_millis(999)), ..text() }), "every");
        assert_eq!(wrong(PushText { every: Some(Duration::from_secs(30 * 60 + 1)), ..text() }), "every");
        assert_eq!(wrong(PushText { user: Some("me".into()), ..text() }), "user");
        assert_eq!(wrong(PushText { tenant: Some("a\r\nb: c".into()), ..text() }), "tenant");
        assert_eq!(wrong(PushText { token_file: Some("no/such/file".into()), ..text() }), "token_file");
    }
}
