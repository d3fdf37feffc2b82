//! A profile writes its waits: the flamegraph of waiting, and the block and the mutex profile of
//! Go.

use super::model::{Profile, program};
use crate::error::Error;
use crate::flame::{self, Facts, FlameOptions, Stacks};
use std::io::Write;

/// The stacks of waits. Empty unless the recording [counted waits](super::Options::waits).
///
/// A thread takes its own stack when its wait ends. Waits of five milliseconds or more all get one.
/// Shorter waits get one with a probability proportional to their length, and the first wait for
/// each thing that a thread ends gets one in any case. Times and numbers of waits are exact for
/// each thread, each thing waited for, and each thread that ended the waits; the stacks split them.
///
/// A wait that goes on when the profile is made has the stack with which its thread replies, as for
/// a dump. A wait has `[no stack]` if that thread does not reply, if it runs on another stack than
/// its own, as a coroutine does, or if the engine takes none
/// ([`Engine::Process`](super::Engine::Process)).
impl Profile {
    /// Draws where threads waited, as a flamegraph: at the bottom the tree of threads, on it the
    /// code that called, down to the blocking call; above that what the call waited for, and at the
    /// top which thread ended the wait, in blue; the clock is violet there, the system brown. A frame's
    /// width is time waited. Blocks as long as `out` does.
    ///
    /// The runtime's own threads, which mostly wait, are left out unless
    /// [`show_runtime`](FlameOptions::show_runtime) is set.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), Box<dyn std::error::Error>> {
    /// use selvedge::profile::FlameOptions;
    /// profile.write_waits(std::fs::File::create("indexer.waits.svg")?, &FlameOptions::new())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_waits(&self, out: impl Write, options: &FlameOptions) -> Result<(), Error> {
        let title = format!("{}: what all threads waited for", program());
        let options = options.clone().hide_runtime_if(true);
        let subtitle = format!(
            "{} · at the top what ended the waits: threads blue, the clock violet, the system brown",
            self.waits_summary()
        );
        flame::write_svg(&self.names.get().contention.waits(), &title, &subtitle, &options, out)
    }

    /// The stacks of [`write_waits`](Self::write_waits) as folded lines: `main;reader;<frames, root
    /// first>;[waiting for queue "jobs"];[ended by main/walker] <nanoseconds>`. Blocks as long as
    /// `out` does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use selvedge::profile::{self, Options};
    /// use std::time::Duration;
    ///
    /// let recording = profile::start(Options::new().waits(true))?;
    /// selvedge::Till::after(Duration::from_millis(20)).wait_for_go();
    /// let mut folded = Vec::new();
    /// recording.finish().write_waits_folded(&mut folded)?;
    /// assert!(String::from_utf8(folded).unwrap().contains("[ended by the clock]"));
    /// # }
    /// # Ok::<(), selvedge::Error>(())
    /// ```
    pub fn write_waits_folded(&self, out: impl Write) -> Result<(), Error> {
        flame::write_folded(&self.names.get().contention.waits(), out)
    }

    /// Writes Go's block profile: the stacks that waited, as a gzipped `profile.proto` with the
    /// values `contentions/count` and `delay/nanoseconds`.
    ///
    /// The runtime's own threads, which mostly wait, are left out. Each sample is labelled with its
    /// `thread`, with what it was `waiting_for`, and with the thread that the waits were
    /// `ended_by`. Blocks as long as `out` does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), Box<dyn std::error::Error>> {
    /// // Then: go tool pprof -top -tagfocus=ended_by=main/walker indexer.block.pb.gz
    /// profile.write_block(std::fs::File::create("indexer.block.pb.gz")?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_block(&self, out: impl Write) -> Result<(), Error> {
        self.write_go(&self.names.get().contention.block(), out)
    }

    /// Writes Go's mutex profile: the stacks that let go what other threads waited for, in the
    /// format of [`write_block`](Self::write_block).
    ///
    /// It has the calls that left a [`Lock`](crate::Lock) or a [`Monitor`](crate::Monitor), gave
    /// back a permit of a [`Semaphore`](crate::Semaphore), posted a
    /// [`BinarySemaphore`](crate::BinarySemaphore), or ended a [`Turn`](crate::Turn), while other
    /// threads waited for that. The delay is the time of all waiting threads: one second held with
    /// five threads waiting is five seconds. Blocks as long as `out` does.
    ///
    /// # Errors
    /// [`Error::is_io`]: `out` did not take it.
    ///
    /// ```no_run
    /// # fn show(profile: &selvedge::profile::Profile) -> Result<(), Box<dyn std::error::Error>> {
    /// // Then: go tool pprof -top indexer.mutex.pb.gz
    /// profile.write_contention(std::fs::File::create("indexer.mutex.pb.gz")?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_contention(&self, out: impl Write) -> Result<(), Error> {
        self.write_go(&self.names.get().contention.mutex(), out)
    }

    /// The stacks of [`write_waits_folded`](Self::write_waits_folded), without the runtime's own
    /// threads, as in the picture.
    #[cfg(feature = "inspect")]
    pub(crate) fn write_waits_of_the_program(&self, out: impl Write) -> Result<(), Error> {
        flame::write_folded(&self.names.get().contention.waits_of_the_program(), out)
    }

    /// The same as folded lines.
    #[cfg(feature = "inspect")]
    pub(crate) fn write_contention_folded(&self, out: impl Write) -> Result<(), Error> {
        flame::write_folded(&self.names.get().contention.mutex(), out)
    }

    fn write_go(&self, stacks: &Stacks, out: impl Write) -> Result<(), Error> {
        let comments = [self.waits_summary()];
        let facts = Facts {
            values: [["contentions", "count"], ["delay", "nanoseconds"]],
            started: self.session.started,
            duration: self.session.duration,
            // As Go's: each wait counts for itself.
            period_type: ["contentions", "count"],
            period: 1,
            label_key: "thread",
            comments: &comments,
        };
        flame::write_pprof(stacks, &facts, out)
    }

    fn waits_summary(&self) -> String {
        let mut parts = self.names.get().contention.summary();
        parts.push(format!("recorded for {:.1} s", self.session.duration.as_secs_f64()));
        if self.accounts.is_empty() {
            parts.push("waits were not counted: Options::waits, or waits: true".into());
        }
        parts.join(" · ")
    }
}
