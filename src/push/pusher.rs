//! The thread that pushes, and the handle by which the end of the program tells it to push the rest
//! and waits for that.

use super::backlog::Backlog;
use super::backoff::{Backoff, random_part};
use super::counts::{Counts, Loss};
use super::encode;
use super::lookup::Lookup;
use super::plan::Plan;
use super::request::send;
use super::response::Outcome;
use crate::error::{Error, Kind};
use crate::model::locks::Mutex;
use crate::profile::{Interval, Profile, Series};
use crate::signal::{Signal, Till};
use crate::thread::tree::Node;
use crate::thread::{Builder, Thread};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long the end of the program waits for the last interval.
const LAST: Duration = Duration::from_secs(3);
/// So many attempts the server may fail at an interval: others wait behind it.
const MOST_FAILURES: u32 = 10;
/// How long it then waits until the thread has told what is lost.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The handle on the thread that pushes, for the end of the program.
pub(crate) struct Pusher {
    end: Arc<End>,
    counts: Arc<Counts>,
    done: Receiver<()>,
}

/// What the end of the program tells the thread.
struct End {
    /// The profile of the whole run, once `has_come` has gone.
    profile: Mutex<Option<Profile>>,
    has_come: Signal,
    /// The time for the last interval is over.
    gives_up: Signal,
}

/// Starts the thread, for the recording that runs. `None`: none runs.
///
/// # Errors
/// No thread.
pub(crate) fn start(main: &Arc<Node>, plan: Plan) -> Result<Option<Pusher>, Error> {
    let Some(series) = Series::begin() else { return Ok(None) };
    let end = Arc::new(End {
        profile: Mutex::new(None),
        has_come: Signal::new("the last profile"),
        gives_up: Signal::new("the last profile takes too long"),
    });
    let (told, done) = channel();
    let counts = Arc::new(Counts::new(plan.url()));
    let (of_thread, to_count, url, every) = (end.clone(), counts.clone(), plan.url(), plan.every);
    let builder = Builder::new("push").parent(&Thread::from_node(main.clone())).runtime();
    let body = move |please_stop: &Signal| Work::new(plan, series, of_thread, to_count, told).run(please_stop);
    builder.spawn(body).map(drop).map_err(|error| Error::new(Kind::Io, "no thread for the push").because(error))?;
    log::info!("push: each {every:?} the profile goes to {url}");
    Ok(Some(Pusher { end, counts, done }))
}

impl Pusher {
    /// The recording has ended with this profile. Does not block.
    pub(crate) fn finish(&self, profile: Profile) {
        *self.end.profile.lock() = Some(profile);
        self.end.has_come.go_unexplained();
    }

    /// Waits until the last interval is pushed or lost. After three seconds it is lost.
    pub(crate) fn wait(self) {
        self.wait_at_most(LAST, LAST_WORDS);
    }

    fn wait_at_most(self, last: Duration, last_words: Duration) {
        // Nothing is sent: the other end is dropped.
        if self.done.recv_timeout(last) == Err(RecvTimeoutError::Timeout) {
            self.end.gives_up.go_unexplained();
            if self.done.recv_timeout(last_words) == Err(RecvTimeoutError::Timeout) {
                // The thread still looks for the names of an interval. Or it tells its last words to a log that
                // hangs, and then this tells nothing.
                self.counts.end();
            }
        }
    }
}

/// What the thread has.
struct Work {
    plan: Plan,
    series: Series,
    end: Arc<End>,
    lookup: Lookup,
    backlog: Backlog,
    backoff: Backoff,
    counts: Arc<Counts>,
    /// No attempt before.
    next_attempt: Instant,
    /// The server has asked for that.
    is_asked: bool,
    /// Dropped at the end of the thread's work.
    _done: Sender<()>,
}

impl Work {
    fn new(plan: Plan, series: Series, end: Arc<End>, counts: Arc<Counts>, done: Sender<()>) -> Work {
        Work {
            lookup: Lookup::new(&plan.host, plan.port),
            counts,
            plan,
            series,
            end,
            backlog: Backlog::default(),
            backoff: Backoff::default(),
            next_attempt: Instant::now(),
            is_asked: false,
            _done: done,
        }
    }

    fn run(mut self, please_stop: &Signal) {
        let stop = please_stop | &self.end.gives_up;
        // Programs that start at the same time do not push at the same time.
        let mut due = Instant::now() + self.plan.every.mul_f64(0.5 + random_part() / 2.0);
        loop {
            let attempt = self.backlog.oldest().map(|_| self.next_attempt);
            let next = attempt.into_iter().fold(due, Instant::min);
            (Till::at(next) | please_stop | &self.end.has_come).wait_for_go();
            if please_stop.is_go() || self.end.has_come.is_go() {
                break;
            }
            if Instant::now() >= due {
                self.take();
                // To find names may take longer than an interval.
                due = (due + self.plan.every).max(Instant::now() + self.plan.every / 2);
            }
            if self.next_attempt <= Instant::now() {
                self.attempt(MOST_FAILURES, &stop);
            }
        }
        self.finish(&stop);
    }

    /// Ends an interval.
    fn take(&mut self) {
        self.counts.taken();
        match self.series.next() {
            Some(interval) => self.add(&interval),
            // The recording has ended: its profile comes, or the stop.
            None => self.counts.was_empty(),
        }
    }

    fn add(&mut self, interval: &Interval) {
        if interval.deltas.is_empty() {
            return self.counts.was_empty();
        }
        match encode::body(&self.plan, interval) {
            Ok(body) => {
                let why = "the server takes none, and there is no room for more";
                self.counts.lost(self.backlog.add(body), Loss::Full, why);
            }
            Err(why) => self.counts.lost(1, Loss::Unmade, &why),
        }
    }

    /// Sends the oldest interval, at which the server may fail so often. Returns `true` if the next
    /// may follow at once.
    fn attempt(&mut self, most_failures: u32, stop: &Signal) -> bool {
        let Some(body) = self.backlog.oldest() else { return false };
        match send(&self.plan, &mut self.lookup, body, stop) {
            Outcome::Taken(answer) => {
                self.backlog.remove();
                self.backoff.succeeded();
                match encode::rejected(&self.plan, &answer) {
                    None => self.counts.pushed(),
                    Some(why) => self.counts.lost(1, Loss::Refused, &why),
                }
                true
            }
            Outcome::Refused(why) => {
                self.backlog.remove();
                self.counts.lost(1, Loss::Refused, &why);
                true
            }
            Outcome::Failed { why, after } => {
                let failures = self.backlog.fail();
                if failures < most_failures {
                    self.try_later(&why, after);
                    return false;
                }
                self.backlog.remove();
                self.pause(after);
                self.counts.lost(1, Loss::Refused, &format!("{why}, at attempt {failures}"));
                true
            }
            Outcome::Later { why, after } => {
                self.try_later(&why, after);
                false
            }
            Outcome::GaveUp => false,
        }
    }

    fn try_later(&mut self, why: &str, after: Option<Duration>) {
        let pause = self.pause(after);
        self.counts.failed(why, pause, self.backlog.len());
    }

    /// No attempt for a time, which the server may have named. Returns how long.
    fn pause(&mut self, after: Option<Duration>) -> Duration {
        let pause = self.backoff.failed(after);
        self.next_attempt = Instant::now() + pause;
        self.is_asked = after.is_some();
        pause
    }

    /// Pushes what is left, each interval once.
    fn finish(&mut self, stop: &Signal) {
        let profile = self.end.profile.lock().take();
        if let Some(profile) = profile {
            self.counts.taken();
            let interval = self.series.last(&profile);
            drop(profile);
            self.add(&interval);
        }
        let is_asked_to_wait = self.is_asked && self.next_attempt > Instant::now();
        if !is_asked_to_wait {
            while !stop.is_go() && self.attempt(1, stop) {}
        }
        self.counts.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_whose_names_are_not_found_in_time_is_told_as_lost() {
        let profile = Mutex::new(None);
        let end = Arc::new(End { profile, has_come: Signal::new("come"), gives_up: Signal::new("late") });
        let counts = Arc::new(Counts::new("http://host:80".to_owned()));
        counts.taken();
        let (_of_a_thread_that_never_ends, done) = channel();
        let pusher = Pusher { end: end.clone(), counts: counts.clone(), done };
        pusher.wait_at_most(Duration::ZERO, Duration::ZERO);
        assert!(end.gives_up.is_go());
        assert!(counts.is_over());
    }
}
