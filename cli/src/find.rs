//! Finds the program that a command is for: by its socket in the folders of this user, or as the
//! command line names it.

use crate::args::Which;
use crate::connect::Place;
use crate::fault::{Exit, Fault};
use crate::http;
use crate::model::{FORMAT, Info};
use crate::text::{plain, span};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A program that has answered.
pub(crate) struct Program {
    pub(crate) place: Place,
    pub(crate) info: Info,
}

/// A socket file of a program, whether it answers or not.
struct Candidate {
    path: PathBuf,
    pid: u32,
    name: String,
}

pub(crate) fn user() -> u32 {
    // SAFETY: `geteuid` has no conditions.
    unsafe { libc::geteuid() }
}

/// The folders in which programs of this user put their sockets. A program may have been started
/// with another environment than this command, so all of them are looked into.
fn folders(only: Option<&Path>) -> Vec<PathBuf> {
    if let Some(folder) = only {
        return vec![folder.to_owned()];
    }
    let user = user();
    let mut all = Vec::new();
    if let Some(folder) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
        all.push(folder.join("selvedge"));
    }
    all.push(PathBuf::from(format!("/run/user/{user}/selvedge")));
    all.push(std::env::temp_dir().join(format!("selvedge-{user}")));
    all.push(PathBuf::from(format!("/tmp/selvedge-{user}")));
    let mut seen = std::collections::HashSet::new();
    all.retain(|folder| seen.insert(folder.clone()));
    all
}

/// `<name>-<pid>.sock`
pub(crate) fn pid_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".sock")?.rsplit_once('-')?.1.parse().ok()
}

/// The sockets in the folders. A folder that belongs to another user, is a link, or lets other
/// users in is left out, and told: its sockets may be anything.
fn candidates(only: Option<&Path>) -> Vec<Candidate> {
    let mut found = Vec::new();
    for folder in folders(only) {
        let Ok(about) = std::fs::symlink_metadata(&folder) else { continue };
        if !about.is_dir() || about.uid() != user() || about.mode() & 0o077 != 0 {
            crate::note(&format!("{} is left out: it is not a folder of this user alone", folder.display()));
            continue;
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if let Some(pid) = pid_of(&path) {
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let name = file.rsplit_once('-').map(|(name, _)| name.to_owned()).unwrap_or_default();
                found.push(Candidate { path, pid, name });
            }
        }
    }
    found.sort_by_key(|candidate| candidate.pid);
    found
}

/// The program that the command line names: by a pid, a name, the path of a socket, or
/// `http://127.0.0.1:6060`. Without a name: the only one there is.
pub(crate) fn program(which: &Which) -> Result<Program, Fault> {
    let program = match which.program.as_deref() {
        Some(url) if url.contains("://") => ask(tcp(url, which.token_file.as_deref())?)?,
        Some(path) if path.contains('/') => ask(Place::Unix(path.into()))?,
        wanted => found(wanted, which.folder.as_deref())?,
    };
    tell_version(&program.info);
    Ok(program)
}

fn ask(place: Place) -> Result<Program, Fault> {
    let answer = http::get(&place, "/info", http::PATIENCE)?;
    let mut info: Info = serde_json::from_slice(&answer.body)
        .map_err(|error| Fault::failed(format!("the answer of {place} cannot be read: {error}")))?;
    if let Some(version) = answer.version {
        info.selvedge = version;
    }
    Ok(Program { place, info })
}

/// Asks all at once, so that several that hang take no longer than one.
fn found(wanted: Option<&str>, only: Option<&Path>) -> Result<Program, Fault> {
    let pid = wanted.and_then(|text| text.parse::<u32>().ok());
    let mut candidates = candidates(only);
    candidates.retain(|one| pid.is_none_or(|pid| one.pid == pid));
    let name = wanted.filter(|_| pid.is_none());
    let asked: Vec<_> = candidates
        .into_iter()
        .map(|one| {
            let place = Place::Unix(one.path.clone());
            (std::thread::spawn(move || ask(place)), one)
        })
        .collect();
    let (mut live, mut silent, mut refused) = (Vec::new(), Vec::new(), None);
    for (thread, one) in asked {
        // The name in the socket's path may be cut; a program that answers tells the whole one.
        let fits = name.is_none_or(|name| one.name == name);
        match thread.join().unwrap_or_else(|_| Err(Fault::failed("the thread that asks has panicked"))) {
            Ok(program) if fits || name == Some(&*program.info.name) => live.push(program),
            // Left behind by a program that was killed.
            Err(fault) if fault.exit == Exit::NotFound => {}
            Err(fault) if fault.exit == Exit::NoAnswer && fits => silent.push((one, fault)),
            Err(fault) if fits => refused = Some(fault),
            _ => {}
        }
    }
    match (live.len(), silent.len()) {
        (1, 0) => Ok(live.remove(0)),
        (0, 1) => Err(silent.remove(0).1),
        (0, 0) => Err(refused.unwrap_or_else(|| none(wanted, pid, only))),
        _ => Err(several(&live, &silent)),
    }
}

fn none(wanted: Option<&str>, pid: Option<u32>, only: Option<&Path>) -> Fault {
    let what = match (pid, wanted) {
        (Some(pid), _) if !Path::new(&format!("/proc/{pid}")).exists() => format!("there is no process {pid}"),
        (Some(pid), _) => format!("process {pid} has no socket of this user"),
        (None, Some(name)) => format!("no program of this user is called {}", plain(name)),
        (None, None) => "no program of this user can be looked at".to_owned(),
    };
    let looked = folders(only).iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
    Fault::new(
        Exit::NotFound,
        format!(
            "{what}\nlooked for sockets in {looked}\na program has one if it is built with selvedge's feature \
             `inspect` and its YAML says `inspect: {{ listen: unix }}`, or its environment SELVEDGE_INSPECT=unix"
        ),
    )
}

fn several(live: &[Program], silent: &[(Candidate, Fault)]) -> Fault {
    let mut text = "several programs can be looked at; name one by its pid:".to_owned();
    for Program { info, .. } in live {
        text +=
            &format!("\n{:>9}  {}, {}, up {}", info.pid, plain(&info.name), plain(&info.state), span(info.uptime_s));
    }
    for (one, _) in silent {
        text += &format!("\n{:>9}  {}, does not answer", one.pid, plain(&one.name));
    }
    Fault::new(Exit::Usage, text)
}

/// `http://[anything:TOKEN@]HOST:PORT[/]`
fn tcp(url: &str, token_file: Option<&Path>) -> Result<Place, Fault> {
    let wrong = |why: &str| {
        // The token is not repeated.
        let shown = url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, rest)| format!("…@{rest}"));
        Fault::new(Exit::Usage, format!("{} {why}; expected http://127.0.0.1:6060", plain(&shown)))
    };
    let rest = url.strip_prefix("http://").ok_or_else(|| wrong("is no http:// address"))?;
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => (Some(credentials), rest),
        None => (None, rest),
    };
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
    let port = port.parse().map_err(|_| wrong("has no port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let mut token = credentials.map(|text| text.split_once(':').map_or(text, |(_, token)| token).to_owned());
    if let Some(file) = token_file {
        let text = std::fs::read_to_string(file).map_err(|error| crate::fault::file("read", file, &error))?;
        token = Some(text.lines().next().unwrap_or_default().trim().to_owned());
    }
    if token.as_deref().is_some_and(|token| token.chars().any(|c| c.is_control() || !c.is_ascii())) {
        return Err(Fault::new(Exit::Usage, "the token has other characters than visible ASCII"));
    }
    Ok(Place::Tcp { host, port, token })
}

fn tell_version(info: &Info) {
    let own = env!("CARGO_PKG_VERSION");
    if info.selvedge != own && !info.selvedge.is_empty() {
        crate::note(&format!(
            "{} was built with selvedge {}, and this command is {own}: what only one of them knows is not shown",
            plain(&info.name),
            plain(&info.selvedge)
        ));
    }
    if info.format > FORMAT {
        crate::note(&format!(
            "the program sends format {}, and this command knows {FORMAT}: a newer selvedge-cli shows all of it",
            info.format
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_is_behind_the_last_hyphen() {
        let pid = |name: &str| pid_of(Path::new(name));
        assert_eq!(pid("/x/indexer-4711.sock"), Some(4711));
        assert_eq!(pid("/x/my-own indexer.v2-12.sock"), Some(12));
        assert_eq!(pid("-7.sock"), Some(7));
        for name in ["indexer.sock", "indexer-.sock", "indexer-47", "indexer-4x.sock", "/"] {
            assert_eq!(pid(name), None, "{name}");
        }
    }

    #[test]
    fn addresses_name_host_port_and_token() {
        let place = |url: &str| tcp(url, None).ok();
        let wanted = |host: &str, token: Option<&str>| {
            Some(Place::Tcp { host: host.to_owned(), port: 6060, token: token.map(str::to_owned) })
        };
        assert_eq!(place("http://127.0.0.1:6060"), wanted("127.0.0.1", None));
        assert_eq!(place("http://x:secret@127.0.0.1:6060/"), wanted("127.0.0.1", Some("secret")));
        assert_eq!(place("http://[::1]:6060"), wanted("::1", None));
        for url in ["https://127.0.0.1:6060", "http://127.0.0.1", "http://127.0.0.1:x", "ftp://a:1"] {
            assert!(place(url).is_none(), "{url}");
        }
        assert!(tcp("http://x:a\r\nb@127.0.0.1:6060", None).is_err());
        for url in ["https://x:secret@127.0.0.1:6060", "http://x:secret@127.0.0.1"] {
            let fault = tcp(url, None).unwrap_err();
            assert!(fault.text.starts_with("…@127.0.0.1"), "{fault}");
        }
    }
}
