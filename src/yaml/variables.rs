//! Environment variables in a text of a YAML file: `$ENV{NAME}`, as log4rs writes them.

use std::env::{self, VarError};

use super::text::quoted;

/// Replaces `$ENV{NAME}` as log4rs does. Text that log4rs would leave unreplaced is an error: it
/// would become a file or folder of that name.
pub(crate) fn expand_env(path: &str) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once("$ENV{") {
        expanded.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            return Err("`$ENV{` without its `}`; write the name of an environment variable as `$ENV{HOME}`".to_owned());
        };
        if !is_variable(name) {
            let written = quoted(&format!("$ENV{{{name}}}"));
            return Err(format!(
                "{written} names no environment variable: expected letters, digits, `_` and `.`, and no default"
            ));
        }
        match env::var(name) {
            Ok(value) if value.contains("$ENV{") => {
                return Err(format!("the environment variable {name} has `$ENV{{` in it, which is not replaced there"));
            }
            // A tool that starts containers passes a variable that is not set as an empty text.
            Ok(value) if value.is_empty() && is_whole_part(before, behind) => {
                return Err(format!("the environment variable {name} is empty; set it, or write the path without it"));
            }
            Ok(value) => expanded.push_str(&value),
            Err(VarError::NotPresent) => {
                return Err(format!(
                    "the environment variable {name} is not set; set it, or write the path without it"
                ));
            }
            Err(VarError::NotUnicode(_)) => {
                return Err(format!("the environment variable {name} is not UTF-8 text"));
            }
        }
        rest = behind;
    }
    Ok(expanded + rest)
}

/// Returns `true` if nothing else stands between the slashes.
fn is_whole_part(before: &str, behind: &str) -> bool {
    (before.is_empty() || before.ends_with('/')) && (behind.is_empty() || behind.starts_with('/'))
}

fn is_variable(name: &str) -> bool {
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    name.starts_with(word) && name.chars().all(|letter| word(letter) || letter == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_expand_as_in_log4rs() {
        if crate::own_process::passes(module_path!(), "variables_expand_as_in_log4rs", &[("REGION", "eu:$west")]) {
            return;
        }
        assert_eq!(expand_env("a/$ENV{REGION}/b").unwrap(), "a/eu:$west/b");
        let error = expand_env("a/$ENV{REGION}/$ENV{SELVEDGE_UNSET}/x").unwrap_err();
        assert!(error.contains("the environment variable SELVEDGE_UNSET is not set"), "{error}");
        assert_eq!(expand_env("$ENV/{}/$TIME{%Y}").unwrap(), "$ENV/{}/$TIME{%Y}");
    }

    #[test]
    fn an_empty_variable_is_no_folder() {
        let variables = [("SELVEDGE_EMPTY", ""), ("SELVEDGE_NESTED", "$ENV{HOME}")];
        if crate::own_process::passes(module_path!(), "an_empty_variable_is_no_folder", &variables) {
            return;
        }
        for path in ["$ENV{SELVEDGE_EMPTY}/app.log", "a/$ENV{SELVEDGE_EMPTY}/app.log", "$ENV{SELVEDGE_EMPTY}"] {
            let error = expand_env(path).unwrap_err();
            assert!(error.contains("SELVEDGE_EMPTY is empty"), "{path}: {error}");
        }
        assert_eq!(expand_env("app$ENV{SELVEDGE_EMPTY}.log").unwrap(), "app.log");
        let error = expand_env("$ENV{SELVEDGE_NESTED}/x").unwrap_err();
        assert!(error.contains("SELVEDGE_NESTED has `$ENV{` in it"), "{error}");
    }

    #[test]
    fn a_variable_that_stays_unreplaced_is_refused() {
        let error = expand_env("a/$ENV{SELVEDGE_UNSET}/x").unwrap_err();
        assert!(error.contains("the environment variable SELVEDGE_UNSET is not set"), "{error}");
        for (path, part) in [
            ("$ENV{", "without its `}`"),
            ("x$ENV{PATH", "without its `}`"),
            ("$ENV{a b}", "`$ENV{a b}` names no environment variable"),
            ("$ENV{}", "`$ENV{}` names no"),
            ("$ENV{.x}", "`$ENV{.x}` names no"),
            ("$ENV{PATH:-/tmp}", "`$ENV{PATH:-/tmp}` names no"),
        ] {
            let error = expand_env(path).unwrap_err();
            assert!(error.contains(part), "{path}: {error}");
        }
    }
}
