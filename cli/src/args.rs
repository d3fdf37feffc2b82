//! The command line. Completions and the manual page are made from it.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Looks at a running program that uses selvedge.
///
/// The program is found by its socket. If several programs of this user can be looked at, name one: by its pid, by its
/// name, by the path of its socket, or as http://127.0.0.1:6060.
#[derive(Parser)]
#[command(name = "selvedge", version, after_long_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Shown at the end of the help and of the manual page.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the program refused, a file could not be read or written, or `doctor` found something to change
  2  the command line cannot be obeyed: a wrong argument, or several programs fit
  3  there is no program that could be asked
  4  the program does not answer (after 2 seconds)";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Prints the threads: what each does, waits for, and uses
    Ps {
        #[command(flatten)]
        program: Which,
        /// Prints JSON, as the program sends it
        #[arg(long)]
        json: bool,
        /// Each thread on a line of its own: siblings alike are not put together
        #[arg(long, short)]
        all: bool,
        /// Only threads with this text in their path, state or wait, and their ancestors
        #[arg(long, short, value_name = "TEXT", default_value = "")]
        filter: String,
    },
    /// Shows the threads on the whole terminal, again each second
    Top {
        #[command(flatten)]
        program: Which,
    },
    /// Prints what each thread does, with its stack
    Dump {
        #[command(flatten)]
        program: Which,
        /// Prints JSON, as the program sends it
        #[arg(long)]
        json: bool,
    },
    /// Records a profile for some seconds and writes it to a file
    Record {
        #[command(flatten)]
        program: Which,
        /// How long to record
        #[arg(long, short, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
        /// What is counted: time on a processor, or all time; or what threads waited for, or what other threads did
        /// meanwhile
        #[arg(long, short, value_enum, default_value = "cpu")]
        clock: Clock,
        /// Samples per second for each thread
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        frequency: u32,
        /// The file. Its ending chooses the format: .svg (flamegraph), .folded, .pb.gz (pprof), .json or .json.gz
        /// (timeline for the Firefox Profiler)
        #[arg(long, short)]
        output: PathBuf,
    },
    /// Compares two recorded files, .folded or .pb.gz
    Diff {
        /// The earlier recording
        before: PathBuf,
        /// The later recording
        after: PathBuf,
        /// Also draws a flamegraph of the later one: red what has grown, blue what has shrunk
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        /// How many functions are listed
        #[arg(long, default_value_t = 30)]
        top: usize,
    },
    /// Opens a local TCP port for the page and for `go tool pprof`, and prints its address
    Open {
        #[command(flatten)]
        program: Which,
        /// The port; 0 for any that is free
        #[arg(long, short, default_value_t = 0)]
        port: u16,
    },
    /// Tells what this machine permits: what each restriction costs, and the line that lifts it
    Doctor {
        #[command(flatten)]
        program: Which,
    },
    /// Prints the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page
    #[command(hide = true)]
    Man,
}

/// Which program.
#[derive(Args)]
pub(crate) struct Which {
    /// Its pid, its name, the path of its socket, or http://127.0.0.1:PORT. Default: the only one there is
    #[arg(value_name = "PROGRAM")]
    pub(crate) program: Option<String>,
    /// The file with the token of a program that listens on TCP
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Looks for sockets in this folder alone, such as a folder that a container shares
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Clock {
    /// Time on a processor
    Cpu,
    /// All time, also of waits
    Wall,
    /// What threads waited for, where, and what ended that
    Waits,
    /// What threads did while other threads waited for them
    Blame,
}

impl Clock {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Clock::Cpu => "cpu",
            Clock::Wall => "wall",
            Clock::Waits => "waits",
            Clock::Blame => "blame",
        }
    }

    /// What is recorded, as a person says it.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Clock::Cpu => "CPU time",
            Clock::Wall => "wall time",
            Clock::Waits => "what threads wait for",
            Clock::Blame => "what threads do while others wait for them",
        }
    }
}
