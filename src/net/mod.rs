//! Sockets whose blocking calls end when a signal goes: accept, read, write, connect.
//!
//! The types are the standard library's own. [`ListenTill`] adds
//! [`accept_till`](ListenTill::accept_till) and [`incoming_till`](ListenTill::incoming_till) to
//! listeners; [`SocketTill`] adds [`till`](SocketTill::till) to streams, which gives a
//! [`StreamTill`] that implements [`Read`](std::io::Read) and [`Write`](std::io::Write);
//! [`connect_till`] and [`connect_unix_till`] connect. A call that a signal has ended returns an
//! error for which [`is_stopped`] is `true`.
//!
//! While such a call blocks, the thread shows in dumps and wall-clock profiles as waiting for
//! `connection on "127.0.0.1:8080"`, `data from "10.0.0.7:51312"`, `room to send to "…"` or
//! `connection to "…"`. [A recipe](crate::guide::recipes::threaded_server) has a whole server. Unix
//! only.
//!
//! ```
//! use selvedge::net::{ListenTill, SocketTill, is_stopped};
//! use selvedge::spawn;
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let echo = spawn("echo", move |please_stop| {
//!     for stream in listener.incoming_till(please_stop) {
//!         let mut stream = stream?.till(please_stop);
//!         let mut bytes = [0; 1024];
//!         loop {
//!             match stream.read(&mut bytes) {
//!                 Ok(0) => break,
//!                 Ok(count) => stream.write_all(&bytes[..count])?,
//!                 Err(error) if is_stopped(&error) => break,
//!                 Err(error) => return Err(error),
//!             }
//!         }
//!     }
//!     Ok(())
//! });
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"hello")?;
//! let mut bytes = [0; 5];
//! client.read_exact(&mut bytes)?;
//! assert_eq!(&bytes, b"hello");
//! // The connection is still open, and the thread reads from it.
//! echo.stop();
//! echo.join()??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connect;
mod listen;
mod names;
mod stopped;
mod stream;
mod wait;

pub use connect::{connect_till, connect_unix_till};
pub use listen::{IncomingTill, ListenTill};
pub use stopped::is_stopped;
pub use stream::{SocketTill, StreamTill};
