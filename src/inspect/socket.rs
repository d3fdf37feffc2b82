//! Where the Unix socket lies: in a folder that only the user of the process can enter. Nothing of
//! another user's is followed, used or removed.

use crate::error::{Error, Kind};
use crate::os::net::{Connecting, connect_to_path};
use crate::os::tell::tell;
use log::Level;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The bytes that the path of a Unix socket has at most.
const LONGEST: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// A socket that listens, and its file, which goes with it.
pub(super) struct Bound {
    pub(super) listener: UnixListener,
    pub(super) file: PathBuf,
    /// Why it lies in another folder than one would look in first.
    pub(super) remark: Option<String>,
}

/// Why a folder cannot be used.
enum Why {
    /// It belongs to another user. Any user can make it in the folder for temporary files.
    OfAnother(String),
    Own(String),
}

/// Listens in the first folder that can be used. `None`: no folder can be used, and one of them belongs to
/// another user, who must not keep the program from starting. A warning has said so.
///
/// # Errors
/// None can be used; or another process listens there.
pub(super) fn bind(name: &str) -> Result<Option<Bound>, Error> {
    let mut remark = None;
    let mut last = None;
    let mut is_of_another = false;
    for (folder, what) in folders() {
        let bound = usable(&folder).and_then(|()| {
            let file = place(&folder, name).map_err(Why::Own)?;
            let listener = listen(&file).map_err(Why::Own)?;
            Ok(Bound { listener, file, remark: remark.take() })
        });
        let why = match bound {
            Ok(bound) => return Ok(Some(bound)),
            Err(Why::Own(why)) => why,
            Err(Why::OfAnother(why)) => {
                is_of_another = true;
                why
            }
        };
        let text = format!("{what} cannot be used: {why}");
        remark = Some(text.clone());
        last = Some(text);
    }
    let message = format!("no Unix socket: {}", last.unwrap_or_default());
    if is_of_another {
        tell(Level::Warn, module_path!(), &format!("inspect: {message}. The program runs without the inspection."));
        return Ok(None);
    }
    Err(Error::new(Kind::Config, message).at_key("inspect.listen"))
}

/// The folders, the first one first, and how a person knows them.
fn folders() -> Vec<(PathBuf, String)> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let below = crate::os::process::user_id();
    let temporary = std::env::temp_dir().join(format!("selvedge-{below}"));
    let named = |variable: &str, folder: PathBuf| {
        let shown = format!("{variable}, {}", folder.display());
        (folder, shown)
    };
    let own = own.map(|folder| named("the folder of XDG_RUNTIME_DIR", folder.join("selvedge")));
    own.into_iter().chain([named("the folder for temporary files", temporary)]).collect()
}

/// Makes the folder if need be. It must be this user's, and closed to others.
fn usable(folder: &Path) -> Result<(), Why> {
    let own = |why: String| Err(Why::Own(why));
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return own(format!("it cannot be made: {error}")),
    }
    let found = fs::symlink_metadata(folder).map_err(|error| Why::Own(format!("it cannot be read: {error}")))?;
    let mode = found.mode() & 0o777;
    if found.uid() != crate::os::process::user_id() {
        Err(Why::OfAnother(format!("it belongs to the user {}; remove it, or set XDG_RUNTIME_DIR", found.uid())))
    } else if found.file_type().is_symlink() {
        own("it is a symbolic link, which is not followed; remove it".into())
    } else if !found.is_dir() {
        own("it is no folder; remove it".into())
    } else if mode & 0o077 != 0 {
        own(format!("it has mode {mode:04o}, so that other users can enter it; chmod 700 it"))
    } else {
        Ok(())
    }
}

/// The path of the socket: the name is cut if the whole would be too long.
fn place(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let end = format!("-{}.sock", std::process::id());
    let taken = folder.as_os_str().len() + 1 + end.len();
    let left = LONGEST.saturating_sub(taken).min(name.len());
    let cut = (0..=left).rev().find(|&at| name.is_char_boundary(at)).unwrap_or(0);
    if cut == 0 {
        return Err(format!(
            "its path has {} bytes, and that of a socket in it {LONGEST} at most, name and process number included; \
             set XDG_RUNTIME_DIR or TMPDIR to a shorter one",
            folder.as_os_str().len()
        ));
    }
    Ok(folder.join(format!("{}{end}", &name[..cut])))
}

/// Listens there. A socket on which no process listens any more is taken over.
fn listen(file: &Path) -> Result<UnixListener, String> {
    if let Ok(found) = fs::symlink_metadata(file) {
        let shown = file.display();
        if !found.file_type().is_socket() {
            return Err(format!("{shown} is there and is no socket; remove it"));
        }
        if found.uid() != crate::os::process::user_id() {
            return Err(format!("{shown} belongs to the user {}; remove it", found.uid()));
        }
        // A full backlog, too, is that of a process that listens.
        match connect_to_path(file) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(format!("{shown} is there, and whether a process listens is not known: {error}")),
            Ok(Connecting::Done(_) | Connecting::Pending(_) | Connecting::Full) => {
                return Err(format!("another process listens on {shown}"));
            }
        }
        fs::remove_file(file).map_err(|error| format!("{shown} is left of a process that has died: {error}"))?;
    }
    let failed = |error: io::Error| format!("no socket at {}: {error}", file.display());
    let listener = UnixListener::bind(file).map_err(failed)?;
    // Its folder has let no other user in meanwhile.
    fs::set_permissions(file, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}
