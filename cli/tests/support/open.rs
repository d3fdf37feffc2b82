//! A running `selvedge open`, with the port and the token that it has printed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

pub struct Open {
    child: Child,
    pub port: u16,
    pub token: String,
}

impl Open {
    pub fn start(folder: &str) -> Open {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
        let command = command.args(["open", "--folder", folder]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("http://127.0.0.1:").unwrap();
        let (port, token) = address.split_once("/?token=").unwrap();
        Open { child, port: port.parse().unwrap(), token: token.to_owned() }
    }

    /// For a browser.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/?token={}", self.port, self.token)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
