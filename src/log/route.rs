//! The direct way of a record, from the facade to the queue, where there is one appender and it only
//! captures. Decides as log4rs does by levels, loggers and filters, but without what its own
//! dispatch costs: it searches each target for `::`, which takes longer than to capture a record.

use std::sync::Arc;

use ::log::{LevelFilter, Record};
use log4rs::config::Logger;
use log4rs::filter::{Filter, Response};

use super::queue_appender::QueueAppender;

#[derive(Debug)]
pub(super) struct Route {
    root: Rule,
    /// The loggers' names and rules, sorted by name.
    loggers: Vec<(String, Rule)>,
    filters: Arc<[Box<dyn Filter>]>,
    appender: QueueAppender,
}

/// What a logger does with the records of its targets.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rule {
    level: LevelFilter,
    /// How often the appender gets a record: a logger may name it again.
    times: usize,
}

impl Route {
    pub(super) fn new(
        (level, appenders): &(LevelFilter, Vec<String>),
        loggers: &[Logger],
        filters: Arc<[Box<dyn Filter>]>,
        appender: QueueAppender,
    ) -> Route {
        let root = Rule { level: *level, times: appenders.len() };
        let mut route = Route { root, loggers: Vec::new(), filters, appender };
        // A logger above another comes first: its name is shorter.
        let mut loggers: Vec<&Logger> = loggers.iter().collect();
        loggers.sort_by_key(|logger| logger.name().len());
        for logger in loggers {
            let inherited = if logger.additive() { route.rule(logger.name()).times } else { 0 };
            let rule = Rule { level: logger.level(), times: logger.appenders().len() + inherited };
            let at = route.loggers.partition_point(|(name, _)| name.as_str() < logger.name());
            route.loggers.insert(at, (logger.name().to_owned(), rule));
        }
        route
    }

    /// The rule of the logger with the longest name that is the target or stands above it.
    fn rule(&self, target: &str) -> Rule {
        let mut rule = self.root;
        if self.loggers.is_empty() {
            return rule;
        }
        let mut begin = 0;
        loop {
            let colons = target.as_bytes()[begin..].windows(2).position(|pair| pair == b"::");
            let end = colons.map_or(target.len(), |length| begin + length);
            let name = &target[..end];
            if let Ok(at) = self.loggers.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
                rule = self.loggers[at].1;
            }
            if colons.is_none() {
                return rule;
            }
            begin = end + 2;
        }
    }

    /// Gives the record to the queue, unless the levels or filters hold it back.
    #[inline]
    pub(super) fn log(&self, record: &Record<'_>) {
        let rule = self.rule(record.target());
        if record.level() > rule.level {
            return;
        }
        let decided = self.filters.iter().map(|filter| filter.filter(record)).find(|said| *said != Response::Neutral);
        if decided != Some(Response::Reject) {
            (0..rule.times).for_each(|_| self.appender.capture(record));
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::super::channel_tests::{Paper, channel};
    use super::super::wiring::Overflow;
    use super::*;
    use ::log::{Level, Log};
    use log4rs::append::Append;
    use log4rs::config::{Appender, Config, Root};

    /// The records that log4rs's own dispatch would write.
    fn by_log4rs(root: &(LevelFilter, Vec<String>), loggers: &[Logger], targets: &[&str]) -> Vec<String> {
        let paper = Paper::default();
        let root = Root::builder().appenders(&root.1).build(root.0);
        let config = Config::builder().loggers(loggers.iter().cloned());
        let config = config.appender(Appender::builder().build("out", Box::new(paper.clone()))).build(root).unwrap();
        let logger = log4rs::Logger::new(config);
        each(targets, |record| logger.log(record));
        paper.flush();
        paper.lines()
    }

    fn each(targets: &[&str], log: impl Fn(&Record<'_>)) {
        for (target, level) in targets.iter().flat_map(|target| Level::iter().map(move |level| (target, level))) {
            let text = format_args!("{target} {level}");
            log(&Record::builder().target(target).level(level).args(text).build());
        }
    }

    #[test]
    fn it_decides_as_log4rs_does() {
        let out = || vec!["out".to_owned()];
        let named = |name: &str, level, appenders: usize, additive| {
            let appenders = std::iter::repeat_n("out", appenders);
            Logger::builder().appenders(appenders).additive(additive).build(name, level)
        };
        let loggers = [
            named("a::b::c", LevelFilter::Trace, 1, true),
            named("a", LevelFilter::Debug, 0, true),
            named("a::b", LevelFilter::Error, 1, false),
            named("bb", LevelFilter::Off, 0, true),
            named("a::b::c::d", LevelFilter::Info, 0, false),
            named("z::y", LevelFilter::Info, 1, true),
        ];
        let targets = [
            "",
            "a",
            "a::",
            "a:",
            "a::b",
            "a:::b",
            "::a",
            "ab",
            "a::bc",
            "a::b::c",
            "a::b::c::d",
            "a::b::c::d::e::f",
            "a::x::c",
            "bb",
            "bb::a",
            "b",
            "z",
            "z::y",
            "z::y::x",
            "z::yy",
            "\u{e4}::b",
            "a::\u{e4}",
        ];
        let targets = targets.as_slice();
        for root in [(LevelFilter::Warn, out()), (LevelFilter::Info, Vec::new()), (LevelFilter::Off, out())] {
            for count in 0..=loggers.len() {
                let loggers = &loggers[..count];
                let paper = Paper::default();
                let channel = channel(10_000, Overflow::Block, paper.clone());
                let route = Route::new(&root, loggers, Arc::new([]), QueueAppender::one(channel.clone(), 0));
                each(targets, |record| route.log(record));
                channel.flush(None);
                assert_eq!(paper.lines(), by_log4rs(&root, loggers, targets), "{root:?} {loggers:?}");
            }
        }
    }
}
