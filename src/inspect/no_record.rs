//! The answers that record, in a program that was built without the feature `profiling`: each says
//! so.

use super::client::{Client, Made};
use super::counted::Counted;
use super::program::Program;
use super::request::Request;
use super::response::Response;
use super::waited::Waited;
use crate::signal::Signal;
use serde_json::Value;
use std::time::Duration;

pub(super) fn now(_: &Program) -> Value {
    Value::Null
}

/// Waits, unless the client or the inspection ends before.
///
/// # Errors
/// The answer if one of them has ended.
pub(super) fn wait(program: &Program, seconds: u64, cancel: &Signal) -> Result<(), Response> {
    match (&program.stop | cancel).wait_for_go_timeout(Duration::from_secs(seconds)) {
        true => Err(Response::text(503, "the client or the program has ended meanwhile")),
        false => Ok(()),
    }
}

/// There are no names to be found.
pub(super) fn names_until<T>(_: &Signal, make: impl FnOnce() -> T) -> T {
    make()
}

fn not_built_in() -> Response {
    Response::text(501, "this program was built without the feature \"profiling\"; enable it in Cargo.toml")
}

pub(super) fn profile(_: &Program, _: &Request, _: &Client<'_>) -> Result<Made, Response> {
    Err(not_built_in())
}

/// What a flamegraph shows.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    Waits,
    Blame,
}

/// No clock is recorded by.
pub(super) const CLOCKS: [(&str, Shown); 0] = [];

pub(super) fn shown(_: &Request) -> Result<Shown, Response> {
    Err(not_built_in())
}

pub(super) fn flame(_: &Program, _: &Request, _: Shown, _: &Client<'_>) -> Result<Made, Response> {
    Err(not_built_in())
}

pub(super) fn folded(_: &Program, _: &Request, _: &Client<'_>) -> Result<Made, Response> {
    Err(not_built_in())
}

pub(super) fn timeline(_: &Program, _: &Request, _: &Client<'_>) -> Result<Made, Response> {
    Err(not_built_in())
}

pub(super) fn contention(_: &Program, _: &Request, _: &str, _: &Client<'_>) -> Result<Made, Response> {
    Err(not_built_in())
}

pub(super) fn accounts(_: &Program, _: &Request, _: &Signal) -> Result<Response, Response> {
    Err(not_built_in())
}

/// They are not counted.
pub(super) fn waits() -> Vec<Waited> {
    Vec::new()
}

pub(super) fn names(addresses: &[u64]) -> Vec<Option<String>> {
    vec![None; addresses.len()]
}

pub(super) fn counts(_: &str, _: &[Counted]) -> Result<Vec<u8>, Response> {
    Err(not_built_in())
}
