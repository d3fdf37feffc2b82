//! The first program of README.md, letter by letter.

use selvedge::{Config, Queue, Signal, spawn};

pub(crate) fn main() -> std::process::ExitCode {
    selvedge::run(Config::new("letters"), |please_stop: &Signal| {
        let lines: Queue<String> = Queue::bounded("lines", 1000);
        let from = lines.popper();
        let counter = spawn("counter", move |please_stop| {
            let mut letters = 0;
            // Goes on after a stop, until the queue is closed and everything in it was counted.
            while let Some(line) = from.pop_draining(please_stop) {
                letters += line.chars().filter(|c| c.is_alphabetic()).count();
            }
            letters
        });
        // Closes the queue when it is dropped: at the end, and by each `?`.
        let adder = lines.adder();
        // Ends at the end of the input, and on Ctrl-C or SIGTERM.
        for line in selvedge::lines_till(std::io::stdin(), please_stop)? {
            adder.add(line?)?;
        }
        drop(adder);
        log::info!("{} letters", counter.join()?);
        Ok::<(), Box<dyn std::error::Error>>(())
    })
}
