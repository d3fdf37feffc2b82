//! For the fuzz target and tests like it: the appenders of a log4rs file, by the strict reading of
//! this crate and by a second, independent reading. Only in those builds.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::Error;

/// Name to the number of appenders that stand there: 1, or those behind a queue.
type Appenders = BTreeMap<String, usize>;

/// As the runtime would open them.
pub(crate) fn strict(file: &Path) -> Result<Appenders, Error> {
    let checked = super::load(file)?;
    let count = |behind: &Option<(_, Vec<_>)>| behind.as_ref().map_or(1, |(_, behind)| behind.len());
    Ok(checked.appenders.iter().map(|appender| (appender.name.clone(), count(&appender.behind))).collect())
}

#[derive(Deserialize)]
struct File {
    appenders: Option<BTreeMap<String, Appender>>,
}

#[derive(Deserialize)]
struct Appender {
    kind: String,
    appenders: Option<Vec<serde::de::IgnoredAny>>,
}

/// As serde reads the text. `None` if it cannot, which is for the other reading to explain.
pub(crate) fn plain(text: &str) -> Option<Appenders> {
    let file: Option<File> = serde_saphyr::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    let file = file.unwrap_or(File { appenders: None });
    let count = |appender: &Appender| match &appender.appenders {
        Some(behind) if appender.kind == "queued" => behind.len(),
        _ => 1,
    };
    Some(file.appenders.iter().flatten().map(|(name, appender)| (name.clone(), count(appender))).collect())
}

#[cfg(test)]
#[path = "../../tests/support/damage.rs"]
mod damage;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const GOOD: &str = "appenders:
  file:
    kind: file
    path: logs/a.log
  rolling:
    kind: rolling_file
    path: logs/b.log
    policy: { trigger: { kind: size, limit: 10 mb }, roller: { kind: delete } }
  remote:
    kind: queued
    overflow: { drop_below: warn }
    appenders:
      - { kind: file, path: logs/c.fifo, encoder: { kind: json } }
      - { kind: file, path: logs/d.log }
      - kind: console
        target: stderr
  idle: { kind: console }
  console: { kind: console, encoder: { pattern: \"{d} {l:<5} {T} {m}{n}\" } }
root:
  level: info
  appenders:
    - file
    - rolling
loggers:
  hyper::client: { level: debug, appenders: [remote], additive: false }
";

    #[test]
    fn a_comment_ends_where_yaml_ends_it() {
        let folder = std::env::temp_dir().join(format!("selvedge-comments-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("log4rs.yaml");
        for (text, appenders) in [
            ("# of an old Mac\rappenders: { c: { kind: console } }\rroot: { level: off }\r", Some(1)),
            ("# nothing\nroot: { level: off } # else\r\n", Some(0)),
            ("\u{a0}# no comment to YAML", None),
            ("# a \u{10} is in it", None),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(strict(&file).ok().map(|found| found.len()), appenders, "{text:?}");
        }
        std::fs::write(&file, "# nothing\n\t\n   # else\r\n").unwrap();
        let error = strict(&file).unwrap_err().to_string();
        assert!(error.contains("log4rs.yaml:1: the key `root` is missing"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_damaged_file_is_refused_or_read_whole() {
        let folder = std::env::temp_dir().join(format!("selvedge-appenders-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("log4rs.yaml");
        let (mut good, mut bad, mut changed) = (0, 0, 0);
        for seed in 0..2000 {
            let mut bytes = GOOD.as_bytes().to_vec();
            let mut random = Random(seed);
            // The first as it stands.
            for _ in 0..seed.min(1) + random.below(3) * seed.min(1) {
                damage::damage(&mut random, &mut bytes);
            }
            std::fs::write(&file, &bytes).unwrap();
            match strict(&file) {
                Ok(appenders) => {
                    let text = String::from_utf8(bytes).unwrap();
                    assert_eq!(Some(&appenders), plain(&text).as_ref(), "seed {seed}: {text}");
                    good += 1;
                    changed += u32::from(appenders.values().sum::<usize>() != 7);
                }
                Err(error) => {
                    assert!(error.is_config() && error.line().is_some(), "seed {seed}: {error}");
                    bad += 1;
                }
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
        assert!(good > 50 && bad > 1000 && changed > 15, "{good} good, {bad} bad, {changed} with other appenders");
    }
}
