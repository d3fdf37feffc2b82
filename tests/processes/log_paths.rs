//! A log file that is open is written on when the process may no longer look at its path.
#![cfg(unix)]

use crate::support::{ALARM, Folder, in_own_process_with, is_root};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use selvedge::{Config, Runtime, logging};

/// Names the folder of the log to the process that runs the test.
const FOLDER: &str = "SELVEDGE_TEST_LOG_FOLDER";

/// After this long, a write checks whether the path still leads to the open file.
const CHECK_EVERY: Duration = Duration::from_secs(1);

#[test]
fn an_open_log_outlives_the_privileges() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return gives_up_its_privileges(Path::new(&folder));
    }
    if !is_root() {
        return;
    }
    let folder = Folder::new("privileges");
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o700)).unwrap();
    folder.config("");
    let text = folder.read("log4rs.yaml").replace("/app.log", "/logs/app.log");
    folder.write("log4rs.yaml", &text);
    let variables = [(FOLDER, folder.path().to_str().unwrap())];
    assert!(in_own_process_with(module_path!(), "an_open_log_outlives_the_privileges", ALARM, &variables));
    let text = folder.read("logs/app.log");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("line")).collect();
    assert_eq!(lines, ["INFO main line as root", "INFO main line 0 as user 65534", "INFO main line 1 as user 65534"]);
    assert!(!text.contains("fails"), "{text}");
}

fn gives_up_its_privileges(folder: &Path) {
    let runtime = Runtime::start(Config::new("privileges").log_file(folder.join("log4rs.yaml"))).unwrap();
    log::info!("line as root");
    logging::flush();
    // SAFETY: neither call has preconditions.
    assert_eq!(unsafe { libc::setgid(65534) | libc::setuid(65534) }, 0);
    let denied = fs::metadata(folder.join("logs/app.log")).unwrap_err();
    assert_eq!(denied.kind(), std::io::ErrorKind::PermissionDenied);
    for number in 0..2 {
        let begin = Instant::now();
        while begin.elapsed() < CHECK_EVERY {
            std::thread::sleep(Duration::from_millis(10));
        }
        log::info!("line {number} as user 65534");
        logging::flush();
    }
    runtime.shutdown().unwrap();
}
