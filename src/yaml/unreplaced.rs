//! Text in a path that looks like a variable and is not replaced here: the path would have a folder of that
//! name.

use super::text::quoted;
use super::variables::expand_env;

/// What follows `$` in a variable that is replaced, here or by the caller.
const REPLACED: [&str; 2] = ["ENV{", "TIME{"];

/// Says what in `path` looks like a variable of a shell, of Windows or of another log library.
/// Text that an environment variable gives is not looked at: so any path can be named.
pub(crate) fn unreplaced(path: &str) -> Option<String> {
    let dollars = path.match_indices('$').map(|(at, _)| &path[at..]).find_map(after_dollar);
    let (written, name) = dollars.or_else(|| between_percents(path))?;
    let written = quoted(written);
    Some(format!("{written} is not replaced, and would be a part of the name; write `$ENV{{{name}}}`"))
}

/// `path` with its environment variables replaced. What would stay in it as it is written is an error.
pub(crate) fn expand_path(path: &str) -> Result<String, String> {
    if path == "~" || path.starts_with("~/") {
        return Err("`~` is a folder of that name here; the home folder is `$ENV{HOME}`".to_owned());
    }
    if path.contains("$TIME{") {
        return Err("`$TIME{…}` is replaced in log4rs files only".to_owned());
    }
    unreplaced(path).map_or_else(|| expand_env(path), Err)
}

/// `${NAME}`, `$(NAME)`, `$env{NAME}`, `$ENV(NAME)`, `${ENV:NAME}` or `$NAME`, as it is written, and the name.
fn after_dollar(text: &str) -> Option<(&str, &str)> {
    let after = &text[1..];
    if REPLACED.iter().any(|replaced| after.starts_with(replaced)) {
        return None;
    }
    let word = after.find(|letter: char| !is_word(letter)).unwrap_or(after.len());
    let (word, rest) = after.split_at(word);
    let close = match rest.chars().next() {
        Some('{') => '}',
        Some('(') => ')',
        _ => {
            let is_name = word.starts_with(|letter: char| letter.is_ascii_uppercase() || letter == '_');
            return (is_name && is_upper(word)).then(|| (&text[..=word.len()], word));
        }
    };
    let end = rest.find(close)?;
    let inside = &rest[1..end];
    // `${}` is a dollar, and the number of an archive.
    let name = inside.rsplit(':').next().filter(|name| !name.is_empty())?;
    Some((&text[..1 + word.len() + end + 1], name))
}

/// `%NAME%`.
fn between_percents(path: &str) -> Option<(&str, &str)> {
    path.match_indices('%').find_map(|(at, _)| {
        let name = path[at + 1..].split_once('%')?.0;
        let is_name = name.starts_with(|letter: char| letter.is_ascii_uppercase()) && is_upper(name);
        (is_name && name.len() > 1).then(|| (&path[at..at + name.len() + 2], name))
    })
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn is_upper(name: &str) -> bool {
    name.chars().all(|letter| is_word(letter) && !letter.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_variables_are_named() {
        for (path, written, instead) in [
            ("${LOG_DIR}/app.log", "`${LOG_DIR}`", "`$ENV{LOG_DIR}`"),
            ("a/$LOG_DIR/app.log", "`$LOG_DIR`", "`$ENV{LOG_DIR}`"),
            ("$(LOG_DIR)/app.log", "`$(LOG_DIR)`", "`$ENV{LOG_DIR}`"),
            ("%LOG_DIR%/app.log", "`%LOG_DIR%`", "`$ENV{LOG_DIR}`"),
            ("$env{LOG_DIR}/app.log", "`$env{LOG_DIR}`", "`$ENV{LOG_DIR}`"),
            ("$ENV(LOG_DIR)/app.log", "`$ENV(LOG_DIR)`", "`$ENV{LOG_DIR}`"),
            ("${ENV:LOG_DIR}/app.log", "`${ENV:LOG_DIR}`", "`$ENV{LOG_DIR}`"),
            ("$ENV{A}/${lower}/app.log", "`${lower}`", "`$ENV{lower}`"),
            ("$TIME(%Y)/app.log", "`$TIME(%Y)`", "$ENV"),
        ] {
            let text = unreplaced(path).unwrap_or_else(|| panic!("{path} is refused"));
            assert!(text.starts_with(written) && text.contains(instead), "{path}: {text}");
        }
    }

    #[test]
    fn a_path_of_ours_has_no_other_variables() {
        for path in ["~/x.log", "~", "a/$TIME{%Y}", "$HOME/x"] {
            assert!(expand_path(path).is_err(), "{path}");
        }
        assert_eq!(expand_path("./~/x.log").as_deref(), Ok("./~/x.log"));
    }

    #[test]
    fn other_names_may_have_these_signs() {
        for path in [
            "$ENV{HOME}/a",
            "a-$TIME{%Y}",
            "app.${}.log",
            "cost$/x",
            "a$b",
            "50%",
            "a%20b%20c",
            "100%-50%",
            "{d(%Y)}",
            "{}",
            "~",
        ] {
            assert_eq!(unreplaced(path), None, "{path}");
        }
    }
}
