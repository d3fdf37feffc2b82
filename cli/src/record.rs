//! `selvedge record`: a profile of the next seconds, as a file.

use crate::args::{Clock, Which};
use crate::fault::{self, Exit, Fault};
use crate::text::plain;
use crate::{find, http};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Beyond the recording itself: names of functions are read at its end, which takes long in a debug
/// build.
const PATIENCE: Duration = Duration::from_secs(60);

/// A timeline that is longer is not unpacked.
const MOST_TEXT: u64 = 2 << 30;

pub(crate) fn run(which: &Which, seconds: u32, clock: Clock, frequency: u32, output: &Path) -> Result<(), Fault> {
    let request = request(output, seconds, clock, frequency)?;
    let failed = |error: io::Error| fault::file("write", output, &error);
    // The recording does not begin if the file cannot be written. No file is left if the recording is
    // interrupted.
    drop(Part::create(output).map_err(failed)?);
    let program = find::program(which)?;
    let (name, pid) = (plain(&program.info.name), program.info.pid);
    let what = if is_timeline(output) { "a timeline" } else { clock.noun() };
    crate::note(&format!("recording {name} (pid {pid}) for {seconds} s, {what}"));
    let answer = http::get(&program.place, &request, Duration::from_secs(seconds.into()) + PATIENCE)?;
    let body = if has_ending(output, ".json") { unpacked(answer.body)? } else { answer.body };
    Part::create(output).and_then(|part| part.finish(&body, output)).map_err(failed)?;
    crate::note(&format!("{} has {} bytes; {}", output.display(), body.len(), how_to_read(output)));
    Ok(())
}

/// A new file beside the output, so that a rename puts it there as a whole. Dropping it removes it.
struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    /// Nothing that already has the name, not even a link, is written to.
    fn create(output: &Path) -> io::Result<Part> {
        /// How many such files may be left of processes that had this number before.
        const MOST: u32 = 100;
        let mut number = 0;
        loop {
            let mut name = output.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}-{number}.part", std::process::id()));
            let path = output.with_file_name(name);
            match File::create_new(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MOST => number += 1,
                file => return file.map(|file| Part { file, path }),
            }
        }
    }

    /// Writes the whole, and puts it in the place of the output.
    fn finish(mut self, body: &[u8], output: &Path) -> io::Result<()> {
        self.file.write_all(body)?;
        std::fs::rename(&self.path, output)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename nothing is there. A part that cannot be removed adds nothing to the fault.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Returns `true` if the name of the file ends so.
fn has_ending(output: &Path, ending: &str) -> bool {
    output.file_name().unwrap_or_default().to_string_lossy().ends_with(ending)
}

fn is_timeline(output: &Path) -> bool {
    has_ending(output, ".json") || has_ending(output, ".json.gz")
}

fn request(output: &Path, seconds: u32, clock: Clock, frequency: u32) -> Result<String, Fault> {
    let has = |ending| has_ending(output, ending);
    let query = format!("seconds={seconds}&clock={}&frequency={frequency}", clock.name());
    let wrong = |why: &str| Err(Fault::new(Exit::Usage, format!("{}: {why}", output.display())));
    if has(".svg") {
        return Ok(format!("/flame.svg?{query}"));
    }
    if has(".folded") {
        return Ok(format!("/folded?{query}"));
    }
    if has(".pb.gz") {
        return match clock {
            Clock::Cpu | Clock::Wall => Ok(format!("/debug/pprof/profile?{query}")),
            Clock::Waits => Ok(format!("/debug/pprof/block?seconds={seconds}&frequency={frequency}")),
            Clock::Blame => wrong("blame is no profile of pprof; expected .svg or .folded"),
        };
    }
    if is_timeline(output) {
        // A timeline has the waits. Of a program that records, its own clock is taken.
        return Ok(match clock {
            Clock::Wall => format!("/timeline?{query}"),
            _ => format!("/timeline?seconds={seconds}&frequency={frequency}"),
        });
    }
    wrong("the ending tells no format; expected .svg, .folded, .pb.gz, .json or .json.gz")
}

/// The text of a file that is packed by gzip.
fn unpacked(packed: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    let read = GzDecoder::new(&packed[..]).take(MOST_TEXT).read_to_end(&mut text);
    match read {
        Ok(_) if (text.len() as u64) < MOST_TEXT => Ok(text),
        Ok(_) => {
            Err(Fault::failed("the timeline has more than 2 GiB; write it packed, to a file that ends in .json.gz"))
        }
        Err(error) => Err(Fault::failed(format!("the program has sent no whole timeline: {error}"))),
    }
}

fn how_to_read(output: &Path) -> String {
    let name = output.display();
    if has_ending(output, ".svg") {
        return "open it in a browser".to_owned();
    }
    if has_ending(output, ".pb.gz") {
        return format!("go tool pprof -top {name}");
    }
    if has_ending(output, ".folded") {
        return format!("selvedge diff {name} LATER");
    }
    "open it at https://profiler.firefox.com".to_owned()
}
