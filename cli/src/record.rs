//! `selvedge record`: a profile of the next seconds, as a file.

use crate::args::{Clock, Which};
use crate::fault::{self, Exit, Fault};
use crate::text::plain;
use crate::{find, http};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Beyond the recording itself: names of functions are read at its end, which takes long in a debug
/// build.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(which: &Which, seconds: u32, clock: Clock, frequency: u32, output: &Path) -> Result<(), Fault> {
    let request = request(output, seconds, clock, frequency)?;
    let part = part(output);
    // That the file cannot be written is told before the recording and not after it.
    std::fs::write(&part, b"")
        .and_then(|()| std::fs::remove_file(&part))
        .map_err(|e| fault::file("write", output, &e))?;
    let program = find::program(which)?;
    let (name, pid) = (plain(&program.info.name), program.info.pid);
    crate::note(&format!("recording {name} (pid {pid}) for {seconds} s, {} clock", clock.name()));
    let answer = http::get(&program.place, &request, Duration::from_secs(seconds.into()) + PATIENCE)?;
    let written = std::fs::write(&part, &answer.body).and_then(|()| std::fs::rename(&part, output));
    written.map_err(|error| {
        // A part that cannot be removed adds nothing to the fault.
        let _ = std::fs::remove_file(&part);
        fault::file("write", output, &error)
    })?;
    crate::note(&format!("{} has {} bytes; {}", output.display(), answer.body.len(), how_to_read(output)));
    Ok(())
}

/// Beside the file itself, so that a rename puts it there as a whole.
fn part(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    output.with_file_name(name)
}

fn request(output: &Path, seconds: u32, clock: Clock, frequency: u32) -> Result<String, Fault> {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let query = format!("seconds={seconds}&clock={}&frequency={frequency}", clock.name());
    match &*name {
        name if name.ends_with(".svg") => Ok(format!("/flame.svg?{query}")),
        name if name.ends_with(".folded") => Ok(format!("/folded?{query}")),
        name if name.ends_with(".pb.gz") => Ok(format!("/debug/pprof/profile?{query}")),
        name if name.ends_with(".json") => Ok(format!("/timeline?seconds={seconds}")),
        _ => Err(Fault::new(
            Exit::Usage,
            format!("{}: the ending tells no format; expected .svg, .folded, .pb.gz or .json", output.display()),
        )),
    }
}

fn how_to_read(output: &Path) -> String {
    let name = output.display();
    match output.extension().and_then(|ending| ending.to_str()) {
        Some("svg") => "open it in a browser".to_owned(),
        Some("gz") => format!("go tool pprof -top {name}"),
        Some("json") => "open it at https://profiler.firefox.com".to_owned(),
        _ => format!("selvedge diff {name} LATER"),
    }
}
