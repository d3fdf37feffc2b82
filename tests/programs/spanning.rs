//! `spanning CONFIG`: three threads open ten spans each, and the end of the run prints them.

use selvedge::{run, scope, span};
use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
    let config = std::env::args().nth(1).expect("a config");
    run(config, |_| {
        scope(|s| {
            for n in 0..3 {
                let _ = s.spawn(format!("parser-{n}"), |_| {
                    for _ in 0..10 {
                        let _parse = span("parse");
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                });
            }
        });
    })
}
