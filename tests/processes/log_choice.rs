//! Which log a program has: the console with a level, RUST_LOG, a plain file, a log4rs file, its
//! own logger, or none.

use crate::support::{Ended, Folder, program, run};
use std::process::Command;

fn tool(scenario: &str) -> Command {
    let mut command = Command::new(program("tool"));
    command.arg(scenario);
    command
}

/// What was logged of `levels`, and whether the runtime's own INFO lines were.
fn shown(stderr: &str) -> (Vec<&'static str>, bool) {
    let texts = ["an error", "a warning", "an info", "a debug", "a trace", "a debug of a part"];
    let is_shown = |text: &&str| {
        stderr.lines().any(|line| line.ends_with(&format!(": {text}")) || line.ends_with(&format!(" {text}")))
    };
    (texts.into_iter().filter(is_shown).collect(), stderr.contains("has started"))
}

fn with_config(folder: &Folder, text: &str) -> Ended {
    let config = folder.write("selvedge.yaml", text);
    run(tool("levels").arg(config))
}

#[test]
fn the_console_shows_program_info_only() {
    let ended = run(&mut tool("levels"));
    assert_eq!(ended.code(), 0);
    assert_eq!(shown(&ended.stderr), (vec!["an error", "a warning", "an info"], false), "{}", ended.stderr);
    assert!(!ended.stderr.contains("selvedge"), "{}", ended.stderr);
}

#[test]
fn a_level_needs_no_log4rs_file() {
    let folder = Folder::new("level");
    let ended = with_config(&folder, "log: { level: error }\n");
    assert_eq!(shown(&ended.stderr), (vec!["an error"], false));
    let ended = with_config(&folder, "log: { level: debug }\n");
    let all = vec!["an error", "a warning", "an info", "a debug", "a debug of a part"];
    assert_eq!(shown(&ended.stderr), (all, true), "{}", ended.stderr);
    let ended = with_config(&folder, "log: { level: \"off\" }\n");
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
}

#[test]
fn rust_log_goes_before_the_level() {
    let folder = Folder::new("rust-log");
    let config = folder.write("selvedge.yaml", "log: { level: error }\n");
    let with = |text: &str| run(tool("levels").arg(&config).env("RUST_LOG", text)).stderr;
    assert_eq!(shown(&with("warn")).0, ["an error", "a warning"]);
    assert_eq!(shown(&with("error,part=debug")).0, ["an error", "a debug of a part"]);
    assert_eq!(shown(&with("part::inner=trace")).0, ["a debug of a part"]);
    assert_eq!(with("off"), "");
    assert_eq!(shown(&with("")).0, ["an error"], "an empty one asks for nothing");
    let text = with("error,part=loud");
    assert_eq!(shown(&text).0, ["an error"]);
    assert!(text.contains("RUST_LOG: `part=loud` is ignored: after `=` comes off, error, warn,"), "{text}");
}

#[test]
fn a_file_disables_rust_log_with_notice() {
    let folder = Folder::new("rust-log-file");
    let config = folder.config("");
    let ended = run(tool("levels").arg(&config).env("RUST_LOG", "trace"));
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let log = folder.read("app.log");
    assert!(
        !log.contains("a debug") && log.contains("RUST_LOG is set and has no effect: the levels come from"),
        "{log}"
    );
}

#[test]
fn the_level_overrides_the_files_root() {
    let folder = Folder::new("level-and-file");
    folder.config("");
    let config = folder.write("selvedge.yaml", "name: subject\nlog: { file: log4rs.yaml, level: debug }\n");
    let ended = run(tool("levels").arg(&config));
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let log = folder.read("app.log");
    assert!(log.contains("DEBUG main a debug\n") && !log.contains("a trace"), "{log}");
}

#[test]
fn a_plain_file_needs_no_log4rs_file() {
    let folder = Folder::new("plain-file");
    let text = "name: tool\nlog: { output: made/if-need-be/app.log }\n";
    let mut lines = 0;
    for round in 1..=2 {
        let ended = with_config(&folder, text);
        assert_eq!((ended.code(), ended.stdout.as_str(), ended.stderr.as_str()), (0, "", ""));
        let log = folder.read("made/if-need-be/app.log");
        assert_eq!(shown(&log), (vec!["an error", "a warning", "an info"], true), "{log}");
        assert!(log.contains(" INFO  main selvedge::runtime::lifecycle: tool has started; its log goes to "), "{log}");
        assert!(!log.contains('\x1b') && log.lines().all(|line| line.starts_with("20")), "{log}");
        // The second run goes on with the file.
        assert!(round == 1 || log.lines().count() == 2 * lines, "{log}");
        lines = log.lines().count();
    }
    for (level, variable, is_shown) in
        [("warn", "", vec!["an error", "a warning"]), ("warn", "error", vec!["an error"])]
    {
        let config =
            folder.write("selvedge.yaml", &format!("log: {{ output: {level}{variable}.log, level: {level} }}\n"));
        assert_eq!(run(tool("levels").arg(config).env("RUST_LOG", variable)).code(), 0);
        assert_eq!(shown(&folder.read(&format!("{level}{variable}.log"))).0, is_shown);
    }
    // The report on stderr, and the file, have the failure once each.
    let config = folder.write("selvedge.yaml", "name: tool\nlog: { output: failed.log, queued: false }\n");
    let ended = run(tool("result-error").arg(config));
    assert_eq!((ended.code(), ended.stderr.matches("there is no such file").count()), (1, 1));
    assert_eq!(folder.read("failed.log").matches("there is no such file").count(), 1);
}

#[test]
fn a_plain_file_that_cannot_be_had_is_an_error() {
    let folder = Folder::new("no-plain-file");
    let config = folder.write("selvedge.yaml", "name: tool\nlog:\n  output: app.log\n");
    let ended = run(tool("own-before").arg(&config));
    let place =
        format!("selvedge: {}:3: log.output: the program has installed a logger of its own before", config.display());
    assert!(ended.code() == 78 && ended.stderr.contains(&place), "{}", ended.stderr);
    assert!(!folder.path().join("app.log").exists());
    // /proc takes no files, which only opening shows.
    let config = folder.write("selvedge.yaml", "name: tool\nlog:\n  output: /proc/app.log\n");
    let ended = run(tool("levels").arg(&config));
    let place = format!("selvedge: {}:3: log.output: cannot open /proc/app.log: ", config.display());
    assert!(ended.code() == 78 && ended.stderr.starts_with(&place), "{}", ended.stderr);
}

#[test]
fn a_subscriber_of_its_own_gets_all_records() {
    for scenario in ["own", "own-before"] {
        let ended = run(&mut tool(scenario));
        assert_eq!(ended.code(), 0, "{scenario}: {}", ended.stderr);
        assert!(ended.stderr.contains("INFO") && ended.stderr.contains("by tracing"), "{scenario}: {}", ended.stderr);
        assert!(ended.stderr.contains("by log"), "{scenario}: {}", ended.stderr);
    }
    // What the runtime says goes there, too: its end comes after the installation.
    assert!(run(&mut tool("own")).stderr.contains("tool has ended"));
    assert!(run(&mut tool("own-before")).stderr.contains("an info"));
}

#[test]
fn a_late_subscriber_gets_a_remedy() {
    let ended = run(&mut tool("own-later"));
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("main failed: attempted to set a logger after"), "{}", ended.stderr);
    assert!(ended.stderr.contains("write `log: own` in the YAML, or call Config::log_own()"), "{}", ended.stderr);
}

#[test]
fn without_a_log_only_warnings_are_told() {
    let ended = run(&mut tool("off"));
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let ended = run(&mut tool("own-panic"));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("told without a log") && ended.stderr.contains("tool.rs:"), "{}", ended.stderr);
}

#[test]
fn an_earlier_runtimes_logger_can_be_off() {
    let ended = run(&mut tool("off-after-a-console"));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let (before, after) = ended.stderr.split_once("now off\n").expect("both runtimes have run");
    assert_eq!((shown(before).0.len(), after), (3, ""));
}

#[test]
fn off_and_own_are_words_of_the_yaml() {
    let folder = Folder::new("words");
    for word in ["off", "own"] {
        let ended = with_config(&folder, &format!("log: {word}\n"));
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""), "{word}");
    }
    // A file of that name is meant by its path.
    folder.config("");
    std::fs::rename(folder.path().join("log4rs.yaml"), folder.path().join("off")).unwrap();
    assert_eq!(with_config(&folder, "log: ./off\n").stderr, "");
    assert!(folder.read("app.log").contains("an info"));
}
