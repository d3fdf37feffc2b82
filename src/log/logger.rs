//! The process's logger: log4rs, with users' code kept out of its locks.

use std::fmt;

use ::log::{Log, Metadata, Record};

use crate::thread::panic::enter_logger;

#[derive(Debug)]
pub(super) struct Logger(pub(super) log4rs::Logger);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.0.enabled(record.metadata()) {
            return;
        }
        // log4rs formats while it holds the appender's lock. A Display or Debug that logs, or panics so that the hook
        // logs, would wait there for itself; so they run here.
        let mut message = String::new();
        if fmt::write(&mut message, *record.args()).is_err() {
            message.push_str("… (formatting failed)");
        }
        let _inside = enter_logger();
        self.0.log(
            &Record::builder()
                .metadata(record.metadata().clone())
                .args(format_args!("{message}"))
                .module_path(record.module_path())
                .file(record.file())
                .line(record.line())
                .key_values(record.key_values())
                .build(),
        );
    }

    fn flush(&self) {
        self.0.flush();
    }
}
