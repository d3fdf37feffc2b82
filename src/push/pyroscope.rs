//! The body of a request to a Pyroscope server: the message `push.v1.PushRequest`, by the connect
//! protocol, which is plain HTTP with a message as its body.

use super::plan::Plan;
use crate::flame::Message;
use crate::profile::{Interval, Kind};

pub(super) const PATH: &str = "/push.v1.PusherService/Push";
pub(super) const HEADERS: &str = "Content-Type: application/proto\r\nConnect-Protocol-Version: 1\r\n";

const SERVICE: &str = "service_name";

/// The body. The profiles in it are gzipped.
///
/// # Errors
/// Why there is none, as a part of a sentence.
pub(super) fn body(plan: &Plan, interval: &Interval) -> Result<Vec<u8>, String> {
    let mut request = Message::default();
    for delta in &interval.deltas {
        let raw = delta.pprof(interval.started, interval.duration).map_err(|error| error.to_string())?;
        let mut series = Message::default();
        for (name, value) in labels(plan, delta.kind) {
            let mut label = Message::default();
            label.text(1, name).text(2, value);
            series.message(1, &label);
        }
        let mut sample = Message::default();
        sample.bytes(1, &raw);
        series.message(2, &sample);
        request.message(1, &series);
    }
    Ok(request.as_bytes().to_vec())
}

/// In the order of their names.
fn labels(plan: &Plan, kind: Kind) -> Vec<(&str, &str)> {
    let mut labels = vec![("__name__", kind.name())];
    if matches!(kind, Kind::Block | Kind::Mutex) {
        // Each is the difference to the one before already; the server need not make it.
        labels.push(("__delta__", "false"));
    }
    if plan.labels.iter().all(|(name, _)| name != SERVICE) {
        labels.push((SERVICE, &plan.service));
    }
    labels.extend(plan.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    labels.sort_unstable();
    labels
}
