//! A sink whose output panics while it writes: that is a failure, and does not reach the caller.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::output::Buffered;
use super::record::Captured;
use super::sink::{Output, Sink};

/// An output that panics on request.
#[derive(Debug, Default)]
pub(super) struct Panicking {
    panics: Arc<AtomicBool>,
    buffer: Vec<u8>,
}

impl Buffered for Panicking {
    fn asks_directly(&self) -> bool {
        true
    }

    fn push_directly(&mut self, captured: &Captured) -> anyhow::Result<bool> {
        self.buffer.extend_from_slice(captured.message().as_bytes());
        Ok(true)
    }

    fn push(&mut self, _record: &::log::Record<'_>) -> anyhow::Result<bool> {
        unreachable!("it takes captured records")
    }

    fn is_long(&self) -> bool {
        false
    }

    fn held(&self) -> &[u8] {
        &self.buffer
    }

    fn forget(&mut self) {
        self.buffer.clear();
    }

    fn write_out(&mut self) -> io::Result<()> {
        assert!(!self.panics.load(Ordering::SeqCst), "broken\noutput");
        self.buffer.clear();
        Ok(())
    }

    fn explain(&self, error: &io::Error) -> String {
        error.to_string()
    }

    fn last_progress(&self) -> Option<Instant> {
        None
    }
}

#[test]
fn a_panic_while_writing_is_a_failure() {
    let output = Panicking::default();
    let panics = output.panics.clone();
    let mut sink = Sink::new("app", Output::Panicking(output), 10);
    panics.store(true, Ordering::SeqCst);
    assert!(sink.take(Captured::own(::log::Level::Info, "text")).0);
    let notice = sink.flush().unwrap();
    assert!(notice.starts_with("the appender `app` fails: it panicked: broken\\noutput;"), "{notice}");
    sink.try_now();
    assert_eq!(sink.flush(), None, "told once");
    let loss = sink.loss().unwrap();
    assert!(loss.contains("lost: 1 line that it held"), "{loss}");
    panics.store(false, Ordering::SeqCst);
    sink.try_now();
    let notice = sink.flush().unwrap();
    assert!(notice.contains("works again"), "{notice}");
    assert_eq!(sink.loss(), None);
}
