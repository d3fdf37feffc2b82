//! The signal that starts a recording in a running program, and ends it when it comes again:
//! then its files are written. A thread of its own does both: the signal thread stays free.

use super::config::{OsSignal, Settings};
use super::dumps::{aside, number_of, take_over};
use super::last_profile::{self, Toggled};
use super::profiler::Profiler;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::os::only_one::OnlyOne;
use crate::os::tell::tell;
use crate::thread::tree::Node;
use log::Level;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Taken while a recording is started or written. A signal meanwhile does nothing, and that is
/// told.
static BUSY: PerProcess<AtomicBool> = PerProcess::new(AtomicBool::new(false), AtomicBool::default);

/// For the person that has sent the signal: from warn on the log's console shows it.
fn tell_all(texts: impl IntoIterator<Item = String>) {
    texts.into_iter().for_each(|text| tell(Level::Warn, TARGET, &text));
}

const TARGET: &str = "selvedge::runtime::profiler";

/// What is done when the signal comes.
pub(super) struct ProfileSignal {
    /// Its number.
    pub(super) signal: i32,
    pub(super) name: OsSignal,
    settings: Arc<Settings>,
    main: Arc<Node>,
    /// The number of the last recording of this runtime.
    recordings: Arc<AtomicU32>,
}

impl ProfileSignal {
    /// `None`: no signal is asked for, or it could not do anything.
    pub(super) fn new(settings: &Arc<Settings>, main: &Arc<Node>) -> Option<ProfileSignal> {
        let name = settings.profile.signal;
        let signal = number_of(name)?;
        if cfg!(not(feature = "profiling")) {
            log::warn!("profile.signal: this program was built without the feature \"profiling\"; {name} does nothing");
        }
        take_over(signal);
        let recordings = Arc::new(AtomicU32::new(u32::from(settings.profile.enabled)));
        Some(ProfileSignal { signal, name, settings: settings.clone(), main: main.clone(), recordings })
    }

    /// The signal has come. Returns at once.
    pub(super) fn answer(&self) {
        let name = self.name;
        let Some(busy) = OnlyOne::try_take(&BUSY) else {
            return tell_all([format!("{name}: the one before is not finished; this one does nothing")]);
        };
        let (busy, settings, main) = (Mutex::new(Some(busy)), self.settings.clone(), self.main.clone());
        let recordings = self.recordings.clone();
        aside("profile", move || {
            let _busy = busy.lock().take();
            let start = || {
                // Relaxed: one thread at a time is here.
                let number = recordings.fetch_add(1, Ordering::Relaxed) + 1;
                Profiler::start(&settings, &main, number)
            };
            match last_profile::toggle(start) {
                Toggled::Started => tell_all([format!("{name}: a recording has started; {name} again ends it")]),
                Toggled::Written(lines) => tell_all(lines.into_iter().map(|line| line.text)),
                Toggled::Failed(error) => tell(Level::Error, TARGET, &format!("{name}: no recording: {error}")),
                Toggled::Over => {}
            }
        });
    }
}
