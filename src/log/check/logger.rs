//! A logger in a log4rs file, and the lists of appenders that loggers name.

use std::collections::BTreeSet;

use log4rs::config::Logger;

use crate::error::Error;
use crate::log::target::is_logger_name;
use crate::log::wiring::{levels, read_level};
use crate::yaml::{Field, did_you_mean, plain, quoted};

pub(super) fn read_logger(
    name: &str,
    field: &Field<'_>,
    known: &[&str],
    used: &mut BTreeSet<String>,
    warnings: &mut Vec<String>,
) -> Result<Logger, Error> {
    if !is_logger_name(name) {
        return Err(field.error("not a logger's name; expected modules parted by `::`, as `my_crate::parser`"));
    }
    let section = field.section(&["level", "appenders", "additive"])?;
    let level = read_level(&section.required("level", &levels())?)?;
    let mut logger = Logger::builder();
    if let Some(field) = section.get("appenders") {
        logger = logger.appenders(read_names(&field, known, used, warnings)?);
    }
    if let Some(field) = section.get("additive") {
        logger = logger.additive(field.boolean()?);
    }
    Ok(logger.build(name, level))
}

pub(super) fn read_names(
    field: &Field<'_>,
    known: &[&str],
    used: &mut BTreeSet<String>,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = Vec::new();
    for item in field.list()? {
        let name = item.text("the name of an appender")?;
        if !known.contains(&name) {
            let hint = did_you_mean(name, known);
            let defined = if known.is_empty() { "none".to_owned() } else { plain(&known.join(", ")) };
            return Err(item.error(format!("no appender is named {}; defined: {defined}{hint}", quoted(name))));
        }
        if names.iter().any(|before| before == name) {
            warnings.push(item.remark("named twice, so each record is written twice"));
        }
        used.insert(name.to_owned());
        names.push(name.to_owned());
    }
    Ok(names)
}
