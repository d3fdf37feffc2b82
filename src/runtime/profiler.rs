//! The profile of the whole run: started with the runtime, written at its end.

use super::config::{ProfileFormat, ProfileSettings, Settings};
use crate::error::{Error, Kind};
use crate::profile::{self, FlameOptions, Profile, Recording};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub(super) struct Profiler {
    recording: Recording,
    name: String,
    output: PathBuf,
    formats: Vec<ProfileFormat>,
}

/// Finds out at the start, and not after hours of recording, that the profile cannot be written.
pub(super) fn check(settings: &ProfileSettings) -> Result<(), Error> {
    if !settings.enabled {
        return Ok(());
    }
    let probe = settings.output.join(".selvedge-probe");
    std::fs::create_dir_all(&settings.output)
        .and_then(|()| File::create(&probe))
        .and_then(|_| std::fs::remove_file(&probe))
        .map_err(|error| {
            let message = format!("profiles cannot be written into {}", settings.output.display());
            Error::new(Kind::Config, message).at_key("profile.output").because(error)
        })
}

impl Profiler {
    pub(super) fn start(settings: &Settings) -> Result<Option<Profiler>, Error> {
        if !settings.profile.enabled {
            return Ok(None);
        }
        Ok(Some(Profiler {
            recording: profile::start(settings.profile.options.clone())?,
            name: settings.name.clone(),
            // It exists: `check` has made it. Without `..`, it reads better in the log.
            output: settings.profile.output.canonicalize().unwrap_or_else(|_| settings.profile.output.clone()),
            formats: settings.profile.formats.clone(),
        }))
    }

    /// Ends the recording and writes the files. What cannot be written is an error in the log; the program's own result
    /// does not change by it.
    pub(super) fn finish(self) {
        let profile = self.recording.finish();
        let flame = FlameOptions::new().title(format!("{}: CPU time of all threads", self.name));
        for format in &self.formats {
            let extension = match format {
                ProfileFormat::Svg => "svg",
                ProfileFormat::Folded => "folded",
                ProfileFormat::Pprof => "pb.gz",
            };
            let file = self.output.join(format!("{}.{extension}", self.name));
            match write(&file, |out| match format {
                ProfileFormat::Svg => profile.write_flamegraph(out, &flame),
                ProfileFormat::Folded => profile.write_folded(out),
                ProfileFormat::Pprof => profile.write_pprof(out),
            }) {
                Ok(()) => log::info!("profile of {} written to {}", describe(&profile), file.display()),
                Err(error) => log::error!("profile not written to {}: {error}", file.display()),
            }
        }
    }
}

fn describe(profile: &Profile) -> String {
    format!("{} samples of {} threads", profile.samples(), profile.threads().len())
}

/// Written beside and then renamed, so that a reader never finds half a file.
fn write(file: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<(), Error>) -> Result<(), Error> {
    let refused = |error| Error::new(Kind::Io, "cannot write").because(error);
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut out = BufWriter::new(File::create(&part).map_err(refused)?);
    fill(&mut out)?;
    out.flush().map_err(refused)?;
    drop(out);
    std::fs::rename(&part, file).map_err(refused)
}
