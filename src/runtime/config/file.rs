//! Reads a selvedge.yaml: how the file spells each setting. Every error names the line and the key.

use std::path::Path;
use std::time::Duration;

use super::checks::{
    DEADLOCKS_AFTER, LONGEST_TAIL, check_deadlocks, check_formats, check_grace, check_log_output, check_name,
    check_output, check_patience,
};
use super::choices::{Ask, FORMATS, OS_SIGNALS, OnStuck};
use super::listen::{LISTEN, NO_TOKEN_FILE, check_token_file, read_listen};
use super::read_push::read_push;
use super::set::Set;
use super::settings::{Listen, LogOutput, LogTo};
use crate::error::Error;
use crate::profile::{Clock, Engine, Options};
use crate::yaml::{Document, Field, Section, expand_path, plain_path};

pub(super) fn read(file: &Path) -> Result<Set, Error> {
    let document = Document::read(file)?;
    let folder = document.file().parent().unwrap_or(Path::new(""));
    let mut set = Set::default();

    let top =
        document.top().section(&["name", "log", "shutdown", "dump", "deadlocks", "profile", "inspect", "push"])?;
    if let Some(name) = top.get("name") {
        let text = name.text("a name")?;
        check_name(text).map_err(|message| name.error(message))?;
        set.name = Some(text.to_owned());
    }
    if let Some(log) = top.get("log") {
        read_log(&log, folder, &mut set)?;
    }
    if let Some(shutdown) = top.get("shutdown") {
        read_shutdown(&shutdown, &mut set)?;
    }
    if let Some(dump) = top.get("dump") {
        let section = dump.section(&["signal"])?;
        set.dump_signal = section.get("signal").map(|field| field.choice(&OS_SIGNALS)).transpose()?;
    }
    if let Some(deadlocks) = top.get("deadlocks") {
        set.deadlocks = Some(read_deadlocks(&deadlocks)?);
    }
    if let Some(profile) = top.get("profile") {
        read_profile(&profile, folder, &mut set)?;
    }
    if let Some(inspect) = top.get("inspect") {
        read_inspect(&inspect, folder, &mut set)?;
    }
    if let Some(push) = top.get("push") {
        set.push = Some(read_push(&push, folder)?);
    }
    // The default, too, is relative to the file.
    set.profile_output.get_or_insert_with(|| folder.join("flamegraphs"));
    Ok(set)
}

fn read_log(log: &Field<'_>, folder: &Path, set: &mut Set) -> Result<(), Error> {
    if !log.is_section() {
        // A file of one of these names is written as ./off.
        match log.text("") {
            Ok("off") => set.log_to = Some(LogTo::Off),
            Ok("own") => set.log_to = Some(LogTo::Own),
            _ => return read_log_file(log, folder, set),
        }
        return Ok(());
    }
    let section = log.section(&["file", "queued", "capacity", "overflow", "tail", "level", "output"])?;
    for key in ["queued", "capacity", "overflow", "tail"] {
        section.get(key).map_or(Ok(()), |field| is_built_in(&field))?;
    }
    if let Some(file) = section.get("file") {
        read_log_file(&file, folder, set)?;
    }
    if let Some(output) = section.get("output") {
        read_log_output(&output, section.get("file").is_some(), folder, set)?;
    }
    set.log_level = section.get("level").map(|level| crate::log::read_level(&level)).transpose()?;
    if let Some(queued) = section.get("queued") {
        set.log_queued = Some(queued.boolean()?);
    }
    let queue = crate::log::read_queue(&section)?;
    set.log_capacity = section.get("capacity").map(|_| queue.capacity);
    set.log_overflow = section.get("overflow").map(|_| queue.overflow);
    if let Some(tail) = section.get("tail") {
        set.log_tail = Some(tail.integer(0..=LONGEST_TAIL, "how many records an error brings with it")?);
    }
    Ok(())
}

/// A path with its environment variables replaced, as in a log4rs file.
fn path(field: &Field<'_>, what: &str) -> Result<String, Error> {
    expand_path(field.text(what)?).map_err(|message| field.error(message))
}

/// A setting for log4rs in a program without log4rs would have no effect.
fn is_built_in(field: &Field<'_>) -> Result<(), Error> {
    crate::log::not_built_in().map_or(Ok(()), |message| Err(field.error(message)))
}

/// Whether the file is there is asked here, where the line that names it is known.
fn read_log_file(field: &Field<'_>, folder: &Path, set: &mut Set) -> Result<(), Error> {
    is_built_in(field)?;
    let file = folder.join(path(field, "the path of a log4rs file")?);
    match file.metadata() {
        Err(error) => {
            return Err(field
                .error(format!("cannot read {}, relative to this file", plain_path(&file)))
                .because(error));
        }
        Ok(metadata) if metadata.is_dir() => {
            return Err(field.error(format!("{} is a directory; name the log4rs file in it", plain_path(&file))));
        }
        Ok(_) => set.log_to = Some(LogTo::File(file)),
    }
    Ok(())
}

fn read_log_output(field: &Field<'_>, has_file: bool, folder: &Path, set: &mut Set) -> Result<(), Error> {
    is_built_in(field)?;
    let path = path(field, "the path of a log file")?;
    if path.is_empty() {
        return Err(field.expected("the path of a log file"));
    }
    let path = folder.join(path);
    check_log_output(&path).map_err(|message| field.error(message))?;
    if has_file {
        return Err(field.error("the log4rs file that `file` names says where the log goes; leave one of the two out"));
    }
    set.log_to = Some(LogTo::Output(LogOutput { path, place: Some((field.file().to_owned(), field.line())) }));
    Ok(())
}

fn read_shutdown(shutdown: &Field<'_>, set: &mut Set) -> Result<(), Error> {
    let section = shutdown.section(&["patience", "on_stuck", "grace", "ask"])?;
    if let Some(field) = section.get("patience") {
        let patience = field.duration()?;
        check_patience(patience).map_err(|message| field.error(message))?;
        set.patience = Some(patience);
    }
    if let Some(field) = section.get("on_stuck") {
        set.on_stuck = Some(field.choice(&[("wait", OnStuck::Wait), ("abort", OnStuck::Abort)])?);
    }
    if let Some(field) = section.get("grace") {
        let grace = field.duration()?;
        check_grace(grace).map_err(|message| field.error(message))?;
        set.grace = Some(grace);
    }
    if let Some(field) = section.get("ask") {
        set.ask = Some(field.choice(&[("main", Ask::Main), ("all", Ask::All)])?);
    }
    Ok(())
}

/// `off`, or a section; None is off.
fn read_deadlocks(deadlocks: &Field<'_>) -> Result<Option<Duration>, Error> {
    if !deadlocks.is_section() {
        return deadlocks.choice(&[("off", None)]);
    }
    let section = deadlocks.section(&["after"])?;
    let Some(field) = section.get("after") else { return Ok(Some(DEADLOCKS_AFTER)) };
    let after = Some(field.duration()?);
    check_deadlocks(after).map_err(|message| field.error(message))?;
    Ok(after)
}

/// `off`, `unix`, or a section.
fn read_inspect(inspect: &Field<'_>, folder: &Path, set: &mut Set) -> Result<(), Error> {
    let section = if inspect.is_section() { Some(inspect.section(&["listen", "token_file"])?) } else { None };
    let get = |key| section.as_ref().and_then(|section| section.get(key));
    if section.is_none() && inspect.text("off, unix or a section")? == "off" {
        set.inspect = Some(None);
        return Ok(());
    }
    if let Some(field) = get("token_file") {
        let file = folder.join(path(&field, "the path of a file with a token")?);
        check_token_file(&file).map_err(|message| field.error(message))?;
        set.inspect_token_file = Some(file);
    }
    let listen = if section.is_none() { Some(inspect.clone()) } else { get("listen") };
    let Some(field) = listen else {
        set.inspect = Some(Some(Listen::Unix));
        return Ok(());
    };
    let to = read_listen(field.text(LISTEN)?).map_err(|message| field.error(message))?;
    if to != Listen::Unix && set.inspect_token_file.is_none() {
        return Err(field.error(NO_TOKEN_FILE));
    }
    set.inspect = Some(Some(to));
    Ok(())
}

fn read_profile(profile: &Field<'_>, folder: &Path, set: &mut Set) -> Result<(), Error> {
    let section = profile.section(&[
        "enabled",
        "signal",
        "frequency",
        "clock",
        "engine",
        "unregistered",
        "waits",
        "accounts",
        "output",
        "formats",
        "fold_pools",
        "direction",
        "collapse",
        "hide_runtime",
    ])?;
    if let Some(field) = section.get("enabled") {
        set.profile_enabled = Some(field.boolean()?);
    }
    if let Some(field) = section.get("signal") {
        set.profile_signal = Some(field.choice(&OS_SIGNALS)?);
    }
    set.profile_options = Some(read_options(&section)?);
    if let Some(field) = section.get("accounts") {
        set.profile_accounts = Some(field.boolean()?);
    }
    if let Some(field) = section.get("output") {
        let output = folder.join(path(&field, "the path of a folder")?);
        check_output(&output).map_err(|message| field.error(message))?;
        set.profile_output = Some(output);
    }
    if let Some(field) = section.get("formats") {
        let formats: Vec<_> = field.list()?.iter().map(|item| item.choice(&FORMATS)).collect::<Result<_, _>>()?;
        check_formats(&formats).map_err(|message| field.error(message))?;
        set.profile_formats = Some(formats);
    }
    if let Some(field) = section.get("fold_pools") {
        set.profile_fold_pools = Some(field.boolean()?);
    }
    if let Some(field) = section.get("direction") {
        set.profile_icicle = Some(field.choice(&[("flame", false), ("icicle", true)])?);
    }
    if let Some(field) = section.get("collapse") {
        let what = "rayon, tokio, serde, or the name of a crate";
        let names = field.list()?.iter().map(|item| item.text(what).map(str::to_owned)).collect::<Result<_, _>>()?;
        set.profile_collapse = Some(names);
    }
    if let Some(field) = section.get("hide_runtime") {
        set.profile_hide_runtime = Some(field.boolean()?);
    }
    Ok(())
}

fn read_options(section: &Section<'_>) -> Result<Options, Error> {
    let mut options = Options::new();
    if let Some(field) = section.get("frequency") {
        options = options.frequency(field.integer(Options::FREQUENCIES, "samples per second")?);
    }
    if let Some(field) = section.get("clock") {
        options = options.clock(field.choice(&[("cpu", Clock::Cpu), ("wall", Clock::Wall)])?);
    }
    if let Some(field) = section.get("engine") {
        let engines =
            [("auto", Engine::Auto), ("timer", Engine::Timer), ("ring", Engine::Ring), ("process", Engine::Process)];
        options = options.engine(field.choice(&engines)?);
    }
    if let Some(field) = section.get("unregistered") {
        options = options.unregistered(field.boolean()?);
    }
    if let Some(field) = section.get("waits") {
        options = options.waits(field.boolean()?);
    }
    if let Some(field) = section.get("accounts")
        && field.boolean()?
        && section.get("waits").is_some()
        && !options.get_waits()
    {
        return Err(field.error("accounts are made of waits, which are off; expected `waits: true`, or no `waits`"));
    }
    if let Some(field) = section.get("formats")
        && section.get("waits").is_some()
        && !options.get_waits()
    {
        for item in field.list()? {
            let format = item.choice(&FORMATS)?;
            if format.needs_waits() {
                let message =
                    format!("{format} is made of waits, which are off; expected `waits: true`, or no `waits`");
                return Err(item.error(message));
            }
        }
    }
    Ok(options)
}
