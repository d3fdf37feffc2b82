//! The policy of a `rolling_file` in a log4rs file: when the file is rolled, and what becomes of
//! the old files. Also refuses two appenders that would roll, or write, the same file.

use std::path::Path;

use log4rs::append::rolling_file::policy::Policy as LibraryPolicy;
use log4rs::append::rolling_file::policy::compound::roll::Roll;
use log4rs::append::rolling_file::policy::compound::trigger::Trigger;

use super::context::{Check, read_kind};
use crate::error::Error;
use crate::log::checked::CheckedAppender;
use crate::log::rolling::{self, CENTURY, Policy};
use crate::log::settings::for_log4rs;
use crate::yaml::{Field, plain, plain_path, quoted, unreplaced};

/// Checks a policy. Archives are relative to `folder`.
pub(super) fn policy(check: &mut Check, field: &Field<'_>, folder: &Path) -> Result<Policy, Error> {
    let kind = read_kind(field, "policy", &["compound"], Some("compound"))?;
    let section = field.section(&["kind", "trigger", "roller"])?;
    trigger(check, &section.required("trigger", "when the file is rolled")?)?;
    roller(check, &section.required("roller", "what becomes of the old file")?)?;
    check.build::<dyn LibraryPolicy>(field, kind)?;
    check.no_unset_variable(field)?;
    match Policy::read(&for_log4rs(field.node(), &[]), folder) {
        Ok(Some(policy)) => Ok(policy),
        Ok(None) => Err(field.error("this policy cannot be read")),
        Err(reason) => Err(field.error("this policy cannot be read").because(reason)),
    }
}

fn trigger(check: &mut Check, field: &Field<'_>) -> Result<(), Error> {
    let kind = read_kind(field, "trigger", &["size", "time", "onstartup"], None)?;
    match kind {
        "size" => {
            let limit = field.section(&["kind", "limit"])?.required("limit", "a size like `10 mb`")?;
            let size = "a size like `10 mb` (units: b, kb, mb, gb, tb)";
            check.build::<dyn Trigger>(field, kind).map_err(|_| limit.expected(size))?;
            if rolling::is_limit_zero(&for_log4rs(field.node(), &[])) {
                check.warn(&limit, "a limit of 0 rolls the file after each record; write a size like `10 mb`");
            }
        }
        "time" => {
            let section = field.section(&["kind", "interval", "modulate", "max_random_delay"])?;
            let interval = section.required("interval", "a time like `1 day`")?;
            section.get("modulate").map_or(Ok(false), |modulate| modulate.boolean())?;
            section.get("max_random_delay").map_or(Ok(0), |delay| delay.integer(0..=CENTURY, "seconds"))?;
            let time = "a time like `12 hours` or `1 day` (units: second to year)";
            check.build::<dyn Trigger>(field, kind).map_err(|_| interval.expected(time))?;
            if !rolling::is_trigger(&for_log4rs(field.node(), &[])) {
                return Err(interval.expected("a time from 1 second to 100 years"));
            }
        }
        _ => {
            let section = field.section(&["kind", "min_size"])?;
            section.get("min_size").map_or(Ok(0), |size| size.integer(0..=u64::MAX, "bytes"))?;
            check.build::<dyn Trigger>(field, kind)?;
        }
    }
    Ok(())
}

fn roller(check: &mut Check, field: &Field<'_>) -> Result<(), Error> {
    let kind = read_kind(field, "roller", &["delete", "fixed_window"], None)?;
    if kind == "delete" {
        field.section(&["kind"])?;
    } else {
        let section = field.section(&["kind", "pattern", "base", "count"])?;
        let count = section.required("count", "how many old files are kept")?;
        let kept = count.integer(0..=u32::MAX, "old files to keep")?;
        if let Some(base) = section.get("base") {
            base.integer(0..=u32::MAX - kept, "the first number")?;
        }
        let pattern = section.required("pattern", "the name of the old files, with `{}` for their number")?;
        let text = pattern.text("the name of the old files, with `{}` for their number")?;
        if let Some(fault) = unreplaced(text) {
            return Err(pattern.error(fault));
        }
        if text.contains("$TIME{") {
            check.warn(&pattern, "a rolling_file does not replace `$TIME{…}`; it stays in the name");
        }
        let expanded = check.variables(&pattern, text);
        if !text.contains("{}") {
            return Err(pattern.expected("a name with `{}` in it, for the number of the old file"));
        }
        let end = expanded.rsplit("{}").next().unwrap_or(&expanded);
        if let Some(ending) = rolling::uncompressed(end) {
            check.warn(&pattern, &format!("`.{ending}` does not compress old files; `.gz` and `.zst` do"));
        }
        if let Some((ending, feature)) = rolling::compression(end)
            && !rolling::can_compress(ending)
        {
            return Err(pattern.error(format!(
                "to compress old files needs the feature `{feature}` of log4rs: add `log4rs = {{ version = \"1\", \
                 default-features = false, features = [\"{feature}\"] }}` to the dependencies in Cargo.toml; or leave \
                 out `.{ending}`, and let another program compress them"
            )));
        }
    }
    check.build::<dyn Roll>(field, kind).map(drop)
}

/// An archive that had the path of the active file would be overwritten by it.
pub(super) fn apart(field: &Field<'_>, policy: &Policy, path: &Path) -> Result<(), Error> {
    match policy.archives.as_ref().and_then(|archives| archives.number_of(path)) {
        None => Ok(()),
        Some(number) => {
            let roller = field.open()?.required("roller", "")?;
            let pattern = roller.open()?.required("pattern", "")?;
            let path = plain_path(path);
            let message =
                format!("with the number {number} this is the path of the log file itself, {path}; change one");
            Err(pattern.error(message))
        }
    }
}

/// No two appenders may write, or roll, the same file if one of them rolls it.
pub(super) fn not_shared(appenders: &[(Field<'_>, CheckedAppender)]) -> Result<(), Error> {
    let mut seen: Vec<&CheckedAppender> = Vec::new();
    for (field, outer) in appenders {
        for checked in std::iter::once(outer).chain(outer.behind.iter().flat_map(|(_, behind)| behind)) {
            for before in &seen {
                if let Some(shared) = shared(checked, before) {
                    let other = quoted(&plain(&before.name));
                    let message = format!("the appender {other} {shared}; give each a path and archives of its own");
                    let error = field.error(message);
                    return Err(checked.line.into_iter().fold(error, |error, line| error.at_line(line)));
                }
            }
            seen.push(checked);
        }
    }
    Ok(())
}

/// What the two share, if one of them rolls it, in words.
fn shared(checked: &CheckedAppender, before: &CheckedAppender) -> Option<String> {
    let (path, other) = (checked.path.as_deref()?, before.path.as_deref()?);
    let archives = |checked: &CheckedAppender| checked.rolling.as_ref().and_then(|policy| policy.archives.clone());
    let (mine, theirs) = (archives(checked), archives(before));
    if (checked.rolling.is_some() || before.rolling.is_some()) && rolling::real(path) == rolling::real(other) {
        return Some(format!(
            "writes to the same file, {}, and a file that is rolled has one writer",
            plain_path(path)
        ));
    }
    if theirs.as_ref().is_some_and(|theirs| theirs.number_of(path).is_some()) {
        return Some(format!("has {} as the path of an archive", plain_path(path)));
    }
    if mine.as_ref().is_some_and(|mine| mine.number_of(other).is_some()) {
        return Some(format!("writes to {}, which is the path of an archive here", plain_path(other)));
    }
    let both = mine?.shared_with(&theirs?)?;
    Some(format!("has the same archive, {}", plain_path(&both)))
}
