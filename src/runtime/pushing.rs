//! Starts the push of profiles where the configuration asks for it, and hands it the profile of the
//! whole run at the end.

use super::config::{PushFormat, Settings};
use crate::error::Error;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::profile::Profile;
use crate::push::{self, Format, Plan, Pusher};
use crate::thread::tree::Node;
use std::sync::Arc;

/// While a runtime pushes.
static PUSHER: PerProcess<Mutex<Option<Pusher>>> = PerProcess::new(Mutex::new(None), Mutex::default);

/// Returns `true` if the run is recorded for the push.
pub(super) fn needs_recording(settings: &Settings) -> bool {
    settings.push.as_ref().is_some_and(|push| can(push.format))
}

fn can(format: PushFormat) -> bool {
    format == PushFormat::Pyroscope || cfg!(feature = "otlp")
}

/// Pushes, if the settings say where.
///
/// # Errors
/// No thread.
pub(super) fn start(settings: &Settings, main: &Arc<Node>) -> Result<(), Error> {
    let Some(push) = &settings.push else { return Ok(()) };
    let format = match push.format {
        PushFormat::Pyroscope => Format::Pyroscope,
        #[cfg(feature = "otlp")]
        PushFormat::Otlp => Format::Otlp,
        #[cfg(not(feature = "otlp"))]
        PushFormat::Otlp => {
            log::warn!("push.format: this program was built without the feature \"otlp\"; nothing is pushed");
            return Ok(());
        }
    };
    let plan = Plan {
        service: settings.name.clone(),
        host: push.url.host.clone(),
        port: push.url.port,
        path: push.url.path.clone(),
        every: push.every,
        labels: push.labels.clone(),
        format,
        token_file: push.token_file.clone(),
        user: push.user.clone(),
        tenant: push.tenant.clone(),
    };
    let pusher = push::start(main, plan)?;
    *PUSHER.lock() = pusher;
    Ok(())
}

/// The recording has ended with this profile. What was not pushed of it is pushed now. Does not
/// block.
pub(super) fn hand_over(profile: &Profile) {
    if let Some(pusher) = PUSHER.lock().as_ref() {
        pusher.finish(profile.clone());
    }
}

/// Waits until the last interval is pushed, within a bound.
pub(super) fn wait() {
    let pusher = PUSHER.lock().take();
    pusher.into_iter().for_each(Pusher::wait);
}

/// The runtime has ended, or could not start.
pub(super) fn forget() {
    drop(PUSHER.lock().take());
}
