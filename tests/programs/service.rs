//! A service as systemd runs it: the program of docs/recipes/systemd.md. Tells its manager when it
//! is ready, that it is alive, and that it stops; without a manager it does the same work and tells
//! nothing.

use selvedge::{Config, Progress, Signal, Till, spawn};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::ExitCode;
use std::time::Duration;

/// Tells the service manager, if there is one: `READY=1`, `STOPPING=1`, `WATCHDOG=1`, `STATUS=…`.
fn notify(state: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    let address = match path.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// How often the manager wants to hear from the service; `None` if it does not watch.
fn watchdog_interval() -> Option<Duration> {
    let pid = std::env::var("WATCHDOG_PID").ok();
    let is_ours = pid.is_none_or(|pid| pid == std::process::id().to_string());
    let micros = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    is_ours.then_some(Duration::from_micros(micros))
}

/// Tells the manager that the service is alive, as long as `rounds` advances. A loop that hangs is
/// not reported as alive, and the manager restarts the service.
fn watch(rounds: &Progress, interval: Duration, please_stop: &Signal) -> io::Result<()> {
    let mut seen = rounds.get();
    while !please_stop.is_go() {
        // Half of the interval, as sd_watchdog_enabled(3) recommends.
        let pause = Till::after(interval / 2);
        if rounds.wait_for_till(seen + 1, &(please_stop | &*pause)) {
            seen = rounds.get();
            notify("WATCHDOG=1")?;
        }
        (please_stop | &*pause).wait_for_go();
    }
    Ok(())
}

pub(crate) fn main() -> ExitCode {
    selvedge::run(Config::new("service"), |please_stop: &Signal| -> Result<(), Box<dyn std::error::Error>> {
        // Before the drain, which may take long.
        let _stopping = please_stop.on_go_scoped(|| {
            if let Err(error) = notify("STOPPING=1") {
                log::warn!("the service manager is not told of the stop: {error}");
            }
        });
        let rounds = Progress::new("rounds");
        if let Some(interval) = watchdog_interval() {
            let rounds = rounds.clone();
            drop(selvedge::spawn_fallible("watchdog", move |please_stop| watch(&rounds, interval, please_stop)));
        }
        let worker = spawn("worker", {
            let rounds = rounds.clone();
            move |please_stop| {
                while !please_stop.is_go() {
                    // The work of one round; then it waits for the next.
                    rounds.advance(1);
                    (please_stop | &*Till::after(Duration::from_millis(10))).wait_for_go();
                }
            }
        });
        // All that a client needs is there.
        notify("READY=1")?;
        println!("ready");
        worker.join()?;
        Ok(())
    })
}
