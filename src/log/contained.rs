//! An appender that the logging thread calls directly. A panic in it, or in its encoder, is caught
//! and counted, and does not reach the program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use log4rs::append::Append;

use crate::error::{drop_payload, panic_message};
use crate::os::tell::{note_logged, remark};
use crate::yaml::plain;

#[derive(Debug)]
pub(super) struct Contained {
    name: String,
    appender: Box<dyn Append>,
    /// How often it has panicked. Relaxed: it is a count, and nothing else is read by it.
    panics: AtomicU64,
}

impl Contained {
    pub(super) fn new(name: &str, appender: Box<dyn Append>) -> Contained {
        Contained { name: plain(name), appender, panics: AtomicU64::new(0) }
    }

    /// Reports the 1st, 10th, 100th … panic on stderr.
    fn report_panic(&self, payload: Box<dyn std::any::Any + Send>) {
        let message = plain(&panic_message(&*payload));
        drop_payload(payload);
        let count = self.panics.fetch_add(1, Ordering::Relaxed) + 1;
        if 10_u64.pow(count.ilog10()) == count {
            let records = if count == 1 { "a record is lost".to_owned() } else { format!("{count} records are lost") };
            remark(&format!("selvedge: the appender `{}` panicked: {message}; {records}", self.name));
        }
    }
}

impl Append for Contained {
    fn append(&self, record: &::log::Record<'_>) -> anyhow::Result<()> {
        // AssertUnwindSafe: what a panic leaves half-done is the appender's, which has to bear that
        // in log4rs too.
        match catch_unwind(AssertUnwindSafe(|| self.appender.append(record))) {
            Ok(Ok(())) => note_logged(),
            // Not given to log4rs, which takes the standard library's lock of stderr to print it.
            Ok(Err(error)) => remark(&format!("log4rs: {error:#}")),
            Err(payload) => self.report_panic(payload),
        }
        Ok(())
    }

    fn flush(&self) {
        // AssertUnwindSafe: as above.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.appender.flush())) {
            drop_payload(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::tell::was_logged;

    #[derive(Debug)]
    struct Panics;

    impl Append for Panics {
        fn append(&self, record: &::log::Record<'_>) -> anyhow::Result<()> {
            match record.args().to_string().as_str() {
                "fails" => anyhow::bail!("refused"),
                "is taken" => Ok(()),
                _ => panic!("not this one"),
            }
        }

        fn flush(&self) {
            panic!("nor this")
        }
    }

    #[test]
    fn a_panic_in_an_appender_is_caught() {
        let contained = Contained::new("bad", Box::new(Panics));
        for _ in 0..3 {
            contained.append(&::log::Record::builder().args(format_args!("a")).build()).unwrap();
        }
        contained.flush();
        assert_eq!(contained.panics.load(Ordering::Relaxed), 3);
        let is_logged = |text: &str| {
            was_logged(|| contained.append(&::log::Record::builder().args(format_args!("{text}")).build()).unwrap())
        };
        assert!(!is_logged("fails") && !is_logged("panics") && is_logged("is taken"));
    }
}
