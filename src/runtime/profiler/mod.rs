//! The profile of the whole run: started with the runtime, written at its end. `last_profile`
//! decides when it is written.

mod files;
mod part;
mod shutdown_profile;

pub(super) use self::files::LogLine;

use self::files::write;
use self::part::create_beside;
use self::shutdown_profile::ShutdownProfile;
use super::config::{OsSignal, ProfileFormat, ProfileSettings, Settings};
use super::pushing;
use crate::error::{Error, Kind};
use crate::model::locks::Mutex;
use crate::os::counted::counted;
use crate::os::fork::PerProcess;
use crate::profile::{self, Clock, FlameOptions, Profile, Recording};
use crate::signal::Reason;
use crate::thread::tree::Node;
use log::Level;
use std::path::PathBuf;
use std::sync::Arc;

/// What the runtime that is up will write at its end.
static PLANNED: PerProcess<Mutex<Vec<PathBuf>>> = PerProcess::new(Mutex::new(Vec::new()), Mutex::default);

pub(super) fn planned() -> Vec<PathBuf> {
    PLANNED.lock().clone()
}

pub(super) struct Profiler {
    /// Taken when it is finished.
    recording: Option<Recording>,
    shutdown: Option<ShutdownProfile>,
    name: String,
    files: Vec<(ProfileFormat, PathBuf)>,
    flame: FlameOptions,
    /// The accounts are logged at the end.
    accounts: bool,
}

impl Drop for Profiler {
    fn drop(&mut self) {
        PLANNED.lock().clear();
    }
}

/// Finds out at the start, and not after hours of recording, that the profile cannot be written.
pub(super) fn check(settings: &ProfileSettings) -> Result<(), Error> {
    if !settings.enabled && settings.signal == OsSignal::None {
        return Ok(());
    }
    std::fs::create_dir_all(&settings.output)
        .and_then(|()| create_beside(&settings.output.join(".selvedge-probe"), ""))
        .and_then(|(_, probe)| std::fs::remove_file(probe))
        .map_err(|error| {
            let message = format!("profiles cannot be written into {}", settings.output.display());
            Error::new(Kind::Config, message).at_key("profile.output").because(error)
        })
}

impl Profiler {
    /// `number`: 1 for the first recording of a runtime. The files of a later one have its number in
    /// their names, so none is overwritten.
    pub(super) fn start(settings: &Settings, main: &Arc<Node>, number: u32) -> Result<Option<Profiler>, Error> {
        let stem = if number == 1 { settings.name.clone() } else { format!("{}-{number}", settings.name) };
        // It exists: `check` has made it. Without `..`, it reads better in the log.
        let output = &settings.profile.output;
        let output = output.canonicalize().unwrap_or_else(|_| output.clone());
        let file = |format: &ProfileFormat| {
            let extension = match format {
                ProfileFormat::Svg => "svg",
                ProfileFormat::Folded => "folded",
                ProfileFormat::Pprof => "pb.gz",
                ProfileFormat::Waits => "waits.svg",
                ProfileFormat::Block => "block.pb.gz",
                ProfileFormat::Mutex => "mutex.pb.gz",
                ProfileFormat::Blame => "blame.svg",
                ProfileFormat::Timeline => "timeline.json",
            };
            (*format, output.join(format!("{stem}.{extension}")))
        };
        // A recording that is only pushed writes none. Nothing is pushed where a signal starts recordings.
        let writes_files = settings.profile.enabled || settings.profile.signal != OsSignal::None;
        let formats = if writes_files { &settings.profile.formats[..] } else { &[] };
        let files: Vec<_> = formats.iter().map(file).collect();
        let recording = profile::start(settings.profile.options.clone())?;
        *PLANNED.lock() = files.iter().map(|(_, file)| file.clone()).collect();
        // The first alone: the picture is of the end, and there is one end.
        let shutdown = (number == 1 && writes_files).then(|| ShutdownProfile::prepare(&settings.name, &output, main));
        let flame = flame_options(&settings.profile);
        let (name, accounts) = (settings.name.clone(), settings.profile.accounts);
        Ok(Some(Profiler { recording: Some(recording), shutdown, name, files, flame, accounts }))
    }

    /// Ends the recording and writes the files. Returns what is to be told of that. The program's
    /// own result does not change by a file that cannot be written.
    pub(super) fn finish(mut self, stopped_for: Option<Reason>) -> Vec<LogLine> {
        let mut lines: Vec<LogLine> =
            self.shutdown.take().and_then(|shutdown| shutdown.finish(stopped_for.as_ref())).into_iter().collect();
        if let Some(recording) = self.recording.take() {
            let profile = recording.finish();
            // On its way while the files are written.
            pushing::hand_over(&profile);
            lines.extend(self.write(&profile));
            if self.accounts {
                // What to make faster comes first.
                let path = format!("what the run had to wait for:\n{}", profile.critical_path());
                let blame = format!("which threads kept others waiting:\n{}", profile.blame());
                lines.extend([path, blame, accounts(&profile)].map(LogLine::table));
            }
            lines.extend((!profile.spans().is_empty()).then(|| LogLine::new(Level::Info, spans(&profile))));
            pushing::wait();
        }
        lines
    }

    /// Writes the files with what was recorded up to now. The recording goes on.
    pub(super) fn snapshot(&self) -> Vec<LogLine> {
        self.recording.as_ref().map(|recording| self.write(&recording.snapshot())).unwrap_or_default()
    }

    fn write(&self, profile: &Profile) -> Vec<LogLine> {
        let clock = if profile.clock() == Clock::Wall { "wall" } else { "CPU" };
        let flame = self.flame.clone().title(format!("{}: {clock} time of all threads", self.name));
        let waits = self.flame.clone().title(format!("{}: what all threads waited for", self.name));
        let blame = self.flame.clone().title(format!("{}: what threads did while others waited for them", self.name));
        let mut lines = Vec::new();
        for (format, file) in &self.files {
            let written = write(file, |out| match format {
                ProfileFormat::Svg => profile.write_flamegraph(out, &flame),
                ProfileFormat::Folded => profile.write_folded(out),
                ProfileFormat::Pprof => profile.write_pprof(out),
                ProfileFormat::Waits => profile.write_waits(out, &waits),
                ProfileFormat::Block => profile.write_block(out),
                ProfileFormat::Mutex => profile.write_contention(out),
                ProfileFormat::Blame => profile.write_blame(out, &blame),
                ProfileFormat::Timeline => profile.write_timeline(out),
            });
            lines.push(match written {
                Ok(()) => {
                    LogLine::new(Level::Info, format!("profile of {} written to {}", describe(profile), file.display()))
                }
                Err(error) => LogLine::new(Level::Error, format!("profile not written to {}: {error}", file.display())),
            });
        }
        lines
    }
}

fn flame_options(settings: &ProfileSettings) -> FlameOptions {
    let options = match settings.fold_pools {
        Some(true) => FlameOptions::new().fold_pools(),
        Some(false) => FlameOptions::new().keep_pools(),
        None => FlameOptions::new(),
    };
    let options = match settings.hide_runtime {
        Some(true) => options.hide_runtime(),
        Some(false) => options.show_runtime(),
        None => options,
    };
    let options = if settings.icicle { options.icicle() } else { options };
    match &settings.collapse {
        Some(names) => options.collapse(names.iter().cloned()),
        None => options,
    }
}

/// The table of accounts, for the log.
fn accounts(profile: &Profile) -> String {
    let mut text = b"where the time of each thread went:\n".to_vec();
    // A vector takes all that is written.
    let _ = profile.write_accounts(&mut text);
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// The table of spans, for the log.
fn spans(profile: &Profile) -> String {
    let mut text = b"spans, over all threads:\n".to_vec();
    // A vector takes all that is written.
    let _ = profile.write_spans(&mut text);
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

fn describe(profile: &Profile) -> String {
    let threads = counted(profile.threads().len() as u64, "thread");
    format!("{} of {threads}", counted(profile.samples(), "sample"))
}
