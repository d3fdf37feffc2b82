//! Files of log4rs users run as they stand: ten, each with the features of a file of a public
//! project. docs/logging.md lists the differences.

use crate::support::{Ended, Folder, program, run};
use selvedge::Config;
use std::process::Command;

/// Runs a program that logs a line of each level, in a folder with this file; it begins in the
/// folder, as paths in a log4rs file are relative to where the program is.
fn run_with(folder: &Folder, yaml: &str) -> Ended {
    folder.write("log4rs.yaml", yaml);
    let config = folder.write("selvedge.yaml", "name: subject\nlog: log4rs.yaml\n");
    run(Command::new(program("tool")).arg("levels").arg(config).current_dir(folder.path()))
}

fn lines(folder: &Folder, file: &str) -> Vec<String> {
    folder.read(file).lines().map(str::to_owned).collect()
}

#[test]
fn console_and_file_with_threshold_and_widths() {
    let folder = Folder::new("widths");
    let ended = run_with(
        &folder,
        r#"
refresh_rate: 30 seconds
appenders:
  stdout:
    kind: console
    encoder:
      pattern: "{({d(%H:%M:%S)} [{l}]):16.16} {m}{n}"
  logfile:
    kind: file
    filters:
      -
        kind: threshold
        level: warn
    path: "log/requests.log"
    encoder:
      pattern: "{({d(%Y-%m-%d %H:%M:%S)} [{l}]):26.26} {m}{n}"
root:
  level: info
  appenders:
    - logfile
    - stdout
"#,
    );
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    assert!(ended.stdout.contains(" [INFO]  an info\n") && !ended.stdout.contains("a debug"), "{}", ended.stdout);
    let log = lines(&folder, "log/requests.log");
    assert_eq!(log.len(), 2, "{log:?}");
    // A width of 26 cuts the bracket off, as in log4rs.
    assert!(log[0].ends_with(" [ERROR an error") && log[1].ends_with(" [WARN] a warning"), "{log:?}");
}

#[test]
fn a_rolling_file_with_all_names() {
    let folder = Folder::new("names");
    let ended = run_with(
        &folder,
        r#"
appenders:
  stdout: { kind: console }
  # Without a kind of policy; a size with a blank and without.
  rolling:
    kind: rolling_file
    path: logs/app.log
    append: true
    encoder:
      kind: pattern
      pattern: "{d(%Y-%m-%dT%H:%M:%S %Z)(utc)} | {({level}):5.5} | {file}:{line} — {message}{n}"
    policy:
      trigger:
        kind: size
        limit: 10 mb
      roller:
        kind: fixed_window
        pattern: logs/archive/app_{}.log
        count: 10
        base: 1
root:
  level: info
  appenders: [rolling]
loggers:
  rolling:
    level: info
    appenders: [rolling]
"#,
    );
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, ""));
    // The appender that nothing names is told of.
    assert!(folder.read("logs/app.log").contains("neither root nor a logger names this appender"));
    let log = folder.read("logs/app.log");
    assert!(log.contains(" UTC | ERROR | tests/programs/tool.rs:") && log.contains(" — an error\n"), "{log}");
    assert!(log.contains(" | WARN  | "), "{log}");
}

#[test]
fn additive_and_separate_files_for_modules() {
    let folder = Folder::new("parts");
    let pattern = "encoder: { pattern: \"{d} - {l} - {t} - {m}{n}\" }";
    let yaml = format!(
        r#"
refresh_rate: 30 seconds
appenders:
  stdout: {{ kind: console, {pattern} }}
  all: {{ kind: file, path: "log/all.log", {pattern} }}
  part: {{ kind: file, path: "log/part.log", {pattern} }}
root:
  level: debug
  appenders:
    - stdout
    - all
loggers:
  # In its own file, and in the files of the root.
  part:
    level: trace
    appenders:
      - part
  programs::tool:
    level: warn
    appenders:
      - part
    additive: false
  # Without appenders, and off.
  selvedge:
    level: off
    additive: false
"#
    );
    let ended = run_with(&folder, &yaml);
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let (all, part) = (folder.read("log/all.log"), folder.read("log/part.log"));
    assert!(all.lines().count() == 1 && all.contains(" - DEBUG - part::inner - a debug of a part"), "{all}");
    assert!(part.lines().count() == 3 && part.contains(" - WARN - programs::tool - a warning"), "{part}");
}

#[test]
fn missing_root_and_root_without_appenders() {
    for root in ["", "root:\n  level: error\n"] {
        let folder = Folder::new("no-root");
        let yaml = format!(
            r#"
refresh_rate: 60 seconds
appenders:
  agent:
    kind: file
    path: "log/agent.log"
    encoder:
      pattern: "{{d}} - {{l}} - {{f}} - {{m}}{{n}}"
{root}
loggers:
  programs:
    level: error
    appenders:
      - agent
"#
        );
        let ended = run_with(&folder, &yaml);
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let log = lines(&folder, "log/agent.log");
        assert!(log.len() == 1 && log[0].ends_with(" - ERROR - tests/programs/tool.rs - an error"), "{log:?}");
        // No appender gets what is said of it, so stderr does.
        let remark = "root has no appenders, so what no logger takes is not logged";
        assert!(ended.stderr.contains(remark), "{}", ended.stderr);
    }
}

#[test]
fn colours_and_nested_formatters_in_one_pattern() {
    let folder = Folder::new("nested");
    let ended = run_with(
        &folder,
        r#"
appenders:
  stdout:
    kind: console
    encoder:
      pattern: "{h({d(%Y-%m-%d %H:%M:%S)(utc)} - {l} - {f}:{L} - {m}{n})}"
  file_logger:
    kind: rolling_file
    path: "logs/app.log"
    encoder:
      pattern: "{d(%Y-%m-%d %H:%M:%S)(utc)} - {h({l})}: {m}{n}"
    policy:
      trigger:
        kind: size
        limit: 50kb
      roller:
        kind: fixed_window
        base: 1
        count: 3
        pattern: "logs/app{}.log"
root:
  level: trace
  appenders:
    - stdout
    - file_logger
"#,
    );
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    // Neither is a terminal, so there are no colours.
    assert!(!ended.stdout.contains('\x1b') && ended.stdout.contains(" - TRACE - tests/programs/tool.rs:"));
    assert!(folder.read("logs/app.log").contains(" - TRACE: a trace\n"));
}

#[test]
fn dates_in_all_the_forms_that_are_seen() {
    let folder = Folder::new("dates");
    let formats =
        ["%+)(local", "%+)(utc", "%Y-%m-%d %H:%M:%S.%f", "%m-%d %H:%M:%S:%3f", "%H:%M:%S%.3f %Z", "%Y-%m-%d %H:%M:%S "];
    let mut yaml = String::from("appenders:\n");
    for (number, format) in formats.iter().enumerate() {
        let pattern = format!("{{d({format})}} [{{f}}:{{L}}] {{h({{l}})}} {{M}}:{{m}}{{n}}");
        yaml.push_str(&format!(
            "  a{number}: {{ kind: file, path: log/{number}.log, encoder: {{ pattern: \"{pattern}\" }} }}\n"
        ));
    }
    let names: Vec<_> = (0..formats.len()).map(|number| format!("a{number}")).collect();
    yaml.push_str(&format!("root: {{ level: info, appenders: [{}] }}\n", names.join(", ")));
    let ended = run_with(&folder, &yaml);
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    for number in 0..formats.len() {
        let log = folder.read(&format!("log/{number}.log"));
        let line =
            log.lines().find(|line| line.ends_with("programs::tool:an error")).unwrap_or_else(|| panic!("{log}"));
        assert!(line.starts_with(|first: char| first.is_ascii_digit()) && line.contains("] ERROR "), "{line}");
    }
}

#[test]
fn a_truncated_report_and_a_console() {
    let folder = Folder::new("report");
    let yaml = r#"
appenders:
  stdout:
    kind: console

  output_ap:
    kind: file
    path: output.log
    append: false
    encoder:
      pattern: "{m}{n}"

root:
  level: debug
  appenders:
    - stdout

loggers:
  part:
    level: debug
    appenders:
      - output_ap
"#;
    for _ in 0..2 {
        let ended = run_with(&folder, yaml);
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
        // log4rs's default pattern; additive.
        assert!(ended.stdout.contains(" DEBUG part::inner - a debug of a part\n"), "{}", ended.stdout);
        assert_eq!(folder.read("output.log"), "a debug of a part\n");
    }
}

#[test]
fn json_lines_for_a_collector() {
    let folder = Folder::new("json");
    let ended = run_with(
        &folder,
        r#"
refresh_rate: 5 seconds
appenders:
  json:
    kind: rolling_file
    path: "logs/app.json"
    append: true
    encoder:
      kind: json
    policy:
      kind: compound
      trigger:
        kind: time
        interval: 1 day
      roller:
        kind: delete
root:
  level: info
  appenders:
    - json
"#,
    );
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let records = lines(&folder, "logs/app.json");
    let parse = |line: &String| serde_json::from_str::<serde_json::Value>(line).expect(line);
    let record = records.iter().map(parse).find(|record| record["message"] == "an error").expect("in the log");
    assert_eq!((&record["level"], &record["thread"]), (&"ERROR".into(), &"main".into()));
}

#[test]
fn paths_with_the_environment_and_the_time() {
    let folder = Folder::new("variables");
    let yaml = r#"
appenders:
  file:
    kind: file
    path: "$ENV{LOG_FOLDER}/app-$TIME{%Y}.log"
    encoder: { pattern: "{l} {m}{n}" }
  # A date in a path is no formatter: the braces are of the name.
  literal:
    kind: file
    path: "log.nosync/file-{d(%Y-%m-%d)}.log"
    encoder: { pattern: "{l} {m}{n}" }
root: { level: warn, appenders: [file, literal] }
"#;
    folder.write("log4rs.yaml", yaml);
    let config = folder.write("selvedge.yaml", "name: subject\nlog: log4rs.yaml\n");
    let mut command = Command::new(program("tool"));
    command.arg("levels").arg(config).current_dir(folder.path()).env("LOG_FOLDER", "by-variable");
    let ended = run(&mut command);
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let made = std::fs::read_dir(folder.path().join("by-variable")).unwrap().next().unwrap().unwrap();
    let name = made.file_name().into_string().unwrap();
    assert!(name.starts_with("app-20") && name.ends_with(".log"), "{name}");
    assert!(folder.read("log.nosync/file-{d(%Y-%m-%d)}.log").contains("ERROR an error\n"));
}

#[test]
fn refusals_name_the_line_and_remedy() {
    // Features of public files that cannot be run here, and what the error says.
    let root = "root: { level: info, appenders: [out] }\n";
    let rolled = |roller: &str| {
        format!(
            "appenders:\n  out:\n    kind: rolling_file\n    path: logs/app.log\n    policy:\
             \n      trigger: {{ kind: size, limit: 1 gb }}\n      roller: {roller}\n{root}"
        )
    };
    let cases = [
        (
            "refresh_rate: 0 seconds\nappenders: { out: { kind: console } }\n".to_owned() + root,
            "log4rs.yaml:1: refresh_rate: shorter than a millisecond",
        ),
        (
            format!("appenders:\n  out:\n    kind: console\n    filters:\n    - kind: proxy_filter\n{root}"),
            "unknown kind of filter `proxy_filter`",
        ),
        (format!("appenders:\n  out: {{ kind: gelf, host: graylog }}\n{root}"), "unknown kind of appender `gelf`"),
    ];
    let folder = Folder::new("refused");
    for (yaml, expected) in cases {
        folder.write("log4rs.yaml", &yaml);
        let config = folder.write("selvedge.yaml", "log: log4rs.yaml\n");
        let error = Config::from(config).check().unwrap_err().to_string();
        assert!(error.contains(expected), "{yaml}: {error}");
    }
    // The tests are built with log4rs's feature for it.
    folder.write("log4rs.yaml", &rolled("{ kind: fixed_window, pattern: \"logs/app.{}.log.gz\", count: 50, base: 0 }"));
    Config::from(folder.path().join("selvedge.yaml")).check().unwrap();
}
