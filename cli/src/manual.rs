//! The completions for shells and the manual page, from the same description as the arguments.

use crate::args::Arguments;
use clap::CommandFactory;
use std::io;

pub(crate) fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "selvedge", &mut out);
    out
}

/// One page with all commands: `selvedge man | man -l -`.
pub(crate) fn page() -> io::Result<Vec<u8>> {
    let mut command = Arguments::command();
    // Gives the subcommands their whole names, `selvedge ps`.
    command.build();
    let mut out = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut out)?;
    for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        let page = clap_mangen::Man::new(one.clone());
        page.render_synopsis_section(&mut out)?;
        page.render_description_section(&mut out)?;
        page.render_options_section(&mut out)?;
    }
    Ok(out)
}
