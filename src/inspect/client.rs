//! What an answer may use of its client, and in which way it is given.

use super::response::Response;
use crate::signal::Signal;

/// The client of an answer that takes long.
pub(super) struct Client<'a> {
    /// Goes if the client has ended its side.
    pub(super) cancel: Signal,
    /// Sends the head of an answer before its body is made. `None` for a client of HTTP/1.0: it would
    /// take a body that is cut off for a whole body, so the head must tell the length.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))] // only recordings take long
    pub(super) early: Option<&'a dyn Fn(Response)>,
}

/// An answer, or the body of one whose head is sent.
pub(super) enum Made {
    Whole(Response),
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))] // only recordings take long
    Rest(Vec<u8>),
}

pub(super) enum Reply {
    Whole(Response),
    /// The body of an answer whose head is sent.
    Rest(Vec<u8>),
    /// Events follow, until the client goes.
    Events(Response),
}
