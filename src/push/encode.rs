//! The request of an interval in the protocol of the plan.

use super::plan::{Format, Plan};
use super::pyroscope;
use crate::profile::Interval;

/// The body of the request.
///
/// # Errors
/// Why there is none, as a part of a sentence.
pub(super) fn body(plan: &Plan, interval: &Interval) -> Result<Vec<u8>, String> {
    match plan.format {
        Format::Pyroscope => pyroscope::body(plan, interval),
        #[cfg(feature = "otlp")]
        Format::Otlp => super::otlp::body(plan, interval),
    }
}

/// The path of the request, and the headers that say what its body is.
pub(super) fn path_and_headers(plan: &Plan) -> (&'static str, &'static str) {
    match plan.format {
        Format::Pyroscope => (pyroscope::PATH, pyroscope::HEADERS),
        #[cfg(feature = "otlp")]
        Format::Otlp => (super::otlp::PATH, super::otlp::HEADERS),
    }
}

/// What a server that has taken the request has not taken of it, as a sentence.
#[cfg_attr(not(feature = "otlp"), allow(unused_variables))]
pub(super) fn rejected(plan: &Plan, body: &[u8]) -> Option<String> {
    match plan.format {
        Format::Pyroscope => None,
        #[cfg(feature = "otlp")]
        Format::Otlp => super::otlp::rejected(body),
    }
}
