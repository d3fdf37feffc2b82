//! One logger each: how it is set up to write to a file, a call of it, and its end.

use crate::CAPACITY;
use std::sync::{Arc, Mutex, OnceLock};

pub const ALL: [&str; 6] = ["selvedge", "log4rs", "tracing-appender", "spdlog-rs", "flexi_logger", "fast_log"];

pub struct Logger {
    pub call: fn(usize, usize),
    pub end: Box<dyn FnOnce()>,
}

fn through_log(caller: usize, number: usize) {
    log::info!("caller #{caller} has record {number} to tell of");
}

pub fn start(rival: &str, file: &str) -> Logger {
    match rival {
        "selvedge" => selvedge(file),
        "log4rs" => log4rs(file),
        "tracing-appender" => tracing(file),
        "spdlog-rs" => spdlog(file),
        "flexi_logger" => flexi(file),
        "fast_log" => fast(file),
        other => panic!("no rival {other}"),
    }
}

fn selvedge(file: &str) -> Logger {
    let yaml = format!("{file}.yaml");
    let text = format!(
        "appenders:\n  out: {{ kind: file, path: '{file}', \
         encoder: {{ pattern: \"{{d(%Y-%m-%d %H:%M:%S%.3f)}} {{l}} {{T}} {{t}}: {{m}}{{n}}\" }} }}\n\
         root: {{ level: info, appenders: [out] }}\n"
    );
    std::fs::write(&yaml, text).expect("a file");
    let config = selvedge::Config::new("bench").log_file(&yaml).log_capacity(CAPACITY);
    let runtime = selvedge::Runtime::start(config).expect("starts");
    std::fs::remove_file(yaml).expect("it was there");
    Logger {
        call: through_log,
        end: Box::new(move || {
            selvedge::logging::flush();
            std::mem::forget(runtime);
        }),
    }
}

fn log4rs(file: &str) -> Logger {
    use log4rs::append::file::FileAppender;
    use log4rs::config::{Appender, Config, Root};
    use log4rs::encode::pattern::PatternEncoder;
    let encoder = PatternEncoder::new("{d(%Y-%m-%d %H:%M:%S%.3f)} {l} {T} {t}: {m}{n}");
    let appender = FileAppender::builder().encoder(Box::new(encoder)).build(file).expect("a file");
    let config = Config::builder()
        .appender(Appender::builder().build("out", Box::new(appender)))
        .build(Root::builder().appender("out").build(log::LevelFilter::Info))
        .expect("a config");
    log4rs::init_config(config).expect("the first logger");
    Logger { call: through_log, end: Box::new(|| log::logger().flush()) }
}

fn tracing(file: &str) -> Logger {
    let (folder, name) = file.rsplit_once('/').expect("an absolute path");
    let appender = tracing_appender::rolling::never(folder, name);
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        .lossy(false)
        .buffered_lines_limit(CAPACITY)
        .finish(appender);
    tracing_subscriber::fmt().with_writer(writer).with_ansi(false).with_thread_names(true).init();
    Logger {
        call: |caller, number| tracing::info!("caller #{caller} has record {number} to tell of"),
        end: Box::new(move || drop(guard)),
    }
}

static SPDLOG: OnceLock<Mutex<Option<Arc<spdlog::Logger>>>> = OnceLock::new();

fn spdlog(file: &str) -> Logger {
    use spdlog::formatter::{PatternFormatter, pattern};
    use spdlog::sink::{AsyncPoolSink, FileSink, OverflowPolicy};
    let pattern = pattern!("{date} {time}.{millisecond} {level} {tid} {module_path}: {payload}{eol}");
    let inner = FileSink::builder().path(file).truncate(true).formatter(PatternFormatter::new(pattern));
    let inner = inner.build_arc().expect("a file");
    let capacity = CAPACITY.try_into().expect("more than none");
    let pool = spdlog::ThreadPool::builder().capacity(capacity).build_arc().expect("a thread");
    let sink = AsyncPoolSink::builder().sink(inner.clone()).overflow_policy(OverflowPolicy::Block);
    let sink = sink.thread_pool(pool.clone());
    let sink = sink.build_arc().expect("a sink");
    let logger = Arc::new(spdlog::Logger::builder().sink(sink).build().expect("a logger"));
    // The macros take the default logger fastest.
    spdlog::set_default_logger(logger.clone());
    let _ = SPDLOG.set(Mutex::new(Some(logger)));
    Logger {
        call: |caller, number| spdlog::info!("caller #{} has record {} to tell of", caller, number),
        end: Box::new(move || {
            let logger = SPDLOG.get().and_then(|logger| logger.lock().expect("no panic").take());
            let empty = Arc::new(spdlog::Logger::builder().build().expect("a logger"));
            drop(spdlog::swap_default_logger(empty));
            drop(logger);
            // Its drop works off what is queued.
            drop(pool);
            spdlog::sink::Sink::flush(&*inner).expect("a file");
        }),
    }
}

fn flexi(file: &str) -> Logger {
    use flexi_logger::{DeferredNow, FileSpec, WriteMode};
    fn line(w: &mut dyn std::io::Write, now: &mut DeferredNow, record: &log::Record<'_>) -> std::io::Result<()> {
        write!(
            w,
            "{} {} {} {}: {}",
            now.format("%Y-%m-%d %H:%M:%S%.3f"),
            record.level(),
            std::thread::current().name().unwrap_or("unnamed"),
            record.target(),
            record.args()
        )
    }
    let mode = WriteMode::AsyncWith {
        pool_capa: CAPACITY,
        message_capa: 200,
        flush_interval: std::time::Duration::from_secs(1),
    };
    let spec = FileSpec::try_from(std::path::Path::new(file)).expect("a path");
    let logger = flexi_logger::Logger::try_with_str("info").expect("a level");
    let handle = logger.log_to_file(spec).write_mode(mode).format(line).start();
    let handle = handle.expect("starts");
    Logger { call: through_log, end: Box::new(move || handle.shutdown()) }
}

fn fast(file: &str) -> Logger {
    let config = fast_log::Config::new().file(file).level(log::LevelFilter::Info).chan_len(Some(CAPACITY));
    let logger = fast_log::init(config).expect("starts");
    Logger { call: through_log, end: Box::new(move || logger.wait_flush()) }
}

trait WaitFlush {
    fn wait_flush(&self);
}

impl WaitFlush for fast_log::Logger {
    fn wait_flush(&self) {
        if let Ok(wait) = fast_log::flush() {
            wait.wait();
        }
    }
}
